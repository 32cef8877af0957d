import { manualSeed, Rng, type Tensor, tensor, zeros } from "bitgrad";
import {
  chooseParams,
  dequantize,
  fakeQuantize,
  type QTensor,
  quantize,
  type SpecOptions,
  spec,
} from "bitgrad/quant";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { scaleAt } from "./scale-at.ts";

const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);
const codes = (values: number[], options: Partial<SpecOptions>) =>
  list(quantize(tensor(values), spec(options)).codes);
const mse = (values: number[], q: QTensor): number =>
  list(dequantize(q)).reduce((sum, v, i) => sum + (v - values[i]) ** 2, 0) / values.length;

/** Vector G of the specification: no code is near a tie. */
const G = [-0.97, -0.41, -0.13, 0, 0.22, 0.68, 1.37, 1.93];
/** Vector H lies on ties, so it pins down the arithmetic. */
const H = [-1, -0.5, -0.1, 0, 0.3, 0.7, 1.5, 2];

describe("vector G", () => {
  it.each<[Partial<SpecOptions>, scale: number, zero: number | null, number[], error: number | null]>([
    [{ bits: 8, scheme: "affine" }, 0.011372549, 85, [0, 49, 74, 85, 104, 145, 205, 255], 1.19425e-5],
    [{ bits: 4, scheme: "affine" }, 0.193333333, 5, [0, 3, 4, 5, 6, 9, 12, 15], 1.78472e-3],
    [{ bits: 3, scheme: "affine" }, 0.414285714, 2, [0, 1, 2, 2, 3, 4, 5, 7], null],
    [{ bits: 2, scheme: "affine" }, 0.966666667, 1, [0, 1, 1, 1, 1, 2, 2, 3], 0.0597847],
    [{ bits: 8 }, 0.01519685, null, [-64, -27, -9, 0, 14, 45, 90, 127], null],
    [{ bits: 4 }, 0.275714286, null, [-4, -1, 0, 0, 1, 2, 5, 7], 9.03648e-3],
    [{ bits: 4, range: "full" }, 0.257333333, null, [-4, -2, -1, 0, 1, 3, 5, 7], 8.00583e-3],
    [{ bits: 4, scheme: "absmax-signed" }, -0.24125, null, [4, 2, 1, 0, -1, -3, -6, -8], 3.25371e-3],
    [{ bits: 8, scheme: "absmax-signed" }, -0.015078125, null, [64, 27, 9, 0, -15, -45, -91, -128], null],
    [{ bits: 3, scheme: "absmax-signed" }, -0.4825, null, [2, 1, 0, 0, 0, -1, -3, -4], null],
  ])("%j", (options, scale, zero, want, error) => {
    const q = quantize(tensor(G), spec(options));
    expect(q.scale.item()).toBeCloseTo(scale, 7);
    expect(q.zeroPoint?.item() ?? null).toBe(zero);
    expect(list(q.codes)).toEqual(want);
    if (error !== null) expect(mse(G, q) / error).toBeCloseTo(1, 4);
  });
});

describe("vector H: quotients are rounded to float32 before they are rounded to integers", () => {
  it.each<[Partial<SpecOptions>, number[]]>([
    [{ bits: 8, scheme: "affine" }, [0, 43, 77, 85, 111, 144, 213, 255]],
    [{ bits: 4, scheme: "affine" }, [0, 3, 5, 5, 7, 9, 13, 15]],
    [{ bits: 4 }, [-3, -2, 0, 0, 1, 2, 5, 7]],
    [{ bits: 4, scheme: "absmax-signed" }, [4, 2, 0, 0, -1, -3, -6, -8]],
  ])("%j", (options, want) => {
    expect(codes(H, options)).toEqual(want);
  });

  it("the integer dot product of the specification", () => {
    const byRow = spec({ granularity: "token" });
    const x = quantize(
      [
        [1, -2, 0.5],
        [0.25, 0.5, -1],
      ],
      byRow,
    );
    const w = quantize(
      [
        [0.1, -0.2, 0.3],
        [-0.5, 0.4, 0.05],
      ],
      spec({ granularity: "channel" }),
    );
    expect(list(x.codes)).toEqual([64, -127, 32, 32, 64, -127]);
    expect(list(w.codes)).toEqual([42, -85, 127, -127, 102, 13]);
    const sums = (x.codes as Tensor).matmul(w.codes as Tensor, { transposeB: true });
    expect(list(sums)).toEqual([17547, -20666, -20225, 813]);
    const y = list(sums.mul(w.scale).mul(x.scale));
    [0.65275, -1.281295, -0.376186, 0.025203].forEach((want, i) => void expect(y[i]).toBeCloseTo(want, 5));
  });
});

