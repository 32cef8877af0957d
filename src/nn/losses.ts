/** Losses of pairs: regression, binary targets and divergences. */

import type { FloatArray } from "../dtype.ts";
import { OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { straightThrough } from "../ops/binary.ts";
import { defineOp } from "../ops/op.ts";
import { knownNumbers, visitor } from "../ops/shapes-only.ts";
import { floats, logSoftmax } from "../ops/softmax.ts";
import { gate, holds } from "../ops/unary.ts";
import { normalizeAxis, sameShape } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { paired, type Reduction, type ReductionOption, reduced } from "./reduction.ts";

const mean: ReductionOption = { reduction: "mean" };

/**
 * (input − target)². Shapes must be equal.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { mseLoss } from "bitgrad/nn";
 *
 * console.log(mseLoss(tensor([1, 4]), tensor([0, 0])).item()); // 8.5
 * ```
 */
export function mseLoss(input: TensorLike, target: TensorLike, options?: Partial<ReductionOption>): Tensor {
  const { reduction } = readOptions("mseLoss", options, mean);
  const [x, y] = paired("mseLoss", input, target);
  return reduced("mseLoss", x.sub(y).square(), reduction);
}

/**
 * |input − target|. Shapes must be equal.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { l1Loss } from "bitgrad/nn";
 *
 * console.log(l1Loss(tensor([1, 4]), tensor([0, 0])).item()); // 2.5
 * ```
 */
export function l1Loss(input: TensorLike, target: TensorLike, options?: Partial<ReductionOption>): Tensor {
  const { reduction } = readOptions("l1Loss", options, mean);
  const [x, y] = paired("l1Loss", input, target);
  return reduced("l1Loss", x.sub(y).abs(), reduction);
}

/**
 * d²/2 up to |d| = delta and delta·(|d| − delta/2) beyond, d = input − target. Huber, 1964.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { huberLoss } from "bitgrad/nn";
 *
 * console.log(huberLoss(tensor([0.5, 3]), tensor([0, 0])).item()); // 1.3125
 * ```
 */
export function huberLoss(
  input: TensorLike,
  target: TensorLike,
  options?: Partial<ReductionOption & { delta: number }>,
): Tensor {
  const { reduction, delta } = readOptions("huberLoss", options, { ...mean, delta: 1 });
  if (!(delta > 0)) throw new OptionError(`huberLoss: delta must be above 0, got ${show(delta)}`);
  const [x, y] = paired("huberLoss", input, target);
  return reduced("huberLoss", huber(x, y, delta), reduction);
}

/**
 * huberLoss divided by its bend, `beta`; l1Loss where beta is 0. Girshick, 2015, arXiv:1504.08083.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { smoothL1Loss } from "bitgrad/nn";
 *
 * console.log(smoothL1Loss(tensor([0.5, 3]), tensor([0, 0])).item()); // 1.3125
 * ```
 */
export function smoothL1Loss(
  input: TensorLike,
  target: TensorLike,
  options?: Partial<ReductionOption & { beta: number }>,
): Tensor {
  const { reduction, beta } = readOptions("smoothL1Loss", options, { ...mean, beta: 1 });
  if (!(beta >= 0)) throw new OptionError(`smoothL1Loss: beta must not be negative, got ${show(beta)}`);
  const [x, y] = paired("smoothL1Loss", input, target);
  const losses = beta === 0 ? x.sub(y).abs() : huber(x, y, beta).div(beta);
  return reduced("smoothL1Loss", losses, reduction);
}

/** d²/2, and along its tangent from |d| = delta on. */
function huber(x: Tensor, y: Tensor, delta: number): Tensor {
  const distance = x.sub(y);
  const near = distance.hardTanh({ min: -delta, max: delta });
  return near.mul(distance.sub(near.mul(0.5)));
}

/** Logarithms are held at −100, as in PyTorch, so that a certain mistake costs 100 and not Infinity. */
const heldLog = (x: number): number => Math.max(Math.log(x), -100);

const bceOp = defineOp<[p: Tensor, target: Tensor]>("bce", {
  options: {},
  arity: 2,
  shape: ([p]) => p,
  forward(out, [p, target]) {
    const [a, b] = [p.data as FloatArray, target.data as FloatArray];
    for (let i = 0; i < out.length; i++) out[i] = -(b[i] * heldLog(a[i]) + (1 - b[i]) * heldLog(1 - a[i]));
  },
  vjp(grad, { inputs: [p, target], needs }) {
    const rest = p.neg().add(1);
    const held = (x: Tensor) => {
      const tiny = x.less(Math.exp(-100));
      return tiny.where(-100, tiny.where(1, x).log());
    };
    return [
      needs[0] ? grad.mul(p.sub(target)).div(p.mul(rest).maximum(1e-12)) : null,
      needs[1] ? grad.mul(held(rest).sub(held(p))) : null,
    ];
  },
});

/**
 * −(target·log input + (1 − target)·log(1 − input)) of probabilities, logarithms held at −100; `weight` broadcasts.
 * Throws OptionError for inputs outside [0, 1].
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { bceLoss } from "bitgrad/nn";
 *
 * console.log(bceLoss(tensor([0.9, 0.2]), tensor([1, 0])).item()); // 0.164
 * ```
 */
export function bceLoss(
  input: TensorLike,
  target: TensorLike,
  options?: Partial<ReductionOption & { weight: TensorLike | null }>,
): Tensor {
  const op = "bceLoss";
  const { reduction, weight } = readOptions(op, options, { ...mean, weight: null as TensorLike | null });
  const [p, y] = paired(op, input, target).map((t) => counted(op, t, weight));
  const outside = knownNumbers(p).findIndex((value: number) => !(value >= 0 && value <= 1));
  if (outside >= 0) {
    throw new OptionError(
      `${op}: inputs must be probabilities, got ${p.data[outside]} at index ${outside}; for logits use bceWithLogits`,
    );
  }
  return reduced(op, weighted(op, bceOp(p, y), weight), reduction);
}

/**
 * bceLoss(σ(input), target) without its overflow: −(posWeight·target·log σ(x) + (1 − target)·log σ(−x)). `posWeight` and
 * `weight` broadcast.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { bceWithLogits } from "bitgrad/nn";
 *
 * console.log(bceWithLogits(tensor([2, -1]), tensor([1, 0])).item()); // 0.220
 * ```
 */
export function bceWithLogits(
  input: TensorLike,
  target: TensorLike,
  options?: Partial<ReductionOption & { weight: TensorLike | null; posWeight: TensorLike | null }>,
): Tensor {
  const op = "bceWithLogits";
  const { reduction, weight, posWeight } = readOptions(op, options, {
    ...mean,
    weight: null as TensorLike | null,
    posWeight: null as TensorLike | null,
  });
  const [x, y] = paired(op, input, target).map((t) => counted(op, t, weight));
  const positive = weighted(op, timesLog(y, x.logSigmoid()), posWeight);
  const negative = timesLog(y.neg().add(1), x.neg().logSigmoid());
  return reduced(op, weighted(op, positive.add(negative).neg(), weight), reduction);
}

/** p · log q, and 0 where p and q are 0. */
export function timesLog(p: Tensor, logQ: Tensor): Tensor {
  if (!holds(logQ, Number.NEGATIVE_INFINITY)) return p.mul(logQ);
  const none = p.equal(0).logicalAnd(logQ.equal(Number.NEGATIVE_INFINITY));
  return p.mul(none.where(0, logQ));
}

/** x, but 0 where it is not finite and its weight is 0: not even its gradient sees what it was. */
export function counted(op: string, x: Tensor, weight: TensorLike | null): Tensor {
  if (weight === null) return x;
  const w = floats(asTensor(op, weight, x.dtype));
  return holds(w, 0) && !visitor() && !x.isFinite().all().item()
    ? gate(w.notEqual(0).logicalOr(x.isFinite()), x)
    : x;
}

/** losses · weight, which must broadcast to them; a loss of weight 0 is not read where it is not finite. */
export function weighted(op: string, losses: Tensor, weight: TensorLike | null): Tensor {
  if (weight === null) return losses;
  const w = floats(asTensor(op, weight, losses.dtype));
  const all = losses.mul(w);
  const product = holds(w, 0) ? gate(w.notEqual(0).logicalOr(losses.isFinite()), all) : all;
  if (product.size !== losses.size || product.rank !== losses.rank) {
    throw new ShapeError(
      `${op}: a weight must broadcast to the input, got ${show(w.shape)} for ${show(losses.shape)}`,
    );
  }
  return product;
}

export interface KlDivOptions {
  /** What the input is: logits, made log-probabilities along `axis`, or log-probabilities already (as in PyTorch). */
  from: "logits" | "logProbs";
  /** The target is log-probabilities. */
  logTarget: boolean;
  axis: number;
  /** "batchmean" divides the sum by the first axis: the divergence itself. "mean", PyTorch's default, divides by all elements. */
  reduction: Reduction | "batchmean";
}

/**
 * KL(target ‖ input), elementwise target·(log target − input), 0 where the target is 0. Kullback and Leibler, 1951.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { klDiv } from "bitgrad/nn";
 *
 * const target = tensor([[0.5, 0.5]]);
 * console.log(klDiv(tensor([[1, 1]]), target, { from: "logits" }).item()); // 0
 * ```
 */
export function klDiv(input: TensorLike, target: TensorLike, options?: Partial<KlDivOptions>): Tensor {
  const { from, logTarget, axis, reduction } = readOptions<KlDivOptions>("klDiv", options, {
    from: "logProbs",
    logTarget: false,
    axis: -1,
    reduction: "mean",
  });
  if (from !== "logits" && from !== "logProbs") {
    throw new OptionError(`klDiv: from must be "logits" or "logProbs", got ${show(from)}`);
  }
  const [x, y] = paired("klDiv", input, target);
  if (x.rank > 0) normalizeAxis("klDiv", axis, x.rank);
  const logQ = from === "logits" ? logSoftmax(x, axis) : x;
  const losses = logTarget ? divergence(y.exp(), logQ, y) : divergence(y, logQ);
  if (reduction !== "batchmean") return reduced("klDiv", losses, reduction);
  if (x.rank === 0) throw new ShapeError('klDiv: "batchmean" needs a batch axis, got a single number');
  return reduced("klDiv", losses, "mean", x.shape[0]);
}

/** Where p is 0 neither its logarithm nor q counts, whatever they are. */
function divergence(p: Tensor, logQ: Tensor, logP?: Tensor): Tensor {
  const some = p.notEqual(0);
  const logs = logP ? gate(some, logP) : some.where(p, 1).log();
  return p.mul(logs.sub(gate(some, logQ)));
}

/**
 * The negative log-likelihood of targets under normal distributions of mean `input` and of a variance, which is `eps` at
 * least and has its gradient there too: (log v + (input − target)²/v)/2, and with `full` log(2π)/2 more. The variance has
 * the input's shape, or one number for each last axis: (…, C) with (…, C), (…, 1) or (…). Nix and Weigend, 1994.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { gaussianNllLoss } from "bitgrad/nn";
 *
 * console.log(gaussianNllLoss(tensor([1]), tensor([3]), tensor([2])).item()); // 1.347
 * ```
 */
export function gaussianNllLoss(
  input: TensorLike,
  target: TensorLike,
  variance: TensorLike,
  options?: Partial<ReductionOption & { full: boolean; eps: number }>,
): Tensor {
  const op = "gaussianNllLoss";
  const { reduction, full, eps } = readOptions(op, options, { ...mean, full: false, eps: 1e-6 });
  if (eps === 0) throw new OptionError(`${op}: eps must be above 0, got 0`);
  const [x, y] = paired(op, input, target);
  const given = floats(asTensor(op, variance, x.dtype));
  const lead = x.shape.slice(0, -1);
  const fits = [x.shape, [...lead, 1], lead].some((shape) => sameShape(shape, given.shape));
  if (!fits) {
    throw new ShapeError(
      `${op}: the variance must have the input's shape, or one number a row, got ${show(given.shape)} for ${show(x.shape)}`,
    );
  }
  const negative = knownNumbers(given).findIndex((value: number) => !(value >= 0));
  if (negative >= 0) {
    throw new OptionError(
      `${op}: a variance must not be negative, got ${given.data[negative]} at index ${negative}`,
    );
  }
  const rows = given.rank < x.rank ? given.unsqueeze(-1) : given;
  const v = straightThrough(rows, rows.clip({ min: eps }));
  const losses = v.log().add(x.sub(y).square().div(v)).mul(0.5);
  return reduced(op, full ? losses.add(Math.log(2 * Math.PI) / 2) : losses, reduction);
}
