/**
 * Searches for scales by weighted least squares, as ggml's encoders do them. Every step is rounded to float32 as there, so
 * that the bytes are the same.
 */

import { roundEven } from "../elementwise/special.ts";
import { signedMax } from "./block.ts";

const fround = Math.fround;

/** Below this ggml takes numbers for zeros. */
const negligible = 1e-15;

export const clamp = (x: number, least: number, most: number): number => Math.max(least, Math.min(most, x));

/** A sum in float32, term by term. */
export function sum(n: number, term: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < n; i++) total = fround(total + term(i));
  return total;
}

export const sumOfSquares = (x: Float32Array): number => sum(x.length, (i) => fround(x[i] * x[i]));

/** What errors of numbers x count: the importance of their column times √(σ² + x²). */
export const importanceWeights = (
  x: Float32Array,
  importance: Float32Array,
  variance: number,
): Float32Array => x.map((v, i) => importance[i] * fround(Math.sqrt(fround(variance + fround(v * v)))));

/** The trial scales of a search: (15 + first + k · step) / range for k = 0 … steps. */
export interface Trials {
  readonly first: number;
  readonly step: number;
  readonly steps: number;
}

/** What ggml tries without an importance, and with one. */
export const plainTrials: Trials = { first: -1, step: fround(0.1), steps: 20 };
export const importanceTrials: Trials = { first: fround(-0.9), step: fround(0.05), steps: 36 };

/**
 * Codes 0 to 15 and the scale and minimum of x ≈ scale · code − min, min ≥ 0, by least squares of errors that are
 * weighted by w, over trial scales, which span from the best minimum so far.
 */
export function fitAffine(
  x: Float32Array,
  w: Float32Array,
  { first, step, steps }: Trials,
): { scale: number; min: number; codes: number[] } {
  const n = x.length;
  const sumW = sum(n, (i) => w[i]);
  const sumX = sum(n, (i) => fround(w[i] * x[i]));
  let min = Math.min(0, ...x);
  const max = Math.max(...x);
  const range = fround(max - min);
  // Below this 15 / range would overflow.
  if (range < 2 ** -120) return { scale: 0, min: -min + 0, codes: Array(n).fill(0) };
  const codesAt = (inverseScale: number): number[] =>
    Array.from(x, (v) => clamp(roundEven(fround(inverseScale * fround(v - min))), 0, 15));
  const errorOf = (codes: number[], scale: number, least: number): number =>
    sum(n, (i) => {
      const diff = fround(fround(fround(scale * codes[i]) + least) - x[i]);
      return fround(w[i] * fround(diff * diff));
    });
  const whole = fround(15 / range);
  let scale = fround(1 / whole);
  let codes = codesAt(whole);
  let best = errorOf(codes, scale, min);
  for (let k = 0; k <= steps; k++) {
    const levels = fround(fround(first + fround(step * k)) + 15);
    const trial = codesAt(fround(levels / fround(max - min)));
    const sumL = sum(n, (i) => fround(w[i] * trial[i]));
    const sumL2 = sum(n, (i) => fround(fround(w[i] * trial[i]) * trial[i]));
    const sumXL = sum(n, (i) => fround(fround(w[i] * trial[i]) * x[i]));
    const determinant = fround(fround(sumW * sumL2) - fround(sumL * sumL));
    if (!(determinant > 0)) continue;
    let s = fround(fround(fround(sumW * sumXL) - fround(sumX * sumL)) / determinant);
    let m = fround(fround(fround(sumL2 * sumX) - fround(sumL * sumXL)) / determinant);
    if (m > 0) {
      m = 0;
      s = fround(sumXL / sumL2);
    }
    const error = errorOf(trial, s, m);
    if (error < best) [best, scale, min, codes] = [error, s, m, trial];
  }
  return { scale, min: -min + 0, codes };
}

/**
 * Codes −levels to levels − 1 and the scale of x ≈ scale · code that loses least of errors weighted by w; zeros have the
 * least code.
 */
