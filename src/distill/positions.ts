/** What losses of distillation share: student and teacher side by side, the positions that count, and the way to a number. */

import { isFloat, promote } from "../dtype.ts";
import { OptionError, ShapeError, show } from "../errors.ts";
import { knownNumbers, visitor } from "../ops/shapes-only.ts";
import { gate } from "../ops/unary.ts";
import { type Shape, sameShape, sizeOf } from "../shape.ts";
import { asTensor, isTensor, type Tensor, type TensorLike } from "../tensor.ts";

/**
 * "batchmean" averages over the positions that count, "mean" over their elements, C times as many; "sum" adds all; "none"
 * gives one loss per position, (…), 0 where the mask leaves it out.
 */
export type PositionReduction = "batchmean" | "mean" | "sum" | "none";

export interface PositionOptions {
  /** The positions (…) that count: true, or not 0; null for all. What the others hold, NaN too, changes nothing. */
  mask: TensorLike | null;
  reduction: PositionReduction;
}

/** All positions, averaged. */
export const perPosition: PositionOptions = { mask: null, reduction: "batchmean" };

export interface Sides {
  readonly student: Tensor;
  /** Detached: no gradient reaches it. */
  readonly teacher: Tensor;
  readonly positions: Positions;
}

/** The positions (…) that count. A mean over none of them is 0, with a gradient of 0. */
export class Positions {
  readonly mask: Tensor | null;
  readonly count: number;
  private readonly op: string;
  private readonly shape: Shape;

  constructor(op: string, shape: Shape, mask: TensorLike | null) {
    this.op = op;
    this.shape = shape;
    this.mask = mask === null ? null : checkMask(op, asTensor(op, mask), shape);
    this.count = this.mask === null || visitor() ? sizeOf(shape) : this.mask.sum().item();
  }

  /** x (…, more axes) with zeros at the positions that do not count: nothing that stood there is seen by what follows. */
  keep(x: Tensor): Tensor {
    if (this.mask === null) return x;
    const axes = new Array<number>(x.rank - this.mask.rank).fill(1);
    return gate(this.mask.reshape([...this.mask.shape, ...axes]), x);
  }

  /** Those of them that another mask takes too. */
  within(other: TensorLike | null): Positions {
    const { mask: narrow } = new Positions(this.op, this.shape, other);
    return new Positions(
      this.op,
      this.shape,
      this.mask && narrow ? this.mask.logicalAnd(narrow) : (narrow ?? this.mask),
    );
  }

  /** Class indices (…), -100 at the positions that do not count. */
  labels(labels: TensorLike): Tensor {
    const given = asTensor(this.op, labels, "int32");
    if (this.mask === null || isFloat(given.dtype)) return given;
    if (!sameShape(given.shape, this.shape)) {
      throw new ShapeError(
        `${this.op}: labels must have the shape of the positions, got ${show(given.shape)} for ${show(this.shape)}`,
      );
    }
    return this.mask.where(given.to("int32"), -100);
  }

  /** One loss per position (…), each the sum of `width` elements, to what `reduction` asks for. */
  reduce(losses: Tensor, reduction: PositionReduction, width = 1): Tensor {
    const kept = this.keep(losses);
    switch (reduction) {
      case "batchmean":
        return kept.sum().div(this.count || 1);
      case "mean":
        return kept.sum().div(this.count * width || 1);
      case "sum":
        return kept.sum();
      case "none":
        return kept;
      default:
        throw new OptionError(
          `${this.op}: reduction must be "batchmean", "mean", "sum" or "none", got ${show(reduction)}`,
        );
    }
  }
}

/** Both (…, C) in their common float type, with zeros where the mask leaves a position out. */
export function sides(op: string, student: Tensor, teacher: Tensor, mask: TensorLike | null = null): Sides {
  checkTensors(op, student, teacher);
  if (student.rank === 0 || !sameShape(student.shape, teacher.shape)) {
    throw new ShapeError(
      `${op}: student and teacher must have one shape (…, C), got ${show(student.shape)} and ${show(teacher.shape)}`,
    );
  }
  const dtype = promote(promote(student.dtype, teacher.dtype), "float32");
  const positions = new Positions(op, student.shape.slice(0, -1), mask);
  const taught = positions.keep(student.to(dtype));
  return { student: taught, teacher: positions.keep(teacher.detach().to(dtype)), positions };
}

export function checkTensors(op: string, ...tensors: unknown[]): void {
  for (const t of tensors) {
    if (!isTensor(t)) throw new OptionError(`${op}: expected a tensor, got ${show(t)}`);
  }
}

export function checkTemperature(op: string, temperature: unknown): void {
  if (!(typeof temperature === "number" && temperature > 0 && temperature < Infinity)) {
    throw new OptionError(`${op}: temperature must be a finite number above 0, got ${show(temperature)}`);
  }
}

function checkMask(op: string, mask: Tensor, shape: Shape): Tensor {
  if (!sameShape(mask.shape, shape)) {
    throw new ShapeError(
      `${op}: the mask must have the shape of the positions, got ${show(mask.shape)} for ${show(shape)}`,
    );
  }
  if (knownNumbers(mask).some((value: number) => Number.isNaN(value))) {
    throw new OptionError(`${op}: a mask says which positions count, got NaN in it`);
  }
  return mask.notEqual(0);
}
