/** What every cross entropy is tried on: class counts around the vector width, ignored positions, label smoothing. */

import { raggedSizes, wave } from "../elementwise/cases.ts";
import type { ReduceSizes } from "../reduce/reference.ts";
import { type CrossEntropyOptions, crossEntropy } from "./reference.ts";

export type ForwardArgs = [
  loss: Float32Array,
  lse: Float64Array,
  logits: Float32Array,
  targets: Int32Array,
  sizes: ReduceSizes,
  options: CrossEntropyOptions,
];
export type BackwardArgs = [
  dLogits: Float32Array,
  dLoss: Float32Array,
  lse: Float64Array,
  logits: Float32Array,
  targets: Int32Array,
  sizes: ReduceSizes,
  options: CrossEntropyOptions,
];

const rows = 5;

export function* forwardCases(): Generator<ForwardArgs> {
  for (const n of [...raggedSizes.filter((size) => size > 0), 5000])
    for (const scale of [1, 30])
      for (const labelSmoothing of [0, 0.1]) {
        const targets = Int32Array.from({ length: rows }, (_, r) => (r === 2 ? -100 : (r * 7919) % n));
        const sizes = { outer: rows, n, inner: 1 };
        const options = { ignoreIndex: -100, labelSmoothing, weight: null };
        yield [wave(rows, 1), new Float64Array(rows), wave(rows * n, n, scale), targets, sizes, options];
      }
}

/** The logarithm of a sum whose terms are 3e-7 off, and the rounding of the result. */
export const forwardTolerance = (loss: Float32Array, _: Float64Array, logits: Float32Array): Float64Array => {
  const largest = logits.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
  return new Float64Array(loss.length).fill(1e-6 * largest);
};

export function* backwardCases(): Generator<BackwardArgs> {
  for (const [loss, lse, logits, targets, sizes, options] of forwardCases()) {
    crossEntropy(loss, lse, logits, targets, sizes, options);
    yield [wave(logits.length, 3), wave(rows, 4), lse, logits, targets, sizes, options];
  }
}

export const backwardTolerance = (
  dLogits: Float32Array,
  dLoss: Float32Array,
  _lse: Float64Array,
  _logits: Float32Array,
  _targets: Int32Array,
  { n }: ReduceSizes,
): Float64Array => Float64Array.from(dLogits, (_, i) => 1e-6 * Math.abs(dLoss[Math.floor(i / n)]));
