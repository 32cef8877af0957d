/** Questions to all elements at once: which differ, which are not 0, how many there are of each, where one belongs. */

import { places } from "../backend.ts";
import { type DType, newArray } from "../dtype.ts";
import { checkInteger, readOptions, ShapeError, show } from "../errors.ts";
import { checkShape, normalizeAxis, sameShape } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { asIndex, indexAddOp, indexSelectOp } from "./index-ops.ts";
import { placeholder, visitor } from "./shapes-only.ts";
import { argsort } from "./sort.ts";

/** NaN is larger than every number. */
const isBefore = (a: number, b: number): boolean => a < b || (Number.isNaN(b) && !Number.isNaN(a));

export interface Unique<D extends DType = DType> {
  /** Each once, in ascending order. */
  values: Tensor<D>;
  /** For each element, or entry of the axis, where among the values it stands. */
  inverse: Tensor<"int32">;
  /** How many there are of each value. */
  counts: Tensor<"int32">;
}

/**
 * The different elements of a tensor, or the different entries of an axis, in ascending order; entries are ordered by
 * their first elements that differ. 0 and −0 are one value, every NaN is a value of its own, as in torch.unique. A gradient
 * reaches the first of equal elements.
 *
 * @example
 * ```ts
 * import { tensor, unique } from "bitgrad";
 *
 * const { values, inverse, counts } = unique(tensor([3, 1, 3]));
 * console.log(values.toArray(), inverse.toArray(), counts.toArray()); // [1, 3] [1, 0, 1] [1, 2]
 * ```
 */
export function unique<D extends DType>(x: Tensor<D>, options?: { axis?: number | null }): Unique<D>;
export function unique(x: TensorLike, options?: { axis?: number | null }): Unique;
export function unique(x: TensorLike, options?: { axis?: number | null }): Unique {
  const { axis } = readOptions("unique", options, { axis: null as number | null });
  x = asTensor("unique", x);
  const k = axis === null ? 0 : normalizeAxis("unique", axis, x.rank);
  const entries = axis === null ? x.reshape([x.size]) : x;
  const n = entries.shape[k];
  const width = n === 0 ? 0 : entries.size / n;
  // Before the numbers are read: memory that grows meanwhile may leave them.
  const sorted = width === 1 ? argsort(entries.reshape([n])) : null;
  const { data } = k === 0 ? entries : entries.detach().transpose(0, k);
  /** 0 for equal entries alone. */
  const compare = (a: number, b: number): number => {
    for (let i = 0; i < width; i++) {
      const p = data[a * width + i];
      const q = data[b * width + i];
      if (p !== q) return isBefore(p, q) ? -1 : isBefore(q, p) ? 1 : a - b;
    }
    return 0;
  };
  const order =
    sorted?.data ??
    newArray("int32", n)
      .map((_, i) => i)
      .sort(compare);
  const inverse = newArray("int32", n);
  const first: number[] = [];
  const counts: number[] = [];
  for (let i = 0; i < n; i++) {
    if (i === 0 || compare(order[i - 1], order[i]) !== 0) {
      first.push(order[i]);
      counts.push(0);
    }
    inverse[order[i]] = counts.length - 1;
    counts[counts.length - 1]++;
  }
  const list = (of: ArrayLike<number>) => wrap(Int32Array.from(of), [of.length], "int32");
  return {
    values: indexSelectOp(entries, list(first), { axis: k }),
    inverse: wrap(inverse, axis === null ? x.shape : [n], "int32"),
    counts: list(counts),
  };
}

/**
 * The indices of the elements that are not 0, in order: (…) -> (count, rank), int32.
 *
 * @example
 * ```ts
 * import { nonzero, tensor } from "bitgrad";
 *
 * console.log(nonzero(tensor([[0, 5], [7, 0]])).toArray()); // [[0, 1], [1, 0]]
 * ```
 */
