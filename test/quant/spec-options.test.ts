/** What specs say of ranges, scales and what shares them, one option at a time. */

import { Rng, randn, type Tensor, tensor, zeros } from "bitgrad";
import { Conv2d, evaluate, Linear, parametrize } from "bitgrad/nn";
import { loadPacked } from "bitgrad/packed";
import {
  bitnet158,
  bwn,
  chooseParams,
  dequantize,
  dynamicInput,
  fakeQuantize,
  formats,
  freeze,
  int8Dynamic,
  minMax,
  pack,
  plan,
  prepare,
  type Quantizer,
  quantize,
  quantized,
  quantizedTransform,
  SpecInputQuantizer,
  type SpecOptions,
  spec,
  ste,
} from "bitgrad/quant";
import { arb, gradcheck } from "bitgrad/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { scaleAt } from "./scale-at.ts";

const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);
const draw = (shape: number[], seed = "x"): Tensor => randn(shape, { rng: new Rng(seed) });
const scaleOf = (x: number[], options: Partial<SpecOptions>): number =>
  chooseParams(x, spec(options)).scale.item();

describe('range: "noClip"', () => {
  it("takes the least scale that leaves nothing out of the full range", () => {
    expect(scaleOf([-8, 6.5], { bits: 4, range: "noClip" })).toBe(1);
    expect(scaleOf([-8, 7.5], { bits: 4, range: "noClip" })).toBe(Math.fround(7.5 / 7));
    expect(scaleOf([3, 14], { bits: 4, range: "noClip" })).toBe(2);
    expect(scaleOf([-3, -16], { bits: 4, range: "noClip" })).toBe(2);
    expect(list(quantize([-8, 6.5, 3.1], spec({ bits: 4, range: "noClip" })).codes)).toEqual([-8, 6, 3]);
  });

  it("errs by half a step at most, whatever type the scale has, and less than the full range at the end", () => {
    const scaleDtype = fc.constantFrom("float32", "float16", "bfloat16", "e8m0");
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 8 }), scaleDtype, fc.nat(), (bits, type, seed) => {
        const x = draw([4, 33], `${seed}`);
        const q = quantize(x, spec({ bits, range: "noClip", granularity: "token", scaleDtype: type }));
        const got = list(dequantize(q));
        // A scale that was rounded down moves the end by up to a 256th of its code.
        const slack =
          { float32: 1e-5, float16: 2 ** -10, bfloat16: 2 ** -7, e8m0: 0 }[type] * 2 ** (bits - 1);
        for (const [i, v] of list(x).entries()) {
          const step = q.scale.data[scaleAt(q.spec, x.shape, i)] as number;
          expect(Math.abs(v - got[i])).toBeLessThanOrEqual(step * (0.5 + slack));
        }
      }),
    );
  });
});

