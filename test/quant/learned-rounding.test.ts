/** adaRound and signRound: roundings that are learned layer by layer, from the inputs of each. */

import { noGrad, Rng, randn, relu, type Tensor, tensor } from "bitgrad";
import { Conv2d, evaluate, Linear, type Parameter, parametrize, Sequential, whileFloat } from "bitgrad/nn";
import {
  adaRound,
  bwn,
  dequantize,
  freeze,
  nf4,
  pack,
  plan,
  prepare,
  type Quantizer,
  quantize,
  quantized,
  quantizedTransform,
  type SteOptions,
  signRound,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { OffsetRounding } from "../../src/quant/methods/offset-rounding.ts";
import { startOf } from "../../src/quant/methods/reconstruction.ts";
import { sitesOf } from "../../src/quant/methods/sites.ts";
import { SoftRounding } from "../../src/quant/methods/soft-rounding.ts";

type Layer = Linear | Conv2d;
type Learn = (model: object, batches: Tensor[]) => Promise<unknown>;
const methods: [string, Learn][] = [
  ["adaRound", (model, batches) => adaRound(model, batches, { iterations: 100 })],
  ["signRound", (model, batches) => signRound(model, batches, { iterations: 50 })],
];

const list = (t: Tensor) => Array.from(t.data);
const transformOf = (layer: { weight: Parameter }) => quantizedTransform(layer.weight)!;
const quantizedBy = <L extends object>(layer: L, weight: Quantizer): L =>
  prepare(layer, plan({ default: { weight } }));
const linear = (weight: Quantizer, columns = 24, rows = 6) =>
  quantizedBy(new Linear(columns, rows, { rng: new Rng(3) }), weight);

/** Inputs whose columns move together: the k-th direction has the variance 1/k. */
function correlated(rows: number, columns: number, seed: number): Tensor {
  const scales = tensor(Float32Array.from({ length: columns }, (_, k) => Math.sqrt(1 / (k + 1))));
  const mix = randn([columns, columns], { rng: new Rng(columns) });
  return randn([rows, columns], { rng: new Rng(seed) })
    .mul(scales)
    .matmul(mix);
}

/** A layer of whose weights every third is masked. */
function masked(quantizer: Quantizer): Linear {
  const layer = new Linear(24, 6, { rng: new Rng(3) });
  const mask = tensor(Float32Array.from({ length: 24 * 6 }, (_, i) => (i % 3 === 0 ? 0 : 1))).reshape([
    6, 24,
  ]);
  parametrize(layer, "weight", { apply: (w: Tensor) => w.mul(mask) });
  return quantizedBy(layer, quantizer);
}

const square = (t: Tensor) => t.square().sum().item();

/** How much of what a float layer computes its codes change. */
function errorOf(model: Layer, x: Tensor): number {
  return noGrad(() => {
    const want = whileFloat(model, () => model.forward(x));
    return square(model.forward(x).sub(want)) / square(want);
  });
}

describe("on inputs that are correlated, at 3 bits, held out", () => {
  it.each<[string, Learn, number]>([
    ["adaRound", (model, batches) => adaRound(model, batches), 0.75],
    ["signRound", (model, batches) => signRound(model, batches), 0.6],
  ])("%s errs much less than nearest rounding", async (_, learn, most) => {
    const layer = linear(ste({ bits: 3 }), 128, 64);
    const test = correlated(512, 128, 2);
    const nearest = errorOf(layer, test);
    await learn(layer, [correlated(512, 128, 1)]);
    expect(errorOf(layer, test)).toBeLessThan(most * nearest);
  });
});

const uniform: [string, Partial<SteOptions>][] = [
  ["symmetric, a scale a row", { bits: 3 }],
  ["full range, a scale a tensor", { bits: 2, range: "full", granularity: "tensor" }],
  ["a scale a row of the last axis", { bits: 3, granularity: "token", rounding: "half-up" }],
  ["ragged groups", { bits: 3, granularity: { group: 10 } }],
  ["affine", { bits: 3, scheme: "affine", scaleDtype: "float32" }],
  ["signed affine, ragged groups", { bits: 2, scheme: "affine", signed: true, granularity: { group: 7 } }],
  [
    "affine, float zero points",
    { bits: 3, scheme: "affine", zeroPoint: "float", granularity: { group: 16 } },
  ],
  ["absmax-signed", { bits: 3, scheme: "absmax-signed", granularity: { group: 8 } }],
];

describe.each(methods)("%s", (name, learn) => {
  it.each(uniform)("errs less than nearest rounding, of codes that are %s", async (_, options) => {
    const layer = linear(ste(options));
    const x = correlated(64, 24, 1);
    const nearest = errorOf(layer, x);
    await learn(layer, [x.slice([[0, 40]]), x.slice([[40, 64]])]);
    expect(errorOf(layer, x)).toBeLessThan(nearest);
  });

  it("learns filters, grouped ones too, whose scales stand by groups or by channels", async () => {
    const x = correlated(4 * 36, 4, 1)
      .reshape([4, 6, 6, 4])
      .permute([0, 3, 1, 2]);
    for (const groups of [1, 2]) {
      for (const granularity of ["channel", { group: 5 }] as const) {
        const filters = new Conv2d(4, 6, 3, { groups, padding: 1, rng: new Rng(5) });
        const layer = quantizedBy(filters, ste({ bits: 2, granularity }));
        const nearest = errorOf(layer, x);
        await learn(layer, [x]);
        expect(errorOf(layer, x)).toBeLessThan(0.95 * nearest);
      }
    }
  });

  it.each<[string, Partial<SteOptions>]>([
    ["a scale a column", { bits: 3, axis: 1 }],
    ["groups of a column", { bits: 3, granularity: { group: 4 }, axis: 0 }],
    ["blocks", { bits: 2, granularity: { block: [4, 5] }, scheme: "affine", scaleDtype: "bfloat16" }],
    [
      "float zero points of ranges that hold 0",
      { bits: 2, scheme: "affine", zeroPoint: "float", includeZero: true },
    ],
    ["a range that clips nothing", { bits: 2, range: "noClip", granularity: { group: 6 } }],
    ["scales that are powers of two", { bits: 3, scaleDtype: "e8m0", granularity: { group: 8 } }],
  ])("learns codes of %s, whether packed or not", async (_, options) => {
    const layer = new Linear(24, 6, { rng: new Rng(3) });
    parametrize(layer, "weight", quantized(ste(options)));
    const x = correlated(64, 24, 1);
    const nearest = errorOf(layer, x);
    await learn(layer, [x]);
    expect(errorOf(layer, x)).toBeLessThan(nearest);
  });

  it("gives the same bits each time", async () => {
    const codes = async () => {
      const layer = linear(ste({ bits: 3 }));
      await learn(layer, [correlated(64, 24, 1)]);
      return transformOf(layer).codes!;
    };
    const [a, b] = [await codes(), await codes()];
    expect(list(a.codes)).toEqual(list(b.codes));
    expect(list(a.scale)).toEqual(list(b.scale));
  });

  it("leaves 0 what a mask has made 0, and learns the rest", async () => {
    for (const options of [{ bits: 3 }, { bits: 3, scheme: "affine" }] as const) {
      const layer = masked(ste(options));
      const x = correlated(64, 24, 1);
      const nearest = errorOf(layer, x);
      await learn(layer, [x]);
      expect(errorOf(layer, x)).toBeLessThan(nearest);
      expect(list(layer.weight.effective()).filter((v, i) => i % 3 === 0 && v !== 0)).toEqual([]);
    }
  });

  it("goes on from the scales of codes that a weight holds, and never makes it worse", async () => {
    const layer = linear(ste({ bits: 3 }));
    const { spec } = transformOf(layer).quantizer;
    const narrow = { scale: tensor(Float32Array.of(0.05, 0.05, 0.04, 0.06, 0.05, 0.05)), zeroPoint: null };
    transformOf(layer).hold(quantize(layer.weight.value, spec, narrow));
    const x = correlated(64, 24, 1);
    const first = errorOf(layer, x);
    await learn(layer, [x]);
    const second = errorOf(layer, x);
    expect(second).toBeLessThan(first);
    if (name === "adaRound") expect(list(transformOf(layer).codes!.scale)).toEqual(list(narrow.scale));
    await learn(layer, [x]);
    expect(errorOf(layer, x)).toBeLessThanOrEqual(second);
  });

  it("leaves rows of zeros, and layers whose inputs are all 0, as nearest rounding has them", async () => {
    const layer = linear(ste({ bits: 3 }));
    const dead = tensor(Float32Array.from({ length: 24 }, (_, i) => (i < 5 ? 0 : 1)));
    const rows = tensor(Float32Array.from({ length: 6 }, (_, i) => (i === 2 ? 0 : 1))).reshape([6, 1]);
    layer.weight.assign(layer.weight.value.mul(rows));
    const nearest = list(layer.weight.effective());
    await learn(layer, [correlated(64, 24, 1).mul(dead)]);
    const learned = list(layer.weight.effective());
    expect(learned).not.toEqual(nearest);
    expect(learned.every(Number.isFinite)).toBe(true);
    expect(learned.slice(48, 72)).toEqual(Array(24).fill(0));
    const same = linear(ste({ bits: 3 }));
    const before = list(same.weight.effective());
    await learn(same, [tensor(new Float32Array(48)).reshape([2, 24])]);
    expect(list(same.weight.effective())).toEqual(before);
  });

  it("holds codes that freeze keeps and pack gives the bits of", async () => {
    const rng = new Rng(8);
    const [first, last] = [new Linear(24, 16, { rng }), new Linear(16, 5, { rng })];
    const model = quantizedBy(new Sequential(first, relu, last), ste({ bits: 3, granularity: { group: 8 } }));
    const latents = [first, last].map(({ weight }) => list(weight.value));
    const x = correlated(64, 24, 1);
    expect(await learn(model, [x])).toBe(model);
    const live = list(model.forward(x));
    evaluate(freeze(model));
    expect(list(model.forward(x))).toEqual(live);
    expect([first, last].map(({ weight }) => list(weight.value))).toEqual(latents);
    const packed = pack(model).forward({ data: Float32Array.from(x.data), shape: x.shape });
    live.forEach((want, i) => {
      expect(Math.abs(packed.data[i] - want)).toBeLessThan(1e-4);
    });
  });

  it("meets weights, inputs and batches that it cannot learn from by errors, and leaves the model as it was", async () => {
    const x = correlated(8, 24, 1);
    const holding = linear(ste({ bits: 3 }));
    await learn(holding, [x]);
    const before = list(holding.weight.effective());
    const infinite = x.mul(tensor(Float32Array.from({ length: 24 }, (_, i) => (i === 3 ? Infinity : 1))));
    await expect(learn(holding, [x, infinite])).rejects.toThrow(`${name}: inputs must be finite`);
    await expect(learn(holding, [])).rejects.toThrow(`${name}: needs at least one batch, got none`);
    expect(list(holding.weight.effective())).toEqual(before);
    const odd = linear(ste({ bits: 3, onNonFinite: "clamp" }));
    odd.weight.assign(
      odd.weight.value.add(tensor(Float32Array.from({ length: 24 }, (_, i) => (i ? 0 : Infinity)))),
    );
    const layer = new Sequential({ fc: odd });
    await expect(learn(layer, [x])).rejects.toThrow(
      `${name}: weights must be finite, got Infinity at index 0 of layer "fc"`,
    );
    await expect(learn(new Linear(24, 2), [x])).rejects.toThrow("the model must be prepared");
    await expect(learn(freeze(linear(ste({ bits: 3 }))), [x])).rejects.toThrow("must not be frozen");
  });
});

describe("adaRound", () => {
  it("has no other code for a weight that is masked, whatever it learns", () => {
    const [site] = sitesOf("test", masked(ste({ bits: 3 })), null);
    const start = startOf("test", site);
    const rounding = new SoftRounding(start, { lr: 1, lambda: 0, beta: [20, 2], warmup: 0 });
    rounding.v.fill(5);
    const zeros = list(rounding.codes().codes).map((code) => code === 0);
    expect(zeros.filter((zero, i) => i % 3 === 0 && !zero)).toEqual([]);
    expect(list(rounding.codes().codes)).not.toEqual(list(start.codes.codes));
  });

  it.each<[string, Quantizer, number]>([
    ["symmetric", ste({ bits: 3, scaleDtype: "float32" }), 1],
    ["affine", ste({ bits: 3, scheme: "affine", granularity: { group: 7 } }), 1],
    ["of negative scales", ste({ bits: 3, scheme: "absmax-signed" }), 1],
    ["of a codebook", nf4({ granularity: "channel" }), 0.4],
    ["signs", bwn(), 2],
  ])("takes one of the two codes around each weight, of codes that are %s", async (_, quantizer, step) => {
    const layer = linear(quantizer);
    const x = correlated(64, 24, 1);
    const nearest = list(layer.weight.effective());
    const error = errorOf(layer, x);
    await adaRound(layer, [x], { iterations: 300 });
    expect(errorOf(layer, x)).toBeLessThan(error);
    const q = transformOf(layer).codes!;
    const values = list(dequantize(q));
    const weights = list(layer.weight.value);
    let moved = 0;
    values.forEach((value, i) => {
      if (value === nearest[i]) return;
      moved++;
      const { scale } = q;
      const s = Math.abs(scale.data[Math.floor((i * scale.size) / values.length)] as number);
      // On the other side of the weight, and no more than a step away.
      expect(Math.sign(value - weights[i])).toBe(-Math.sign(nearest[i] - weights[i]));
      expect(Math.abs(value - weights[i])).toBeLessThan(step * s);
    });
    expect(moved).toBeGreaterThan(0);
  });

  it.each<[object, string]>([
    [{ iterations: 0 }, "iterations must be an integer of at least 1, got 0"],
    [{ lr: 0 }, "lr must be a finite number above 0, got 0"],
    [{ lambda: -1 }, "lambda must be a finite number of at least 0, got -1"],
    [{ beta: [20] }, "beta must be two numbers, got (20)"],
    [{ beta: [20, 0] }, "each of beta must be a finite number above 0, got 0"],
    [{ warmup: 2 }, "warmup must lie between 0 and 1, got 2"],
    [{ bata: 2 }, 'unknown option, got "bata"'],
  ])("refuses %o", async (options, message) => {
    await expect(adaRound(linear(ste()), [correlated(2, 24, 1)], options)).rejects.toThrow(
      `adaRound: ${message}`,
    );
  });
});

describe("signRound", () => {
  it("gives the codes of nearest rounding where nothing moves", async () => {
    for (const [, options] of uniform) {
      const layer = linear(ste(options));
      const nearest = quantize(layer.weight.value, transformOf(layer).quantizer.spec);
      await signRound(layer, [correlated(64, 24, 1)], { lr: 1e-9, iterations: 3 });
      expect(list(transformOf(layer).codes!.codes)).toEqual(list(nearest.codes));
      expect(list(transformOf(layer).codes!.scale)).toEqual(list(nearest.scale));
    }
  });

  it("begins with the ranges that held codes cover", async () => {
    for (const options of [
      { bits: 3 },
      { bits: 3, scheme: "affine" },
      { bits: 3, scheme: "absmax-signed" },
    ] as const) {
      const layer = linear(ste({ ...options, scaleDtype: "float32" }));
      const { spec } = transformOf(layer).quantizer;
      const { scale, zeroPoint } = quantize(layer.weight.value, spec);
      const wide = { scale: scale.mul(2), zeroPoint };
      transformOf(layer).hold(quantize(layer.weight.value, spec, wide));
      await signRound(layer, [correlated(64, 24, 1)], { lr: 1e-9, iterations: 2 });
      expect(list(transformOf(layer).codes!.scale)).toEqual(list(wide.scale));
    }
  });

  it("moves no weight that is masked", () => {
    const [site] = sitesOf("test", masked(ste({ bits: 3 })), null);
    const start = startOf("test", site);
    const rounding = new OffsetRounding(start, 0.1, true);
    rounding.values(new Float64Array(start.weight.length));
    const { v } = rounding.gradient(new Float64Array(start.weight.length).fill(1));
    v.forEach((slope, i) => {
      expect(slope !== 0).toBe(i % 3 !== 0);
    });
  });

  it("keeps the scales where ranges do not learn, and shrinks them where they do", async () => {
    const x = correlated(64, 24, 1);
    const fixed = linear(ste({ bits: 3 }));
    const scales = list(quantize(fixed.weight.value, transformOf(fixed).quantizer.spec).scale) as number[];
    await signRound(fixed, [x], { ranges: false });
    expect(list(transformOf(fixed).codes!.scale)).toEqual(scales);
    const learned = linear(ste({ bits: 3 }));
    await signRound(learned, [x]);
    const found = list(transformOf(learned).codes!.scale) as number[];
    expect(found).not.toEqual(scales);
    found.forEach((scale, k) => {
      expect(scale).toBeLessThanOrEqual(scales[k]);
    });
  });

  it("refuses codes that are not uniform, and names the layer", async () => {
    const x = correlated(2, 24, 1);
    for (const [quantizer, name] of [
      [nf4(), "nf4"],
      [bwn(), "binary"],
    ] as const) {
      const model = new Sequential({ fc: linear(quantizer) });
      await expect(signRound(model, [x])).rejects.toThrow(
        `signRound: codes must be uniform, of two bits or more, got "${name}" of layer "fc"; take adaRound`,
      );
    }
  });

  it.each<[object, string]>([
    [{ iterations: 1.5 }, "iterations must be an integer of at least 1, got 1.5"],
    [{ lr: -1 }, "lr must be a finite number above 0, got -1"],
    [{ ranges: 1 }, "option ranges must be a boolean, got 1"],
  ])("refuses %o", async (options, message) => {
    await expect(signRound(linear(ste()), [correlated(2, 24, 1)], options)).rejects.toThrow(
      `signRound: ${message}`,
    );
  });
});
