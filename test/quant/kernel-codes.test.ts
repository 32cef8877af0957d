import { Rng, randn, type Tensor, tensor } from "bitgrad";
import { minMax, quantize, spec, staticInput } from "bitgrad/quant";
import { expect, it } from "vitest";
import { integersOf } from "../../src/codes/integer.ts";
import { integersByKernel } from "../../src/codes/kernel-codes.ts";
import { bits } from "../packed/twins.ts";

const draw = (shape: number[]): Tensor => {
  const x = randn(shape, { rng: new Rng("codes") }).mul(3);
  const data = x.data.slice();
  // Rows of zeros, of the smallest floats and of large ones, and halves between codes.
  data.fill(0, 0, 6);
  data.fill(1e-44, 6, 12);
  for (let i = 12; i < 18; i++) data[i] = 3e38 * (i % 2 === 0 ? 1 : -0.5);
  for (let i = 18; i < 24; i++) data[i] = i === 18 ? 127 : i - 20.5;
  return tensor(data).reshape(shape);
};

it.each(
  [2, 4, 8].flatMap((n) => [
    [`${n} bits per row`, spec({ bits: n, granularity: "token" })] as const,
    [`${n} bits per sample`, spec({ bits: n, granularity: "channel" })] as const,
  ]),
)("%s: kernels give the integers and scales that quantize gives", (_, each) => {
  const x = draw([8, 3, 2, 6]);
  const [got, want] = [integersByKernel(x, each, null)!, integersOf(quantize(x, each))];
  expect(bits(got.ints)).toEqual(bits(want.ints));
  expect(got.scale.shape).toEqual(want.scale.shape);
  expect(bits(got.scale)).toEqual(bits(want.scale));
});

it.each([
  ["symmetric", spec({ bits: 8 })],
  ["affine", spec({ bits: 8, scheme: "affine" })],
  ["signed affine", spec({ bits: 4, scheme: "affine", signed: true })],
])("static %s: kernels give the integers that quantize gives", (_, each) => {
  const x = draw([8, 3, 2, 6]).clip({ min: -50, max: 127 });
  const observer = minMax(each);
  observer.observe(x.mul(0.7));
  const params = observer.params();
  const [got, want] = [integersByKernel(x, each, params)!, integersOf(quantize(x, each, params))];
  expect(bits(got.ints)).toEqual(bits(want.ints));
});

it("signs: kernels give the integers that quantize gives, also of a tail", () => {
  const signs = spec({ bits: 1, granularity: "token" });
  const x = tensor(Float32Array.of(...draw([7, 9]).data, -0, 1e-45, -1e-45, -3e38)).reshape([1, 67]);
  const [got, want] = [integersByKernel(x, signs, null)!, integersOf(quantize(x, signs))];
  expect(bits(got.ints)).toEqual(bits(want.ints));
  expect(got.scale.toArray()).toEqual([[1]]);
});

it("kernels leave to quantize what they do not serve", () => {
  const x = draw([4, 6]);
  const whole = staticInput({ scheme: "symmetric" })().spec;
  for (const each of [
    spec({ granularity: "token", range: "full" }),
    spec({ granularity: "token", rounding: "half-away" }),
    spec({ granularity: "token", scaleDtype: "float16" }),
    spec({ granularity: "channel", axis: 1 }),
    spec({ granularity: "token", scheme: "affine" }),
    whole,
  ]) {
    expect(integersByKernel(x, each, null)).toBe(null);
  }
  for (const odd of [Number.NaN, Number.POSITIVE_INFINITY]) {
    for (const bits of [1, 8])
      expect(integersByKernel(tensor([[1, odd]]), spec({ bits, granularity: "token" }), null)).toBe(null);
  }
  expect(integersByKernel(tensor([[1, 2]], { dtype: "float64" }), spec({ granularity: "token" }), null)).toBe(
    null,
  );
});
