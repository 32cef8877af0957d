/** Losses that are 0 once a margin is kept: of distances, of ranks and of classes ±1. */

import { OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { norm } from "../ops/reduce.ts";
import { knownNumbers } from "../ops/shapes-only.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { paired, type ReductionOption, reduced } from "./reduction.ts";

const mean: ReductionOption = { reduction: "mean" };

export interface TripletMarginOptions extends ReductionOption {
  /** How much nearer the positive has to be; default 1. */
  margin: number;
  /** The order of the norm that distances are; default 2. */
  p: number;
  /** Added to every difference. */
  eps: number;
  /** Takes the distance of the negative to the positive where it is less. Balntas et al., 2016. */
  swap: boolean;
}

/**
 * max(0, margin + ‖anchor − positive + eps‖ − ‖anchor − negative + eps‖), vectors along the last axis: (…, C) three times ->
 * (…). Schroff et al., 2015, arXiv:1503.03832.
 *
 * @example
 * ```ts
 * import { tripletMarginLoss } from "bitgrad/nn";
 *
 * console.log(tripletMarginLoss([[0, 0]], [[0, 1]], [[0, 1.5]]).item()); // 0.50
 * ```
 */
export function tripletMarginLoss(
  anchor: TensorLike,
  positive: TensorLike,
  negative: TensorLike,
  options?: Partial<TripletMarginOptions>,
): Tensor {
  const op = "tripletMarginLoss";
  const { reduction, margin, p, eps, swap } = readOptions<TripletMarginOptions>(op, options, {
    ...mean,
    margin: 1,
    p: 2,
    eps: 1e-6,
    swap: false,
  });
  if (!(margin >= 0)) throw new OptionError(`${op}: margin must not be negative, got ${show(margin)}`);
  const [a, near] = paired(op, anchor, positive);
  const [, far] = paired(op, a, negative);
  if (a.rank === 0) throw new ShapeError(`${op}: needs vectors on the last axis, got ${show(a.shape)}`);
  const distance = (x: Tensor, y: Tensor) => norm(x.sub(y).add(eps), { p, axis: -1 });
  const away = distance(a, far);
  const least = swap ? away.minimum(distance(near, far)) : away;
  return reduced(op, atLeast0(distance(a, near).sub(least).add(margin)), reduction);
}

/**
 * max(0, margin − target·(x1 − x2)), target 1 where x1 should rank higher and −1 where x2 should. Three of one shape.
 *
 * @example
 * ```ts
 * import { marginRankingLoss } from "bitgrad/nn";
 *
 * console.log(marginRankingLoss([1, 2], [2, 1], [1, 1], { margin: 0.5 }).item()); // 0.75
 * ```
 */
export function marginRankingLoss(
  x1: TensorLike,
  x2: TensorLike,
  target: TensorLike,
  options?: Partial<ReductionOption & { margin: number }>,
): Tensor {
  const op = "marginRankingLoss";
  const { reduction, margin } = readOptions(op, options, { ...mean, margin: 0 });
  const [a, b] = paired(op, x1, x2);
  const [, y] = paired(op, a, target);
  checkSigns(op, y);
  return reduced(op, atLeast0(b.sub(a).mul(y).add(margin)), reduction);
}

/**
 * A distance as it is for target 1, and max(0, margin − distance) for target −1: pairs apart by `margin` cost 0.
 *
 * @example
 * ```ts
 * import { hingeEmbeddingLoss } from "bitgrad/nn";
 *
 * console.log(hingeEmbeddingLoss([0.25, 0.5], [1, -1]).item()); // 0.375
 * ```
 */
export function hingeEmbeddingLoss(
  input: TensorLike,
  target: TensorLike,
  options?: Partial<ReductionOption & { margin: number }>,
): Tensor {
  const op = "hingeEmbeddingLoss";
  const { reduction, margin } = readOptions(op, options, { ...mean, margin: 1 });
  const [x, y] = paired(op, input, target);
  checkSigns(op, y);
  return reduced(op, y.greater(0).where(x, atLeast0(x.neg().add(margin))), reduction);
}

/** The gradient passes where it is exactly 0, as in PyTorch. */
const atLeast0 = (losses: Tensor): Tensor => losses.clip({ min: 0 });

/**
 * target ±1: 1 − cos for a pair that belongs together, max(0, cos − margin) for one that does not. (…, C) twice, (…).
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { cosineEmbedding } from "bitgrad/nn";
 *
 * console.log(cosineEmbedding(tensor([[1, 0]]), tensor([[0, 1]]), tensor([1])).item()); // 1
 * ```
 */
export function cosineEmbedding(
  x1: TensorLike,
  x2: TensorLike,
  target: TensorLike,
  options?: Partial<ReductionOption & { margin: number }>,
): Tensor {
  const op = "cosineEmbedding";
  const { reduction, margin } = readOptions(op, options, { ...mean, margin: 0 });
  const [a, b] = paired(op, x1, x2);
  if (a.rank === 0) throw new ShapeError(`${op}: needs vectors on the last axis, got ${show(a.shape)}`);
  const sum = (x: Tensor) => x.sum({ axis: -1 });
  const lengths = sum(a.square()).add(1e-12).mul(sum(b.square()).add(1e-12)).sqrt();
  const cosine = sum(a.mul(b)).div(lengths);
  const [, y] = paired(op, cosine, target);
  checkSigns(op, y);
  const losses = y.greater(0).where(cosine.neg().add(1), cosine.sub(margin).clip({ min: 0 }));
  return reduced(op, losses, reduction);
}

/**
 * log(1 + exp(−target·input)), target ±1.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { softMarginLoss } from "bitgrad/nn";
 *
 * console.log(softMarginLoss(tensor([2, -1]), tensor([1, -1])).item()); // 0.220
 * ```
 */
export function softMarginLoss(
  input: TensorLike,
  target: TensorLike,
  options?: Partial<ReductionOption>,
): Tensor {
  const { reduction } = readOptions("softMarginLoss", options, mean);
  const [x, y] = paired("softMarginLoss", input, target);
  checkSigns("softMarginLoss", y);
  return reduced("softMarginLoss", x.mul(y).logSigmoid().neg(), reduction);
}

/** Throws OptionError unless every target is 1 or −1. */
export function checkSigns(op: string, target: Tensor): void {
  const data = knownNumbers(target);
  for (let i = 0; i < data.length; i++) {
    if (Math.abs(data[i]) !== 1) {
      throw new OptionError(`${op}: targets must be 1 or -1, got ${data[i]} at index ${i}`);
    }
  }
}