export function fitSymmetric(
  x: Float32Array,
  w: Float32Array,
  levels: number,
): { scale: number; codes: number[] } {
  const max = signedMax(x);
  if (Math.abs(max) < negligible) return { scale: 0, codes: Array(x.length).fill(-levels) };
  const codesAt = (inverseScale: number): number[] =>
    Array.from(x, (v) => clamp(roundEven(fround(inverseScale * v)), -levels, levels - 1));
  const sums = (codes: number[]): [xl: number, l2: number] => [
    sum(x.length, (i) => fround(fround(w[i] * x[i]) * codes[i])),
    sum(x.length, (i) => fround(fround(w[i] * codes[i]) * codes[i])),
  ];
  let codes = codesAt(fround(-levels / max));
  const [xl, l2] = sums(codes);
  let scale = l2 === 0 ? 0 : fround(xl / l2);
  let best = fround(scale * xl);
  for (let step = -9; step <= 9; step++) {
    if (step === 0) continue;
    const trial = codesAt(fround(-fround(levels + fround(fround(0.1) * step)) / max));
    const [trialXL, trialL2] = sums(trial);
    if (!(trialL2 > 0 && fround(trialXL * trialXL) > fround(best * trialL2))) continue;
    scale = fround(trialXL / trialL2);
    best = fround(scale * trialXL);
    codes = trial;
  }
  return { scale, codes };
}

/**
 * Codes 0 to 63 and the scale of numbers x ≥ 0 ≈ scale · code, errors weighted by w: the best of nine scales, then up to
 * five passes in which each code moves to where the scale of the others would have it, as long as less is lost.
 */
export function fitPositive(x: Float32Array, w: Float32Array): { scale: number; codes: number[] } {
  const n = x.length;
  const max = Math.max(0, ...x);
  if (max < negligible) return { scale: 0, codes: Array(n).fill(0) };
  const codesAt = (inverseScale: number): number[] =>
    Array.from(x, (v) => Math.min(63, roundEven(fround(inverseScale * v))));
  const errorAt = (inverseScale: number): number => {
    const codes = codesAt(inverseScale);
    const scale = fround(1 / inverseScale);
    return sum(n, (i) => {
      const diff = fround(x[i] - fround(scale * codes[i]));
      return fround(fround(w[i] * diff) * diff);
    });
  };
  let inverseScale = fround(63 / max);
  let least = errorAt(inverseScale);
  for (let step = -4; step <= 4; step++) {
    const trial = fround(fround(fround(fround(0.1) * step) + 63) / max);
    const error = errorAt(trial);
    if (error < least) [least, inverseScale] = [error, trial];
  }
  const codes = codesAt(inverseScale);
  const xlOf = (i: number, code: number): number => fround(fround(w[i] * x[i]) * code);
  const l2Of = (i: number, code: number): number => fround(fround(w[i] * code) * code);
  let xl = sum(n, (i) => xlOf(i, codes[i]));
  let l2 = sum(n, (i) => l2Of(i, codes[i]));
  for (let pass = 0, changed = true; pass < 5 && changed; pass++) {
    changed = false;
    for (let i = 0; i < n; i++) {
      const restXL = fround(xl - xlOf(i, codes[i]));
      const restL2 = fround(l2 - l2Of(i, codes[i]));
      if (!(restXL > 0 && restL2 > 0)) continue;
      const code = Math.min(63, roundEven(fround(fround(x[i] * restL2) / restXL)));
      if (code === codes[i]) continue;
      const [newXL, newL2] = [fround(restXL + xlOf(i, code)), fround(restL2 + l2Of(i, code))];
      if (!(fround(fround(newXL * newXL) * l2) > fround(fround(xl * xl) * newL2))) continue;
      [codes[i], xl, l2, changed] = [code, newXL, newL2, true];
    }
  }
  return { scale: l2 > 0 ? fround(xl / l2) : 0, codes };
}
