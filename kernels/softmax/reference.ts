/**
 * softmax, logSoftmax and logSumExp over the middle axis of (outer, n, inner), and gradients from the output.
 *
 * Exactness: the largest element is subtracted first, sums run in double, each result is rounded once. Infinities follow
 * the arithmetic, as in PyTorch: −Infinity gets probability 0, a row of nothing but −Infinity or with +Infinity gives NaN.
 * Memory: the caller allocates the results, which may be the very array of an input. Scratch is one row.
 */

import type { FloatArray } from "../../src/dtype.ts";
import type { ReduceSizes } from "../reduce/reference.ts";

/** The largest of n elements from `start` every `step`; −Infinity for none. NaN is passed over: the sum meets it. */
function largest(x: FloatArray, start: number, n: number, step: number): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let k = 0, i = start; k < n; k++, i += step) if (x[i] > max) max = x[i];
  return max;
}

/** log Σ exp of n elements from `start` every `step`: NaN where they are all −Infinity or one is +Infinity. */
export function logSumExp(x: FloatArray, start: number, n: number, step: number): number {
  const max = largest(x, start, n, step);
  let sum = 0;
  for (let k = 0, i = start; k < n; k++, i += step) sum += Math.exp(x[i] - max);
  return max + Math.log(sum);
}

/** out = exp(x) / Σ exp(x) over n. */
export function softmax(out: FloatArray, x: FloatArray, { outer, n, inner }: ReduceSizes): void {
  const row = new Float64Array(n);
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < inner; j++) {
      const start = o * n * inner + j;
      const max = largest(x, start, n, inner);
      let sum = 0;
      for (let k = 0, i = start; k < n; k++, i += inner) {
        const e = Math.exp(x[i] - max);
        row[k] = e;
        sum += e;
      }
      for (let k = 0, i = start; k < n; k++, i += inner) out[i] = row[k] / sum;
    }
}

/** out = x − log Σ exp(x) over n. */
export function logSoftmax(out: FloatArray, x: FloatArray, { outer, n, inner }: ReduceSizes): void {
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < inner; j++) {
      const start = o * n * inner + j;
      const max = largest(x, start, n, inner);
      let sum = 0;
      for (let k = 0, i = start; k < n; k++, i += inner) sum += Math.exp(x[i] - max);
      const log = Math.log(sum);
      for (let k = 0, i = start; k < n; k++, i += inner) out[i] = x[i] - max - log;
    }
}

/** dx = out · (dOut − Σ dOut·out over n), out being what `softmax` gave. */
export function softmaxGrad(
  dx: FloatArray,
  dOut: FloatArray,
  out: FloatArray,
  { outer, n, inner }: ReduceSizes,
): void {
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < inner; j++) {
      const start = o * n * inner + j;
      let sum = 0;
      for (let k = 0, i = start; k < n; k++, i += inner) sum += dOut[i] * out[i];
      for (let k = 0, i = start; k < n; k++, i += inner) dx[i] = out[i] * (dOut[i] - sum);
    }
}

/** dx = dOut − exp(out) · Σ dOut over n, out being what `logSoftmax` gave. */
export function logSoftmaxGrad(
  dx: FloatArray,
  dOut: FloatArray,
  out: FloatArray,
  { outer, n, inner }: ReduceSizes,
): void {
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < inner; j++) {
      const start = o * n * inner + j;
      let sum = 0;
      for (let k = 0, i = start; k < n; k++, i += inner) sum += dOut[i];
      for (let k = 0, i = start; k < n; k++, i += inner) dx[i] = dOut[i] - Math.exp(out[i]) * sum;
    }
}

/** out = log Σ exp(x) over n, of shape (outer, inner): −Infinity where all are, Infinity where one is. */
export function logSumExpOver(out: FloatArray, x: FloatArray, { outer, n, inner }: ReduceSizes): void {
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < inner; j++) {
      const start = o * n * inner + j;
      let top = Number.NEGATIVE_INFINITY;
      for (let k = 0; k < n; k++) top = Math.max(top, x[start + k * inner]);
      let total = 0;
      if (Number.isFinite(top)) for (let k = 0; k < n; k++) total += Math.exp(x[start + k * inner] - top);
      out[o * inner + j] = Number.isFinite(top) ? top + Math.log(total) : top;
    }
}
