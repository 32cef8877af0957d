/** What every cross entropy is tried on: class counts around the vector width, ignored positions, label smoothing. */

import { raggedSizes, wave } from "../elementwise/cases.ts";
import type { ReduceSizes } from "../reduce/reference.ts";
import { type CrossEntropyOptions, crossEntropy, divergence } from "./reference.ts";

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

export type DivergenceArgs = [
  loss: Float32Array,
  stats: Float64Array,
  student: Float32Array,
  teacher: Float32Array,
  n: number,
  temperature: number,
];
export type DivergenceGradArgs = [
  dStudent: Float32Array,
  dLoss: Float32Array,
  stats: Float64Array,
  student: Float32Array,
  teacher: Float32Array,
  n: number,
  temperature: number,
];

export function* divergenceCases(): Generator<DivergenceArgs> {
  for (const n of [...raggedSizes.filter((size) => size > 0), 515, 5000])
    for (const scale of [1, 30])
      for (const temperature of [1, 0.7, 4]) {
        const [student, teacher] = [wave(8 * n, n, scale), wave(8 * n, n + 1, scale)];
        // A student that equals its teacher, and one that is off by a constant.
        for (let i = 0; i < n; i++) student[i] = teacher[i];
        for (let i = n; i < 2 * n; i++) student[i] = teacher[i] + 8;
        // Classes that neither gives, one or the other does not give, nothing given, and NaN.
        for (const row of [2, 3]) teacher[row * n + (n >> 1)] = Number.NEGATIVE_INFINITY;
        for (const row of [3, 4]) student[row * n + (n >> 1)] = Number.NEGATIVE_INFINITY;
        student.fill(Number.NEGATIVE_INFINITY, 5 * n, 6 * n);
        teacher[6 * n + (n >> 2)] = Number.NaN;
        yield [wave(8, 1), new Float64Array(32), student, teacher, n, temperature];
      }
}

/** Each exponential is 3e-7 off at most, and so is what it is multiplied by. */
export const divergenceTolerance = (
  loss: Float32Array,
  _: Float64Array,
  student: Float32Array,
  teacher: Float32Array,
  n: number,
  temperature: number,
): Float64Array =>
  Float64Array.from(loss, (_, row) => {
    let most = temperature;
    for (let i = row * n; i < (row + 1) * n; i++)
      for (const x of [student[i], teacher[i]]) if (Number.isFinite(x)) most = Math.max(most, Math.abs(x));
    return (2e-6 * most) / temperature;
  });

export function* divergenceGradCases(): Generator<DivergenceGradArgs> {
  for (const [loss, stats, student, teacher, n, temperature] of divergenceCases()) {
    divergence(loss, stats, student, teacher, n, temperature);
    yield [wave(student.length, 3), wave(loss.length, 4), stats, student, teacher, n, temperature];
  }
}

export const divergenceGradTolerance = (
  dStudent: Float32Array,
  dLoss: Float32Array,
  ...[, student, teacher, n, temperature]: [Float64Array, Float32Array, Float32Array, number, number]
): Float64Array =>
  Float64Array.from(dStudent, (_, i) => {
    const size = [student[i], teacher[i]].reduce(
      (a, x) => (Number.isFinite(x) ? a + Math.abs(x) : a),
      temperature,
    );
    return (2e-6 * size * Math.abs(dLoss[Math.floor(i / n)])) / temperature ** 2;
  });