export function nonzero(x: TensorLike): Tensor<"int32"> {
  const { data, shape, rank } = asTensor("nonzero", x);
  const at = places(data);
  const out = newArray("int32", at.length * rank);
  at.forEach((place, i) => {
    for (let k = rank - 1; k >= 0; k--) {
      out[i * rank + k] = place % shape[k];
      place = Math.floor(place / shape[k]);
    }
  });
  return wrap(out, [at.length, rank], "int32");
}

/**
 * How often each of 0, 1, 2, … occurs in a list of integers that are not negative: (n) -> (largest + 1), or `minLength`
 * where that is more, in int32. With `weights` (n) their sums, which have their dtype and a gradient.
 *
 * @example
 * ```ts
 * import { bincount } from "bitgrad";
 *
 * console.log(bincount([0, 2, 2]).toArray()); // [1, 0, 2]
 * ```
 */
export function bincount(
  x: TensorLike,
  options?: { weights?: TensorLike | null; minLength?: number },
): Tensor {
  const { weights, minLength } = readOptions("bincount", options, {
    weights: null as TensorLike | null,
    minLength: 0,
  });
  checkInteger("bincount", "minLength", minLength, 0);
  const given = asTensor("bincount", x, typeof x === "boolean" ? undefined : "int32");
  if (given.rank !== 1) throw new ShapeError(`bincount: needs a list of integers, got ${show(given.shape)}`);
  const least = given.size === 0 ? 0 : Number(given.min().item());
  if (least < 0) throw new ShapeError(`bincount: integers must not be negative, got ${least}`);
  const largest = given.size === 0 ? -1 : Math.floor(Number(given.max().item()));
  const index = asIndex("bincount", given, largest + 1);
  const shape = checkShape("bincount", [Math.max(minLength, largest + 1)]);
  if (weights !== null) {
    const added = asTensor("bincount", weights);
    if (sameShape(added.shape, index.shape)) return indexAddOp(index, added, null, { axis: 0, shape });
    throw new ShapeError(
      `bincount: needs a weight for each integer, got ${show(added.shape)} for ${show(index.shape)}`,
    );
  }
  const counts = newArray("int32", shape[0]);
  for (let i = 0; i < index.size; i++) counts[index.data[i]]++;
  return wrap(counts, shape, "int32");
}

/**
 * Where values belong in a row in ascending order: the index of the first element that is not below the value or, with
 * `right`, of the first above it. One row (n) serves values of any shape; rows (…, n) serve those of their own leading axes,
 * (…, m). int32 of the shape of the values. NaN counts as larger than every number.
 *
 * @example
 * ```ts
 * import { searchsorted, tensor } from "bitgrad";
 *
 * console.log(searchsorted(tensor([1, 3, 3]), tensor([3, 4])).toArray()); // [1, 3]
 * ```
 */
export function searchsorted(
  sorted: TensorLike,
  values: TensorLike,
  options?: { right?: boolean },
): Tensor<"int32"> {
  const { right } = readOptions("searchsorted", options, { right: false });
  const rows = asTensor("searchsorted", sorted);
  const wanted = asTensor("searchsorted", values, rows.dtype);
  const [lead, n] = [rows.shape.slice(0, -1), rows.shape[rows.rank - 1]];
  if (rows.rank === 0 || (rows.rank > 1 && !sameShape(lead, wanted.shape.slice(0, -1)))) {
    throw new ShapeError(
      `searchsorted: needs one row, or a row for each of values, got ${show(rows.shape)} for ${show(wanted.shape)}`,
    );
  }
  if (visitor()) return placeholder(wanted.shape, "int32");
  const out = newArray("int32", wanted.size);
  const { data } = rows;
  const each = rows.rank > 1 ? wanted.shape[wanted.rank - 1] : Infinity;
  for (let i = 0; i < out.length; i++) {
    const value = wanted.data[i];
    const from = Math.floor(i / each) * n;
    let low = from;
    let high = from + n;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const there = data[middle];
      if (right ? isBefore(value, there) : !isBefore(there, value)) high = middle;
      else low = middle + 1;
    }
    out[i] = low - from;
  }
  return wrap(out, wanted.shape, "int32");
}
