/**
 * Searches for scales by weighted least squares, as ggml's encoders do them. Every step is rounded to float32 as there, so
 * that the bytes are the same. A search writes the codes that it finds into `codes`.
 */

import { signedMax } from "./block.ts";

const fround = Math.fround;

/** Below this ggml takes numbers for zeros. */
export const negligible = 1e-15;

/** Half to even, as `roundEven`, of float32 up to 2²²; where that is beyond all codes, no more than that. */
const nearest = (x: number): number => fround(x + 12582912) - 12582912;

/** The nearest code from 0 to `most`; that of NaN is 0. */
export function codeOf(x: number, most: number): number {
  if (!(x > 0)) return 0;
  return x < most ? nearest(x) : most;
}

/** The nearest code from −levels to levels − 1. */
export function signedCode(x: number, levels: number): number {
  const code = nearest(x);
  if (code < -levels) return -levels;
  return code < levels ? code : levels - 1;
}

/** A sum in float32, number by number. */
export function sum(x: Float32Array): number {
  let total = 0;
  for (let i = 0; i < x.length; i++) total = fround(total + x[i]);
  return total;
}

export const squares = (x: Float32Array): Float32Array => {
  const out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) out[i] = x[i] * x[i];
  return out;
};

/** What errors of numbers x count: the importance of their column times √(σ² + x²). */
export function importanceWeights(x: Float32Array, importance: Float32Array, variance: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++)
    out[i] = importance[i] * fround(Math.sqrt(fround(variance + fround(x[i] * x[i]))));
  return out;
}

/** The trial scales of a search: (most + first + k · step) / range for k = 0 … steps. */
export interface Trials {
  readonly first: number;
  readonly step: number;
  readonly steps: number;
}

/** What ggml tries with an importance. */
export const importanceTrials: Trials = { first: fround(-0.9), step: fround(0.05), steps: 36 };

/** What is lost of x by scale · code + least; some number that is no less than `enough`, where that is passed. */
function affineError(
  x: Float32Array,
  w: Float32Array,
  codes: Uint8Array,
  scale: number,
  least: number,
  absolute: boolean,
  enough: number,
): number {
  let error = 0;
  for (let i = 0; i < x.length && !(error >= enough); i++) {
    const diff = fround(fround(fround(scale * codes[i]) + least) - x[i]);
    error = fround(error + fround(w[i] * (absolute ? Math.abs(diff) : fround(diff * diff))));
  }
  return error;
}

/**
 * Codes 0 to `most` and the scale and minimum of x ≈ scale · code + least, least ≤ 0, by least squares weighted by w, over
 * trial scales, which span from the best minimum so far. The best loses least of the squares of errors, or of their
 * absolute values.
 */
export function fitAffine(
  x: Float32Array,
  w: Float32Array,
  codes: Uint8Array,
  most: number,
  { first, step, steps }: Trials,
  absolute = false,
): { scale: number; least: number } {
  const n = x.length;
  let [least, max, sumW, sumX] = [x[0], x[0], 0, 0];
  for (let i = 0; i < n; i++) {
    if (x[i] < least) least = x[i];
    if (x[i] > max) max = x[i];
    sumW = fround(sumW + w[i]);
    sumX = fround(sumX + fround(w[i] * x[i]));
  }
  if (least > 0) least = 0;
  const range = fround(max - least);
  // Below this most / range would overflow.
  if (range < 2 ** -120) {
    codes.fill(0);
    return { scale: 0, least };
  }
  const whole = fround(most / range);
  let scale = fround(1 / whole);
  for (let i = 0; i < n; i++) codes[i] = codeOf(fround(whole * fround(x[i] - least)), most);
  let best = affineError(x, w, codes, scale, least, absolute, Infinity);
  const trial = new Uint8Array(n);
  for (let k = 0; k <= steps; k++) {
    const inverse = fround(fround(fround(first + fround(step * k)) + most) / fround(max - least));
    let [sumL, sumL2, sumXL] = [0, 0, 0];
    for (let i = 0; i < n; i++) {
      const code = codeOf(fround(inverse * fround(x[i] - least)), most);
      const wl = fround(w[i] * code);
      trial[i] = code;
      sumL = fround(sumL + wl);
      sumL2 = fround(sumL2 + fround(wl * code));
      sumXL = fround(sumXL + fround(wl * x[i]));
    }
    const determinant = fround(fround(sumW * sumL2) - fround(sumL * sumL));
    if (!(determinant > 0)) continue;
    let s = fround(fround(fround(sumW * sumXL) - fround(sumX * sumL)) / determinant);
    let m = fround(fround(fround(sumL2 * sumX) - fround(sumL * sumXL)) / determinant);
    if (m > 0) [s, m] = [fround(sumXL / sumL2), 0];
    const error = affineError(x, w, trial, s, m, absolute, best);
    if (!(error < best)) continue;
    [best, scale, least] = [error, s, m];
    codes.set(trial);
  }
  return { scale, least };
}