it("zero points of an input come off a sum of products by one sum of weights", () => {
  const static8 = spec({ bits: 4, scheme: "affine" });
  const params = { scale: tensor([1]), zeroPoint: tensor([5]) };
  const x = quantize([-2, 2, -5, 10], static8, params);
  expect(list(x.codes as Tensor)).toEqual([3, 7, 0, 15]);
  const w = [-2, 1, 4, 3];
  const raw = list(x.codes as Tensor).reduce((sum, code, i) => sum + code * w[i], 0);
  expect([raw, w.reduce((a, b) => a + b)]).toEqual([46, 6]);
  expect(list(dequantize(x)).reduce((sum, v, i) => sum + v * w[i], 0)).toBe(46 - 5 * 6);
});

describe("rounding", () => {
  const ties = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5];
  const one = { scale: tensor([1]), zeroPoint: null };

  it.each([
    ["half-even", [-2, -2, 0, 0, 2, 2]],
    ["half-away", [-3, -2, -1, 1, 2, 3]],
    ["half-up", [-2, -1, 0, 1, 2, 3]],
  ] as const)("%s", (rounding, want) => {
    expect(list(quantize(ties, spec({ rounding }), one).codes)).toEqual(want);
  });

  it("stochastic rounding is unbiased and drawn from the generator given", () => {
    const x = zeros([20000]).add(0.3);
    const draw = () => list(quantize(x, spec({ rounding: "stochastic" }), one, { rng: new Rng(5) }).codes);
    const drawn = draw();
    expect(drawn).toEqual(draw());
    const mean = drawn.reduce((a, b) => a + b, 0) / drawn.length;
    // The deviation of the mean is √(0.3 · 0.7 / 20000) = 0.0032.
    expect(Math.abs(mean - 0.3)).toBeLessThan(0.013);
    manualSeed(5);
    expect(list(quantize(x, spec({ rounding: "stochastic" }), one).codes)).toEqual(drawn);
  });
});

