/** Joining tensors and taking them apart. */

import { promote } from "../dtype.ts";
import { checkChoice, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { normalizeAxis, sameShape, sizeOf } from "../shape.ts";
import { asTensor, empty, type Tensor, type TensorLike } from "../tensor.ts";
import { unsqueeze } from "./movement.ts";
import { defineMultiOp, defineOp } from "./op.ts";

const concatOp = defineOp<Tensor[], { axis: number }>("concat", {
  writesAll: true,
  options: { axis: 0 },
  shape(inputs, { axis }) {
    const [first] = inputs;
    let total = 0;
    for (const t of inputs) {
      if (t.rank !== first.rank || t.shape.some((n, k) => k !== axis && n !== first.shape[k])) {
        throw new ShapeError(
          `concat: shapes differ beyond axis ${axis}, got ${show(first.shape)} and ${show(t.shape)}`,
        );
      }
      total += t.shape[axis];
    }
    return first.shape.map((n, k) => (k === axis ? total : n));
  },
  dtype: (inputs) => inputs.map((t) => t.dtype).reduce(promote),
  forward(out, inputs, { axis }, output) {
    const inner = sizeOf(output.shape, axis + 1);
    const row = output.shape[axis] * inner;
    const outer = sizeOf(output.shape, 0, axis);
    let at = 0;
    for (const { data, shape } of inputs) {
      const block = shape[axis] * inner;
      for (let o = 0; o < outer; o++) out.set(data.subarray(o * block, (o + 1) * block), o * row + at);
      at += block;
    }
  },
  vjp(grad, { inputs, needs }, { axis }) {
    let at = 0;
    return inputs.map((t, i) => {
      const from = at;
      at += t.shape[axis];
      return needs[i] ? grad.slice([...Array<null>(axis).fill(null), [from, at]]) : null;
    });
  },
});

const tensorList = (op: string, list: readonly TensorLike[]): readonly Tensor[] => {
  if (!Array.isArray(list) || list.length === 0)
    throw new ShapeError(`${op}: needs a list of at least one tensor, got ${show(list)}`);
  return list.map((t) => asTensor(op, t));
};

/**
 * Tensors joined along an existing axis.
 *
 * @example
 * ```ts
 * import { concat, tensor } from "bitgrad";
 *
 * console.log(concat([tensor([[1], [2]]), tensor([[3], [4]])], { axis: 1 }).toArray()); // [[1, 3], [2, 4]]
 * ```
 */
export function concat(tensors: readonly TensorLike[], options?: { axis?: number }): Tensor {
  const list = tensorList("concat", tensors);
  const { axis } = readOptions("concat", options, { axis: 0 });
  return joined(list, normalizeAxis("concat", axis, list[0].rank));
}

/** Engines call functions with about 100,000 arguments at most: more tensors are joined a part at a time. */
function joined(list: readonly Tensor[], axis: number): Tensor {
  const most = 10_000;
  if (list.length <= most) return concatOp(...list, { axis });
  // Of all, since what a part promotes to may be another.
  const dtype = list.map((t) => t.dtype).reduce(promote);
  const parts = Array.from({ length: Math.ceil(list.length / most) }, (_, i) =>
    joined(
      list.slice(i * most, (i + 1) * most).map((t) => t.to(dtype)),
      axis,
    ),
  );
  return joined(parts, axis);
}

/**
 * Tensors of one shape joined along a new axis.
 *
 * @example
 * ```ts
 * import { stack, tensor } from "bitgrad";
 *
 * console.log(stack([tensor([1, 2]), tensor([3, 4])]).toArray()); // [[1, 2], [3, 4]]
 * ```
 */
export function stack(tensors: readonly TensorLike[], options?: { axis?: number }): Tensor {
  const list = tensorList("stack", tensors);
  const { axis } = readOptions("stack", options, { axis: 0 });
  const odd = list.find((t) => !sameShape(t.shape, list[0].shape));
  if (odd)
    throw new ShapeError(
      `stack: all shapes must be equal, got ${show(list[0].shape)} and ${show(odd.shape)}`,
    );
  const k = normalizeAxis("stack", axis, list[0].rank + 1);
  return concat(
    list.map((t) => unsqueeze(t, k)),
    { axis: k },
  );
}

const splitOp = defineMultiOp<[x: Tensor], { axis: number; sizes: readonly number[] }>("split", {
  writesAll: true,
  options: { axis: 0, sizes: [] },
  arity: 1,
  shape: ([x], { axis, sizes }) => sizes.map((size) => x.shape.map((n, k) => (k === axis ? size : n))),
  dtype: ([x], { sizes }) => sizes.map(() => x.dtype),
  forward(outs, [{ data, shape }], { axis, sizes }) {
    const inner = sizeOf(shape.slice(axis + 1));
    const row = shape[axis] * inner;
    const outer = sizeOf(shape.slice(0, axis));
    let at = 0;
    outs.forEach((out, i) => {
      const block = sizes[i] * inner;
      for (let o = 0; o < outer; o++) out.set(data.subarray(o * row + at, o * row + at + block), o * block);
      at += block;
    });
  },
  // One concatenation, where a slice for each piece would have a gradient of the whole size each.
  vjp: (grads, { inputs: [x] }, { axis, sizes }) => [
    joined(
      grads.map(
        (grad, i) =>
          grad ??
          empty(
            x.shape.map((n, k) => (k === axis ? sizes[i] : n)),
            x.dtype,
          ),
      ),
      axis,
    ),
  ],
});

/** Pieces along an axis: of `size` each (the last may be shorter), or of the listed sizes, which must add up. */
export function split(
  x: TensorLike,
  size: number | readonly number[],
  options?: { axis?: number },
): Tensor[] {
  const { axis } = readOptions("split", options, { axis: 0 });
  x = asTensor("split", x);
  const k = normalizeAxis("split", axis, x.rank);
  const n = x.shape[k];
  const legal = Array.isArray(size)
    ? size.every((n) => Number.isInteger(n) && n >= 0)
    : Number.isInteger(size) && (size as number) > 0;
  if (!legal)
    throw new OptionError(`split: sizes must be a positive integer or a list of them, got ${show(size)}`);
  const sizes =
    typeof size === "number"
      ? Array.from({ length: Math.max(1, Math.ceil(n / size)) }, (_, i) => Math.min(size, n - i * size))
      : size;
  if (sizes.reduce((a, b) => a + b, 0) !== n) {
    throw new ShapeError(
      `split: sizes must add up to ${n}, got ${show(sizes)} on axis ${k} of ${show(x.shape)}`,
    );
  }
  return sizes.length > 0 ? [...splitOp(x, { axis: k, sizes })] : [];
}

/** `count` pieces along an axis, of equal size but for the last. */
export function chunk(x: TensorLike, count: number, options?: { axis?: number }): Tensor[] {
  const { axis } = readOptions("chunk", options, { axis: 0 });
  x = asTensor("chunk", x);
  if (!Number.isInteger(count) || count < 1)
    throw new OptionError(`chunk: the count must be a positive integer, got ${show(count)}`);
  const k = normalizeAxis("chunk", axis, x.rank);
  return split(x, Math.max(1, Math.ceil(x.shape[k] / count)), { axis: k });
}

/**
 * The coordinates of a grid: vectors of n₀, n₁, … elements -> as many tensors of shape (n₀, n₁, …), each constant along the
 * axes of the others. With indexing "xy" the first two axes change places, as rows and columns of a picture.
 *
 * @example
 * ```ts
 * import { arange, meshgrid } from "bitgrad";
 *
 * const [rows, columns] = meshgrid([arange(2), arange(3)]);
 * console.log(rows.toArray(), columns.toArray()); // [[0, 0, 0], [1, 1, 1]] [[0, 1, 2], [0, 1, 2]]
 * ```
 */
export function meshgrid(tensors: readonly TensorLike[], options?: { indexing?: "ij" | "xy" }): Tensor[] {
  const { indexing } = readOptions("meshgrid", options, { indexing: "ij" });
  checkChoice("meshgrid", "indexing", indexing, ["ij", "xy"]);
  const list = tensorList("meshgrid", tensors);
  const shape = list.map((t) => t.size);
  return list.map((t, i) => {
    if (t.rank > 1) throw new ShapeError(`meshgrid: needs vectors, got ${show(t.shape)}`);
    const grid = t.reshape(shape.map((n, k) => (k === i ? n : 1))).broadcastTo(shape);
    return indexing === "xy" && list.length > 1 ? grid.transpose(0, 1) : grid;
  });
}

export { concatOp, splitOp };
