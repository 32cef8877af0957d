/**
 * Cross entropy of logits against class indices, one loss a position, and its gradient; and the divergence of two softmaxes.
 *
 * Layout: logits and dLogits are (outer, n, inner) with the n classes in the middle, as PyTorch's (N, C, …); targets, loss,
 * dLoss and lse are (outer, inner); weight is (n). The caller has checked that every target is a class or ignoreIndex.
 * Meaning: with p = softmax(logits), t the target, s the label smoothing and w the weights (1 where there are none),
 * loss = −(1 − s)·w[t]·log p[t] − (s/n)·Σ w[c]·log p[c], and 0 at ignored positions: PyTorch's cross_entropy, reduction none.
 * A class of weight 0 is not read, so that it may have the logit −Infinity.
 * Exactness: in double, rounded once. lse holds log Σ exp of each position for the gradient; give it doubles.
 * Memory: the caller allocates everything; results are overwritten.
 */

import type { FloatArray, TypedArray } from "../../src/dtype.ts";
import type { ReduceSizes } from "../reduce/reference.ts";
import { logSumExp } from "../softmax/reference.ts";

export interface CrossEntropyOptions {
  /** Positions with this target have loss and gradient 0. */
  ignoreIndex: number;
  /** Share of the target spread evenly over all classes, 0 to 1. */
  labelSmoothing: number;
  weight: FloatArray | null;
}

const scaled = (loss: number, weight: number): number => (weight === 0 ? 0 : loss * weight);

/** loss and lse (outer, inner) of logits (outer, n, inner). */
export function crossEntropy(
  loss: FloatArray,
  lse: FloatArray,
  logits: FloatArray,
  targets: TypedArray,
  { outer, n, inner }: ReduceSizes,
  { ignoreIndex, labelSmoothing, weight }: CrossEntropyOptions,
): void {
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < inner; j++) {
      const at = o * inner + j;
      const start = o * n * inner + j;
      const target = targets[at];
      const norm = logSumExp(logits, start, n, inner);
      lse[at] = norm;
      if (target === ignoreIndex) {
        loss[at] = 0;
        continue;
      }
      const own = scaled(norm - logits[start + target * inner], weight === null ? 1 : weight[target]);
      if (labelSmoothing === 0) {
        loss[at] = own;
        continue;
      }
      let spread = 0;
      for (let c = 0, i = start; c < n; c++, i += inner)
        spread += scaled(norm - logits[i], weight === null ? 1 : weight[c]);
      loss[at] = (1 - labelSmoothing) * own + (labelSmoothing / n) * spread;
    }
}

/** dLogits (outer, n, inner) from dLoss and the lse that `crossEntropy` wrote. */
export function crossEntropyGrad(
  dLogits: FloatArray,
  dLoss: FloatArray,
  lse: FloatArray,
  logits: FloatArray,
  targets: TypedArray,
  { outer, n, inner }: ReduceSizes,
  { ignoreIndex, labelSmoothing, weight }: CrossEntropyOptions,
): void {
  const share = labelSmoothing / n;
  let total = n;
  if (weight !== null) {
    total = 0;
    for (let c = 0; c < n; c++) total += weight[c];
  }
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < inner; j++) {
      const at = o * inner + j;
      const start = o * n * inner + j;
      const target = targets[at];
      if (target === ignoreIndex) {
        for (let c = 0, i = start; c < n; c++, i += inner) dLogits[i] = 0;
        continue;
      }
      const grad = dLoss[at];
      const own = (1 - labelSmoothing) * (weight === null ? 1 : weight[target]);
      const all = own + share * total;
      for (let c = 0, i = start; c < n; c++, i += inner) {
        const wanted = (c === target ? own : 0) + share * (weight === null ? 1 : weight[c]);
        // What has no weight is not read.
        dLogits[i] = all === 0 && wanted === 0 ? 0 : grad * (all * Math.exp(logits[i] - lse[at]) - wanted);
      }
    }
}

/**
 * loss (rows) = Σ p · (log p − log q) over n classes, p and q the softmax of teacher and student (rows, n) over the
 * temperature: the divergence of the student, 0 where p is 0. stats (rows, 4) holds for each the largest logit and the sum
 * of exp((x − it) / temperature), the student's first; give it doubles.
 */
export function divergence(
  loss: FloatArray,
  stats: FloatArray,
  student: FloatArray,
  teacher: FloatArray,
  n: number,
  temperature: number,
): void {
  const single = loss instanceof Float32Array;
  for (let row = 0; row < loss.length; row++) {
    const [most, sum] = sumExp(student, row, n, temperature);
    const [mostTeacher, sumTeacher] = sumExp(teacher, row, n, temperature);
    stats.set([most, sum, mostTeacher, sumTeacher], 4 * row);
    const log = Math.log(sumTeacher) - Math.log(sum);
    let terms = 0;
    for (let i = row * n; i < (row + 1) * n; i++) {
      const [v, u] = [(student[i] - most) / temperature, (teacher[i] - mostTeacher) / temperature];
      const p = Math.exp(u) / sumTeacher;
      // What the type of the logits does not tell from 0 does not count.
      if ((single ? Math.fround(p) : p) !== 0) terms += p * (u - v - log);
    }
    loss[row] = terms;
  }
}

/** The largest of a row, and Σ exp((x − it) / temperature). */
function sumExp(x: FloatArray, row: number, n: number, temperature: number): [most: number, sum: number] {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = row * n; i < (row + 1) * n; i++) if (x[i] > most) most = x[i];
  let sum = 0;
  for (let i = row * n; i < (row + 1) * n; i++) sum += Math.exp((x[i] - most) / temperature);
  return [most, sum];
}

/** dStudent (rows, n) from dLoss and the stats that `divergence` wrote: dLoss · (q − p) / temperature. */
export function divergenceGrad(
  dStudent: FloatArray,
  dLoss: FloatArray,
  stats: FloatArray,
  student: FloatArray,
  teacher: FloatArray,
  n: number,
  temperature: number,
): void {
  for (let row = 0; row < dLoss.length; row++) {
    const [most, sum, mostTeacher, sumTeacher] = stats.subarray(4 * row);
    const grad = dLoss[row] / temperature;
    for (let i = row * n; i < (row + 1) * n; i++) {
      const q = Math.exp((student[i] - most) / temperature) / sum;
      const p = Math.exp((teacher[i] - mostTeacher) / temperature) / sumTeacher;
      dStudent[i] = grad * (q - p);
    }
  }
}

/** The summed weights of the targets that are not ignored: what a mean loss is divided by. */
export function targetWeight(
  targets: TypedArray,
  { ignoreIndex, weight }: Pick<CrossEntropyOptions, "ignoreIndex" | "weight">,
): number {
  let sum = 0;
  for (let i = 0; i < targets.length; i++)
    if (targets[i] !== ignoreIndex) sum += weight === null ? 1 : weight[targets[i]];
  return sum;
}