describe("blocks and groups along any axis", () => {
  const layouts = fc.oneof(
    fc
      .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 9 }))
      .map((block) => ({ granularity: { block } })),
    fc
      .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: -2, max: 1 }))
      .map(([group, axis]) => ({ granularity: { group }, axis })),
  );

  it("have the scale that a tensor of their numbers alone has", () => {
    const kinds = fc.constantFrom<Partial<SpecOptions>>(
      { bits: 4 },
      { bits: 3, range: "noClip" },
      { bits: 4, scheme: "affine" },
      { bits: 4, scheme: "affine", zeroPoint: "float" },
      { bits: 5, scheme: "absmax-signed" },
      { bits: 2, scheme: "codebook", codebook: [-1, 0, 0.3, 1] },
    );
    fc.assert(
      fc.property(arb.weights(), layouts, kinds, (x, layout, kind) => {
        const how = spec({ ...kind, ...layout });
        const { scale, zeroPoint } = chooseParams(x, how);
        const parts = new Map<number, number[]>();
        for (const [i, v] of list(x).entries()) {
          const k = scaleAt(how, x.shape, i);
          parts.set(k, [...(parts.get(k) ?? []), v]);
        }
        expect(scale.size).toBe(parts.size);
        for (const [k, numbers] of parts) {
          const alone = chooseParams(tensor(Float32Array.from(numbers)), spec(kind));
          expect([scale.data[k], zeroPoint?.data[k]]).toEqual([alone.scale.item(), alone.zeroPoint?.item()]);
        }
      }),
    );
  });

  it("have scales in the shape of the tensor of blocks, and means of their own", () => {
    const x = tensor([
      [1, -3, 5],
      [2, 2, 5],
      [-7, 7, 1],
    ]);
    const of = (options: Partial<SpecOptions>) =>
      chooseParams(x, spec({ bits: 1, ...options })).scale.toArray();
    expect(of({ granularity: { block: [2, 2] } })).toEqual([
      [2, 5],
      [7, 1],
    ]);
    expect(of({ granularity: { group: 2 }, axis: 0 })).toEqual([
      [1.5, 2.5, 5],
      [7, 7, 1],
    ]);
    expect(of({ granularity: { group: 2 } })).toEqual(of({ granularity: { group: 2 }, axis: 1 }));
    expect(of({ granularity: { group: 2 }, axis: -2 })).toEqual(of({ granularity: { group: 2 }, axis: 0 }));
    expect(chooseParams(draw([2, 5, 4, 7]), spec({ granularity: { block: [2, 3] } })).scale.shape).toEqual([
      2, 5, 2, 3,
    ]);
    expect(chooseParams(draw([2, 5, 4]), spec({ granularity: { group: 3 }, axis: 1 })).scale.shape).toEqual([
      2, 2, 4,
    ]);
    expect(chooseParams(zeros([0, 4]), spec({ granularity: { block: [2, 3] } })).scale.shape).toEqual([0]);
  });

  it("of one element, of one row, or of all are the granularities that they equal", () => {
    const x = draw([3, 8]);
    const values = (options: Partial<SpecOptions>) => list(fakeQuantize(x, spec({ bits: 4, ...options })));
    expect(values({ granularity: { block: [1, 5] } })).toEqual(values({ granularity: { group: 5 } }));
    expect(values({ granularity: { block: [1, 99] } })).toEqual(values({ granularity: "token" }));
    expect(values({ granularity: { block: [99, 99] } })).toEqual(values({ granularity: "tensor" }));
    expect(values({ granularity: { block: [99, 1] } })).toEqual(values({ granularity: "channel", axis: 1 }));
  });

  it("learn their scales", () => {
    for (const layout of [
      { granularity: { block: [2, 3] } },
      { granularity: { group: 2 }, axis: 0 },
    ] as const) {
      const how = spec({ bits: 3, ...layout });
      const x = draw([5, 7]);
      const { scale } = chooseParams(x, how);
      scale.requiresGrad = true;
      const y = fakeQuantize(x, how, { scale: scale.detach(), zeroPoint: null });
      fakeQuantize(x, how, { scale, zeroPoint: null }).sum().backward();
      // Of each number it is value/scale, less x/scale where it is not clamped.
      const want = new Array<number>(scale.size).fill(0);
      for (const [i, v] of list(x).entries()) {
        const k = scaleAt(how, x.shape, i);
        want[k] += ((y.data[i] as number) - v) / (scale.data[k] as number);
      }
      list(scale.grad!).forEach((got, k) => void expect(got).toBeCloseTo(want[k], 4));
    }
  });

  const trained = (weight: Quantizer, layer: Linear | Conv2d, input = false) =>
    evaluate(prepare(layer, plan({ default: input ? { weight, input: dynamicInput() } : { weight } })));

  it.each<[string, Partial<SpecOptions>, boolean]>([
    ["blocks of int4", { bits: 4, granularity: { block: [2, 5] } }, false],
    ["affine blocks", { bits: 4, scheme: "affine", granularity: { block: [3, 4] } }, false],
    [
      "blocks of float zero points",
      { bits: 4, scheme: "affine", zeroPoint: "float", granularity: { block: [3, 4] } },
      false,
    ],
    [
      "blocks of a codebook",
      { bits: 2, scheme: "codebook", codebook: [-1, -0.3, 0.2, 1], granularity: { block: [2, 4] } },
      false,
    ],
    ["blocks, for which the axis says nothing,", { bits: 4, granularity: { block: [2, 5] }, axis: 0 }, false],
    ["codes −1 and 0 of one bit", { bits: 1, scheme: "absmax-signed", granularity: "channel" }, false],
    ["codes −1 and 0 of one bit that meet int8", { bits: 1, scheme: "absmax-signed" }, true],
    ["blocks that meet int8", { bits: 4, granularity: { block: [2, 5] } }, true],
    [
      "blocks of even levels that meet int8",
      { bits: 2, scheme: "codebook", codebook: [-0.75, -0.25, 0.25, 0.75], granularity: { block: [2, 5] } },
      true,
    ],
    ["groups along the second axis of a matrix", { bits: 4, granularity: { group: 5 }, axis: 1 }, true],
  ])("%s pack, with the numbers that they train with", (_, options, input) => {
    for (const layer of [new Linear(12, 5, { rng: new Rng(1) }), new Conv2d(3, 5, 2, { rng: new Rng(1) })]) {
      if (options.axis === 1 && layer instanceof Conv2d) continue;
      const shape = layer instanceof Linear ? [3, 12] : [2, 3, 4, 4];
      const x = draw(shape);
      const own = spec({ scaleDtype: "float16", ...options });
      const quantizer = { name: "own", spec: own, params: (w: Tensor) => chooseParams(w, own) };
      const model = trained(quantizer, layer, input);
      const live = list(model.weight.effective());
      freeze(model);
      expect(list(model.weight.effective())).toEqual(live);
      const packed = pack(model);
      const given = { data: Float32Array.from(x.data), shape };
      const got = Array.from(packed.forward(given).data);
      expect(Array.from(loadPacked(packed.toBytes()).forward(given).data)).toEqual(got);
      const want = list(model.forward(x));
      if (input) expect(got).toEqual(want);
      else got.forEach((v, i) => void expect(v).toBeCloseTo(want[i], 5));
    }
  });

  it("that no packed layer reads are refused by prepare, and the model is as it was", () => {
    const layer = new Linear(4, 6);
    const conv = new Conv2d(4, 6, 3);
    for (const [model, options, text] of [
      [layer, { granularity: { group: 2 }, axis: 0 }, "in groups of 2 along axis 0"],
      [layer, { granularity: { group: 2 }, axis: -2 }, "in groups of 2 along axis -2"],
      [layer, { granularity: "channel", axis: 1 }, "a channel of axis 1"],
      [conv, { granularity: { group: 2 }, axis: 1 }, "in groups of 2 along axis 1"],
      [conv, { granularity: { group: 2 }, axis: 3 }, "in groups of 2 along axis 3"],
    ] as const) {
      expect(() => trained(ste(options), model)).toThrow(
        `prepare: packed weights have a scale a tensor, a row, a group of a row or a block, got symmetric codes ${text} for "weight"`,
      );
      expect(model.weight.transforms).toEqual([]);
    }
  });

  it("along another axis than the last keep the shape of the weight", () => {
    for (const axis of [0, 1, 3]) {
      const how = spec({ bits: 3, granularity: { group: 2 }, axis });
      const conv = new Conv2d(4, 5, 3, { rng: new Rng(3) });
      parametrize(conv, "weight", quantized({ name: "own", spec: how, params: (w) => chooseParams(w, how) }));
      expect(list(conv.weight.effective())).toEqual(list(fakeQuantize(conv.weight.value, how)));
    }
  });

  it("need rows and columns, or an axis that is there", () => {
    expect(() => quantize([1, 2], spec({ granularity: { block: [1, 2] } }))).toThrow(
      "quantize: blocks need rows and columns, got (2)",
    );
    expect(() => quantize([1, 2], spec({ granularity: { group: 2 }, axis: 1 }))).toThrow(
      "quantize: no such axis, got 1 for (2)",
    );
    for (const block of [[0, 1], [1], [1, 2, 3], [1.5, 2], "ab", null])
      expect(() => spec({ granularity: { block } as never })).toThrow("spec: granularity must be");
    expect(() => spec({ axis: 0.5 })).toThrow("spec: axis must be an integer, got 0.5");
  });

  it("hold codes found elsewhere", () => {
    for (const layer of [new Linear(6, 4), new Conv2d(2, 4, 3)]) {
      const quantizer = ste({ bits: 4, granularity: { block: [2, 4] } });
      prepare(layer, plan({ default: { weight: quantizer } }));
      const transform = quantizedTransform(layer.weight)!;
      const matrix = transform.latent().reshape([4, -1]);
      const q = quantize(matrix, quantizer.spec);
      transform.hold({ ...q, scale: q.scale.mul(2) });
      expect(list(layer.weight.effective())).toEqual(list(dequantize(q).mul(2)));
    }
  });
});

