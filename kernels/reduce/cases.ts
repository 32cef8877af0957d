/** What every reduction is tried on: rows and columns of sizes around the vector width and the blocks. */

import { dtypeOfArray, type FloatArray, newArray, type TypedArray } from "../../src/dtype.ts";
import { raggedSizes, wave } from "../elementwise/cases.ts";
import { times } from "../elementwise/arithmetic.ts";
import { filled } from "../mixed/cases.ts";
import {
  added,
  counted,
  type Folded,
  larger,
  type ReduceSizes,
  smaller,
  squared,
  sum,
  timesWhole,
} from "./reference.ts";

export type SumArgs = [out: FloatArray, x: TypedArray, sizes: ReduceSizes, scale: number];
export type FoldArgs = [out: TypedArray, x: TypedArray, sizes: ReduceSizes, initial: number, f: Folded];
export type ArgArgs = [out: Int32Array, x: TypedArray, sizes: ReduceSizes, f: Folded];
export type DeviationArgs = [out: Float64Array, x: TypedArray, centers: Float64Array, sizes: ReduceSizes];

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
  for (const type of ["int32", "uint32", "int8", "uint8"] as const)
    for (const sizes of wide) {
      const { outer, n, inner } = sizes;
      yield [wave(outer * inner, 1), filled(type, outer * n * inner, 1), sizes, 1 / (n + 1)];
    }
  for (const sizes of wide) {
    const x = wave(sizes.outer * sizes.n * sizes.inner, 1);
    yield [new Float64Array(sizes.outer * sizes.inner), x, sizes, 1 / (sizes.n + 1)];
  }
}

/** The blocks hold the error to that of some 70 additions. */
export function sumTolerance(out: FloatArray, x: TypedArray, sizes: ReduceSizes, scale: number) {
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

/** Rows and columns around the vector width and the blocks of numbers of any type. */
const blocks: readonly ReduceSizes[] = [
  ...[0, 1, 3, 4, 7, 511, 512, 513, 1030].map((n) => ({ outer: 3, n, inner: 1 })),
  ...[2, 3, 12, 13, 511, 512, 513, 1025].map((inner) => ({ outer: 2, n: 5, inner })),
  { outer: 2, n: 0, inner: 13 },
];

export function* anyFoldCases(among = blocks): Generator<FoldArgs> {
  for (const sizes of among)
    for (const type of ["float32", "float64", "int32", "uint32", "int8", "uint8"] as const) {
      const { outer, n, inner } = sizes;
      // Some without what is not finite, so that it does not hide all else.
      const x = filled(type, outer * n * inner, 1);
      const finite = x.map((value) => (Number.isFinite(value) ? value : 3)) as TypedArray;
      const into = () => (inner % 2 === 0 ? wave(outer * inner, 1) : new Float64Array(outer * inner));
      for (const values of [x, finite]) {
        for (const f of [added, squared, counted]) yield [into(), values, sizes, 0, f];
        for (const f of [times, timesWhole]) yield [into(), values, sizes, 1, f];
        yield [into(), values, sizes, Number.NEGATIVE_INFINITY, larger];
        yield [into(), values, sizes, Number.POSITIVE_INFINITY, smaller];
      }
    }
}

/** Without narrow columns, which are left to the reference. */
const wide = blocks.filter(({ inner }) => inner === 1 || inner >= 12);

export function* argCases(): Generator<ArgArgs> {
  for (const [, x, sizes, , f] of anyFoldCases(wide))
    if (sizes.n > 0 && (f === larger || f === smaller))
      yield [new Int32Array(sizes.outer * sizes.inner), x, sizes, f];
}

export function* scanCases(): Generator<FoldArgs> {
  for (const [out, x, sizes, initial, f] of anyFoldCases(wide))
    if (f === added || f === times) yield [newArray(dtypeOfArray(out)!, x.length), x, sizes, initial, f];
}

export function* deviationCases(): Generator<DeviationArgs> {
  for (const sizes of wide)
    for (const type of ["float32", "float64", "int32", "uint8"] as const) {
      const { outer, n, inner } = sizes;
      const centers = Float64Array.from(wave(outer * inner, 3, 2));
      yield [new Float64Array(outer * inner).fill(7), filled(type, outer * n * inner, 1), centers, sizes];
    }
}
