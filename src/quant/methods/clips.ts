/** Ranges that numbers are clipped to: how they are spread, which ranges are tried, and which has the least error. */

import { fakeQuantize } from "../../codes/fake-quantize.ts";
import { floatsOf } from "../../codes/loops.ts";
import { paramsOf, type Range } from "../../codes/params.ts";
import { forRuns } from "../../codes/runs.ts";
import { type QuantSpec, respec } from "../../codes/spec.ts";
import { scope } from "../../storage.ts";
import { type Tensor, wrap } from "../../tensor.ts";
import { type Histogram, middlesOf } from "../histogram.ts";

/** Numbers, or the middles of bins with how many numbers each of them stands for. */
export interface Numbers {
  readonly x: Tensor;
  readonly spec: QuantSpec;
  /** The range of each run. */
  readonly ranges: readonly Range[];
  readonly mass: Float64Array | null;
}

/** What a histogram of one run counted. */
export function binned(counts: Histogram, range: Range, spec: QuantSpec): Numbers {
  const middles = middlesOf(counts);
  const x = wrap(middles, [middles.length], "float32");
  return { x, spec: respec(spec, { granularity: "tensor" }), ranges: [range], mass: counts.counts };
}

/** The ranges of all runs, shrunk in even steps towards 0, the whole first. */
export function* shrunk(ranges: readonly Range[], steps: number): Generator<Range[]> {
  for (let step = 0; step < steps; step++) yield scaledRanges(ranges, 1 - step / steps);
}

export const scaledRanges = (ranges: readonly Range[], ratio: number): Range[] =>
  ranges.map((range) => ({ ...range, min: range.min * ratio, max: range.max * ratio }));

/** Σ|x − x̂|^norm of each run, where the codes are those of given ranges. */
export function errorsOf({ x, spec, mass }: Numbers, ranges: readonly Range[], norm: number): Float64Array {
  const errors = new Float64Array(ranges.length);
  scope(() => {
    const data = floatsOf(x);
    const values = fakeQuantize(x, spec, paramsOf(ranges, x.shape, spec)).data as Float32Array;
    forRuns(spec, x.shape, (from, to, k) => {
      let sum = 0;
      for (let i = from; i < to; i++) {
        if (mass !== null && !(mass[i] > 0)) continue;
        const d = Math.abs(data[i] - values[i]);
        const error = norm === 2 ? d * d : norm === 4 ? d * d * d * d : d ** norm;
        sum += mass === null ? error : mass[i] * error;
      }
      errors[k] += sum;
    });
  });
  return errors;
}

/** For each run the range with the least Σ|x − x̂|^norm among the candidates; of equal ones the first. */
export function leastRanges(
  numbers: Numbers,
  candidates: Iterable<readonly Range[]>,
  norm: number,
): readonly Range[] {
  const least = new Float64Array(numbers.ranges.length).fill(Infinity);
  const chosen = [...numbers.ranges];
  for (const ranges of candidates) {
    for (const [k, error] of errorsOf(numbers, ranges, norm).entries()) {
      if (error < least[k]) [least[k], chosen[k]] = [error, ranges[k]];
    }
  }
  return chosen;
}

/** How the numbers of a run lie around their mean. */
export interface Spread {
  readonly mean: number;
  /** Mean |x − mean|, the b of a Laplace distribution. */
  readonly deviation: number;
  /** √ of the mean (x − mean)². */
  readonly sigma: number;
  /** Codes serve one side of 0 alone: numbers are one half of a distribution around 0, of which zeros are no part. */
  readonly oneSided: boolean;
}

/** Of numbers on one side, those within this share of the range count as 0: they are in one bin with it. */
const nearZero = 1 / 1000;

export function spreadsOf({ x, spec, ranges, mass }: Numbers): Spread[] {
  const data = floatsOf(x);
  const oneSided = ranges.map(({ min, max }) => spec.scheme === "affine" && (min >= 0 || max <= 0));
  const least = ranges.map(({ min, max }, k) => (oneSided[k] ? nearZero * Math.max(-min, max) : -1));
  /** The mean over what counts in each run. */
  const means = (of: (v: number, k: number) => number): number[] => {
    const sums = new Float64Array(ranges.length);
    const counts = new Float64Array(ranges.length);
    forRuns(spec, x.shape, (from, to, k) => {
      for (let i = from; i < to; i++) {
        const weight = mass === null ? 1 : mass[i];
        if (!(weight > 0) || !(Math.abs(data[i]) > least[k])) continue;
        sums[k] += weight * of(data[i], k);
        counts[k] += weight;
      }
    });
    return Array.from(sums, (sum, k) => (counts[k] === 0 ? 0 : sum / counts[k]));
  };
  const mean = means((v) => v).map((m, k) => (oneSided[k] ? 0 : m));
  const deviation = means((v, k) => Math.abs(v - mean[k]));
  const square = means((v, k) => (v - mean[k]) ** 2);
  return mean.map((m, k) => ({
    mean: m,
    deviation: deviation[k],
    sigma: Math.sqrt(square[k]),
    oneSided: oneSided[k],
  }));
}
