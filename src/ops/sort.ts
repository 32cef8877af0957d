/** Sorting and what rests on it. NaN counts as larger than every number. */

import type { Places } from "../../kernels/sort/reference.ts";
import { argsort as argsortLoop } from "../backend.ts";
import type { DType, TypedArray } from "../dtype.ts";
import { OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { normalizeAxis } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { gatherOp } from "./index-ops.ts";
import { defineOp } from "./op.ts";
import { around } from "./softmax.ts";

export interface SortOptions {
  axis: number;
  descending: boolean;
}

const order = (out: TypedArray, x: Tensor, axis: number, places: Places): void =>
  argsortLoop(out, x.data, around(x.shape, axis), places);

/** The order that sorts an axis (default the last). Stable; NaN counts as larger than every number. */
export const argsort = defineOp<[x: Tensor], SortOptions>("argsort", {
  writesAll: true,
  arity: 1,
  options: { axis: -1, descending: false },
  shape([x], { axis }) {
    if (x.rank > 0) normalizeAxis("argsort", axis, x.rank);
    return x;
  },
  dtype: () => "int32",
  forward(out, [x], { axis, descending }) {
    if (x.rank === 0) out[0] = 0;
    else {
      const k = normalizeAxis("argsort", axis, x.rank);
      order(out, x, k, { descending, first: 0, last: x.shape[k] });
    }
  },
});

/** The part of `argsort` from place `first` up to and without `last`. */
const placesOp = defineOp<[x: Tensor], Places & { axis: number }>("places", {
  writesAll: true,
  arity: 1,
  options: { axis: 0, descending: false, first: 0, last: 0 },
  shape: ([x], { axis, first, last }) => x.shape.map((n, k) => (k === axis ? last - first : n)),
  dtype: () => "int32",
  forward: (out, [x], { axis, ...places }) => order(out, x, axis, places),
});

export interface Ranked<D extends DType = DType> {
  values: Tensor<D>;
  indices: Tensor<"int32">;
}

const ranked = (x: Tensor, indices: Tensor, axis: number): Ranked => ({
  values: x.rank === 0 ? x : gatherOp(x, indices, { axis }),
  indices: indices as Tensor<"int32">,
});

/** An axis (default the last) in ascending order, with the indices it came from. Stable. */
export function sort(x: TensorLike, options?: Partial<SortOptions>): Ranked {
  x = asTensor("sort", x);
  const { axis: given } = readOptions<SortOptions>("sort", options, { axis: -1, descending: false });
  const axis = x.rank === 0 ? 0 : normalizeAxis("sort", given, x.rank);
  return ranked(x, argsort(x, options), axis);
}

export interface TopKOptions {
  axis: number;
  /** The largest (default) or the smallest. */
  largest: boolean;
}

/** The k largest elements along an axis (default the last), best first, with their indices. */
export function topK(x: TensorLike, k: number, options?: Partial<TopKOptions>): Ranked {
  x = asTensor("topK", x);
  const { axis, largest } = readOptions("topK", options, { axis: -1, largest: true });
  const a = normalizeAxis("topK", axis, x.rank);
  if (!Number.isInteger(k) || k < 0 || k > x.shape[a]) {
    throw new OptionError(`topK: k must lie between 0 and the axis' size ${x.shape[a]}, got ${show(k)}`);
  }
  return ranked(x, placesOp(x, { axis: a, descending: largest, first: 0, last: k }), a);
}

/** The k-th smallest element along an axis (default the last), k from 1, with its index. */
export function kthValue(x: TensorLike, k: number, options?: { axis?: number; keepDims?: boolean }): Ranked {
  const { axis, keepDims } = readOptions("kthValue", options, { axis: -1, keepDims: false });
  x = asTensor("kthValue", x);
  const a = normalizeAxis("kthValue", axis, x.rank);
  if (!Number.isInteger(k) || k < 1 || k > x.shape[a]) {
    throw new OptionError(`kthValue: k must lie between 1 and the axis' size ${x.shape[a]}, got ${show(k)}`);
  }
  return picked(x, place(x, a, k - 1), a, keepDims);
}

/** The indices of the elements that stand at `rank` in the order. */
const place = (x: Tensor, axis: number, rank: number): Tensor =>
  placesOp(x, { axis, descending: false, first: rank, last: rank + 1 });

function picked(x: Tensor, at: Tensor, axis: number, keepDims: boolean): Ranked {
  const { values, indices } = ranked(x, at, axis);
  return keepDims ? { values, indices } : { values: values.squeeze(axis), indices: indices.squeeze(axis) };
}

/**
 * The median along an axis (default the last): the lower of the two middle elements, or NaN where there is one, as
 * torch.median.
 */
export function median(x: TensorLike, options?: { axis?: number; keepDims?: boolean }): Ranked {
  x = asTensor("median", x);
  const { axis, keepDims } = readOptions("median", options, { axis: -1, keepDims: false });
  const a = normalizeAxis("median", axis, x.rank);
  if (x.shape[a] === 0) throw new ShapeError(`median: nothing to choose from, got ${show(x.shape)}`);
  const middle = place(x, a, Math.floor((x.shape[a] - 1) / 2));
  // NaN is the largest in the order.
  const last = place(x, a, x.shape[a] - 1);
  return picked(x, gatherOp(x.detach(), last, { axis: a }).isNaN().where(last, middle), a, keepDims);
}
