/** Weights as mean + scale · sign, with one scale, and where it is centered one mean, for each run of a matrix. */

import { checkFinite } from "../../../codes/contract.ts";
import { floatsOf } from "../../../codes/loops.ts";
import { type QuantParams, storedScale } from "../../../codes/params.ts";
import { forRuns, scaleShape } from "../../../codes/runs.ts";
import { isSigns, type QuantSpec } from "../../../codes/spec.ts";
import type { FloatArray } from "../../../dtype.ts";
import { type Shape, sizeOf } from "../../../shape.ts";
import { type Tensor, wrap } from "../../../tensor.ts";

/** The stretches of a row-major matrix that share a scale, elements from … to − 1, none of which leaves its row. */
export type Run = readonly (readonly [from: number, to: number])[];

export interface SignFit {
  /** −1 or 1 for each element. */
  readonly signs: Int8Array;
  /** One for each run, none negative. */
  readonly scale: Float64Array;
  readonly mean: Float64Array;
}

export interface FitOptions {
  /** Whether runs have a mean other than 0. */
  readonly centered: boolean;
  /** How often mean, scale and signs are found anew by turns. */
  readonly iterations: number;
}

/** The runs of a matrix of `columns` that the scales of a spec have, for a tensor of `shape`. */
export function runsOfRows(
  spec: Pick<QuantSpec, "granularity" | "axis">,
  shape: Shape,
  columns: number,
): Run[] {
  const runs: [number, number][][] = Array.from({ length: sizeOf(scaleShape(spec, shape)) }, () => []);
  forRuns(spec, shape, (from, to, k) => {
    for (let at = from; at < to; ) {
      const end = Math.min(to, (Math.floor(at / columns) + 1) * columns);
      runs[k].push([at, end]);
      at = end;
    }
  });
  return runs;
}

/** The runs of a matrix with a scale for each row. */
export const rowRuns = (rows: number, columns: number): Run[] =>
  Array.from({ length: rows }, (_, i) => [[i * columns, (i + 1) * columns]]);

/**
 * The fit of each run that starts from the mean and the mean magnitude about it, and goes on by turns: the mean of what the
 * signs leave, the scale for the signs, the signs for the mean. No turn makes the sum of squared errors larger. ARB-LLM, Li
 * et al., 2024, arXiv:2410.03129, algorithm 1, by the paper's text: its code is not released. With a mean of 0 the start is
 * the best fit.
 */
export function fitSigns(weight: FloatArray, runs: readonly Run[], options: FitOptions): SignFit {
  const fit = {
    signs: new Int8Array(weight.length).fill(1),
    scale: new Float64Array(runs.length),
    mean: new Float64Array(runs.length),
  };
  for (let k = 0; k < runs.length; k++) fitRun(fit, weight, k, runs[k], options);
  return fit;
}

/** The same for one run, written into `fit`. */
export function fitRun(
  { signs, scale, mean }: SignFit,
  weight: FloatArray,
  k: number,
  run: Run,
  { centered, iterations }: FitOptions,
): void {
  let count = 0;
  let sum = 0;
  for (const [from, to] of run) {
    count += to - from;
    for (let i = from; i < to; i++) sum += weight[i];
  }
  if (count === 0) return;
  const turn = (m: number): void => {
    for (const [from, to] of run) for (let i = from; i < to; i++) signs[i] = weight[i] < m ? -1 : 1;
  };
  /** The mean of (weight − m) · sign. */
  const along = (m: number): number => {
    let total = 0;
    for (const [from, to] of run) for (let i = from; i < to; i++) total += signs[i] * (weight[i] - m);
    return total / count;
  };
  let m = centered ? sum / count : 0;
  turn(m);
  let s = along(m);
  for (let t = 0; centered && t < iterations; t++) {
    let signed = 0;
    for (const [from, to] of run) for (let i = from; i < to; i++) signed += signs[i];
    m = (sum - s * signed) / count;
    // A negative scale with the opposite signs is the same fit.
    s = Math.abs(along(m));
    turn(m);
  }
  scale[k] = s;
  mean[k] = m;
}

/** The numbers that a fit stands for. */
export function fitted({ signs, scale, mean }: SignFit, runs: readonly Run[]): Float64Array {
  const values = new Float64Array(signs.length);
  runs.forEach((run, k) => {
    for (const [from, to] of run) for (let i = from; i < to; i++) values[i] = mean[k] + scale[k] * signs[i];
  });
  return values;
}

export function squaredError(weight: FloatArray, values: FloatArray): number {
  let total = 0;
  for (let i = 0; i < weight.length; i++) total += (weight[i] - values[i]) ** 2;
  return total;
}

/** Whether codes of a spec are mean ± scale: signs, whose mean is 0, or one bit with float zero points. */
export const isTwoLevels = (spec: QuantSpec): boolean =>
  isSigns(spec) || (spec.bits === 1 && spec.zeroPoint === "float");

/** The params of the plain fits of x's runs, with means. Throws for NaN, and for infinity unless it is clamped. */
export function centeredParams(x: Tensor, spec: QuantSpec): QuantParams {
  const data = floatsOf(x);
  checkFinite(data, spec);
  const columns = x.shape[x.rank - 1] ?? 1;
  const fit = fitSigns(data, runsOfRows(spec, x.shape, columns), { centered: true, iterations: 0 });
  return twoLevels(fit, spec, x.shape);
}

/** Whether a run's numbers are all its mean, to float32's precision. */
const isFlat = ({ scale, mean }: Pick<SignFit, "scale" | "mean">, k: number): boolean =>
  !(scale[k] > 2 ** -24 * Math.abs(mean[k]));

/**
 * Scales and zero points, as the spec stores them, under which the two codes stand for mean − scale and mean + scale, or for
 * a run of equal numbers the upper one for their mean.
 */
export function twoLevels(fit: Pick<SignFit, "scale" | "mean">, spec: QuantSpec, shape: Shape): QuantParams {
  const of = scaleShape(spec, shape);
  const { scale, mean } = fit;
  if (isSigns(spec)) {
    return { scale: storedScale(wrap(Float32Array.from(scale), of, "float32"), spec), zeroPoint: null };
  }
  const steps = Float32Array.from(scale, (s, k) => (isFlat(fit, k) ? 1 : 2 * s));
  const stored = storedScale(wrap(steps, of, "float32"), spec);
  const zeros = Float32Array.from(
    stored.data as Float32Array,
    (step, k) => spec.qmax - (isFlat(fit, k) ? 0 : 0.5) - mean[k] / step,
  );
  return { scale: stored, zeroPoint: wrap(zeros, of, "float32") };
}

/** The codes of a fit's signs under those. */
export function twoCodes(fit: SignFit, spec: QuantSpec, runs: readonly Run[]): Int8Array {
  const codes = fit.signs.map((sign) => (isSigns(spec) ? sign : sign < 0 ? spec.qmin : spec.qmax));
  runs.forEach((run, k) => {
    if (isSigns(spec) || !isFlat(fit, k)) return;
    for (const [from, to] of run) codes.fill(spec.qmax, from, to);
  });
  return codes;
}
