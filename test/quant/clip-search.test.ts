/** clipSearch: the public code's search, what it promises for every kind of codes, and what is refused. */

import { arange, Rng, randn, type Tensor, tensor } from "bitgrad";
import { Conv2d, Linear, parametrize, Sequential } from "bitgrad/nn";
import {
  bitnet158,
  bwn,
  clipSearch,
  freeze,
  type Granularity,
  nf4,
  pack,
  plan,
  prepare,
  type Quantizer,
  quantizedTransform,
  spec,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { nearestHalf } from "../../kernels/formats/half.ts";
import { differing, methodCases, tensorOf } from "../golden/method-cases.ts";
import { layerOf, list } from "./setup.ts";

const held = (layer: { weight: Linear["weight"] }) => quantizedTransform(layer.weight)!.codes;
const linear = (weight: Tensor, quantizer: Quantizer): Linear => layerOf(weight, { weight: quantizer });
/** Σ h |w − ŵ|^norm. */
const errorOf = ({ weight }: { weight: Linear["weight"] }, norm = 2, h: Tensor | number = 1): number =>
  weight.effective().sub(weight.value).abs().pow(norm).mul(h).sum().item();

interface Params {
  readonly bits: number;
  readonly symmetric: boolean;
  readonly granularity: "channel" | "group" | "tensor";
  readonly group: number | null;
}

it.each(methodCases<Params>("rtn-search").map((of) => [of.name, of] as const))(
  "finds the scales of the public code: %s",
  async (_, of) => {
    const { bits, symmetric, granularity, group } = of.params;
    const shared: Granularity = granularity === "group" ? { group: group! } : granularity;
    const kind = symmetric ? ({ range: "full" } as const) : ({ scheme: "affine" } as const);
    const quantizer = ste({ bits, granularity: shared, scaleDtype: "float32", ...kind });
    const layer = linear(tensorOf(of.inputs.W), quantizer);
    await clipSearch(layer, null, { norm: 2.4 });
    const { codes, scale, zeroPoint } = held(layer)!;
    const zero = symmetric ? 2 ** (bits - 1) : 0;
    expect([
      ...differing(
        of,
        "codes",
        list(codes).map((q) => q + zero),
      ),
      ...differing(of, "scale", list(scale)),
      ...differing(of, "zero", zeroPoint ? list(zeroPoint) : Array(scale.size).fill(zero)),
      ...differing(of, "error", [errorOf(layer)]),
      ...differing(of, "error_p", [errorOf(layer, 2.4)]),
    ]).toEqual([]);
  },
);

const weight = randn([6, 32], { rng: new Rng(1) });
const quantizers: Record<string, Quantizer> = {
  symmetric: ste({ bits: 3 }),
  "one scale": ste({ bits: 3, granularity: "tensor" }),
  "ragged groups": ste({ bits: 3, granularity: { group: 12 } }),
  affine: ste({ bits: 3, scheme: "affine" }),
  "float zero": ste({ bits: 3, scheme: "affine", zeroPoint: "float" }),
  "absmax signed": ste({ bits: 3, scheme: "absmax-signed" }),
  nf4: nf4({ granularity: { group: 16 } }),
  ternary: bitnet158(),
  signs: bwn(),
};

describe.each(Object.entries(quantizers))("of codes %s", (_, quantizer) => {
  const x = randn([64, 32], { rng: new Rng(2) }).mul(arange(1, 33).rsqrt());
  const h = x.square().sum({ axis: 0 });

  it("no row has a larger error than by the quantizer's scale, by either power, with inputs or without", async () => {
    const rows = (layer: Linear, norm: number, by: Tensor | number) =>
      list(layer.weight.effective().sub(weight).abs().pow(norm).mul(by).sum({ axis: 1 }));
    for (const norm of [2, 2.4]) {
      for (const [batches, by] of [
        [null, 1],
        [[x], h],
      ] as const) {
        const layer = linear(weight, quantizer);
        const nearest = rows(layer, norm, by);
        await clipSearch(layer, batches, { norm });
        const found = rows(layer, norm, by);
        const sum = (of: number[]) => of.reduce((a, b) => a + b);
        expect(sum(found)).toBeLessThanOrEqual(sum(nearest) * (1 + 1e-6));
        if (quantizer.spec.granularity === "tensor") continue;
        for (const [i, error] of found.entries()) expect(error).toBeLessThanOrEqual(nearest[i] * (1 + 1e-6));
      }
    }
  });

  it("inputs say which weights count", async () => {
    const plain = await clipSearch(linear(weight, quantizer));
    const weighted = await clipSearch(linear(weight, quantizer), [x.slice([[0, 20]]), x.slice([[20, 64]])]);
    expect(errorOf(weighted, 2, h)).toBeLessThanOrEqual(errorOf(plain, 2, h));
    expect(errorOf(plain)).toBeLessThanOrEqual(errorOf(weighted));
  });
});

it("clips an outlier that costs the others more than it is worth", async () => {
  const row = Array.from({ length: 64 }, (_, i) => Math.sin(7 * i));
  row[5] = 2.5;
  const layer = linear(tensor([row, row.map((w) => w * 1e-3)]), ste({ bits: 3, scaleDtype: "float32" }));
  const before = errorOf(layer);
  await clipSearch(layer);
  expect(errorOf(layer)).toBeLessThan(0.9 * before);
  expect(layer.weight.effective().max().item()).toBeLessThan(2);
});

it("finds scales in the type that is stored", async () => {
  const layer = await clipSearch(linear(weight, ste({ bits: 4, scaleDtype: "float16" })));
  const { scale } = held(layer)!;
  expect(list(scale)).toEqual(list(scale).map(nearestHalf));
  const packed = pack(freeze(layer));
  const input = randn([2, 32], { rng: new Rng(3) });
  const got = packed.forward({ data: input.data as Float32Array, shape: [2, 32] }).data as Float32Array;
  const want = list(layer.forward(input));
  expect(Math.max(...want.map((v, i) => Math.abs(v - got[i])))).toBeLessThan(1e-4);
});

it("rows of zeros keep the scale 1, masked weights stay 0", async () => {
  const zeros = linear(
    tensor([
      [0, 0, 0],
      [1, 0.4, 0.2],
    ]),
    ste({ bits: 2, scaleDtype: "float32" }),
  );
  await clipSearch(zeros);
  expect(list(held(zeros)!.scale)[0]).toBe(1);
  const mask = tensor(Array.from({ length: 32 }, (_, i) => i % 2));
  const layer = new Linear(32, 6);
  parametrize(layer, "weight", { apply: (w: Tensor) => w.mul(mask) });
  await clipSearch(prepare(layer, plan({ default: { weight: ste({ bits: 2, scheme: "affine" }) } })));
  expect(layer.weight.effective().mul(mask.mul(-1).add(1)).abs().max().item()).toBe(0);
});

it("weighs the inputs of each group of a convolution by themselves", async () => {
  const rng = new Rng(4);
  const scales = tensor([1, 5, 0.1, 2]).reshape([4, 1, 1]);
  const x = randn([3, 4, 6, 6], { rng }).mul(scales);
  const whole = new Conv2d(4, 6, 3, { groups: 2, rng });
  const config = plan({ default: { weight: ste({ bits: 3, granularity: { group: 5 } }) } });
  await clipSearch(prepare(whole, config), [x]);
  for (const g of [0, 1]) {
    const half = new Conv2d(2, 3, 3);
    half.weight.assign(whole.weight.value.slice([[3 * g, 3 * g + 3]]));
    await clipSearch(prepare(half, config), [x.slice([null, [2 * g, 2 * g + 2]])]);
    expect(list(held(half)!.codes)).toEqual(list(held(whole)!.codes.slice([[3 * g, 3 * g + 3]])));
  }
});

describe("what is refused", () => {
  const two = () =>
    prepare(
      new Sequential(new Linear(6, 5), new Linear(5, 2)),
      plan({ default: { weight: ste({ bits: 3 }) } }),
    );
  const x = randn([12, 6], { rng: new Rng(1) });

  it("options, models, batches and quantizers that do not fit", async () => {
    await expect(clipSearch(two(), null, { norm: 0 })).rejects.toThrow(
      "clipSearch: norm must be positive and finite, got 0",
    );
    await expect(clipSearch(two(), null, { least: 1 })).rejects.toThrow(
      "clipSearch: least must lie in [0, 1), got 1",
    );
    await expect(clipSearch(two(), null, { forward: () => 1 })).rejects.toThrow(
      "clipSearch: forward runs batches, got null",
    );
    await expect(clipSearch(two(), [])).rejects.toThrow("clipSearch: needs at least one batch, got none");
    await expect(clipSearch(new Linear(2, 2))).rejects.toMatchObject({ code: "STAGE" });
    await expect(clipSearch(freeze(two()))).rejects.toThrow("clipSearch: the model must not be frozen");
    const own: Quantizer = {
      name: "own",
      spec: spec({ bits: 4, granularity: "tensor" }),
      params: () => ({ scale: tensor([1]), zeroPoint: null }),
      codes: (w) => w.sign().to("int8"),
    };
    await expect(clipSearch(linear(weight, own))).rejects.toThrow(
      'got "own", which brings codes of its own, in layer ""',
    );
    const bad = two();
    (bad[1] as Linear).weight.assign(
      tensor([
        [1, 2, 3, 4, 5],
        [1, Number.NaN, 3, 4, 5],
      ]),
    );
    await expect(clipSearch(bad)).rejects.toThrow(
      'clipSearch: weights must be finite, got NaN at index 6 of layer "1"',
    );
    expect(held(bad[0] as Linear)).toBe(null);
  });

  it.each([null, [x]])("an error halfway leaves what was held, with batches or without", async (batches) => {
    const model = two();
    await clipSearch(model, null, { layers: "1", norm: 4 });
    const scales = list(held(model[1] as Linear)!.scale);
    const heard: string[] = [];
    const onLayer = ({ layer, done, of }: { layer: string; done: number; of: number }) => {
      heard.push(`${layer} ${done}/${of}`);
      if (layer === "1") throw new Error("stop");
    };
    await expect(clipSearch(model, batches, { onLayer })).rejects.toThrow("stop");
    expect(heard).toEqual(["0 1/2", "1 2/2"]);
    expect(held(model[0] as Linear)).toBe(null);
    expect(list(held(model[1] as Linear)!.scale)).toEqual(scales);
  });
});
