import { setFlagsFromString } from "node:v8";
import { describe, expect, it } from "vitest";
import { gemm } from "../../kernels/gemm-f32/simd.ts";
import { layerNormGrad } from "../../kernels/norm/simd.ts";
import * as reference from "../../kernels/reduce/reference.ts";
import { larger } from "../../kernels/reduce/reference.ts";
import { fold, sum } from "../../kernels/reduce/simd.ts";
import { softmax } from "../../kernels/softmax/simd.ts";
import { alloc, free, view } from "../../kernels/wasm/heap.ts";

if (process.versions.node.startsWith("20.")) setFlagsFromString("--experimental-wasm-relaxed-simd");

describe("SIMD sums", () => {
  it("of a million equal numbers stay within eight roundings", () => {
    const x = new Float32Array(2 ** 20).fill(0.1);
    const out = new Float32Array(1);
    expect(sum(out, x, { outer: 1, n: x.length, inner: 1 })).toBe(true);
    const want = 2 ** 20 * x[0];
    expect(Math.abs(out[0] - want)).toBeLessThanOrEqual(8 * 2 ** -24 * want);
  });

  it("of a million rows stay within eight roundings down columns too, in products and in gradients of norms", () => {
    const rows = 1_000_000;
    const near = (found: ArrayLike<number>, want: number, roundings = 8) => {
      for (let i = 0; i < found.length; i++)
        expect(Math.abs(found[i] / want - 1)).toBeLessThanOrEqual(roundings * 2 ** -24);
    };
    for (const [outer, inner] of [
      [1, 4],
      [1, 21],
      [2, 3],
    ]) {
      const x = new Float32Array(outer * rows * inner).fill(0.1);
      const out = new Float32Array(outer * inner);
      expect(sum(out, x, { outer, n: rows, inner })).toBe(true);
      near(out, rows * x[0]);
    }
    const [x, ones] = [new Float32Array(rows * 4).fill(0.1), new Float32Array(rows * 9).fill(1)];
    for (const [m, n, transposeA, transposeB] of [
      [4, 9, true, false],
      [9, 4, true, true],
      [1, 4, false, false],
    ] as const) {
      const out = new Float32Array(m * n);
      const [a, b] = m === 9 ? [ones, x] : [x, ones];
      expect(gemm(out, a, b, { m, n, k: rows, transposeA, transposeB })).toBe(true);
      near(out, rows * x[0], 700);
    }
    const [dw, db] = [new Float32Array(4), new Float32Array(4)];
    const statistics = new Float64Array(rows).fill(1);
    expect(
      layerNormGrad(
        null,
        dw,
        db,
        x,
        ones.subarray(0, rows * 4),
        null,
        statistics.slice().fill(0),
        statistics,
        {
          rows,
          n: 4,
        },
      ),
    ).toBe(true);
    near(dw, rows * x[0]);
    near(db, rows * x[0]);
  });

  it("down columns are the same bits whatever lies behind the array", () => {
    const values = Float32Array.from({ length: 99 * 7 }, (_, i) => Math.sin(i));
    const address = alloc(values.length * 4 + 64);
    const all = view("float32", address, values.length + 16);
    const sums = [0, Number.NaN, Number.POSITIVE_INFINITY, 3e38].map((behind) => {
      all.fill(behind).set(values);
      const out = new Float32Array(7);
      expect(sum(out, all.subarray(0, values.length), { outer: 1, n: 99, inner: 7 })).toBe(true);
      return [...out];
    });
    free(address);
    expect(sums).toEqual(sums.map(() => sums[0]));
  });

  it("of numbers whose sums overflow float32 on the way are those of the reference", () => {
    const x = Float32Array.from({ length: 512 }, (_, i) => (i % 256 < 128 ? 3e38 : -3e38));
    for (const sizes of [
      { outer: 2, n: 256, inner: 1 },
      { outer: 1, n: 16, inner: 32 },
      { outer: 1, n: 102, inner: 5 },
    ]) {
      const found = new Float32Array(sizes.outer * sizes.inner);
      const want = found.slice();
      expect(sum(found, x, sizes, 0.5)).toBe(true);
      reference.sum(want, x, sizes, 0.5);
      expect(found).toEqual(want);
    }
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
  it("declines doubles", () => {
    const x = new Float32Array(1024);
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
