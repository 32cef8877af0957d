/**
 * Updates of a parameter in one pass over flat arrays of one length. weight and the moments are written in place, grad is
 * left alone; nothing is allocated. Arithmetic runs in double and each stored value is rounded once.
 */

import type { FloatArray } from "../../src/dtype.ts";

export interface AdamStep {
  /** w ← w − decay·w, then g ← g + coupled·w. */
  readonly decay: number;
  readonly coupled: number;
  readonly beta1: number;
  readonly beta2: number;
  /** lr / (1 − β₁ᵗ) and √(1 − β₂ᵗ). */
  readonly size: number;
  readonly rootCorrection: number;
  readonly eps: number;
}

/** m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², w ← w − size·m / (√v/rootCorrection + ε), by the largest v if it is kept. */
export function adam(
  weight: FloatArray,
  grad: FloatArray,
  mean: FloatArray,
  square: FloatArray,
  largest: FloatArray | null,
  { decay, coupled, beta1, beta2, size, rootCorrection, eps }: AdamStep,
): void {
  for (let i = 0; i < weight.length; i++) {
    const w = weight[i] * (1 - decay);
    const g = grad[i] + coupled * w;
    mean[i] = beta1 * mean[i] + (1 - beta1) * g;
    square[i] = beta2 * square[i] + (1 - beta2) * g * g;
    let second = square[i];
    if (largest !== null) {
      largest[i] = Math.max(largest[i], second);
      second = largest[i];
    }
    weight[i] = w - (size * mean[i]) / (Math.sqrt(second) / rootCorrection + eps);
  }
}

export interface SgdStep {
  readonly lr: number;
  /** 1 to descend, −1 to climb. */
  readonly direction: number;
  readonly weightDecay: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly nesterov: boolean;
  /** The first step sets the buffer. */
  readonly first: boolean;
}

/** d = direction·g + λw; with a buffer m ← μm + (1 − dampening)d and d ← m, or d + μm; w ← w − lr·d. */
export function sgd(
  weight: FloatArray,
  grad: FloatArray,
  buffer: FloatArray | null,
  { lr, direction, weightDecay, momentum, dampening, nesterov, first }: SgdStep,
): void {
  for (let i = 0; i < weight.length; i++) {
    let d = direction * grad[i] + weightDecay * weight[i];
    if (buffer !== null) {
      buffer[i] = first ? d : momentum * buffer[i] + (1 - dampening) * d;
      d = nesterov ? d + momentum * buffer[i] : buffer[i];
    }
    weight[i] -= lr * d;
  }
}

export interface LionStep {
  readonly lr: number;
  /** w ← w − decay·w. */
  readonly decay: number;
  readonly beta1: number;
  readonly beta2: number;
}

/** w ← w − decay·w − lr·sign(β₁m + (1 − β₁)g), then m ← β₂m + (1 − β₂)g. */
export function lion(
  weight: FloatArray,
  grad: FloatArray,
  mean: FloatArray,
  { lr, decay, beta1, beta2 }: LionStep,
): void {
  for (let i = 0; i < weight.length; i++) {
    const g = grad[i];
    weight[i] = weight[i] * (1 - decay) - lr * Math.sign(beta1 * mean[i] + (1 - beta1) * g);
    mean[i] = beta2 * mean[i] + (1 - beta2) * g;
  }
}

export interface SignStep {
  readonly lr: number;
  /** w ← w − decay·w. */
  readonly decay: number;
  readonly momentum: number;
}

/** w ← w − decay·w − lr·sign(g), or by the sign of m ← momentum·m + (1 − momentum)g where a mean is kept. */
export function signStep(
  weight: FloatArray,
  grad: FloatArray,
  mean: FloatArray | null,
  { lr, decay, momentum }: SignStep,
): void {
  for (let i = 0; i < weight.length; i++) {
    let d = grad[i];
    if (mean !== null) {
      mean[i] = momentum * mean[i] + (1 - momentum) * d;
      d = mean[i];
    }
    weight[i] = weight[i] * (1 - decay) - lr * Math.sign(d);
  }
}
