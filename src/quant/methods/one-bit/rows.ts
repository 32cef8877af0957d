/** Rows of a weight under a fit of signs, as the Hessian of their inputs sees them: what is left, and how to lessen it. */

import { cholesky, solveFactored } from "../../../../kernels/linalg/cholesky.ts";
import { addScaled, dot } from "../../../../kernels/linalg/rows.ts";
import type { Run, SignFit } from "./fit.ts";

/** A weight (rows, columns) and XᵀX of its inputs, one matrix, or one for each group of as many rows. */
export interface SignProblem {
  readonly weight: Float64Array;
  readonly rows: number;
  readonly columns: number;
  readonly runs: readonly Run[];
  /** (groups, columns, columns). */
  readonly hessian: Float64Array;
}

/** A part of a row, elements from … to − 1, and its run. */
export interface Part {
  readonly k: number;
  readonly from: number;
  readonly to: number;
}

/** The parts of each row, from left to right. */
export function partsOf({ runs, rows, columns }: SignProblem): Part[][] {
  const parts: Part[][] = Array.from({ length: rows }, () => []);
  runs.forEach((run, k) => {
    for (const [from, to] of run) parts[Math.floor(from / columns)].push({ k, from, to });
  });
  for (const list of parts) list.sort((a, b) => a.from - b.from);
  return parts;
}

/** Where the Hessian of a row begins. */
export const hessianAt = ({ hessian, rows, columns: c }: SignProblem, row: number): number =>
  Math.floor((row * (hessian.length / (c * c))) / rows) * c * c;

/**
 * A row under a fit, which changes with it. Its images are products of the Hessian H with vectors: a sign changes them by
 * one column of H, where a product anew takes all of it.
 */
export interface FittedRow {
  /** Its first element. */
  readonly at: number;
  readonly hessian: number;
  readonly parts: readonly Part[];
  /** H · signs of each part. */
  readonly ofSigns: readonly Float64Array[];
  /** H · 1 of each part. */
  readonly ofOnes: readonly Float64Array[];
  /** H · what the fit leaves of the row. */
  readonly ofRest: Float64Array;
}

/** H · 1 of parts, which many rows share, by where the Hessian and the part begin. */
export type Ones = Map<string, Float64Array>;

/** `target` is H · the row. */
export function fittedRow(
  problem: SignProblem,
  fit: SignFit,
  row: number,
  parts: readonly Part[],
  target: Float64Array,
  ones: Ones,
): FittedRow {
  const { columns, hessian } = problem;
  const at = row * columns;
  const of = hessianAt(problem, row);
  const image = ({ from, to }: Part, signs: Int8Array | null): Float64Array => {
    const out = new Float64Array(columns);
    for (let i = from; i < to; i++) {
      addScaled(out, 0, signs ? signs[i] : 1, hessian, of + (i - at) * columns, columns);
    }
    return out;
  };
  const ofRest = target.slice();
  const ofSigns = parts.map((part) => image(part, fit.signs));
  const ofOnes = parts.map((part) => {
    const key = `${of} ${part.from - at} ${part.to - at}`;
    const known = ones.get(key) ?? image(part, null);
    ones.set(key, known);
    return known;
  });
  parts.forEach(({ k }, p) => {
    addScaled(ofRest, 0, -fit.scale[k], ofSigns[p], 0, columns);
    addScaled(ofRest, 0, -fit.mean[k], ofOnes[p], 0, columns);
  });
  return { at, hessian: of, parts, ofSigns, ofOnes, ofRest };
}

/** The squared error of the outputs of rows. */
export function errorOf(
  { weight }: SignProblem,
  { signs, scale, mean }: SignFit,
  rows: readonly FittedRow[],
): number {
  let total = 0;
  for (const { at, parts, ofRest } of rows)
    for (const { k, from, to } of parts)
      for (let i = from; i < to; i++) total += (weight[i] - mean[k] - scale[k] * signs[i]) * ofRest[i - at];
  return total;
}