describe("types of scales", () => {
  it("bfloat16 is the nearest, half to even", () => {
    // Of 8 bits: the numbers from 1 to 2 are 128ths.
    for (const [given, want] of [
      [1 + 1 / 256, 1],
      [1 + 3 / 256, 1 + 2 / 128],
      [1.2, 154 / 128],
      [1e-30, 1e-30],
    ])
      expect(scaleOf([given * 127], { scaleDtype: "bfloat16" }) / want).toBeCloseTo(1, given < 1e-3 ? 1 : 9);
    const words = (x: number) => new Uint32Array(Float32Array.of(x).buffer)[0];
    fc.assert(
      fc.property(arb.weights(), (x) => {
        const { scale } = chooseParams(
          x,
          spec({ bits: 4, granularity: { group: 5 }, scaleDtype: "bfloat16" }),
        );
        const wide = chooseParams(x, spec({ bits: 4, granularity: { group: 5 } })).scale;
        for (const [k, s] of list(scale).entries()) {
          expect(words(s) & 0xffff).toBe(0);
          expect(Math.abs(s / (wide.data[k] as number) - 1)).toBeLessThanOrEqual(2 ** -8);
        }
      }),
    );
    expect(() =>
      scaleOf([3.4e38], { scheme: "codebook", codebook: [-1, 1], scaleDtype: "bfloat16" }),
    ).toThrow("quantize: a scale exceeds bfloat16, got 3.39");
  });

  it("e8m0 are powers of two, by the exponents of the largest number and of the largest code", () => {
    for (const [largest, want] of [
      [7, 1],
      [7.9, 1],
      [8, 2],
      [4, 1],
      [3.99, 0.5],
    ]) {
      expect(scaleOf([largest, -1], { bits: 4, scaleDtype: "e8m0" })).toBe(want);
      expect(scaleOf([-largest, 1], { bits: 4, range: "full", scaleDtype: "e8m0" })).toBe(want);
    }
    // Nothing is clipped: the next power of two.
    for (const [x, want] of [
      [[7, -8], 1],
      [[7.1, -1], 2],
      [[3.5], 0.5],
    ] as const)
      expect(scaleOf([...x], { bits: 4, range: "noClip", scaleDtype: "e8m0" })).toBe(want);
    expect(scaleOf([0, 15.9], { bits: 4, scheme: "affine", scaleDtype: "e8m0" })).toBe(1);
    expect(scaleOf([0, 16], { bits: 4, scheme: "affine", scaleDtype: "e8m0" })).toBe(2);
    expect(scaleOf([1e-44], { scaleDtype: "e8m0" })).toBe(2 ** -126);
    expect(scaleOf([0, -0], { scaleDtype: "e8m0" })).toBe(1);
  });

  it("e8m0 scales of the levels of E2M1 give the numbers of MXFP4", () => {
    const magnitudes = [0.5, 1, 1.5, 2, 3, 4, 6].map((v) => v / 8);
    const codebook = [...magnitudes.map((v) => -v).reverse(), 0, ...magnitudes];
    const e2m1 = spec({
      bits: 4,
      scheme: "codebook",
      codebook,
      scaleDtype: "e8m0",
      granularity: { group: 32 },
    });
    const x = draw([64, 32]).mul(
      tensor(
        Float32Array.from({ length: 64 }, (_, i) => 1.7 ** (i - 32)),
        { shape: [64, 1] },
      ),
    );
    const values = list(fakeQuantize(x, e2m1));
    const { encode, decode } = formats.MXFP4;
    expect(values).toEqual(Array.from(decode(encode(Float32Array.from(x.data))), (v) => v + 0));
  });

  it("scales that a quantizer finds itself are rounded to them: e8m0 to the nearest in ratio", () => {
    for (const [scaleDtype, given, want] of [
      ["e8m0", 1.41, 1],
      ["e8m0", 1.42, 2],
      ["e8m0", 4, 4],
      ["bfloat16", 1.2, 154 / 128],
    ] as const) {
      const how = spec({ bits: 4, scaleDtype });
      const step = tensor([given], { requiresGrad: true });
      const own: Quantizer = { name: "own", spec: how, params: () => ({ scale: step, zeroPoint: null }) };
      const layer = prepare(new Linear(5, 2, { rng: new Rng(4) }), plan({ default: { weight: own } }));
      layer.weight.effective().sum().backward();
      expect(step.grad).not.toBe(null);
      expect(list(freeze(layer).weight.effective()).every((v) => Number.isInteger(v / want))).toBe(true);
      expect(quantizedTransform(layer.weight)!.codes!.scale.item()).toBe(want);
    }
    const x = draw([2, 16]);
    const mean = bitnet158({ scaleDtype: "e8m0" }).params(x).scale;
    for (const s of list(mean)) expect(Number.isInteger(Math.log2(s))).toBe(true);
  });

  it("e8m0 scales have no sign, and are not 0", () => {
    const e8m0 = { scaleDtype: "e8m0" } as const;
    expect(() => spec({ ...e8m0, scheme: "absmax-signed" })).toThrow(
      "spec: e8m0 scales are powers of two above 0, got absmax-signed codes; take bfloat16",
    );
    expect(() => bwn(e8m0)).toThrow(
      "spec: e8m0 scales are powers of two above 0, got signs, whose scale may be 0",
    );
    const how = spec({ bits: 4, ...e8m0 });
    const own: Quantizer = {
      name: "own",
      spec: how,
      params: () => ({ scale: tensor([-1]), zeroPoint: null }),
    };
    const layer = prepare(new Linear(5, 2), plan({ default: { weight: own } }));
    expect(() => layer.weight.effective()).toThrow("quantize: an e8m0 scale must be positive, got -1");
  });

  it.each(["bfloat16", "e8m0"] as const)(
    "%s scales pack as float16 where it holds them, else as float32",
    (scaleDtype) => {
      const size = (factor: number) => {
        const layer = new Linear(8, 3, { bias: false, rng: new Rng(2) });
        layer.weight.assign(layer.weight.value.mul(factor));
        prepare(layer, plan({ default: { weight: ste({ scaleDtype }) } }));
        const packed = pack(evaluate(freeze(layer)));
        const x = { data: Float32Array.from(draw([2, 8]).data), shape: [2, 8] };
        expect(loadPacked(packed.toBytes()).forward(x).data).toEqual(packed.forward(x).data);
        return packed.byteLength;
      };
      expect(size(1)).toBe(24 + 3 * 2);
      expect(size(1e-20)).toBe(24 + 3 * 4);
    },
  );
});

