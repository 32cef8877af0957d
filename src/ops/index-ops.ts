/** Reading and writing by index. Indices are integer tensors (or lists of integers), never negative. */

import type { IndexSizes } from "../../kernels/gather/reference.ts";
import {
  scatterAdd as addLoop,
  addRows,
  firstOutside,
  gather as gatherLoop,
  places,
  scatter as scatterLoop,
  takeRows,
} from "../backend.ts";
import { exactly, isFloat, newArray, promote } from "../dtype.ts";
import { checkInteger, DTypeError, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { checkShape, normalizeAxis, type Shape, sameShape, sizeOf } from "../shape.ts";
import { asTensor, empty, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { counting } from "./binary.ts";
import { defineOp, type Grads } from "./op.ts";
import { isPlaceholder, placeholder, visitor } from "./shapes-only.ts";

export interface AxisOption {
  axis?: number;
}

/** (outer, n, inner) sizes around an axis. */
function around(shape: Shape, axis: number): [outer: number, n: number, inner: number] {
  return [sizeOf(shape, 0, axis), shape[axis], sizeOf(shape, axis + 1)];
}

/** An integer tensor whose entries all lie in 0…n−1. */
function asIndex(op: string, value: TensorLike, n: number): Tensor {
  const index = asTensor(op, value, typeof value === "boolean" ? undefined : "int32");
  if (isFloat(index.dtype) || index.dtype === "bool")
    throw new DTypeError(`${op}: the index must be integers, got ${index.dtype}; use .to("int32")`);
  if (isPlaceholder(index)) return index;
  const at = firstOutside(index.data, n);
  if (at >= 0)
    throw new ShapeError(`${op}: index out of range, got ${index.data[at]} for an axis of size ${n}`);
  return index;
}

function checkGather(op: string, x: Tensor, index: Tensor, axis: number): void {
  if (x.rank !== index.rank || index.shape.some((n, k) => k !== axis && n > x.shape[k])) {
    throw new ShapeError(
      `${op}: the index must have the rank of the tensor and fit into it off axis ${axis}, got ${show(index.shape)} for ${show(x.shape)}`,
    );
  }
}

const sizes = (x: Tensor, index: Tensor, axis: number): IndexSizes => ({
  within: x.shape,
  shape: index.shape,
  axis,
});

const gatherOp = defineOp<[x: Tensor, index: Tensor], { axis: number }>("gather", {
  writesAll: true,
  options: { axis: 0 },
  arity: 2,
  shape: ([, index]) => index,
  dtype: ([x]) => x.dtype,
  forward: (out, [x, index], { axis }) => gatherLoop(out, x.data, index.data, sizes(x, index, axis)),
  vjp: (grad, { inputs: [x, index] }, { axis }): Grads => [
    scatterAddOp(empty(x.shape, grad.dtype), index, grad, { axis }),
    null,
  ],
});

const scatterAddOp = defineOp<[x: Tensor, index: Tensor, source: Tensor], { axis: number }>("scatterAdd", {
  options: { axis: 0 },
  arity: 3,
  shape: ([x]) => x,
  dtype: ([x, , source]) => counting(x.dtype, source.dtype),
  forward(out, [x, index, source], { axis }, { dtype }) {
    exactly("scatterAdd", out, dtype, (to) =>
      addLoop(to, x.data, index.data, source.data, sizes(x, index, axis)),
    );
  },
  vjp: (grad, { inputs: [, index] }, { axis }): Grads => [grad, null, gatherOp(grad, index, { axis })],
});

const scatterOp = defineOp<[x: Tensor, index: Tensor, source: Tensor], { axis: number }>("scatter", {
  options: { axis: 0 },
  arity: 3,
  shape: ([x]) => x,
  dtype: ([x, , source]) => promote(x.dtype, source.dtype),
  forward: (out, [x, index, source], { axis }) =>
    scatterLoop(out, x.data, index.data, source.data, sizes(x, index, axis)),
  vjp: (grad, { inputs: [, index, source] }, { axis }): Grads => [
    scatterOp(grad, index, empty(source.shape, grad.dtype), { axis }),
    null,
    gatherOp(grad, index, { axis }),
  ],
});

/** out[i][j][k] = x[i][index[i][j][k]][k] for axis 1: torch.gather. */
export function gather(x: TensorLike, index: TensorLike, options?: AxisOption): Tensor {
  const { axis } = readOptions("gather", options, { axis: 0 });
  x = asTensor("gather", x);
  const k = normalizeAxis("gather", axis, x.rank);
  const at = asIndex("gather", index, x.shape[k]);
  checkGather("gather", x, at, k);
  return gatherOp(x, at, { axis: k });
}

function scatterWith(
  op: "scatter" | "scatterAdd",
  x: Tensor,
  index: TensorLike,
  source: TensorLike,
  axis: number,
): Tensor {
  const k = normalizeAxis(op, axis, x.rank);
  const at = asIndex(op, index, x.shape[k]);
  checkGather(op, x, at, k);
  const values = asTensor(op, source, x.dtype).broadcastTo(at.shape);
  return (op === "scatter" ? scatterOp : scatterAddOp)(x, at, values, { axis: k });
}

/** x with x[i][index[i][j]][…] = source[i][j][…] for axis 1: torch.scatter. Where an index repeats, the last one counts. */
export function scatter(x: TensorLike, index: TensorLike, source: TensorLike, options?: AxisOption): Tensor {
  const { axis } = readOptions("scatter", options, { axis: 0 });
  x = asTensor("scatter", x);
  return scatterWith("scatter", x, index, source, axis);
}

/** As scatter, but adding. Throws DTypeError for a sum of integers that their dtype cannot hold. */
export function scatterAdd(
  x: TensorLike,
  index: TensorLike,
  source: TensorLike,
  options?: AxisOption,
): Tensor {
  const { axis } = readOptions("scatterAdd", options, { axis: 0 });
  x = asTensor("scatterAdd", x);
  return scatterWith("scatterAdd", x, index, source, axis);
}

const indexSelectOp = defineOp<[x: Tensor, index: Tensor], { axis: number }>("indexSelect", {
  writesAll: true,
  options: { axis: 0 },
  arity: 2,
  shape: ([x, index], { axis }) => [...x.shape.slice(0, axis), ...index.shape, ...x.shape.slice(axis + 1)],
  dtype: ([x]) => x.dtype,
  forward(out, [x, index], { axis }) {
    const [outer, n, inner] = around(x.shape, axis);
    if (inner === 1 && outer === 1)
      gatherLoop(out, x.data, index.data, { within: [n], shape: [index.size], axis: 0 });
    else takeRows(out, x.data, index.data, { outer, n, inner });
  },
  vjp: (grad, { inputs: [x, index] }, { axis }): Grads => [
    indexAddOp(index, grad, null, { axis, shape: x.shape }),
    null,
  ],
});

/** Without x, adds into zeros of `shape`. */
const indexAddOp = defineOp<
  [index: Tensor, source: Tensor, x?: Tensor | null],
  { axis: number; shape: Shape }
>("indexAdd", {
  options: { axis: 0, shape: [] },
  arity: [2, 3],
  shape: (_, { shape }) => shape,
  dtype: ([, source, x]) => (x ? counting(x.dtype, source.dtype) : source.dtype),
  forward(out, [index, source, x], { axis, shape }, { dtype }) {
    const [outer, n, inner] = around(shape, axis);
    exactly("indexAdd", out, dtype, (to) => {
      if (x) to.set(x.data);
      addRows(to, source.data, index.data, { outer, n, inner });
    });
  },
  vjp: (grad, { inputs: [index, , x] }, { axis }): Grads => [
    null,
    indexSelectOp(grad, index, { axis }),
    x ? grad : null,
  ],
});

/** The entries of an axis that a list of integers names. An index of several axes puts all of them in the axis' place. */
export function indexSelect(x: TensorLike, index: TensorLike, options?: AxisOption): Tensor {
  const { axis } = readOptions("indexSelect", options, { axis: 0 });
  x = asTensor("indexSelect", x);
  const k = normalizeAxis("indexSelect", axis, x.rank);
  return indexSelectOp(x, asIndex("indexSelect", index, x.shape[k]), { axis: k });
}

/**
 * x with alpha · source[i] added to entry index[i] of an axis; indices may repeat. Throws DTypeError for a sum of integers
 * that their dtype cannot hold.
 */
export function indexAdd(
  x: TensorLike,
  index: TensorLike,
  source: TensorLike,
  options?: { axis?: number; alpha?: number },
): Tensor {
  x = asTensor("indexAdd", x);
  const added = asTensor("indexAdd", source, x.dtype);
  const { axis, alpha } = readOptions("indexAdd", options, { axis: 0, alpha: 1 });
  const k = normalizeAxis("indexAdd", axis, x.rank);
  const at = asIndex("indexAdd", index, x.shape[k]);
  const wanted = [...x.shape.slice(0, k), ...at.shape, ...x.shape.slice(k + 1)];
  if (!sameShape(added.shape, wanted)) {
    throw new ShapeError(
      `indexAdd: the source must have the shape of the named entries, got ${show(added.shape)} for ${show(wanted)}`,
    );
  }
  return indexAddOp(at, alpha === 1 ? added : added.mul(alpha), x, { axis: k, shape: x.shape });
}

/** Rows of a (V, C) table by id: ids of any shape (…) -> (…, C). The row `paddingIndex` gets no gradient. */
export function embedding(weight: TensorLike, ids: TensorLike, options?: { paddingIndex?: number }): Tensor {
  const { paddingIndex } = readOptions("embedding", options, {
    paddingIndex: undefined as number | undefined,
  });
  weight = asTensor("embedding", weight);
  if (weight.rank !== 2)
    throw new ShapeError(`embedding: the table must have shape (V, C), got ${show(weight.shape)}`);
  const index = asIndex("embedding", ids, weight.shape[0]);
  const rows = indexSelectOp(weight, index, { axis: 0 });
  if (paddingIndex === undefined) return rows;
  const pad = normalizeAxis("embedding", paddingIndex, weight.shape[0]);
  return index.equal(pad).unsqueeze(-1).where(rows.detach(), rows);
}

/** value where the mask holds, x elsewhere. */
export function maskedFill(x: TensorLike, mask: TensorLike, value: number | Tensor): Tensor {
  x = asTensor("maskedFill", x);
  return asTensor("maskedFill", mask)
    .where(asTensor("maskedFill", value, x.dtype), x)
    .to(x.dtype);
}

/** The elements where the mask (broadcast to x) holds, in order, as one axis. */
export function maskedSelect(x: TensorLike, mask: TensorLike): Tensor {
  x = asTensor("maskedSelect", x);
  const at = places(asTensor("maskedSelect", mask).broadcastTo(x.shape).data);
  return indexSelectOp(x.reshape([x.size]), wrap(at, [at.length], "int32"), { axis: 0 });
}

/** (…) class indices -> (…, classes) int32 of zeros with a one at each index. */
export function oneHot(index: TensorLike, options?: { classes?: number }): Tensor {
  const { classes } = readOptions("oneHot", options, { classes: undefined as number | undefined });
  const given = asTensor("oneHot", index, typeof index === "boolean" ? undefined : "int32");
  const count = classes ?? (given.size === 0 ? 0 : given.max().item() + 1);
  if (!Number.isInteger(count) || count < 1)
    throw new OptionError(`oneHot: classes must be a positive integer, got ${show(count)}`);
  const at = asIndex("oneHot", given, count);
  const shape = checkShape("oneHot", [...at.shape, count]);
  if (visitor()) return placeholder(shape, "int32");
  const out = newArray("int32", at.size * count);
  at.data.forEach((c: number, i: number) => {
    out[i * count + c] = 1;
  });
  return wrap(out, shape, "int32");
}

const triangle = (name: "tril" | "triu", keeps: (row: number, column: number, offset: number) => boolean) =>
  defineOp<[x: Tensor], { offset: number }>(name, {
    arity: 1,
    options: { offset: 0 },
    shape([x], { offset }) {
      checkInteger(name, "offset", offset);
      if (x.rank < 2) throw new ShapeError(`${name}: needs at least two axes, got ${show(x.shape)}`);
      return x;
    },
    forward(out, [x], { offset }) {
      const [rows, columns] = x.shape.slice(-2);
      const { data } = x;
      for (let i = 0; i < out.length; i++) {
        if (keeps(Math.floor(i / columns) % rows, i % columns, offset)) out[i] = data[i];
      }
    },
    vjp: (grad, _, options) => [grad[name](options)],
  });

/** The last two axes with zeros above diagonal `offset`. */
export const tril = triangle("tril", (row, column, offset) => column - row <= offset);
/** The last two axes with zeros below diagonal `offset`. */
export const triu = triangle("triu", (row, column, offset) => column - row >= offset);

export { around, asIndex, gatherOp, indexAddOp, indexSelectOp, scatterAddOp, scatterOp };
