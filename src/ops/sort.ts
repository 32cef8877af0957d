/** Sorting and what rests on it. NaN counts as larger than every number. */

import { roundEven } from "../../kernels/elementwise/special.ts";
import type { Places } from "../../kernels/sort/reference.ts";
import { argsort as argsortLoop } from "../backend.ts";
import { type DType, isFloat, newArray, type TypedArray } from "../dtype.ts";
import { checkShare, DTypeError, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { normalizeAxes, normalizeAxis, reducedShape } from "../shape.ts";
import { asTensor, empty, type Tensor, type TensorLike } from "../tensor.ts";
import { lerp } from "./binary.ts";
import { gatherOp } from "./index-ops.ts";
import { stack } from "./join.ts";
import { defineOp } from "./op.ts";
import { knownNumbers } from "./shapes-only.ts";
import { around, floats } from "./softmax.ts";

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

/** What stands at indices of an axis, and they. */
export const ranked = (x: Tensor, indices: Tensor, axis: number): Ranked => ({
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

/** As `place` for each of `count` ranks, but where there is a NaN its index. Throws ShapeError for an empty axis. */
function numberAt(op: string, x: Tensor, axis: number, count = 1): (rank: number) => Tensor {
  const last = x.shape[axis] - 1;
  if (last < 0) throw new ShapeError(`${op}: nothing to choose from, got ${show(x.shape)}`);
  // To sort takes as long as to choose a few.
  const all = count > 4 ? argsort(x, { axis }) : null;
  const before = Array<null>(axis).fill(null);
  const at = (rank: number) => all?.slice([...before, [rank, rank + 1]]) ?? place(x, axis, rank);
  // NaN is the largest in the order.
  const worst = at(last);
  const bad = gatherOp(x.detach(), worst, { axis }).isNaN();
  return (rank) => bad.where(worst, at(Math.min(rank, last)));
}

/**
 * The median along an axis (default the last): the lower of the two middle elements, or NaN where there is one, as
 * torch.median.
 */
export function median(x: TensorLike, options?: { axis?: number; keepDims?: boolean }): Ranked {
  x = asTensor("median", x);
  const { axis, keepDims } = readOptions("median", options, { axis: -1, keepDims: false });
  const a = normalizeAxis("median", axis, x.rank);
  return picked(x, numberAt("median", x, a)(Math.floor((x.shape[a] - 1) / 2)), a, keepDims);
}

export interface QuantileOptions {
  /** One axis, or all elements (null). */
  axis: number | null;
  keepDims: boolean;
  /** What stands for a quantile between two elements: what lies between, one of them, or their middle. */
  interpolation: "linear" | "lower" | "higher" | "nearest" | "midpoint";
}

const roundings = {
  linear: null,
  midpoint: null,
  lower: Math.floor,
  higher: Math.ceil,
  nearest: roundEven,
} satisfies Record<QuantileOptions["interpolation"], ((rank: number) => number) | null>;

/**
 * The quantiles q, a number or a list from 0 to 1, of an axis or of all elements; NaN where there is one. Those of a list
 * come on an axis in front. Places are rounded to the dtype of x, nearest ones half to even, as in torch.quantile. No
 * gradient reaches q.
 */
export function quantile(x: TensorLike, q: TensorLike, options?: Partial<QuantileOptions>): Tensor {
  const op = "quantile";
  const { axis, keepDims, interpolation } = readOptions<QuantileOptions>(op, options, {
    axis: null,
    keepDims: false,
    interpolation: "linear",
  });
  const given = floats(asTensor(op, x));
  const shares = asTensor(op, q, given.dtype);
  if (!isFloat(shares.dtype)) throw new DTypeError(`${op}: q must be floats, got ${shares.dtype}`);
  if (shares.rank > 1) throw new ShapeError(`${op}: q must be a number or a list, got ${show(shares.shape)}`);
  const a = axis === null ? 0 : normalizeAxis(op, axis, given.rank);
  if (!Object.hasOwn(roundings, interpolation)) {
    const names = show(Object.keys(roundings));
    throw new OptionError(`${op}: interpolation must be one of ${names}, got ${show(interpolation)}`);
  }
  const round = roundings[interpolation];
  const shape = reducedShape(given.shape, normalizeAxes(op, axis, given.rank), keepDims);
  const row = axis === null ? given.reshape([given.size]) : given;
  const at = numberAt(op, row, a, shares.size);
  const element = (rank: number) => gatherOp(row, at(rank), { axis: a }).reshape(shape);
  // The array rounds.
  const ranks = newArray(given.dtype, shares.size);
  ranks.set(knownNumbers(shares));
  const values = Array.from(ranks, (share, i) => {
    checkShare(op, "q", share);
    ranks[i] *= row.shape[a] - 1;
    const below = (round ?? Math.floor)(ranks[i]);
    if (round || below === ranks[i]) return element(below);
    return lerp(element(below), element(below + 1), interpolation === "linear" ? ranks[i] - below : 0.5);
  });
  if (shares.rank === 0) return values[0];
  return values.length > 0 ? stack(values) : empty([0, ...shape], given.dtype);
}
