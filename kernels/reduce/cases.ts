/** What every reduction is tried on: rows and columns of sizes around the vector width and the blocks. */

import { raggedSizes, wave } from "../elementwise/cases.ts";
import { larger, type ReduceSizes, smaller, sum } from "./reference.ts";

export type SumArgs = [out: Float32Array, x: Float32Array, sizes: ReduceSizes, scale: number];
export type FoldArgs = [
  out: Float32Array,
  x: Float32Array,
  sizes: ReduceSizes,
  initial: number,
  f: (a: number, b: number) => number,
];

export function* sumCases(): Generator<SumArgs> {
  for (const long of [...raggedSizes, 1025, 5000])
    for (const other of [0, 1, 3]) {
      for (const [outer, n, inner] of [
        [other, long, 1],
        [other, 2, long],
        [other, long, 5],
        [1, other, long],
      ])
        yield [wave(outer * inner, 1), wave(outer * n * inner, 2), { outer, n, inner }, 1 / (n + 1)];
    }
}

/** The blocks hold the error to that of some 70 additions. */
export function sumTolerance(out: Float32Array, x: Float32Array, sizes: ReduceSizes, scale: number) {
  const bound = new Float64Array(out.length);
  sum(bound, Float64Array.from(x, Math.abs), sizes, scale);
  const additions = Math.min(sizes.n, 70 + sizes.n / 64) + 2;
  return bound.map((value) => value * additions * 2 ** -24);
}

export function* foldCases(): Generator<FoldArgs> {
  for (const n of raggedSizes)
    for (const spoil of [false, true])
      for (const f of [larger, smaller]) {
        const x = wave(3 * n, n);
        if (spoil && n > 0) x[n + Math.floor(n / 2)] = Number.NaN;
        const initial = f === larger ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
        yield [wave(3, 1), x, { outer: 3, n, inner: 1 }, initial, f];
      }
}
