/** What every softmax is tried on: rows and columns of sizes around the vector width, with infinities and NaN. */

import { raggedSizes, wave } from "../elementwise/cases.ts";
import type { ReduceSizes } from "../reduce/reference.ts";
import * as reference from "./reference.ts";

export type ForwardArgs = [out: Float32Array, x: Float32Array, sizes: ReduceSizes];
export type BackwardArgs = [dx: Float32Array, dOut: Float32Array, out: Float32Array, sizes: ReduceSizes];

const specials = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, Number.NaN];

export function* forwardCases(): Generator<ForwardArgs> {
  for (const n of [...raggedSizes, 5000])
    for (const scale of [1, 30, 1000]) {
      const x = wave(6 * n, n, scale);
      // Three rows with one special each, one of nothing but −Infinity.
      if (n > 0) for (let r = 0; r < specials.length; r++) x[r * n + (n >> 1)] = specials[r];
      x.fill(Number.NEGATIVE_INFINITY, 3 * n, 4 * n);
      yield [wave(6 * n, 1), x, { outer: 6, n, inner: 1 }];
    }
  yield* columnCases();
}

/** Columns of sizes around the vector width and the block, with specials in some. */
function* columnCases(): Generator<ForwardArgs> {
  for (const inner of [2, 3, 4, 5, 127, 128, 129, 300])
    for (const n of [0, 1, 2, 31, 32, 33, 100]) {
      const sizes = { outer: 3, n, inner };
      const x = wave(3 * n * inner, n, 30);
      if (n > 0)
        for (let r = 0; r < specials.length; r++) x[(r * n + (n >> 1)) * inner + (r % inner)] = specials[r];
      for (let k = 0; k < n; k++) x[(n + k) * inner + inner - 1] = Number.NEGATIVE_INFINITY;
      yield [wave(x.length, 1), x, sizes];
    }
}

/** The same, to one number for each n. */
export function* sumCases(): Generator<ForwardArgs> {
  for (const [, x, sizes] of forwardCases()) yield [wave(sizes.outer * sizes.inner, 1), x, sizes];
  const endless = Float32Array.of(
    Number.POSITIVE_INFINITY,
    Number.NaN,
    1,
    Number.NaN,
    Number.NEGATIVE_INFINITY,
    2,
  );
  yield [wave(2, 1), endless, { outer: 2, n: 3, inner: 1 }];
  yield [wave(2, 1), endless, { outer: 1, n: 3, inner: 2 }];
}

export function softmaxTolerance(out: Float32Array, x: Float32Array, sizes: ReduceSizes): Float64Array {
  const want = new Float64Array(out.length);
  reference.softmax(want, Float64Array.from(x), sizes);
  // Each exponential is 3e-7 off at most, and x − max by half a unit of itself.
  return want.map((p) => p * (6e-7 + 2 ** -23 * Math.abs(Math.log(p || 1))) + 2 ** -126);
}

export function logSoftmaxTolerance(out: Float32Array, x: Float32Array, sizes: ReduceSizes): Float64Array {
  const want = new Float64Array(out.length);
  reference.logSoftmax(want, Float64Array.from(x), sizes);
  return want.map((y) => (Number.isFinite(y) ? 4e-7 + 2 ** -22 * Math.abs(y) : 0));
}

export function sumTolerance(out: Float32Array, x: Float32Array, sizes: ReduceSizes): Float64Array {
  const want = new Float64Array(out.length);
  reference.logSumExpOver(want, x, sizes);
  return want.map((y) => (Number.isFinite(y) ? 1e-6 + 2 ** -22 * Math.abs(y) : 0));
}

const backward = (forward: (out: Float32Array, x: Float32Array, sizes: ReduceSizes) => void) =>
  function* (): Generator<BackwardArgs> {
    for (const n of [...raggedSizes, 5000])
      for (const scale of [1, 30]) {
        const sizes = { outer: 3, n, inner: 1 };
        const out = new Float32Array(3 * n);
        forward(out, wave(3 * n, n, scale), sizes);
        yield [wave(3 * n, 1), wave(3 * n, 2), out, sizes];
      }
    for (const [dx, x, sizes] of columnCases()) {
      const out = new Float32Array(x.length);
      forward(out, wave(x.length, 3, 30), sizes);
      yield [dx, wave(x.length, 2), out, sizes];
    }
  };

export const softmaxGradCases = backward(reference.softmax);
export const logSoftmaxGradCases = backward(reference.logSoftmax);

/** Sums of dOut · out and of dOut run in blocks; no gradient here is above 1. */
export const softmaxGradTolerance = (_: Float32Array, dOut: Float32Array, out: Float32Array): Float64Array =>
  Float64Array.from(dOut, (g, i) => 1e-5 * Math.abs(out[i]) + 1e-6 * Math.abs(g * out[i]));

export const logSoftmaxGradTolerance = (
  _: Float32Array,
  dOut: Float32Array,
  out: Float32Array,
  { n }: ReduceSizes,
): Float64Array =>
  Float64Array.from(dOut, (g, i) => 2e-7 * Math.abs(g) + 1e-6 * Math.exp(out[i]) * (1 + Math.sqrt(n)));