describe("edge cases", () => {
  const schemes: Partial<SpecOptions>[] = [
    { bits: 4 },
    { bits: 4, range: "full" },
    { bits: 4, scheme: "affine" },
    { bits: 4, scheme: "affine", zeroPoint: "float" },
    { bits: 4, scheme: "absmax-signed" },
    { bits: 1 },
    { bits: 1, scheme: "affine" },
  ];

  it.each(schemes)("zeros stay exactly 0, minus zero too: %j", (options) => {
    const q = quantize([0, -0, 0], spec(options));
    expect(list(dequantize(q)).map(Math.abs)).toEqual([0, 0, 0]);
    expect(list(q.scale)).toEqual([options.bits === 1 && !options.scheme ? 0 : 1]);
  });

  it("minus zero has code 0 and comes back as plus zero, under a negative scale too", () => {
    const q = quantize([-0, 8, 1], spec({ bits: 4, scheme: "absmax-signed" }));
    expect(q.scale.item()).toBe(-1);
    expect(list(dequantize(q))).toEqual([0, 8, 1]);
  });

  it.each(schemes.slice(0, 5))("equal elements come back within a unit in the last place: %j", (options) => {
    for (const c of [3.7, -3.7, 1e-3]) {
      const worst = options.range === "full" ? Math.abs(c) / 15 + 1e-6 : Math.abs(c) * 2 ** -23;
      for (const v of list(fakeQuantize([c, c, c], spec(options))))
        expect(Math.abs(v - c)).toBeLessThanOrEqual(worst);
    }
  });

  it("groups of one sign, far from 0, keep their values apart", () => {
    const x = [1, 1.1, 1.2, 1.3];
    const worst = (options: Partial<SpecOptions>) =>
      Math.max(
        ...list(fakeQuantize(x, spec({ bits: 4, scheme: "affine", ...options }))).map((v, i) =>
          Math.abs(v - x[i]),
        ),
      );
    expect(worst({})).toBeLessThanOrEqual(0.0434);
    expect(worst({ zeroPoint: "float" })).toBeLessThanOrEqual(0.0101);
  });

  it("NaN is an error; infinity is one unless it is to be clamped, and then leaves the scale alone", () => {
    const clamp = spec({ bits: 4, onNonFinite: "clamp" });
    expect(() => quantize([1, Number.NaN], spec())).toThrow(/must be finite, got NaN/);
    expect(() => quantize([1, Number.NaN], clamp)).toThrow(/must be finite, got NaN/);
    expect(() => quantize([1, -Infinity], spec())).toThrow(/must be finite, got -Infinity/);
    expect(() => quantize([Number.NaN], spec(), { scale: tensor([1]), zeroPoint: null })).toThrow(/got NaN/);
    const q = quantize([1, Infinity, -Infinity, 0.6], clamp);
    expect(q.scale.item()).toBe(Math.fround(1 / 7));
    expect(list(q.codes)).toEqual([7, 7, -7, 4]);
  });

  it("a ragged last group has its own true length", () => {
    const q = quantize([[2, -2, 4, 4, 6]], spec({ bits: 1, granularity: { group: 2 } }));
    expect(list(q.scale)).toEqual([2, 4, 6]);
    const affine = quantize(
      [[1, 3, 5]],
      spec({ scheme: "affine", zeroPoint: "float", granularity: { group: 2 } }),
    );
    list(dequantize(affine)).forEach((v, i) => void expect(v).toBeCloseTo([1, 3, 5][i], 6));
    expect(list(affine.scale)).toEqual([Math.fround(2 / 255), 1]);
  });

  it("float16 scales are checked: too large is an error, too small stays float32", () => {
    const half = spec({ scaleDtype: "float16" });
    expect(() => quantize([1e7], half)).toThrow(/a scale exceeds float16/);
    expect(quantize([1e-9], half).scale.item()).toBe(Math.fround(1e-9 / 127));
    expect(quantize([1e-40], spec()).scale.item()).toBe(2 ** -126);
    expect(() => quantize([3e38, -3e38], spec({ scheme: "affine", bits: 1 }))).toThrow(
      /a scale exceeds float32/,
    );
    expect(list(quantize([3e38, -3e38], spec({ scheme: "affine" })).codes)).toEqual([255, 0]);
  });

  it("an empty tensor has no codes and no scale", () => {
    for (const granularity of ["tensor", "channel", "token", { group: 4 }] as const) {
      const q = quantize(zeros([3, 0]), spec({ granularity }));
      expect([q.codes.shape, q.scale.size, dequantize(q).shape]).toEqual([[3, 0], 0, [3, 0]]);
    }
  });

  it("one symmetric bit is the sign with scale mean|x|, +1 for zeros", () => {
    const q = quantize([0, -0, 3, -1], spec({ bits: 1 }));
    expect(list(q.codes)).toEqual([1, 1, 1, -1]);
    expect(list(dequantize(q))).toEqual([1, 1, 1, -1]);
  });
});

describe("mistakes", () => {
  it.each([
    [{ bits: 9 }, /spec: bits must be an integer from 1 to 8, got 9/],
    [{ bits: 2.5 }, /got 2.5/],
    [{ scheme: "asym" as never }, /spec: scheme must be one of symmetric, affine/],
    [
      { granularity: "row" as never },
      /granularity must be "tensor", "channel", "token", \{ group \} or \{ block \}, got "row"/,
    ],
    [{ granularity: { group: 0 } }, /got 0/],
    [{ zeroPoint: "int" as const }, /zeroPoint does not go with symmetric codes/],
    [{ scheme: "affine" as const, zeroPoint: "none" as const }, /zeroPoint does not go with affine codes/],
    [{ scheme: "codebook" as const }, /a codebook goes with the scheme/],
    [{ scheme: "codebook" as const, codebook: [1, 0] }, /rising numbers/],
    [{ bit: 3 } as never, /unknown option, got "bit"/],
  ])("%j", (options, message) => {
    expect(() => spec(options)).toThrow(message);
  });

  it("params of another granularity, a zero scale and codes outside the range are refused", () => {
    const byRow = spec({ granularity: "channel", bits: 4 });
    const x = tensor([
      [1, 2],
      [3, 4],
    ]);
    expect(() => quantize(x, byRow, { scale: tensor([1]), zeroPoint: null })).toThrow(
      /scale must be \(2\) for \(2, 2\), got \(1\)/,
    );
    expect(() => quantize(x, byRow, { scale: tensor([1, 0]), zeroPoint: null })).toThrow(
      /a scale must be finite and not 0/,
    );
    expect(() => quantize(x, byRow, { scale: tensor([1, 1]), zeroPoint: tensor([1, 1]) })).toThrow(
      /no zero point/,
    );
    const q = quantize(x, byRow);
    expect(() =>
      dequantize({
        ...q,
        codes: tensor(
          [
            [8, 0],
            [0, 0],
          ],
          { dtype: "int8" },
        ),
      }),
    ).toThrow(/codes lie in -7 … 7, got 8/);
    expect(() => chooseParams(tensor(3), byRow)).toThrow(/a scalar has one scale/);
    expect(() => chooseParams(x, spec({ granularity: "channel", axis: 2 }))).toThrow(/no such axis, got 2/);
  });
});

