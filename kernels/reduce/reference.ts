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

export type Folded = (accumulated: number, x: number) => number;

/** out = f(… f(f(initial, x₀), x₁) …) over n. */
export function fold(
  out: TypedArray,
  x: TypedArray,
  { outer, n, inner }: ReduceSizes,
  initial: number,
  f: Folded,
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

/** What `fold` takes. For a maximum and a minimum: NaN wins. */
export const larger: Folded = (a, b) => (Number.isNaN(a) || a > b ? a : b);
export const smaller: Folded = (a, b) => (Number.isNaN(a) || a < b ? a : b);
export const added: Folded = (a, b) => a + b;
/** Of integers: 0 also of a 0 and a product beyond all numbers. */
export const timesWhole: Folded = (a, b) => (a === 0 || b === 0 ? 0 : a * b);
export const squared: Folded = (a, b) => a + b * b;
/** How many are other than 0. */
export const counted: Folded = (a, b) => a + Number(b !== 0);

/** out = Σ (x − centers)² over n; both are (outer, inner). */
export function deviations(
  out: Float64Array,
  x: TypedArray,
  centers: Float64Array,
  { outer, n, inner }: ReduceSizes,
): void {
  const values = asFloats(x);
  out.fill(0);
  for (let o = 0; o < outer; o++)
    for (let k = 0; k < n; k++)
      for (let j = 0, i = (o * n + k) * inner; j < inner; j++, i++) {
        const d = values[i] - centers[o * inner + j];
        out[o * inner + j] += d * d;
      }
}

/** out = index along n of the first element that is what `f`, larger or smaller, leaves of all. n must be positive. */
export function argBest(out: TypedArray, x: TypedArray, { outer, n, inner }: ReduceSizes, f: Folded): void {
  const values = asFloats(x);
  for (let o = 0; o < outer; o++) {
    for (let j = 0; j < inner; j++) {
      const start = o * n * inner + j;
      let best = values[start];
      for (let k = 1, i = start + inner; k < n; k++, i += inner) best = f(best, values[i]);
      let k = 0;
      while (!(values[start + k * inner] === best || Number.isNaN(values[start + k * inner]))) k++;
      out[o * inner + j] = k;
    }
  }
}

/** out[k] = f(out[k−1], x[k]) along n: running sums and products. `out` has the size of x. */
export function scan(
  out: TypedArray,
  x: TypedArray,
  { outer, n, inner }: ReduceSizes,
  initial: number,
  f: Folded,
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
