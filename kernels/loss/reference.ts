/**
 * Cross entropy of logits against class indices, one loss a position, and its gradient.
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
