import { describe, expect, it } from "vitest";
import { argBest, fold, larger, scan, sum } from "../../kernels/reduce/reference.ts";
import { newArray, type TypedArray } from "../../src/dtype.ts";

const dtypes = ["float32", "float64", "int32", "uint32", "int8", "uint8"] as const;
const lengths = [1, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33, 64, 65];
const add = (a: number, b: number) => a + b;

/** Small whole numbers, so that every type holds them and their sums. */
const filled = (dtype: (typeof dtypes)[number], size: number): TypedArray =>
  newArray(dtype, size).map((_, i) => (i * 37) % 11) as TypedArray;

for (const dtype of dtypes)
  for (const inner of [1, 3])
    describe(`${dtype}, ${inner} inner`, () => {
      for (const n of lengths)
        it(`sum, fold, scan and argBest agree with loops over ${n}`, () => {
          const sizes = { outer: 2, n, inner };
          const x = filled(dtype, 2 * n * inner);
          const want = new Float64Array(2 * inner);
          const running = new Float64Array(x.length);
          const first = new Int32Array(2 * inner);
          for (let o = 0; o < 2; o++)
            for (let j = 0; j < inner; j++) {
              const row = Array.from({ length: n }, (_, k) => x[(o * n + k) * inner + j]);
              row.forEach((value, k) => {
                want[o * inner + j] += value;
                running[(o * n + k) * inner + j] = want[o * inner + j];
              });
              first[o * inner + j] = row.indexOf(Math.max(...row));
            }
          const got = new Float64Array(2 * inner);
          sum(got, x, sizes);
          expect(got).toEqual(want);
          sum(got, x, sizes, 0.5);
          expect(got).toEqual(want.map((v) => v / 2));
          fold(got, x, sizes, 0, add);
          expect(got).toEqual(want);
          const ints = new Int32Array(2 * inner);
          sum(ints, x, sizes);
          expect(ints).toEqual(Int32Array.from(want));
          const scanned = new Float64Array(x.length);
          scan(scanned, x, sizes, 0, add);
          expect(scanned).toEqual(running);
          argBest(ints, x, sizes, larger);
          expect(ints).toEqual(first);
        });
    });

describe("reductions", () => {
  it("of nothing are the initial value, and of no rows are nothing", () => {
    const out = new Float32Array(2).fill(9);
    sum(out, new Float32Array(0), { outer: 2, n: 0, inner: 1 });
    expect(Array.from(out)).toEqual([0, 0]);
    fold(out, new Float32Array(0), { outer: 1, n: 0, inner: 2 }, 1, add);
    expect(Array.from(out)).toEqual([1, 1]);
    expect(() => sum(new Float32Array(0), new Float32Array(0), { outer: 0, n: 3, inner: 2 })).not.toThrow();
  });

  it("add float32 values in double and round once", () => {
    const out = new Float32Array(1);
    sum(out, Float32Array.of(2 ** 24, 1, 1), { outer: 1, n: 3, inner: 1 });
    expect(out[0]).toBe(2 ** 24 + 2);
  });

  it("let the first NaN win a search", () => {
    const x = Float32Array.of(3, Number.NaN, 5, Number.NaN);
    const out = new Int32Array(1);
    argBest(out, x, { outer: 1, n: 4, inner: 1 }, larger);
    expect(out[0]).toBe(1);
  });
});
