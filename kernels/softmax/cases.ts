/** What every softmax is tried on: rows of sizes around the vector width, with infinities and NaN. */

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

const backward = (forward: (out: Float32Array, x: Float32Array, sizes: ReduceSizes) => void) =>
  function* (): Generator<BackwardArgs> {
    for (const n of [...raggedSizes, 5000])
      for (const scale of [1, 30]) {
        const sizes = { outer: 3, n, inner: 1 };
        const out = new Float32Array(3 * n);
        forward(out, wave(3 * n, n, scale), sizes);
        yield [wave(3 * n, 1), wave(3 * n, 2), out, sizes];
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
