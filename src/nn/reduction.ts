/** What losses share: the checks of their inputs and the ways to one number. */

import { OptionError, ShapeError, show } from "../errors.ts";
import { floats } from "../ops/softmax.ts";
import { sameShape } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";

/** The mean or sum of all losses, or every one of them. */
export type Reduction = "mean" | "sum" | "none";

export interface ReductionOption {
  reduction: Reduction;
}

/** Reduces the losses; `count` is what a mean divides by, their number unless told otherwise. */
export function reduced(op: string, losses: Tensor, reduction: Reduction, count = losses.size): Tensor {
  if (reduction === "none") return losses;
  if (reduction === "sum") return losses.sum();
  if (reduction === "mean") return losses.sum().div(count);
  throw new OptionError(`${op}: reduction must be "mean", "sum" or "none", got ${show(reduction)}`);
}

/** Input and target as float tensors of equal shape; losses do not broadcast. */
export function paired(op: string, input: TensorLike, target: TensorLike): [input: Tensor, target: Tensor] {
  const x = floats(asTensor(op, input));
  const y = floats(asTensor(op, target, x.dtype));
  if (!sameShape(x.shape, y.shape)) {
    throw new ShapeError(
      `${op}: input and target must have one shape, got ${show(x.shape)} and ${show(y.shape)}`,
    );
  }
  return [x, y];
}
