/**
 * The order of numbers along the middle axis of (outer, n, inner): which element stands where when they are sorted. Equal
 * ones stay in their order, descending too; NaN are equal and larger than every number, −0 equals 0.
 */

import type { TypedArray } from "../../src/dtype.ts";
import type { ReduceSizes } from "../reduce/reference.ts";

/** The places of the order that are wanted, from `first` up to and without `last`. */
export interface Places {
  descending: boolean;
  first: number;
  last: number;
}

/** out (outer, last − first, inner) = the indices of the elements at these places. */
export function argsort(
  out: TypedArray,
  x: TypedArray,
  { outer, n, inner }: ReduceSizes,
  { descending, first, last }: Places,
): void {
  const sign = descending ? -1 : 1;
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < inner; j++) {
      const start = o * n * inner + j;
      const order = Int32Array.from({ length: n }, (_, k) => k).sort(
        (a, b) => sign * compare(x[start + a * inner], x[start + b * inner]) || a - b,
      );
      const to = o * (last - first) * inner + j;
      for (let k = first; k < last; k++) out[to + (k - first) * inner] = order[k];
    }
}

function compare(a: number, b: number): number {
  if (a < b) return -1;
  if (a > b) return 1;
  return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
}