/** Gives rows whose runs are `runs` the scales, and where they are centered means, that are best for their signs. */
export function refit(
  { columns, hessian }: SignProblem,
  fit: SignFit,
  rows: readonly FittedRow[],
  runs: readonly number[],
  centered: boolean,
): void {
  const { signs, scale, mean } = fit;
  const width = centered ? 2 : 1;
  const n = runs.length * width;
  const place = new Map(runs.map((k, i) => [k, i * width]));
  const gram = new Float64Array(n * n);
  const right = new Float64Array(n);
  const energy = new Float64Array(n);
  for (const { at, hessian: of, parts, ofSigns, ofOnes, ofRest } of rows) {
    for (const { k, from, to } of parts) {
      const u = place.get(k)!;
      for (let i = from; i < to; i++) {
        right[u] += signs[i] * ofRest[i - at];
        energy[u] += hessian[of + (i - at) * (columns + 1)];
        if (centered) right[u + 1] += ofRest[i - at];
      }
      if (centered) energy[u + 1] = energy[u];
      parts.forEach((other, p) => {
        const v = place.get(other.k)!;
        for (let i = from; i < to; i++) {
          const [signed, one] = [ofSigns[p][i - at], ofOnes[p][i - at]];
          gram[u * n + v] += signs[i] * signed;
          if (!centered) continue;
          gram[u * n + v + 1] += signs[i] * one;
          gram[(u + 1) * n + v] += signed;
          gram[(u + 1) * n + v + 1] += one;
        }
      });
    }
  }
  if (!solved(gram, right, energy)) return;
  for (const k of runs) {
    const u = place.get(k)!;
    scale[k] += right[u];
    if (centered) mean[k] += right[u + 1];
  }
  for (const { parts, ofSigns, ofOnes, ofRest } of rows) {
    parts.forEach(({ k, from, to }, p) => {
      const u = place.get(k)!;
      addScaled(ofRest, 0, -right[u], ofSigns[p], 0, columns);
      if (centered) addScaled(ofRest, 0, -right[u + 1], ofOnes[p], 0, columns);
      if (scale[k] >= 0) return;
      // A negative scale with the opposite signs is the same fit.
      for (let i = from; i < to; i++) signs[i] = -signs[i];
      for (let j = 0; j < columns; j++) ofSigns[p][j] = -ofSigns[p][j];
    });
  }
  for (const k of runs) scale[k] = Math.abs(scale[k]);
}

/**
 * Writes the solution of a symmetric system over `right`; false where there is none. `energy` is what the diagonal would be
 * of inputs that do not correlate. Unknowns without any stay 0.
 */
function solved(gram: Float64Array, right: Float64Array, energy: Float64Array): boolean {
  const n = right.length;
  const most = energy.reduce((a, b) => Math.max(a, b), 0);
  if (!(most > 0 && most < Infinity)) return false;
  // Where inputs cancel along the signs, in one run or over several, what is left of them is float32's rounding, and where
  // signs are all alike they are no other unknown than the mean: of such solutions it takes a small one.
  for (let u = 0; u < n; u++) gram[u * n + u] += 2 ** -24 * energy[u] + 1e-13 * most;
  if (cholesky(gram, n) < n) return false;
  solveFactored(gram, right, n);
  return right.every(Number.isFinite);
}

/** Turns the signs of rows whose turning makes their error smaller, one after another; false where there is none. */
export function turnSigns(
  { columns, hessian }: SignProblem,
  fit: SignFit,
  rows: readonly FittedRow[],
): boolean {
  const { signs, scale } = fit;
  let turned = false;
  for (const { at, hessian: of, parts, ofSigns, ofRest } of rows) {
    parts.forEach(({ k, from, to }, p) => {
      for (let i = from; i < to; i++) {
        const column = of + (i - at) * columns;
        const step = 2 * scale[k] * signs[i];
        const own = hessian[column + i - at] * step;
        // Rounding must not make a turn look worth it, and then its opposite.
        if (!(step * (2 * ofRest[i - at] + own) < -1e-12 * step * own)) continue;
        addScaled(ofRest, 0, step, hessian, column, columns);
        addScaled(ofSigns[p], 0, -2 * signs[i], hessian, column, columns);
        signs[i] = -signs[i];
        turned = true;
      }
    });
  }
  return turned;
}

/** H · each row, as `fittedRow` takes them. */
export function targetOf(problem: SignProblem, row: number): Float64Array {
  const { weight, columns: c, hessian } = problem;
  const of = hessianAt(problem, row);
  return Float64Array.from({ length: c }, (_, j) => dot(hessian, of + j * c, weight, row * c, c));
}
