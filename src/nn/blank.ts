/** Where the numbers of a new parameter or buffer come from, and the mode in which models are built without any. */

import { type DType, isDType } from "../dtype.ts";
import { DTypeError, FormatError, isFunction, OptionError, show, synchronous } from "../errors.ts";
import { isPlaceholder, placeholder, visitor } from "../ops/shapes-only.ts";
import { checkShape, type Shape } from "../shape.ts";
import { shared } from "../state.ts";
import { pin } from "../storage.ts";
import { empty, isTensor, type Tensor } from "../tensor.ts";

const mode = shared("withoutData", () => ({ on: false, left: Infinity }));
const noDraws = shared("withoutDraws", () => ({ on: false }));

/** A zeroed tensor that outlives every scope; inside `withoutData` and `shapesOnly` one that has a shape and no numbers. */
export function blank(shape: Shape, dtype: DType = "float32"): Tensor {
  const checked = checkShape("blank", shape);
  if (!isDType(dtype)) throw new DTypeError(`blank: unknown dtype, got ${show(dtype)}`);
  const maker = mode.on ? "withoutData" : visitor() ? "shapesOnly" : null;
  if (maker === null) return pin(empty(checked, dtype));
  if (mode.on && --mode.left < 0)
    throw new FormatError("blank: more tensors than the file holds, got one more");
  return pin(placeholder(checked, dtype, maker));
}

/** False for what `withoutData` and `shapesOnly` made. */
export function hasData(tensor: Tensor): boolean {
  if (!isTensor(tensor)) throw new OptionError(`hasData: expected a tensor, got ${show(tensor)}`);
  return !isPlaceholder(tensor);
}

/**
 * Runs `fn`, in which layers take no memory and draw no random numbers: `withoutData(() => new Gpt(config))` is a model to
 * count and to list, whatever its size. Reading its numbers throws StageError, as does an async `fn`.
 */
export const withoutData = <T>(fn: () => T): T => inMode("withoutData", mode, fn);

/** As `withoutData`, for what a file asks for: FormatError where `fn` makes more than `count` tensors. */
export function withoutDataUpTo<T>(count: number, fn: () => T): T {
  const before = mode.left;
  mode.left = count;
  try {
    return withoutData(fn);
  } finally {
    mode.left = before;
  }
}

/** False inside `withoutDraws`. */
export const drawing = (): boolean => !noDraws.on;

/**
 * Runs `fn`, in which layers leave at 0 what they would draw: `load(path, { into: withoutDraws(() => new Gpt(config)) })` does
 * not wait for random numbers that the checkpoint overwrites. Throws StageError for an async `fn`.
 */
export const withoutDraws = <T>(fn: () => T): T => inMode("withoutDraws", noDraws, fn);

function inMode<T>(op: string, state: { on: boolean }, fn: () => T): T {
  if (!isFunction(fn)) throw new OptionError(`${op}: expected a function, got ${show(fn)}`);
  const before = state.on;
  state.on = true;
  try {
    return synchronous(op, fn());
  } finally {
    state.on = before;
  }
}
