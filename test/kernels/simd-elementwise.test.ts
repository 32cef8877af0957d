import { setFlagsFromString } from "node:v8";
import { describe, expect, it } from "vitest";
import { gated, gelu, geluTanh, silu } from "../../kernels/elementwise/activation.ts";
import {
  exponentialLinear,
  held,
  leaky,
  negative,
  plus,
  reciprocal,
  reciprocalSqrt,
  rectified,
  signOf,
  softplusTo,
  square,
  type Unary,
} from "../../kernels/elementwise/arithmetic.ts";
import * as reference from "../../kernels/elementwise/reference.ts";
import { binary, elementwiseExports, select, unary } from "../../kernels/elementwise/simd.ts";
import { erf, logSigmoid, roundEven, sigmoid } from "../../kernels/elementwise/special.ts";
import { alloc, free, view } from "../../kernels/wasm/heap.ts";

if (process.versions.node.startsWith("20.")) setFlagsFromString("--experimental-wasm-relaxed-simd");

/** Every `stride`-th float32 there is, NaN payloads and both zeros included. */
function bitPatterns(stride: number): Float32Array {
  const bits = new Uint32Array(Math.floor(2 ** 32 / stride));
  for (let i = 0; i < bits.length; i++) bits[i] = i * stride;
  return new Float32Array(bits.buffer);
}

const special = Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1, -1);

const functions: [name: string, f: Unary][] = [
  ["exp", Math.exp],
  ["log", Math.log],
  ["tanh", Math.tanh],
  ["erf", erf],
  ["sigmoid", sigmoid],
  ["sqrt", Math.sqrt],
  ["neg", negative],
  ["square", square],
  ["relu", rectified],
  ["abs", Math.abs],
  ["sign", signOf],
  ["floor", Math.floor],
  ["ceil", Math.ceil],
  ["trunc", Math.trunc],
  ["round", roundEven],
  ["reciprocal", reciprocal],
  ["rsqrt", reciprocalSqrt],
  ["expm1", Math.expm1],
  ["log1p", Math.log1p],
  ["softplus", softplusTo(20)],
  ["logSigmoid", logSigmoid],
  ["leakyRelu", leaky(0.25)],
  ["elu", exponentialLinear(1)],
  ["clip", held(-1, 2)],
];

describe.each(["plain", "relaxed"] as const)("the %s SIMD functions", (build) => {
  const code = elementwiseExports(build);
  const run = (x: Float32Array, f: Unary): Float32Array => {
    const y = new Float32Array(x.length);
    expect(unary(y, x, f, code)).toBe(true);
    return y;
  };

  it.skipIf(code === null).each(functions)("%s is within 3e-7 of double over all floats", (_, f) => {
    // A prime stride, and every float of two small ranges where the reductions change.
    const x = bitPatterns(9973);
    const y = run(x, f);
    let worst = 0;
    let worstAt = 0;
    for (let i = 0; i < x.length; i++) {
      const want = f(x[i]);
      if (Number.isNaN(want) !== Number.isNaN(y[i])) expect.fail(`at ${x[i]}: got ${y[i]}, want ${want}`);
      const size = Math.abs(want);
      if (size >= 2 ** -126 && Number.isFinite(Math.fround(want))) {
        const error = Math.abs(y[i] - want) / size;
        if (error > worst) [worst, worstAt] = [error, x[i]];
      } else if (size < 2 ** -126 && !(Math.abs(y[i] - want) <= 2 ** -126))
        expect.fail(`at ${x[i]}: got ${y[i]}, want ${want}`);
      else if (size > 3.4028235677973366e38 && y[i] !== Math.fround(want))
        expect.fail(`at ${x[i]}: got ${y[i]}, want ${want}`);
    }
    expect(worst, `worst at ${worstAt}`).toBeLessThanOrEqual(3e-7);
  });

  it.skipIf(code === null)("are within 3e-7 of double on a fine sweep of ordinary values", () => {
    const x = Float32Array.from({ length: 400_001 }, (_, i) => (i - 200_000) / 2000);
    for (const [name, f] of functions) {
      const y = run(x, f);
      for (let i = 0; i < x.length; i++) {
        const want = f(x[i]);
        if (!(Math.abs(want) >= 2 ** -126) || !Number.isFinite(Math.fround(want))) continue;
        if (!(Math.abs(y[i] - want) <= 3e-7 * Math.abs(want)))
          expect.fail(`${name}(${x[i]}): got ${y[i]}, want ${want}`);
      }
    }
  });

  it.skipIf(code === null)("are exact at NaN, infinities, zeros and, where they are there, at ±1", () => {
    const exact: [string, Unary][] = [...functions, ["gelu", gelu], ["geluTanh", geluTanh], ["silu", silu]];
    const x = new Float32Array(3000);
    x.set(special);
    for (const [name, f] of exact) {
      const y = run(x, f);
      special.slice(0, 5).forEach((v, i) => {
        const want = Math.fround(f(v));
        expect(Object.is(y[i], want), `${name}(${v}): got ${y[i]}, want ${want}`).toBe(true);
      });
    }
  });
});

