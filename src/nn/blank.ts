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

/**
 * A zeroed tensor that outlives every scope; inside `withoutData` and `shapesOnly` one that has a shape and no numbers.
 *
 * @example
 * ```ts
 * import { blank } from "bitgrad/nn";
 *
 * console.log(blank([2], "float32").toArray()); // [0, 0]
 * ```
 */
export function blank(shape: Shape, dtype: DType = "float32"): Tensor {
  const checked = checkShape("blank", shape);
  if (!isDType(dtype)) throw new DTypeError(`blank: unknown dtype, got ${show(dtype)}`);
  const maker = mode.on ? "withoutData" : visitor() ? "shapesOnly" : null;
  if (maker === null) return pin(empty(checked, dtype));
  if (mode.on && --mode.left < 0)
    throw new FormatError("blank: more tensors than the file holds, got one more");
  return pin(placeholder(checked, dtype, maker));
}

/**
 * False for what `withoutData` and `shapesOnly` made.
 *
 * @example
 * ```ts
 * import { hasData, Linear, withoutData } from "bitgrad/nn";
 *
 * const shapes = withoutData(() => new Linear(4, 2));
 * console.log(hasData(new Linear(4, 2).weight.value), hasData(shapes.weight.value)); // true false
 * ```
 */
export function hasData(tensor: Tensor): boolean {
  if (!isTensor(tensor)) throw new OptionError(`hasData: expected a tensor, got ${show(tensor)}`);
  return !isPlaceholder(tensor);
}

/**
 * Runs `fn`, in which layers take no memory and draw no random numbers: `withoutData(() => new Gpt(config))` is a model to
 * count and to list, whatever its size. Reading its numbers throws StageError, as does an async `fn`.
 *
 * @example
 * ```ts
 * import { Gpt } from "bitgrad/models";
 * import { hasData, withoutData } from "bitgrad/nn";
 *
 * const model = withoutData(() => new Gpt(Gpt.configs.gpt2Xl)); // takes no memory
 * console.log(hasData(model.head.weight.value)); // false
 * ```
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
 *
 * @example
 * ```ts
 * import { Linear, withoutDraws } from "bitgrad/nn";
 *
 * const layer = withoutDraws(() => new Linear(4, 2)); // to be filled, as by load
 * console.log(layer.weight.value.abs().sum().item()); // 0
 * ```
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
