import { useBackend } from "bitgrad";
import { afterEach, describe, expect, it } from "vitest";
import { packCodes } from "../../src/packed/file/codes.ts";
import { PackedWeight } from "../../src/packed/file/weight.ts";
import { PackedConv2d } from "../../src/packed/layers/conv.ts";
import { readSuite } from "../golden/case.ts";
import { expectSummary } from "../golden/summary.ts";

const cases = readSuite("exact");
const numbers = (data: readonly (number | string)[]): number[] => data.map(Number);

interface Settings {
  bits: number;
  stride: number;
  padding: number;
  groups: number;
}

/** The convolution of int8 codes by a packed layer whose scales are 1: sums below 2²⁴ leave it as they are. */
function convolve(
  x: readonly number[],
  shape: readonly number[],
  w: readonly number[],
  weightShape: readonly number[],
  { bits, stride, padding, groups }: Settings,
): Float32Array {
  const [o, c, kh, kw] = weightShape;
  const type = { bits, signed: true };
  const weight = PackedWeight.ofCodes({
    ...type,
    rows: o,
    columns: c * kh * kw,
    codes: packCodes(w, o, c * kh * kw, type),
    scale: Float32Array.of(1),
    group: null,
    scaleType: "float32",
    codebook: null,
  });
  const side = [padding, padding];
  const layer = new PackedConv2d({
    weight,
    bias: null,
    input: { kind: "static", scale: 1, zeroPoint: 0, least: -128, most: 127 },
    kernel: [kh, kw],
    stride: [stride, stride],
    padding: [side, side],
    dilation: [1, 1],
    groups,
  });
  const { data } = layer.forward({ data: Float32Array.from(x), shape });
  const copy = data.slice();
  layer.dispose();
  return copy;
}

afterEach(() => useBackend("simd"));

describe.each(["simd", "reference"] as const)("packed convolution on %s", (backend) => {
  it.each(cases.filter(({ op }) => op === "int_conv2d").map((given) => ({ id: given.id, given })))(
    "$id is exact",
    ({ given: { params, inputs, outputs } }) => {
      useBackend(backend);
      const { input, weight } = inputs;
      const got = convolve(numbers(input.data), input.shape, numbers(weight.data), weight.shape, {
        bits: params.weights === "ternary" ? 2 : 4,
        stride: Number(params.stride),
        padding: Number(params.padding),
        groups: 1,
      });
      expect([...got]).toEqual(numbers(outputs.out.data));
    },
  );

  it.each(cases.filter(({ op }) => op === "large_conv2d").map((given) => ({ id: given.id, given })))(
    "$id is exact",
    ({ given }) => {
      useBackend(backend);
      const params = given.params as Record<"stride" | "padding" | "groups", number> &
        Record<"input" | "weight", { mul: number; add: number; m: number }> &
        Record<"input_shape" | "weight_shape", number[]>;
      const { input_shape: shape, weight_shape: weightShape, stride, padding, groups } = params;
      const made = ({ mul, add, m }: typeof params.input, sizes: readonly number[]): number[] =>
        Array.from(
          { length: sizes.reduce((a, b) => a * b, 1) },
          (_, i) => ((i * mul + add) % m) - Math.floor(m / 2),
        );
      const got = convolve(made(params.input, shape), shape, made(params.weight, weightShape), weightShape, {
        bits: 8,
        stride,
        padding,
        groups,
      });
      const reach = (size: number, taps: number): number =>
        Math.floor((size + 2 * padding - taps) / stride) + 1;
      const sizes = [
        shape[0],
        weightShape[0],
        reach(shape[2], weightShape[2]),
        reach(shape[3], weightShape[3]),
      ];
      // A sum of 0 may have left as −0.
      expectSummary(
        given,
        Array.from(got, (value) => value + 0),
        sizes,
      );
    },
  );
});

it("scales of groups of a filter's codes are added in their order", () => {
  const weight = PackedWeight.ofCodes({
    rows: 1,
    columns: 18,
    bits: 8,
    signed: true,
    codes: new Uint8Array(18).fill(1),
    scale: Float32Array.of(1, 2 ** -26),
    group: 9,
    scaleType: "float32",
    codebook: null,
  });
  const [kernel, stride, padding] = [
    [3, 3],
    [1, 1],
    [
      [0, 0],
      [0, 0],
    ],
  ];
  const fields = { weight, bias: null, kernel, stride, padding, dilation: stride, groups: 1 };
  const layer = new PackedConv2d({
    ...fields,
    input: { kind: "static", scale: 1, zeroPoint: 0, least: -8, most: 7 },
  });
  const data = Float32Array.from({ length: 18 }, (_, i) => (i < 9 ? 1 : 7));
  for (const backend of ["simd", "reference"] as const) {
    useBackend(backend);
    // 9 + 63 · 2^−26 in float32.
    expect(layer.forward({ data, shape: [1, 2, 3, 3] }).data[0]).toBe(Math.fround(9 + 63 * 2 ** -26));
  }
});