describe("the SIMD elementwise loops", () => {
  const x = Float32Array.from({ length: 3000 }, (_, i) => Math.sin(i));

  it("work where an output is an input, on the heap", () => {
    const held = view("float32", alloc(12000), 3000);
    held.set(x);
    expect(unary(held, held, square)).toBe(true);
    expect(binary(held, [3000], held, [3000], held, [3000], plus)).toBe(true);
    expect(held).toEqual(x.map((v) => 2 * Math.fround(v * v)));
    free(held.byteOffset);
  });

  it("decline other types, unknown functions, masks of floats and small plain arrays of what the reference gives too, and write nothing", () => {
    const out = new Float32Array(3000).fill(7);
    const doubles = new Float64Array(3000);
    expect(unary(out, doubles, square)).toBe(false);
    expect(unary(out, x, Math.sin)).toBe(false);
    expect(binary(out, [3000], x, [3000], x, [3000], Math.atan2)).toBe(false);
    expect(select(out, [3000], x, [3000], x, [3000], x, [3000])).toBe(false);
    expect(binary(out.subarray(0, 8), [8], x.subarray(0, 8), [8], x.subarray(0, 8), [8], plus)).toBe(false);
    expect(out.every((v) => v === 7)).toBe(true);
  });

  it("stage plain arrays", () => {
    const [got, want] = [new Float32Array(3000), new Float32Array(3000)];
    expect(binary(got, [30, 100], x, [30, 100], x.subarray(0, 100), [100], plus)).toBe(true);
    reference.binary(want, [30, 100], x, [30, 100], x.subarray(0, 100), [100], plus);
    expect(got).toEqual(want);
  });

  it("choose by a mask that rows or columns repeat, NaN and −0 among the choices", () => {
    const mask = Uint8Array.from({ length: 100 }, (_, i) => ((i * 7) % 3 === 0 ? 1 : 0));
    const a = x.map((v, i) => (i % 5 === 0 ? Number.NaN : i % 5 === 1 ? -0 : v));
    for (const [c, cShape] of [
      [mask, [100]],
      [mask.subarray(0, 30), [30, 1]],
    ] as const) {
      const [got, want] = [new Float32Array(3000), new Float32Array(3000)];
      expect(select(got, [30, 100], c, cShape, a, [30, 100], x.subarray(0, 1), [])).toBe(true);
      reference.select(want, [30, 100], c, cShape, a, [30, 100], x.subarray(0, 1), []);
      expect(got).toEqual(want);
    }
  });

  it("keep a NaN out of the gradient of relu where its input is not positive", () => {
    const grad = new Float32Array(3000).fill(Number.NaN);
    const out = new Float32Array(3000);
    expect(binary(out, [3000], grad, [3000], new Float32Array(3000), [3000], gated)).toBe(true);
    expect(out.every((v) => Object.is(v, 0))).toBe(true);
  });
});
