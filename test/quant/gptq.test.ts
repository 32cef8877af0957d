/** GPTQ of one layer: the codes of the public loop, and what holds for any inputs. */

import { arange, eye, Rng, rand, randn, type Tensor, tensor } from "bitgrad";
import { Linear, parametrize } from "bitgrad/nn";
import {
  bitnet158,
  bwn,
  type GptqOptions,
  gptq,
  nf4,
  plan,
  prepare,
  type Quantizer,
  quantizedTransform,
  spec,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { nearestHalf } from "../../kernels/formats/half.ts";
import { eigh } from "../../kernels/linalg/eigh.ts";
import { differing, type MethodCase, methodCases, tensorOf } from "../golden/method-cases.ts";
import { layerOf, list } from "./setup.ts";

const codesOf = (layer: { weight: Linear["weight"] }) => quantizedTransform(layer.weight)!.codes!;
const linear = (weight: Tensor, quantizer: Quantizer): Linear => layerOf(weight, { weight: quantizer });
/** Σ (X (Ŵ − W)ᵀ)² relative to Σ (X Wᵀ)². */
const outputError = (x: Tensor, layer: Linear): number => {
  const want = x.matmul(layer.weight.value, { transposeB: true });
  const off = x.matmul(layer.weight.effective(), { transposeB: true }).sub(want);
  return off.square().sum().item() / want.square().sum().item();
};
/** Rows whose columns are correlated. */
const correlated = (rows: number, columns: number, seed: number): Tensor => {
  const rng = new Rng(seed);
  return randn([rows, columns], { rng }).matmul(randn([columns, columns], { rng }));
};
const one = { scale: tensor([1]), zeroPoint: null };
/** Rows whose covariance has the eigenvalues 1, 1/2, 1/3, … in axes of its own. */
function spectral(columns: number, seed: number): (rows: number) => Tensor {
  const rng = new Rng(seed);
  const noise = randn([columns, columns], { rng });
  const { vectors } = eigh(Float64Array.from(noise.matmul(noise, { transposeB: true }).data), columns)!;
  const axes = tensor(Float32Array.from(vectors), { shape: [columns, columns] });
  return (rows) =>
    randn([rows, columns], { rng })
      .mul(arange(1, columns + 1).rsqrt())
      .matmul(axes);
}
const float32 = { scaleDtype: "float32" } as const;

interface Params {
  readonly bits: number;
  readonly sym: boolean;
  readonly mse: boolean;
  readonly group: number;
  readonly act_order: boolean;
  readonly static_groups: boolean;
  readonly percdamp: number;
  readonly block: number;
  readonly batches: number;
}

/**
 * The rows with a group without negative numbers, of symmetric codes: there the public code takes half the scale, which
 * clips what is larger than half the largest. Ours takes 2 max / (2^b − 1) always.
 */
function oneSided({ params, inputs: { W } }: MethodCase<Params>): Set<number> {
  const [rows, columns] = W.shape;
  const group = params.group < 0 ? columns : params.group;
  const found = new Set<number>();
  for (let at = 0; params.sym && at < rows * columns; at += group) {
    if (W.data.slice(at, at + group).every((w) => w >= 0)) found.add(Math.floor(at / columns));
  }
  return found;
}

async function ran({ params, inputs }: MethodCase<Params>, more: Partial<GptqOptions<Tensor>> = {}) {
  const { bits, sym, group } = params;
  const granularity = group < 0 ? "channel" : { group };
  const kind = sym ? ({ range: "full" } as const) : ({ scheme: "affine" } as const);
  const layer = linear(tensorOf(inputs.W), ste({ bits, granularity, ...kind, ...float32 }));
  return gptq(layer, tensorOf(inputs.X).chunk(params.batches), {
    damping: params.percdamp,
    blockSize: params.block,
    order: params.act_order ? "activation" : "given",
    // The public loop reads the ranges of all groups of a block before it has updated any of them.
    staticGroups: params.static_groups || params.block > group,
    scales: params.mse ? "mse" : "range",
    ...more,
  });
}

describe("the public code", () => {
  const cases = methodCases<Params>("gptq-loop");
  // There a group is of columns that have their turns one after another, and each tells which group it is of. Here it is of
  // neighbours, as packed codes have it, so that in the order of activations scales and codes are others.
  const isScattered = ({ params }: MethodCase<Params>): boolean =>
    params.act_order && params.group > 0 && !params.static_groups;

  it.each(cases.filter((of) => !isScattered(of)).map((of) => [of.name, of] as const))(
    "gives the codes and scales of %s",
    async (_, of) => {
      const layer = await ran(of);
      const { codes, scale, zeroPoint } = codesOf(layer);
      const zero = of.params.sym ? 2 ** (of.params.bits - 1) : 0;
      const { length } = of.outputs.zero.data;
      const odd = oneSided(of);
      // Rows have nothing to do with one another.
      const counts = (i: number, size: number) => size > 1 && !odd.has(Math.floor((i * 6) / size));
      const error = outputError(tensorOf(of.inputs.X), layer);
      expect([
        ...differing(
          of,
          "codes",
          list(codes).map((q) => q + zero),
          counts,
        ),
        ...differing(of, "scale", list(scale), counts),
        ...differing(of, "zero", zeroPoint ? list(zeroPoint) : Array(length).fill(zero), counts),
        ...differing(of, "output_error", [error], () => odd.size === 0),
      ]).toEqual([]);
      expect(odd.size).toBeLessThan(2);
      expect(error).toBeLessThanOrEqual(of.outputs.output_error_rtn.data[0] * (1 + 1e-4));
    },
  );

  it.each(cases.filter(isScattered).map((of) => [of.name, of] as const))(
    "is not followed in which columns are a group: %s",
    async (_, of) => {
      const layer = await ran(of);
      expect(differing(of, "codes", list(codesOf(layer).codes))).not.toEqual([]);
      const error = outputError(tensorOf(of.inputs.X), layer);
      expect(error).toBeLessThan(of.outputs.output_error_rtn.data[0]);
    },
  );

  it("is followed in blocks of a group; in others too the range is read from weights with all errors taken on", async () => {
    const of = cases.find(({ params }) => params.block === params.group && !params.act_order)!;
    for (const blockSize of [1, 3, 16, 128]) {
      const { codes, scale } = codesOf(await ran(of, { blockSize, staticGroups: false }));
      expect([...differing(of, "codes", list(codes)), ...differing(of, "scale", list(scale))]).toEqual([]);
    }
  });
});

it("makes up for the first of two correlated columns by the second", async () => {
  // XᵀX is ((1, .9), (.9, 1)).
  const x = tensor([
    [1, 0.9],
    [0, Math.sqrt(1 - 0.81)],
  ]);
  const unit = { name: "unit", spec: spec({ bits: 4, granularity: "tensor" }), params: () => one };
  const layer = linear(tensor([[0.6, 0.6]]), unit);
  const loss = () =>
    x.matmul(layer.weight.effective().sub(layer.weight.value), { transposeB: true }).square().sum().item();
  expect(loss()).toBeCloseTo(0.608, 6);
  await gptq(layer, [x], { damping: 0 });
  expect(list(codesOf(layer).codes)).toEqual([1, 0]);
  expect(loss()).toBeCloseTo(0.088, 6);
});

const groups = { granularity: { group: 5 } } as const;
/** One of every kind of codes, ragged groups among them. */
const quantizers: Record<string, Quantizer> = {
  "symmetric, narrow": ste({ bits: 3 }),
  "symmetric, full": ste({ bits: 3, range: "full", ...float32 }),
  "symmetric, one scale": ste({ bits: 4, granularity: "tensor" }),
  "symmetric, by tokens": ste({ bits: 4, granularity: "token" }),
  "symmetric, by groups": ste({ bits: 3, ...groups }),
  "half away": ste({ bits: 3, rounding: "half-away" }),
  affine: ste({ bits: 3, scheme: "affine" }),
  "affine, signed, by groups": ste({ bits: 4, scheme: "affine", signed: true, ...groups }),
  "affine, float zero": ste({ bits: 2, scheme: "affine", zeroPoint: "float", ...groups }),
  "absmax signed": ste({ bits: 4, scheme: "absmax-signed", ...groups }),
  nf4: nf4({ granularity: { group: 6 } }),
  ternary: bitnet158(groups),
  signs: bwn(),
  "signs, by groups": bwn(groups),
};
const weight = randn([6, 16], { rng: new Rng(1) });
const x = correlated(64, 16, 2);

describe.each(Object.entries(quantizers))("codes: %s", (_, quantizer) => {
  it("are those of the quantizer to the bit where inputs are not correlated", async () => {
    const sizes = rand([16], { rng: new Rng(3) }).add(0.1);
    const scattered = eye(16).mul(sizes);
    for (const order of ["given", "activation"] as const) {
      const layer = linear(weight, quantizer);
      const nearest = list(layer.weight.effective());
      await gptq(layer, [scattered], { order });
      expect(list(layer.weight.effective())).toEqual(nearest);
    }
  });

  it("do not depend on the size of the inputs, nor on blocks", async () => {
    const found: unknown[] = [];
    for (const [factor, blockSize] of [
      [1, 128],
      [0.125, 128],
      [300, 128],
      [1, 7],
    ]) {
      const { codes, scale } = codesOf(await gptq(linear(weight, quantizer), [x.mul(factor)], { blockSize }));
      found.push([list(codes), list(scale).map((s) => s.toPrecision(3))]);
    }
    for (const other of found.slice(1)) expect(other).toEqual(found[0]);
  });

  it("leave less of an error of outputs than rounding, also by searched scales", async () => {
    const layer = linear(weight, quantizer);
    const nearest = outputError(x, layer);
    for (const scales of ["range", "mse"] as const) {
      for (const order of ["given", "activation"] as const) {
        await gptq(layer, [x], { scales, order });
        expect(outputError(x, layer)).toBeLessThan(nearest);
      }
    }
  });
});

it("finds scales in the type that is stored", async () => {
  for (const scales of ["range", "mse"] as const) {
    const layer = linear(weight, ste({ bits: 3, scaleDtype: "float16", ...groups }));
    const found = list(codesOf(await gptq(layer, [x], { scales })).scale);
    expect(found).toEqual(found.map(nearestHalf));
  }
});

describe("rows, masks and dead inputs", () => {
  it("rows have nothing to do with one another", async () => {
    const order = tensor([3, 0, 5, 1, 4, 2], { dtype: "int32" });
    const { codes, scale } = codesOf(await gptq(linear(weight, quantizers.affine), [x]));
    const moved = codesOf(await gptq(linear(weight.indexSelect(order), quantizers.affine), [x]));
    expect(list(moved.codes)).toEqual(list(codes.indexSelect(order)));
    expect(list(moved.scale)).toEqual(list(scale.indexSelect(order)));
  });

  it.each(["symmetric, by groups", "affine", "nf4", "ternary"])(
    "weights of inputs that are always 0 become 0: %s",
    async (name) => {
      const alive = tensor(Array.from({ length: 16 }, (_, i) => (i === 3 || i === 10 ? 0 : 1)));
      for (const order of ["given", "activation"] as const) {
        const layer = await gptq(linear(weight, quantizers[name]), [x.mul(alive)], { order });
        const values = layer.weight.effective();
        expect(list(values.abs().sum({ axis: 0 })).flatMap((sum, i) => (sum === 0 ? [i] : []))).toEqual([
          3, 10,
        ]);
      }
    },
  );

  it.each(["symmetric, by groups", "affine", "nf4", "ternary"])(
    "weights behind a mask stay 0, and the others make up for what they would have done: %s",
    async (name) => {
      const rng = new Rng(5);
      const inputs = spectral(48, 6)(256);
      const mask = randn([24, 48], { rng }).greater(0);
      const layer = new Linear(48, 24, { bias: false, rng });
      parametrize(layer, "weight", { mask, apply: (w: Tensor) => w.mul(mask.to("float32")) });
      const want = layer.forward(inputs);
      prepare(layer, plan({ default: { weight: quantizers[name] } }));
      const error = () => layer.forward(inputs).sub(want).square().sum().item();
      const nearest = error();
      await gptq(layer, [inputs]);
      expect(list(layer.weight.effective().mul(mask.logicalNot().to("float32"))).every((w) => w === 0)).toBe(
        true,
      );
      expect(error()).toBeLessThan(0.8 * nearest);
    },
  );

  it("columns that a mask keeps at 0 in all rows take no part: codes are those of a layer without them", async () => {
    const kept = Array.from({ length: 16 }, (_, i) => i).filter((i) => i % 3 !== 1);
    const columns = tensor(kept, { dtype: "int32" });
    const mask = tensor(Array.from({ length: 16 }, (_, i) => (i % 3 === 1 ? 0 : 1)));
    const masked = new Linear(16, 6, { bias: false });
    masked.weight.assign(weight);
    parametrize(masked, "weight", { mask, apply: (w: Tensor) => w.mul(mask) });
    prepare(masked, plan({ default: { weight: quantizers.affine } }));
    const small = linear(weight.indexSelect(columns, { axis: 1 }), quantizers.affine);
    const alone = codesOf(await gptq(small, [x.indexSelect(columns, { axis: 1 })]));
    const codes = codesOf(await gptq(masked, [x])).codes.indexSelect(columns, { axis: 1 });
    expect(list(codes)).toEqual(list(alone.codes));
  });

  it("a Hessian that is singular gets as much damping as it needs", async () => {
    const few = x.slice([[0, 3]]);
    const layer = linear(weight, ste({ bits: 4 }));
    const nearest = outputError(few, layer);
    for (const damping of [0, 1e-30, 0.01]) {
      await gptq(layer, [few], { damping });
      expect(outputError(few, layer)).toBeLessThan(0.5 * nearest);
    }
    await gptq(layer, [few.mul(0)]);
    expect(list(layer.weight.effective())).toEqual(Array(96).fill(0));
  });
});

it.each([3, 4])(
  "halves the error of held out outputs at %i bits where inputs have a spectrum of 1/k",
  async (bits) => {
    const ratios: number[] = [];
    for (const seed of [1, 2, 3]) {
      const draw = spectral(128, seed);
      const [inputs, held] = [draw(1024), draw(1024)];
      const layer = linear(randn([64, 128], { rng: new Rng(seed) }), ste({ bits, scheme: "affine" }));
      const nearest = outputError(held, layer);
      await gptq(layer, [inputs]);
      ratios.push(outputError(held, layer) / nearest);
    }
    expect(Math.max(...ratios)).toBeLessThan(0.65);
  },
);

it("gains nothing where inputs are independent of one another", async () => {
  const draw = (seed: number) => randn([2048, 128], { rng: new Rng(seed) });
  const layer = linear(randn([64, 128], { rng: new Rng(3) }), ste({ bits: 3, scheme: "affine" }));
  const nearest = outputError(draw(2), layer);
  await gptq(layer, [draw(1)]);
  expect(Math.abs(outputError(draw(2), layer) / nearest - 1)).toBeLessThan(0.05);
});

it("a layer of 768 × 768 costs seconds of one processor", async () => {
  const rng = new Rng("large");
  const layer = linear(randn([768, 768], { rng }), ste({ bits: 4, granularity: { group: 32 } }));
  const batches = Array.from({ length: 8 }, () => randn([256, 768], { rng }));
  const start = process.cpuUsage();
  await gptq(layer, batches);
  const { user, system } = process.cpuUsage(start);
  // Two seconds, or three on a machine that does much else at the time.
  expect((user + system) / 1e6).toBeLessThan(9);
});
