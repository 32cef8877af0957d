/** The scales of a pair's channels by AWQ: of a few powers of mean|X| those whose codes change the outputs least. */

import { dequantize } from "../../codes/contract.ts";
import { quantizeBy } from "../../codes/quantizer.ts";
import { quantizedTransform } from "../../codes/transform.ts";
import type { InputStatistics } from "../../nn/statistics.ts";
import { scope } from "../../storage.ts";
import { noGrad } from "../../tape.ts";
import { type Tensor, wrap } from "../../tensor.ts";
import { forElements, type Pair, readerOf } from "./pairs.ts";
import type { Scaling } from "./scaling.ts";

export interface FoundFactors {
  readonly factors: Float64Array;
  /** Mean squared error of the outputs for every ratio. */
  readonly errors: readonly number[];
}

/** aʳ, kept from 1e-4 on, over the root of its largest times its smallest; 1 for channels that are always 0. */
function factorsOf(sizes: Float64Array, ratio: number): Float64Array {
  const powers = sizes.map((size) => (size === 0 ? 0 : Math.max(1e-4, size ** ratio)));
  const live = powers.filter((power) => power > 0);
  const middle = Math.sqrt(
    live.reduce((a, b) => Math.max(a, b), 0) * live.reduce((a, b) => Math.min(a, b), Infinity),
  );
  return powers.map((power) => (power === 0 ? 1 : power / middle));
}

/** ‖X·δᵀ‖² of each output, over all rows of X, for δ (outputs, columns) and XᵀX, which may be by groups of a convolution. */
export const squaredOutputs = (delta: Float64Array, hessian: Tensor): Float64Array =>
  noGrad(() =>
    scope(() => {
      const columns = hessian.shape[hessian.rank - 1];
      const groups = hessian.size / (columns * columns);
      const d = wrap(delta, [groups, delta.length / columns / groups, columns], "float64");
      const sums = d
        .matmul(hessian.reshape([groups, columns, columns]))
        .mul(d)
        .sum({ axis: 2 });
      return Float64Array.from(sums.data);
    }),
  );

/** The factors of the ratio k/grid, k = 0 … grid − 1, that leaves the least error: the first of those. */
export function searchFactors(
  pair: Pair,
  scaling: Scaling,
  { rows, meanAbs, hessian }: InputStatistics<"meanAbs" | "hessian">,
  grid: number,
): FoundFactors {
  const sizes = new Float64Array(pair.channels);
  const counts = new Float64Array(pair.channels);
  const { channelOf } = readerOf(pair)!;
  channelOf.forEach((c, column) => {
    sizes[c] += meanAbs.data[column];
    counts[c]++;
  });
  const mean = sizes.map((sum, c) => sum / counts[c]);
  const weights = pair.consumers.flatMap((part) => {
    const transform = quantizedTransform(part.parameter);
    if (!transform) return [];
    const { quantizer } = transform;
    return [{ part, quantizer, weight: scaling.weight(part), mask: transform.maskOf(transform.latent()) }];
  });
  const outputs = weights.reduce((sum, { part }) => sum + part.parameter.shape[0], 0);
  const errorOf = (factors: Float64Array): number => {
    let sum = 0;
    for (const { part, quantizer, weight, mask } of weights) {
      const scaled = new Float32Array(weight.length);
      forElements(part, (i, c) => {
        scaled[i] = weight[i] * factors[c];
      });
      const x = wrap(scaled, part.parameter.shape, "float32");
      const delta = noGrad(() =>
        scope(() => Float64Array.from(dequantize(quantizeBy(x, quantizer, { mask })).data)),
      );
      forElements(part, (i, c) => {
        delta[i] = delta[i] / factors[c] - weight[i];
      });
      for (const error of squaredOutputs(delta, hessian)) sum += error;
    }
    return sum / (rows * outputs);
  };
  const tried = Array.from({ length: grid }, (_, k) => factorsOf(mean, k / grid));
  const errors = tried.map(errorOf);
  return { factors: tried[errors.indexOf(Math.min(...errors))], errors };
}
