/**
 * Reductions of x seen as (outer, n, inner) over n into out (outer, inner). Sums and products run in double precision and
 * round once; integer operands pass through doubles. NaN wins every comparison, as in PyTorch; among equals the first wins.
 */

import type { FloatArray, TypedArray } from "../../src/dtype.ts";
import { asFloats, writeFloats } from "../floats.ts";

export interface ReduceSizes {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
}

/** out = scale · sum over n. */
export function sum(out: TypedArray, x: TypedArray, sizes: ReduceSizes, scale = 1): void {
  const values = asFloats(x);
  writeFloats(out, (to) => sumFloats(to, values, sizes, scale));
}

function sumFloats(out: FloatArray, x: FloatArray, { outer, n, inner }: ReduceSizes, scale: number): void {
  if (inner === 1) {
    for (let o = 0; o < outer; o++) {
      let total = 0;
      for (let i = o * n, end = i + n; i < end; i++) total += x[i];
      out[o] = total * scale;
    }
    return;
  }
  const totals = new Float64Array(inner);
  for (let o = 0; o < outer; o++) {
    totals.fill(0);
    for (let k = 0; k < n; k++) {
      const row = (o * n + k) * inner;
      for (let j = 0; j < inner; j++) totals[j] += x[row + j];
    }
    for (let j = 0; j < inner; j++) out[o * inner + j] = totals[j] * scale;
  }
}

/** out = f(… f(f(initial, x₀), x₁) …) over n. */
export function fold(
  out: TypedArray,
  x: TypedArray,
  { outer, n, inner }: ReduceSizes,
  initial: number,
  f: (accumulated: number, x: number) => number,
): void {
  const values = asFloats(x);
  writeFloats(out, (to) => {
    for (let o = 0; o < outer; o++) {
      for (let j = 0; j < inner; j++) {
        let value = initial;
        for (let k = 0, i = o * n * inner + j; k < n; k++, i += inner) value = f(value, values[i]);
        to[o * inner + j] = value;
      }
    }
  });
}

/** What `fold` takes for a maximum and a minimum: NaN wins. */
export const larger = (a: number, b: number): number => (Number.isNaN(a) || a > b ? a : b);
export const smaller = (a: number, b: number): number => (Number.isNaN(a) || a < b ? a : b);

/** out = index along n of the element that `better` prefers. n must be positive. */
export function argBest(
  out: TypedArray,
  x: TypedArray,
  { outer, n, inner }: ReduceSizes,
  better: (candidate: number, best: number) => boolean,
): void {
  const values = asFloats(x);
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < inner; j++) {
      const start = o * n * inner + j;
      let best = 0;
      for (let k = 1; k < n; k++) {
        const held = values[start + best * inner];
        if (Number.isNaN(held)) break;
        const candidate = values[start + k * inner];
        if (better(candidate, held) || Number.isNaN(candidate)) best = k;
      }
      out[o * inner + j] = best;
    }
  }
}

/** out[k] = f(out[k−1], x[k]) along n: running sums and products. `out` has the size of x. */
export function scan(
  out: TypedArray,
  x: TypedArray,
  { outer, n, inner }: ReduceSizes,
  initial: number,
  f: (accumulated: number, x: number) => number,
): void {
  const values = asFloats(x);
  writeFloats(out, (to) => {
    for (let o = 0; o < outer; o++) {
      for (let j = 0; j < inner; j++) {
        let value = initial;
        for (let k = 0, i = o * n * inner + j; k < n; k++, i += inner) {
          value = f(value, values[i]);
          to[i] = value;
        }
      }
    }
  });
}
