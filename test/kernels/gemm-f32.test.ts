import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type GemmShape, gemm } from "../../kernels/gemm-f32/reference.ts";
import type { TypedArray } from "../../src/dtype.ts";
import { values } from "./check.ts";

/** The definition: sums in order of k, in double, rounded by the store. */
function naive(out: TypedArray, a: TypedArray, b: TypedArray, shape: GemmShape): void {
  const { m, n, k, transposeA, transposeB, aOffset = 0, bOffset = 0, outOffset = 0, accumulate } = shape;
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = accumulate ? out[outOffset + i * n + j] : 0;
      for (let l = 0; l < k; l++)
        sum +=
          a[aOffset + (transposeA ? l * m + i : i * k + l)] *
          b[bOffset + (transposeB ? j * k + l : l * n + j)];
      out[outOffset + i * n + j] = sum;
    }
}

function expectNaive<T extends TypedArray>(out: T, a: TypedArray, b: TypedArray, shape: GemmShape): void {
  const want = out.slice();
  naive(want, a, b, shape);
  gemm(out, a, b, shape);
  expect(out).toEqual(want);
}

const sizes = [0, 1, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33, 64, 65];

describe("gemm", () => {
  for (const transposeA of [false, true])
    for (const transposeB of [false, true])
      it(`equals the ordered double sum bit for bit with transposeA ${transposeA}, transposeB ${transposeB}`, () => {
        for (const m of sizes)
          for (const n of sizes)
            for (const k of [0, 1, 2, 5, 17, 64]) {
              const shape = { m, n, k, transposeA, transposeB };
              const a = Float32Array.from(values(m * k, 1));
              const b = Float32Array.from(values(k * n, 2));
              const want = new Float32Array(m * n).fill(7);
              const got = new Float32Array(m * n).fill(9);
              naive(want, a, b, shape);
              gemm(got, a, b, shape);
              if (!want.every((value, i) => value === got[i]))
                expect(got, JSON.stringify(shape)).toEqual(want);
            }
      });

  it("keeps the order of the sum across depth, row and column blocks", () => {
    for (const [m, n, k] of [
      [65, 129, 257],
      [130, 258, 600],
      [3, 300, 513],
    ])
      for (const transposeA of [false, true])
        expectNaive(new Float64Array(m * n), values(m * k, 3), values(k * n, 4), {
          m,
          n,
          k,
          transposeA,
          transposeB: !transposeA,
        });
  });

  it("multiplies a long row or column longer than the scratch", () => {
    const n = 8200;
    for (const transposed of [false, true]) {
      const row = { m: 1, n, k: 3, transposeB: transposed };
      expectNaive(new Float32Array(n), values(3, 5), values(3 * n, 6), row);
      const column = { m: n, n: 1, k: 3, transposeA: transposed };
      expectNaive(new Float32Array(n), values(3 * n, 5), values(3, 6), column);
    }
  });

  it("reads and writes at offsets and leaves the rest of out alone", () => {
    const shape = { m: 5, n: 6, k: 7, aOffset: 2, bOffset: 3, outOffset: 4 };
    const out = new Float32Array(40).fill(-1);
    expectNaive(out, values(60, 1), values(60, 2), shape);
    expect(Array.from(out.subarray(0, 4))).toEqual([-1, -1, -1, -1]);
    expect(Array.from(out.subarray(34))).toEqual([-1, -1, -1, -1, -1, -1]);
  });

  it("adds to out with accumulate, whatever the shape", () => {
    for (const [m, n] of [
      [1, 6],
      [6, 1],
      [6, 7],
    ])
      expectNaive(new Float64Array(m * n).fill(0.3), values(m * 5, 1), values(5 * n, 2), {
        m,
        n,
        k: 5,
        accumulate: true,
      });
  });

  it("is exact for integer arrays of every type, mixed with floats", () => {
    const shape = { m: 9, n: 10, k: 33 };
    const a = Int8Array.from({ length: 9 * 33 }, (_, i) => ((i * 37) % 255) - 127);
    const b = Uint8Array.from({ length: 33 * 10 }, (_, i) => (i * 91) % 256);
    expectNaive(new Int32Array(90), a, b, shape);
    expectNaive(new Float32Array(90), a, b, shape);
    expectNaive(new Float64Array(90), Uint32Array.from(b.subarray(0, 297)), values(330, 1), shape);
    expectNaive(new Int32Array(92).fill(5), a, b, { ...shape, accumulate: true, outOffset: 1 });
  });

  it("carries NaN and infinity only into the rows and columns that hold them", () => {
    const a = Float32Array.from(values(15, 1));
    a[1] = Number.NaN;
    a[5] = Number.POSITIVE_INFINITY;
    expectNaive(new Float32Array(15), a, Float32Array.from(values(25, 2)), { m: 3, n: 5, k: 5 });
  });

  it("equals the definition for random shapes and layouts", () => {
    const size = fc.integer({ min: 0, max: 40 });
    fc.assert(
      fc.property(size, size, size, fc.boolean(), fc.boolean(), (m, n, k, transposeA, transposeB) => {
        expectNaive(new Float32Array(m * n), values(m * k, 1), values(k * n, 2), {
          m,
          n,
          k,
          transposeA,
          transposeB,
        });
      }),
    );
  });
});