describe("eps", () => {
  it("is the least scale, of float16 and of learned ones too, and leaves zeros and the least normal number", () => {
    expect(scaleOf([1e-6], { eps: 1e-3 })).toBe(Math.fround(1e-3));
    expect(scaleOf([127], { eps: 1e-3 })).toBe(1);
    expect(scaleOf([-1e-6, 1e-7], { eps: 1, scheme: "absmax-signed" })).toBe(1);
    expect(scaleOf([1e-6, -1e-7], { eps: 1, scheme: "absmax-signed" })).toBe(-1);
    expect(scaleOf([1e-6], { eps: 2 ** -14, scaleDtype: "float16" })).toBe(2 ** -14);
    expect(scaleOf([0, 0], { eps: 1e-3 })).toBe(1);
    expect(scaleOf([1e-42], { eps: 0 })).toBe(2 ** -126);
    // The fast way of rows has none.
    expect(list(fakeQuantize([[1e-6, 0.4]], spec({ granularity: "token", eps: 1 })))).toEqual([0, 0]);
    const { scale, zeroPoint } = chooseParams([-0.1, 0.2], spec({ scheme: "affine", eps: 0.5 }));
    expect([scale.item(), zeroPoint!.item()]).toEqual([0.5, 0]);
  });

  it("is a number from 0 on", () => {
    for (const eps of [-1, Infinity, Number.NaN, "1"])
      expect(() => spec({ eps: eps as never })).toThrow("spec: option eps must be");
    expect(() => scaleOf([1], { eps: 1e39 })).toThrow("quantize: a scale exceeds float32");
  });
});