/** Lengths 1 to 70, and magnitudes from 1e-30 to 1e30 with ties, equal elements, zeros of both signs and lone outliers among them. */
const values = fc
  .tuple(
    fc.integer({ min: -100, max: 100 }),
    fc.array(
      fc.oneof(
        fc.double({ min: -1, max: 1, noNaN: true }),
        fc.integer({ min: -16, max: 16 }).map((k) => k / 16),
        fc.constantFrom(0, -0, 1, -1, 1e-3),
      ),
      { minLength: 1, maxLength: 70 },
    ),
  )
  .map(([e, list]) => list.map((v) => Math.fround(v * 2 ** e)));
const granularity = fc.oneof(
  fc.constantFrom("tensor" as const, "token" as const),
  fc.integer({ min: 1, max: 33 }).map((group) => ({ group })),
);
const halfStep = fc
  .record({
    bits: fc.integer({ min: 2, max: 8 }),
    granularity,
    kind: fc.constantFrom<Partial<SpecOptions>>(
      { range: "narrow" },
      { range: "full" },
      { scheme: "affine" },
      { scheme: "affine", signed: true },
    ),
  })
  .map(({ bits, granularity: g, kind }) => spec({ bits, granularity: g, ...kind }));

describe("laws", () => {
  const stepAt = (q: QTensor, i: number): number => {
    return Math.abs(q.scale.data[scaleAt(q.spec, q.shape, i)] as number);
  };

  it("an element errs by at most half a step, and codes are integers in range", () => {
    fc.assert(
      fc.property(values, halfStep, (x, s) => {
        const q = quantize([x], s);
        const got = list(dequantize(q));
        x.forEach((v, i) => {
          expect(Math.abs(v - got[i])).toBeLessThanOrEqual(
            (stepAt(q, i) / 2) * (1 + 1e-5) + Math.abs(v) * 2 ** -22,
          );
          if (v === 0) expect(got[i]).toBe(0);
        });
        for (const c of list(q.codes)) expect(Number.isInteger(c) && c >= s.qmin && c <= s.qmax).toBe(true);
      }),
    );
  });

  it("a signed-absmax element errs by at most a step", () => {
    fc.assert(
      fc.property(values, fc.integer({ min: 2, max: 8 }), granularity, (x, bits, g) => {
        const q = quantize([x], spec({ bits, granularity: g, scheme: "absmax-signed" }));
        const got = list(dequantize(q));
        x.forEach((v, i) => {
          expect(Math.abs(v - got[i])).toBeLessThanOrEqual(
            stepAt(q, i) * (1 + 1e-5) + Math.abs(v) * 2 ** -22,
          );
        });
      }),
    );
  });

  it("a float16 scale adds its own rounding and no more", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -8, max: 8, noNaN: true }), { minLength: 1, maxLength: 40 }),
        (given) => {
          const x = given.map(Math.fround);
          const q = quantize(x, spec({ scaleDtype: "float16" }));
          const got = list(dequantize(q));
          const scale = q.scale.item();
          const slack = 127 * Math.max(2 ** -11 * scale, 2 ** -25);
          const over = x.filter((v, i) => Math.abs(v - got[i]) > scale / 2 + slack + 1e-6 * Math.abs(v));
          expect(over).toEqual([]);
        },
      ),
    );
  });

  it("quantizing the values again gives the same codes", () => {
    fc.assert(
      fc.property(values, halfStep, (x, s) => {
        const q = quantize([x], s);
        expect(list(quantize(dequantize(q), s, q).codes)).toEqual(list(q.codes));
        if (s.range === "narrow" && s.scheme === "symmetric" && x.some((v) => Math.abs(v) > 1e-30)) {
          const whole = spec({ bits: s.bits });
          const first = quantize([x], whole);
          expect(list(quantize(dequantize(first), whole).codes)).toEqual(list(first.codes));
        }
      }),
    );
  });

  it("codes rise with the elements; negation negates narrow symmetric codes", () => {
    fc.assert(
      fc.property(values, fc.integer({ min: 2, max: 8 }), (x, bits) => {
        const sorted = x.toSorted((a, b) => a - b);
        const rising = codes(sorted, { bits });
        expect(rising.filter((c, i) => c < rising[i - 1])).toEqual([]);
        const falling = quantize(sorted, spec({ bits, scheme: "absmax-signed" }));
        const sign = Math.sign(falling.scale.item());
        expect(list(falling.codes).filter((c, i, all) => sign * c < sign * all[i - 1])).toEqual([]);
        expect(
          codes(
            x.map((v) => -v),
            { bits },
          ).map((c) => -c + 0),
        ).toEqual(codes(x, { bits }));
      }),
    );
  });

  it("a power of two times x has the same codes and that power times the scale", () => {
    fc.assert(
      fc.property(
        fc
          .array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 40 })
          .filter((x) => Math.max(...x.map(Math.abs)) > 1e-10),
        fc.integer({ min: -20, max: 20 }),
        fc.constantFrom<Partial<SpecOptions>>(
          { bits: 4 },
          { bits: 1 },
          { bits: 8, scheme: "affine" },
          { bits: 4, scheme: "absmax-signed" },
        ),
        (given, k, options) => {
          const x = given.map(Math.fround).map((v) => (Math.abs(v) < 1e-20 ? 0 : v));
          const a = quantize(x, spec(options));
          const b = quantize(
            x.map((v) => v * 2 ** k),
            spec(options),
          );
          expect(list(b.codes)).toEqual(list(a.codes));
          expect(b.scale.item()).toBe(a.scale.item() * 2 ** k);
        },
      ),
    );
  });

  it("the order of the elements within a run, and of the rows, does not matter", () => {
    fc.assert(
      fc.property(values, (x) => {
        const mixed = x.toReversed();
        for (const options of [{ bits: 4 }, { bits: 4, scheme: "affine" }] as const) {
          expect(codes(mixed, options)).toEqual(codes(x, options).reverse());
          const rows = quantize([x, mixed], spec({ ...options, granularity: "token" }));
          const swapped = quantize([mixed, x], spec({ ...options, granularity: "token" }));
          expect(list(swapped.codes)).toEqual([
            ...list(rows.codes).slice(x.length),
            ...list(rows.codes).slice(0, x.length),
          ]);
        }
      }),
    );
  });

  it("halving a group never raises the largest error bound, and a bit more never does", () => {
    fc.assert(
      fc.property(values, fc.integer({ min: 2, max: 7 }), (given, bits) => {
        const top = Math.max(...given.map(Math.abs));
        // A run of zeros has scale 1, whatever its bits.
        const x = given.map((v) => v || top || 1);
        const largest = (options: Partial<SpecOptions>) =>
          Math.max(...list(chooseParams([x], spec({ bits, ...options })).scale));
        expect(largest({ granularity: { group: 8 } })).toBeLessThanOrEqual(
          largest({ granularity: { group: 16 } }),
        );
        expect(largest({ bits: bits + 1 })).toBeLessThanOrEqual(largest({}));
      }),
    );
  });

  it("fake quantization is dequantize of quantize, bit for bit", () => {
    fc.assert(
      fc.property(values, halfStep, (x, s) => {
        expect(list(fakeQuantize([x], s))).toEqual(list(dequantize(quantize([x], s))));
      }),
    );
  });
});

it("the gradient passes where the code before clamping is in range", () => {
  const x = tensor([-1.2, -1, -0.2, 0.2, 0.95, 1.1], { requiresGrad: true });
  const params = { scale: tensor([0.1]), zeroPoint: null };
  const full = spec({ bits: 4, range: "full" });
  const y = fakeQuantize(x, full, params);
  [-0.8, -0.8, -0.2, 0.2, 0.7, 0.7].forEach((want, i) => void expect(y.data[i]).toBeCloseTo(want, 6));
  y.sum().backward();
  expect(list(x.grad!)).toEqual([0, 0, 1, 1, 0, 0]);
  x.grad = null;
  fakeQuantize(x, full, params, { mask: false }).sum().backward();
  expect(list(x.grad!)).toEqual([1, 1, 1, 1, 1, 1]);
});
