import { setFlagsFromString } from "node:v8";
import { describe, expect, it } from "vitest";
import { larger } from "../../kernels/reduce/reference.ts";
import { fold, sum } from "../../kernels/reduce/simd.ts";
import { softmax } from "../../kernels/softmax/simd.ts";

if (process.versions.node.startsWith("20.")) setFlagsFromString("--experimental-wasm-relaxed-simd");

describe("SIMD sums", () => {
  it("of a million equal numbers stay within eight roundings", () => {
    const x = new Float32Array(2 ** 20).fill(0.1);
    const out = new Float32Array(1);
    expect(sum(out, x, { outer: 1, n: x.length, inner: 1 })).toBe(true);
    const want = 2 ** 20 * x[0];
    expect(Math.abs(out[0] - want)).toBeLessThanOrEqual(8 * 2 ** -24 * want);
  });

  it("decline doubles, small plain folds and folds without a loop, and write nothing", () => {
    const out = new Float32Array(1).fill(7);
    const x = new Float32Array(2000);
    const sizes = { outer: 1, n: 2000, inner: 1 };
    expect(sum(out, new Float64Array(2000), sizes)).toBe(false);
    expect(
      fold(out, x.subarray(0, 10), { outer: 1, n: 10, inner: 1 }, Number.NEGATIVE_INFINITY, larger),
    ).toBe(false);
    expect(fold(out, x, sizes, 0, larger)).toBe(false);
    expect(fold(out, x, sizes, 1, (a, b) => a * b)).toBe(false);
    expect(out[0]).toBe(7);
  });
});

describe("SIMD softmax", () => {
  it("declines inner axes and doubles", () => {
    const x = new Float32Array(1024);
    expect(softmax(x.slice(), x, { outer: 1, n: 512, inner: 2 })).toBe(false);
    expect(softmax(new Float64Array(1024), x, { outer: 1, n: 1024, inner: 1 })).toBe(false);
  });

  it("works in place", () => {
    const x = Float32Array.from({ length: 999 }, (_, i) => Math.sin(i));
    const out = new Float32Array(999);
    const sizes = { outer: 3, n: 333, inner: 1 };
    expect(softmax(out, x, sizes) && softmax(x, x, sizes)).toBe(true);
    expect(x).toEqual(out);
  });
});
