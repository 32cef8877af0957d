/**
 * What methods that learn how weights are rounded share: the numbers they begin with, the error that codes cause in what a
 * layer computes, and the loop that makes it small.
 */

import type { QTensor } from "../../codes/contract.ts";
import { valuesOf } from "../../codes/contract.ts";
import type { FloatArray } from "../../dtype.ts";
import { ShapeError, show } from "../../errors.ts";
import type { InputStatistics } from "../../nn/statistics.ts";
import { scope } from "../../storage.ts";
import { noGrad } from "../../tape.ts";
import { wrap } from "../../tensor.ts";
import { roundedBy, seenBy } from "./rounded.ts";
import { codesFor, matrixOf, type Site, scaleIndices } from "./sites.ts";

/** What is known of a weight before its rounding is learned. */
export interface Start {
  readonly weight: Float64Array;
  /** The codes that the weight holds, or else those of its quantizer: none worse are learned. */
  readonly codes: QTensor;
  /** 0 where a mask in front of the quantizer has made a weight 0: its code stays. Null without a mask. */
  readonly mask: ArrayLike<number> | null;
  /** Which scale reads each weight. */
  readonly index: Int32Array;
  /** Codes in row-major order with their scales, as the weight holds them. */
  readonly made: (codes: ArrayLike<number>, params: Pick<QTensor, "scale" | "zeroPoint">) => QTensor;
}

/** What a site's weight begins with. Throws OptionError for a weight that is not finite. */
export function startOf(op: string, site: Site): Start {
  const seen = seenBy(op, site);
  return {
    weight: matrixOf(site),
    codes: site.transform.codes ?? roundedBy(site, seen),
    mask: seen.mask && Uint8Array.from(seen.mask.data),
    index: scaleIndices(site),
    made: (codes, params) => codesFor(site, codes, params),
  };
}

/** By how much numbers in the place of weights change what is computed with them; 0 or more. */
export interface Objective {
  /** How many parts the data has of which one serves a step. */
  readonly parts: number;
  /**
   * The error on a part of the data, on all of it for null. Where `gradients` are given, the gradient with respect to the
   * numbers of each weight is written there.
   */
  error(values: readonly FloatArray[], gradients: readonly FloatArray[] | null, part: number | null): number;
}

/** The mean over inputs x of ‖(Ŵ − W)x‖², which is tr((Ŵ − W) H (Ŵ − W)ᵀ) / n, with H = XᵀX of n inputs. */
export function layerError(
  op: string,
  { layer, rows, columns }: Pick<Site, "layer" | "rows" | "columns">,
  weight: Float64Array,
  { hessian, rows: seen }: InputStatistics<"hessian">,
): Objective {
  const groups = hessian.rank === 3 ? hessian.shape[0] : 1;
  if (hessian.shape[hessian.rank - 1] !== columns || rows % groups !== 0) {
    throw new ShapeError(
      `${op}: a weight must be (out, columns) of its inputs, got ${show([rows, columns])} for ${show(hessian)} in layer ${show(layer)}`,
    );
  }
  const square = hessian.reshape([groups, columns, columns]);
  const change = new Float64Array(weight.length);
  const error: Objective["error"] = ([values], gradients) =>
    scope(() => {
      for (let i = 0; i < change.length; i++) change[i] = values[i] - weight[i];
      const matrix = wrap(change, [groups, rows / groups, columns], "float64");
      const product = noGrad(() => matrix.matmul(square)).data;
      let sum = 0;
      for (let i = 0; i < change.length; i++) sum += change[i] * product[i];
      if (gradients) for (let i = 0; i < change.length; i++) gradients[0][i] = (2 * product[i]) / seen;
      return sum / seen;
    });
  return { parts: 1, error };
}

/** A way to learn how a weight is rounded: what is learned, and what it makes of a gradient. */
export interface Rounding {
  /** Whether its numbers are those of codes in every step; else in the end alone. */
  readonly hard: boolean;
  /** Writes the numbers that stand in the place of the weight. */
  values(out: FloatArray): void;
  /** Takes step `at` of `iterations`, against the gradient of the error, that of the start being 1, by these numbers. */
  step(gradient: FloatArray, at: number, iterations: number): void;
  /** The codes that the numbers stand for, or would by now. */
  codes(): QTensor;
}

/** What codes stand for. */
export const numbersOf = ({ codes, shape, spec, scale, zeroPoint }: QTensor): Float32Array =>
  valuesOf(codes.data, shape, spec, { scale, zeroPoint }).data;

/**
 * Learns weights together for `iterations` steps. Gives the codes of the least error that were met, those of the start
 * included.
 */
export function leastError(
  objective: Objective,
  starts: readonly Start[],
  roundings: readonly Rounding[],
  iterations: number,
): readonly QTensor[] {
  const { parts } = objective;
  let best: readonly QTensor[] = starts.map(({ codes }) => codes);
  const whole = (codes: readonly QTensor[]): number => objective.error(codes.map(numbersOf), null, null);
  let least = whole(best);
  const unit = 1 / least;
  const meet = (found: number): void => {
    if (!(found < least)) return;
    least = found;
    best = roundings.map((rounding) => rounding.codes());
  };
  const values = starts.map(({ weight }) => new Float64Array(weight.length));
  const gradients = values.map(({ length }) => new Float64Array(length));
  const hard = roundings.every((rounding) => rounding.hard);
  for (let at = 0; at < iterations && least > 0; at++) {
    const part = at % parts;
    for (const [i, rounding] of roundings.entries()) rounding.values(values[i]);
    const found = objective.error(values, gradients, part);
    if (hard && parts === 1) meet(found);
    else if (hard && part === 0) meet(objective.error(values, null, null));
    for (const [i, rounding] of roundings.entries()) {
      for (let j = 0; j < gradients[i].length; j++) gradients[i][j] *= unit;
      rounding.step(gradients[i], at, iterations);
    }
  }
  if (hard) for (const [i, rounding] of roundings.entries()) rounding.values(values[i]);
  meet(whole(roundings.map((rounding) => rounding.codes())));
  return best;
}
