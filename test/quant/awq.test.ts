/** AWQ against its public code, and where inputs have outliers. */

import { Rng, randn, type Tensor, tensor } from "bitgrad";
import { Linear, parametrize, statistics, whileFloat } from "bitgrad/nn";
import {
  type AwqProgress,
  awq,
  bitnet158,
  chooseParams,
  dequantize,
  plan,
  prepare,
  type Quantizer,
  type QuantSpec,
  quantize,
  quantizedTransform,
  spec,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { type Case, casesOf, expectNumbers, floats, Gained, listening, relativeError } from "./channels.ts";

const groups = (width: number, group: number): QuantSpec =>
  spec({ bits: width, scheme: "affine", granularity: { group } });

/** Quantizes the linear layer alone. */
const prepared = (weight: Tensor, quantizer: Quantizer): Gained =>
  prepare(new Gained(weight), plan({ default: null, rules: [["linear.weight", { weight: quantizer }]] }));

const heldBy = (model: Gained) => quantizedTransform(model.linear.weight)!.codes;

/** Σ‖δ‖² of outputs by weights over Σ‖y‖², with scales undone. */
const errorOf = (model: Gained, x: Tensor, want: Tensor): number => relativeError(model.forward(x), want);

describe.each(casesOf("awq"))("%s", (_, given: Case) => {
  const { inputs, outputs, params, tolerance } = given;
  const [weight, x] = [floats(inputs.W), floats(inputs.X)];
  const affine = groups(params.bits, params.group);
  const { bits: width, scheme, granularity } = affine;
  const own = () => ste({ bits: width, scheme, granularity, scaleDtype: "float32" });

  it("finds the ratio, the scales and the codes of the public code", async () => {
    const model = prepared(weight, own());
    const { meanAbs } = (await statistics(model, [x], { layers: "linear", keep: ["meanAbs"] })).get(
      "linear",
    )!;
    expectNumbers(meanAbs.data, outputs.act_mean_abs, tolerance);
    const { heard, onPair } = listening<AwqProgress>();
    const { grid, clip_search: clip } = params;
    await awq(model, [x], { grid, clip, onPair });
    const [{ factors, errors }] = heard;
    expectNumbers(errors!, outputs.losses, tolerance);
    expect(errors!.indexOf(Math.min(...errors!))).toBe(outputs.best.data[0]);
    expectNumbers(factors!, outputs.s, tolerance);
    expect(heldBy(model) === null).toBe(!clip);
    const { codes, scale, zeroPoint } = heldBy(model) ?? quantize(model.linear.weight.value, affine);
    expect([...codes.data]).toEqual(outputs.codes.data);
    expectNumbers(scale.data, outputs.scale, tolerance);
    expect([...zeroPoint!.data]).toEqual(outputs.zero.data);
    const want = new Gained(weight).forward(x);
    expectNumbers([errorOf(model, x, want)], outputs.output_error, tolerance);
    expectNumbers([errorOf(prepared(weight, own()), x, want)], outputs.output_error_rtn, tolerance);
  });

  it.runIf(params.clip_search)("clamps every group as the public code does", async () => {
    const model = prepared(weight, own());
    await awq(model, [x]);
    const scaled = model.linear.weight.value;
    const perRow = weight.shape[1] / params.group;
    const ends = scaled.data.map((_, i) => {
      const row = Math.floor(i / weight.shape[1]);
      return outputs.clip.data[row * perRow + Math.floor((i % weight.shape[1]) / params.group)];
    });
    const clamped = tensor(
      Float32Array.from(scaled.data, (w, i) => Math.max(-ends[i], Math.min(ends[i], w))),
    ).reshape(weight.shape);
    const want = quantize(clamped, affine);
    expect([...heldBy(model)!.codes.data]).toEqual([...want.codes.data]);
    expectNumbers(
      heldBy(model)!.scale.data,
      { dtype: "float32", shape: [], data: [...want.scale.data] },
      tolerance,
    );
  });
});

it.each(casesOf("awq_fake_quantize"))(
  "%s: by the scales of the public code our codes give its numbers",
  (_, { inputs, outputs, params, tolerance }) => {
    const [weight, scale] = [floats(inputs.W), floats(outputs.scale)];
    const zeroPoint = floats(outputs.zero);
    const affine = groups(params.bits, params.group);
    expectNumbers(
      dequantize(quantize(weight, affine, { scale, zeroPoint })).data,
      outputs.dequantized,
      tolerance,
    );
    // Its ranges of one sign leave 0 out, so that its zero point is clamped. Ours hold 0, and lose less.
    expect(chooseParams(weight, affine).zeroPoint!.data).toEqual(zeroPoint.data);
    expect(dequantize(quantize(weight, affine)).toArray()).not.toEqual(floats(outputs.dequantized).toArray());
  },
);

it("one-signed groups lose less by ranges that hold 0 than by the clamped zero point of the public code", () => {
  const [, { inputs, outputs, params }] = casesOf("awq_fake_quantize")[0];
  const weight = floats(inputs.W);
  const ours = dequantize(quantize(weight, groups(params.bits, params.group)));
  expect(relativeError(ours, weight)).toBeLessThan(relativeError(floats(outputs.dequantized), weight) / 100);
});

it("takes (2, 1)/√2 for inputs whose mean magnitudes are 4 and 1, where a half is the best ratio", async () => {
  // At 2 bits 0.4 and 1 round to 0 and 1; times (2, 1)/√2 they are 0.57 and 0.71, which both round to 0.71.
  const model = prepared(tensor([[0.4, 1]]), ste({ bits: 2, scaleDtype: "float32" }));
  const { heard, onPair } = listening<AwqProgress>();
  await awq(model, [tensor([[4, -1]])], { grid: 2, clip: false, onPair });
  const [{ factors, errors }] = heard;
  // XΔ is 4 · 0.4 for the ratio 0, and 4 · 0.1 for the other.
  expect(errors).toEqual([expect.closeTo(1.6 ** 2, 5), expect.closeTo(0.4 ** 2, 5)]);
  expect(factors).toEqual([expect.closeTo(Math.SQRT2, 12), expect.closeTo(Math.SQRT1_2, 12)]);
});

it("at the ratio 0 alone the weights are what they were, and so is their rounding", async () => {
  const model = prepared(randn([5, 8], { rng: new Rng(1) }), ste({ bits: 3 }));
  const was = [...model.linear.weight.value.data];
  const rounded = [...model.linear.weight.effective().data];
  const x = randn([9, 8], { rng: new Rng(2) });
  await awq(model, [x], { grid: 1, clip: false });
  expect([...model.linear.weight.value.data]).toEqual(was);
  expect([...model.linear.weight.effective().data]).toEqual(rounded);
  expect(heldBy(model)).toBe(null);
});

it("an order of channels changes nothing but the order of the scales", async () => {
  const [weight, x] = [randn([5, 6], { rng: new Rng(1) }), randn([9, 6], { rng: new Rng(2) })];
  const order = [3, 0, 5, 1, 4, 2];
  const found = async (w: Tensor, given: Tensor) => {
    const { heard, onPair } = listening();
    await awq(prepared(w, ste({ bits: 3 })), [given], { clip: false, onPair });
    return heard[0].factors!;
  };
  const index = tensor(order, { dtype: "int32" });
  const turned = await found(weight.indexSelect(index, { axis: 1 }), x.indexSelect(index, { axis: 1 }));
  const plain = await found(weight, x);
  expect(plain).not.toEqual([1, 1, 1, 1, 1, 1]);
  turned.forEach((s, i) => {
    expect(s).toBeCloseTo(plain[order[i]], 12);
  });
});

it("scores what the quantizer makes of a masked weight: at the ratio 0 its error now", async () => {
  const model = new Gained(randn([5, 8], { rng: new Rng(1) }));
  const mask = randn([5, 8], { rng: new Rng(2) }).greater(0.3);
  parametrize(model, "linear.weight", { mask, apply: (w: Tensor) => w.mul(mask.to("float32")) });
  prepare(model, plan({ default: null, rules: [["linear.weight", { weight: bitnet158() }]] }));
  const x = randn([9, 8], { rng: new Rng(3) });
  const now = model.forward(x).sub(whileFloat(model, () => model.forward(x)));
  const { heard, onPair } = listening<AwqProgress>();
  await awq(model, [x], { onPair });
  expect(heard[0].errors![0]).toBeCloseTo(now.square().mean().item(), 6);
});

describe("inputs with 4 of 128 channels 50 times as large", () => {
  const rng = new Rng(11);
  const weight = randn([64, 128], { rng });
  const large = tensor(Float32Array.from({ length: 128 }, (_, c) => (c % 32 === 7 ? 50 : 1)));
  const draw = () => randn([256, 128], { rng }).mul(large);
  const [seen, held] = [draw(), draw()];
  const want = new Gained(weight).forward(held);

  it.each([4, 3])("lose a third or less of what rounding loses, at %i bits", async (width) => {
    const quantizer = () => ste({ bits: width, scheme: "affine", granularity: { group: 32 } });
    const plain = errorOf(prepared(weight, quantizer()), held, want);
    const scaled = prepared(weight, quantizer());
    await awq(scaled, [seen], { clip: false });
    expect(errorOf(scaled, held, want)).toBeLessThan(plain / 3);
    const clipped = prepared(weight, quantizer());
    await awq(clipped, [seen]);
    expect(errorOf(clipped, held, want)).toBeLessThan(plain / 3);
  });

  it("at 2 bits clamped ranges lose less than scales alone", async () => {
    const quantizer = () => ste({ bits: 2, scheme: "affine", granularity: { group: 32 } });
    const scaled = prepared(weight, quantizer());
    await awq(scaled, [seen], { clip: false });
    const clipped = prepared(weight, quantizer());
    await awq(clipped, [seen]);
    expect(errorOf(clipped, held, want)).toBeLessThan(errorOf(scaled, held, want));
  });

  it("batches in parts give the same scales", async () => {
    const { heard, onPair } = listening();
    for (const batches of [[seen], [seen.slice([[0, 100]]), seen.slice([[100, 256]])]]) {
      const model = prepared(weight, ste({ bits: 4 }));
      await awq(model, batches, { onPair });
    }
    const [whole, parts] = heard.map(({ factors }) => factors!);
    expect(whole).toEqual(parts.map((s) => expect.closeTo(s, 10)));
  });
});

it("refuses layers that share a weight, whose codes are one, before it runs a batch", async () => {
  const [a, b] = [new Linear(6, 5), new Linear(6, 5)];
  b.weight = a.weight;
  const model = prepare(
    Object.assign(new Gained(randn([5, 6], { rng: new Rng(1) })), { a, b }),
    plan({ default: { weight: ste({ bits: 3 }) } }),
  );
  const forward = () => {
    throw new Error("a batch");
  };
  await expect(awq(model, [0], { forward })).rejects.toThrow(
    'awq: two layers share a weight, got "a" and "b"',
  );
  await expect(awq(model, [0], { forward, clip: false })).rejects.toThrow("a batch");
});

it("refuses batches that can be run through once, and options out of their domain", async () => {
  const model = prepared(randn([5, 6], { rng: new Rng(1) }), ste({ bits: 3 }));
  const once = [randn([5, 6], { rng: new Rng(1) })].values();
  await expect(awq(model, once)).rejects.toThrow("awq: batches are run through once for each layer");
  await expect(awq(model, [], { grid: 0 })).rejects.toThrow(
    "awq: grid must be an integer of at least 1, got 0",
  );
  await expect(awq(model, [], { clip: 1 as never })).rejects.toThrow(
    "awq: option clip must be a boolean, got 1",
  );
  await expect(awq(model, [], { onLayer: 1 as never })).rejects.toThrow(
    "awq: option onLayer must be a function, got 1",
  );
  await expect(awq(model, [], { unclipped: 1 as never })).rejects.toThrow("a pattern must be");
});