describe("includeZero", () => {
  const float = { scheme: "affine", zeroPoint: "float", bits: 4 } as const;

  it("widens the range of float zero points to hold 0", () => {
    const scales = [
      [1, 1.3],
      [-1.3, -1],
      [-1, 2],
    ].map((x) => scaleOf(x, { ...float, includeZero: true }));
    expect(scales).toEqual([1.3, 1.3, 3].map((width) => Math.fround(Math.fround(width) / 15)));
    const { zeroPoint } = chooseParams([1, 1.3], spec({ ...float, includeZero: true }));
    expect(zeroPoint!.item()).toBe(0);
    expect(scaleOf([1, 1.3], float)).toBeCloseTo(0.02, 6);
  });

  it("is true but for float zero points, and cannot be false elsewhere", () => {
    expect([spec(), spec({ scheme: "affine" }), spec(float)].map((s) => s.includeZero)).toEqual([
      true,
      true,
      false,
    ]);
    for (const options of [{}, { scheme: "affine" }] as const)
      expect(() => spec({ ...options, includeZero: false })).toThrow(
        "spec: includeZero must be true where zero points are not float, got false",
      );
    expect(() => spec({ ...float, includeZero: 1 as never })).toThrow(
      "spec: includeZero must be true or false, got 1",
    );
  });
});

