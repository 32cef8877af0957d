/** What functions of discovery are given: rows of numbers, and labels that only tell items apart. */

import { isFloat } from "../dtype.ts";
import { DTypeError, OptionError, ShapeError, show } from "../errors.ts";
import { asTensor, type TensorLike } from "../tensor.ts";

/** n rows of d numbers, row after row. */
export interface Rows {
  readonly data: Float64Array;
  readonly n: number;
  readonly d: number;
}

/** Squares of numbers beyond it, and sums of them, would not be finite. */
const largest = 1e150;

/** A matrix (n, d) as float64. Throws ShapeError where it is none or is empty, OptionError where a number is not finite. */
export function rowsOf(op: string, name: string, value: TensorLike): Rows {
  const { shape, data, dtype } = asTensor(op, value);
  if (shape.length !== 2 || shape[0] === 0 || shape[1] === 0) {
    throw new ShapeError(`${op}: ${name} must be a matrix with rows and columns, got ${show(shape)}`);
  }
  if (dtype === "bool") throw new DTypeError(`${op}: ${name} must be numbers, got ${dtype}`);
  const copy = Float64Array.from(data);
  const odd = copy.find((x) => !(Math.abs(x) <= largest));
  if (odd !== undefined) {
    throw new OptionError(`${op}: ${name} must hold numbers between ±${largest}, got ${odd}`);
  }
  return { data: copy, n: shape[0], d: shape[1] };
}

/** Labels (n), numbered anew from 0 in the order in which they first appear, and how many there are. */
export function labelsOf(op: string, name: string, value: TensorLike): { of: Int32Array; count: number } {
  const { shape, data, dtype } = asTensor(op, value, "int32");
  if (isFloat(dtype) || dtype === "bool") {
    throw new DTypeError(`${op}: ${name} must be integers, got ${dtype}`);
  }
  if (shape.length !== 1 || shape[0] === 0) {
    throw new ShapeError(`${op}: ${name} must be a list of at least one label, got ${show(shape)}`);
  }
  const seen = new Map<number, number>();
  const of = Int32Array.from(data, (label) => {
    if (!seen.has(label)) seen.set(label, seen.size);
    return seen.get(label) as number;
  });
  return { of, count: seen.size };
}