/** 0, then the others from −n to n: trials begin with the scale that has the largest number at the end of the codes. */
const around = (n: number): number[] =>
  Array.from({ length: 2 * n + 1 }, (_, k) => k - n).sort((a, b) => (a === 0 ? -1 : b === 0 ? 1 : a - b));
const symmetricSteps = /* @__PURE__ */ around(9);
const positiveSteps = /* @__PURE__ */ around(4);

/** The scale that has `max` at `end`, and those beside it. */
const trialAt = (end: number, step: number, max: number): number =>
  fround(fround(end + fround(fround(0.1) * step)) / max);

/**
 * Codes and the scale of x ≈ scale · (code − levels), of 2 · levels codes, that loses least of errors weighted by w. Zeros
 * have code 0 and scale 0. Where products overflow the scale is not finite.
 */
export function fitSymmetric(x: Float32Array, w: Float32Array, codes: Uint8Array, levels: number): number {
  const max = signedMax(x);
  codes.fill(0);
  if (Math.abs(max) < negligible) return 0;
  let [scale, best, inverse] = [0, -1, fround(-levels / max)];
  for (const step of symmetricSteps) {
    const trial = -trialAt(levels, step, max);
    let [xl, l2] = [0, 0];
    for (let i = 0; i < x.length; i++) {
      const code = signedCode(fround(trial * x[i]), levels);
      xl = fround(xl + fround(fround(w[i] * x[i]) * code));
      l2 = fround(l2 + fround(fround(w[i] * code) * code));
    }
    if (l2 === 0 || fround(xl * xl) <= fround(best * l2)) continue;
    scale = fround(xl / l2);
    best = fround(scale * xl);
    inverse = trial;
  }
  for (let i = 0; i < x.length; i++) codes[i] = signedCode(fround(inverse * x[i]), levels) + levels;
  return scale;
}

/**
 * Up to five passes in which each code moves to where the scale of the others would have it, as long as less is lost.
 * Returns the scale of x ≈ scale · code.
 */
function refine(x: Float32Array, w: Float32Array, codes: Int8Array, least: number, most: number): number {
  let [xl, l2] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    xl = fround(xl + fround(fround(w[i] * x[i]) * codes[i]));
    l2 = fround(l2 + fround(fround(w[i] * codes[i]) * codes[i]));
  }
  for (let pass = 0, changed = true; pass < 5 && changed; pass++) {
    changed = false;
    for (let i = 0; i < x.length; i++) {
      const wx = fround(w[i] * x[i]);
      const restXL = fround(xl - fround(wx * codes[i]));
      const restL2 = fround(l2 - fround(fround(w[i] * codes[i]) * codes[i]));
      if (!(restXL > 0)) continue;
      const code = Math.max(least, Math.min(most, nearest(fround(fround(x[i] * restL2) / restXL))));
      if (code === codes[i]) continue;
      const newXL = fround(restXL + fround(wx * code));
      const newL2 = fround(restL2 + fround(fround(w[i] * code) * code));
      if (!(newL2 > 0 && fround(fround(newXL * newXL) * l2) > fround(fround(xl * xl) * newL2))) continue;
      [codes[i], xl, l2, changed] = [code, newXL, newL2, true];
    }
  }
  return l2 <= 0 ? 0 : fround(xl / l2);
}

/** As `fitSymmetric`, from the scale that has the largest number at the end of the codes, refined. */
export function refineSymmetric(x: Float32Array, w: Float32Array, codes: Uint8Array, levels: number): number {
  const max = signedMax(x);
  codes.fill(0);
  if (Math.abs(max) < negligible) return 0;
  const inverse = fround(-levels / max);
  const signed = new Int8Array(x.length);
  for (let i = 0; i < x.length; i++) signed[i] = signedCode(fround(inverse * x[i]), levels);
  const scale = refine(x, w, signed, -levels, levels - 1);
  for (let i = 0; i < x.length; i++) codes[i] = signed[i] + levels;
  return scale;
}

/**
 * Codes 0 to `most` and the scale of numbers x ≥ 0 ≈ scale · code, errors weighted by w: the best of nine scales, refined.
 */
export function fitPositive(x: Float32Array, w: Float32Array, codes: Uint8Array, most: number): number {
  const max = Math.max(0, ...x);
  codes.fill(0);
  if (max < negligible) return 0;
  let [least, inverse] = [Infinity, fround(most / max)];
  for (const step of positiveSteps) {
    const trial = trialAt(most, step, max);
    const scale = fround(1 / trial);
    let error = 0;
    for (let i = 0; i < x.length; i++) {
      const diff = fround(x[i] - fround(scale * codeOf(fround(trial * x[i]), most)));
      error = fround(error + fround(fround(w[i] * diff) * diff));
    }
    if (error < least) [least, inverse] = [error, trial];
  }
  const found = new Int8Array(x.length);
  for (let i = 0; i < x.length; i++) found[i] = codeOf(fround(inverse * x[i]), most);
  const scale = refine(x, w, found, 0, most);
  codes.set(found);
  return scale;
}