it("absmax-signed takes the positive one of two largest magnitudes, where ggml takes the first", () => {
  const q4 = spec({ bits: 4, scheme: "absmax-signed" });
  for (const x of [
    [-4, 4],
    [4, -4],
  ]) {
    const q = quantize(x, q4);
    expect(q.scale.item()).toBe(-0.5);
    expect(list(dequantize(q))).toEqual(x.map((v) => (v > 0 ? 4 : -3.5)));
    const block = Float32Array.from({ length: 32 }, (_, i) => x[i] ?? 0);
    const { encode, decode } = formats.Q4_0;
    expect(Array.from(decode(encode(block)).subarray(0, 2))).toEqual([x[0], x[0] > 0 ? -3.5 : 3.5]);
  }
});

describe("inputs that packed layers do not find are refused by prepare", () => {
  const input =
    (options: Partial<SpecOptions>, isStatic = false) =>
    () => {
      const how = spec(options);
      return new SpecInputQuantizer(how, isStatic ? minMax(how) : null);
    };
  it.each<[Partial<SpecOptions>, boolean, string]>([
    [{ granularity: "tensor" }, false, 'dynamic input needs granularity "token", got "tensor"'],
    [{ granularity: "token", range: "full" }, false, 'dynamic input needs range "narrow", got "full"'],
    [
      { granularity: "token", scheme: "affine" },
      false,
      'dynamic input needs scheme "symmetric", got "affine"',
    ],
    [
      { granularity: "token", scaleDtype: "e8m0" },
      false,
      'dynamic input needs scaleDtype "float32", got "e8m0"',
    ],
    [{ granularity: "token", eps: 1e-5 }, false, "dynamic input needs eps 0, got 0.00001"],
    [{ rounding: "half-up" }, true, 'static input needs rounding "half-even", got "half-up"'],
    [
      { scheme: "affine", zeroPoint: "float" },
      true,
      'static input needs zeroPoint "none" or "int", got "float"',
    ],
    [{ onNonFinite: "clamp" }, true, 'static input needs onNonFinite "throw", got "clamp"'],
    [{ bits: 1, onNonFinite: "clamp" }, false, 'sign input needs onNonFinite "throw", got "clamp"'],
  ])("%j", (options, isStatic, text) => {
    const layer = new Linear(4, 2);
    const config = { weight: ste({ bits: 4 }), input: input(options, isStatic) };
    expect(() => prepare(layer, plan({ default: config }))).toThrow(`prepare: a packed ${text} for "weight"`);
    expect([layer.weight.transforms, layer.inputQuantizer]).toEqual([[], null]);
  });

  it("others are not", () => {
    const config = { weight: ste(), input: input({ bits: 4, range: "noClip", eps: 1e-3 }, true) };
    prepare(new Linear(4, 2), plan({ default: config }));
    prepare(new Linear(4, 2), plan({ default: int8Dynamic() }));
  });
});

it("gradcheck holds for the surrogate of blocks", () => {
  const how = spec({ bits: 8, granularity: { block: [2, 3] } });
  const x = draw([3, 4]).to("float64");
  const { scale } = chooseParams(x, how);
  expect(() =>
    gradcheck((t) => fakeQuantize(t, how, { scale, zeroPoint: null }, { mask: false }).mul(0).add(t), [x]),
  ).not.toThrow();
});
