/** Tensors that have a shape and no numbers, and the mode in which every op makes such. */

import { undoable } from "../changes.ts";
import { type DType, newArray, type TypedArray } from "../dtype.ts";
import { isFunction, OptionError, StageError, show, synchronous } from "../errors.ts";
import type { Shape } from "../shape.ts";
import { shared } from "../state.ts";
import { Storage } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { Tensor } from "../tensor.ts";

/** What `shapesOnly` tells of an op: its name, its tensors, its options, what it gives. The tensors have shapes and dtypes. */
export type OpVisitor = (
  op: string,
  inputs: readonly (Tensor | null | undefined)[],
  options: object,
  outputs: readonly Tensor[],
) => void;

const mode = shared("shapesOnly", () => ({ visit: null as OpVisitor | null }));

/** The visitor of the `shapesOnly` that runs; null outside of any. */
export const visitor = (): OpVisitor | null => mode.visit;

/** Stands where the numbers would be: a shape and a dtype over no memory. */
class Placeholder extends Storage {
  readonly placeholder = true;
  private readonly maker: string;

  constructor(dtype: DType, maker: string) {
    super(newArray(dtype, 0), dtype);
    this.maker = maker;
  }

  override get data(): TypedArray {
    throw new StageError(`data: the tensor was built without numbers, got one made inside ${this.maker}`);
  }
}

/** A tensor without numbers. */
export const placeholder = <D extends DType>(shape: Shape, dtype: D, maker = "shapesOnly"): Tensor<D> =>
  new Tensor(new Placeholder(dtype, maker), shape, dtype);

/** Whether a tensor has a shape and no numbers. */
export const isPlaceholder = (tensor: Tensor): boolean => "placeholder" in tensor.storage;

/** The elements that a check looks at: none of a tensor that has no numbers. */
export const knownNumbers = (tensor: Tensor): TypedArray =>
  isPlaceholder(tensor) ? newArray(tensor.dtype, 0) : tensor.data;

/**
 * Runs `fn` by shapes alone: every op checks its inputs and gives a tensor that has a shape and a dtype and no memory, and
 * `visit` is told of it, gradients of it are not. So a model of any size is counted: `shapesOnly(() => model.forward(ids),
 * visit)`. What `fn` creates has no numbers either, no random number is drawn, and what layers changed (caches, running
 * statistics) is put back. Reading a number throws StageError, as does an async `fn`. Returns what `fn` does.
 *
 * @example
 * ```ts
 * import { ones, shapesOnly, zeros } from "bitgrad";
 *
 * const seen: string[] = [];
 * const y = shapesOnly(() => zeros([100_000, 100_000]).matmul(ones([100_000, 3])), (op) => seen.push(op));
 * console.log(y.shape, seen); // [100000, 3] ["matmul"]
 * ```
 */
export function shapesOnly<T>(fn: () => T, visit: OpVisitor = () => {}): T {
  for (const item of [fn, visit]) {
    if (!isFunction(item)) throw new OptionError(`shapesOnly: expected a function, got ${show(item)}`);
  }
  const before = mode.visit;
  mode.visit = (...told) => void synchronous("shapesOnly", visit(...told) as unknown, "visit");
  try {
    const [result, undo] = undoable(() =>
      noGrad(() => {
        return synchronous("shapesOnly", fn());
      }),
    );
    undo();
    return result;
  } finally {
    mode.visit = before;
  }
}
