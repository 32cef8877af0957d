import { BitgradError, Rng, tensor } from "bitgrad";
import {
  chooseParams,
  dequantize,
  dequantizeScalar,
  type QuantParams,
  type QuantSpec,
  quantize,
  quantizeScalar,
  spec,
} from "bitgrad/quant";
import { arb } from "bitgrad/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { scalarCodes } from "../../src/codes/scalar.ts";
import { scaleAt } from "./scale-at.ts";

const isSigns = ({ bits, scheme }: QuantSpec): boolean => bits === 1 && scheme === "symmetric";

/** Numbers, draws and results of one number after another, by the scales that quantize is given. */
function oneByOne(
  x: ArrayLike<number>,
  shape: readonly number[],
  how: QuantSpec,
  { scale, zeroPoint }: QuantParams,
) {
  const rng = new Rng(5);
  // Codes of signs and of codebooks are not rounded.
  const draws = how.rounding === "stochastic" && how.codebook === null && !isSigns(how);
  const codes = Array.from(x, (v, i) => {
    const k = scaleAt(how, shape, i);
    const draw = draws ? rng.next() : 0;
    return quantizeScalar(v, how, scale.data[k] as number, (zeroPoint?.data[k] as number) ?? 0, draw);
  });
  const values = codes.map((code, i) => {
    const k = scaleAt(how, shape, i);
    return dequantizeScalar(code, how, scale.data[k] as number, (zeroPoint?.data[k] as number) ?? 0);
  });
  return { codes, values };
}

describe("quantizeScalar and dequantizeScalar", () => {
  it("give the bits of quantize and dequantize for every spec, also beyond the range", () => {
    fc.assert(
      fc.property(arb.weights({ max: 1e4 }), arb.spec(), fc.constantFrom(1, 0.5, 0.01), (x, how, part) => {
        const fitting = chooseParams(x, how);
        const smaller = fitting.scale.data.map((s) => (Math.abs(s) > 2 ** -100 ? s * part : s));
        const params = { ...fitting, scale: tensor(smaller, { shape: fitting.scale.shape }) };
        const given = tensor(x);
        if (how.onNonFinite === "clamp") {
          given.data[0] = Infinity;
          given.data[given.size - 1] = -Infinity;
        }
        const q = quantize(given, how, params, { rng: new Rng(5) });
        const { codes, values } = oneByOne(given.data, given.shape, how, params);
        // Codes are integers, without a −0.
        expect(codes.every((code) => !Object.is(code, -0))).toBe(true);
        expect(codes).toEqual(Array.from(q.codes.data));
        expect(values).toEqual(Array.from(dequantize(q).data));
      }),
      { numRuns: 500 },
    );
  });

  it("take a double as float32, and a scale too", () => {
    const int8 = spec();
    expect(quantizeScalar(0.15, int8, 0.1)).toBe(
      quantize([0.15], int8, { scale: tensor([0.1]), zeroPoint: null }).codes.item(),
    );
    expect(quantizeScalar(-1e-50, spec({ bits: 1 }), 1)).toBe(1);
    expect(scalarCodes(spec({ bits: 1 })).codeOf(-1e-50, 1, 0)).toBe(1);
    expect(dequantizeScalar(3, int8, 0.1)).toBe(Math.fround(3 * Math.fround(0.1)));
  });

  it("clamp infinity where the spec does, and no NaN", () => {
    const clamp = spec({ bits: 4, onNonFinite: "clamp" });
    expect([Infinity, -Infinity, 1e39].map((x) => quantizeScalar(x, clamp, 1))).toEqual([7, -7, 7]);
    expect(() => quantizeScalar(Infinity, spec(), 1)).toThrow(
      'quantizeScalar: a number must be finite in float32, got Infinity; for infinities use onNonFinite: "clamp"',
    );
    for (const how of [clamp, spec()])
      expect(() => quantizeScalar(Number.NaN, how, 1)).toThrow("must be finite in float32, got NaN");
  });

  const uint4 = spec({ bits: 4, scheme: "affine" });
  it.each<[string, () => number, string]>([
    [
      "a scale of 0",
      () => quantizeScalar(1, uint4, 1e-50),
      "a scale must be finite and not 0 in float32, got 1e-50",
    ],
    ["a scale beyond float32", () => dequantizeScalar(1, uint4, 1e39), "a scale must be finite"],
    ["a text", () => quantizeScalar("1" as never, uint4, 1), 'a number must be finite in float32, got "1"'],
    [
      "a scale of text",
      () => quantizeScalar(1, uint4, "1" as never),
      'a scale must be finite and not 0 in float32, got "1"',
    ],
    [
      "a zero point that is no code",
      () => quantizeScalar(1, uint4, 1, 16),
      "a zero point must be an integer from 0 to 15, got 16",
    ],
    [
      "a zero point of symmetric codes",
      () => quantizeScalar(1, spec(), 1, 3),
      "a zero point must be 0 for symmetric codes, got 3",
    ],
    [
      "a zero point of null",
      () => quantizeScalar(1, uint4, 1, null as never),
      "a zero point must be an integer from 0 to 15, got null",
    ],
    [
      "an infinite zero point",
      () => dequantizeScalar(1, spec({ scheme: "affine", zeroPoint: "float" }), 1, Infinity),
      "a zero point must be finite, got Infinity",
    ],
    ["a draw of 1", () => quantizeScalar(1, uint4, 1, 0, 1), "draw must lie in [0, 1), got 1"],
    ["a code beyond the range", () => dequantizeScalar(16, uint4, 1), "codes lie in 0 … 15, got 16"],
    ["a code that is no integer", () => dequantizeScalar(1.5, uint4, 1), "codes lie in 0 … 15, got 1.5"],
    ["a sign of 0", () => dequantizeScalar(0, spec({ bits: 1 }), 1), "codes lie in -1 … 1, got 0"],
    ["no spec", () => quantizeScalar(1, {} as never, 1), "quantizeScalar: needs a spec"],
  ])("refuse %s", (_, run, message) => {
    expect(run).toThrow(BitgradError);
    expect(run).toThrow(message);
  });
});
