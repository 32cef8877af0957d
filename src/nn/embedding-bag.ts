/** Sums, means and maxima of rows of a table. */

import { newArray } from "../dtype.ts";
import { checkChoice, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { asIndex, gatherOp, indexAddOp, indexSelectOp } from "../ops/index-ops.ts";
import { knownNumbers, placeholder, visitor } from "../ops/shapes-only.ts";
import { sameShape } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { Embedding, type EmbeddingOptions } from "./embedding.ts";
import type { Parameter } from "./parameter.ts";

export interface EmbeddingBagOptions extends EmbeddingOptions {
  /** What becomes of the rows of a bag; default "mean". */
  mode: "sum" | "mean" | "max";
}

export interface EmbeddingBagCall {
  /** Where each bag begins in a list of ids (n): ascending from 0. */
  offsets: TensorLike | null;
  /** A factor for each id, of sums alone. */
  weights: TensorLike | null;
}

/**
 * Rows of a table summed, averaged or maximised by bags of ids: (B, L) -> (B, C), each row a bag, or a list (n) with the
 * `offsets` (B) of its bags. Ids of `paddingIndex` count for nothing, and a bag of none is 0.
 *
 * @example
 * ```ts
 * import { EmbeddingBag } from "bitgrad/nn";
 *
 * const bags = new EmbeddingBag(10, 3).forward([1, 2, 4, 5, 4], { offsets: [0, 3] }); // of three rows and of two
 * console.log(bags.shape); // [2, 3]
 * ```
 */
export class EmbeddingBag {
  readonly kind = "embedding";
  readonly mode: "sum" | "mean" | "max";
  weight: Parameter;
  readonly paddingIndex: number | null;

  constructor(count: number, size: number, options?: Partial<EmbeddingBagOptions>) {
    const { mode, ...settings } = readOptions<EmbeddingBagOptions>("EmbeddingBag", options, {
      mode: "mean",
      paddingIndex: null,
      dtype: "float32",
      rng: null,
    });
    checkChoice("EmbeddingBag", "mode", mode, ["sum", "mean", "max"]);
    this.mode = mode;
    const { weight, paddingIndex } = new Embedding(count, size, settings);
    this.weight = weight;
    this.paddingIndex = paddingIndex;
  }

  /** Rows of the table. */
  get count(): number {
    return this.weight.shape[0];
  }

  /** Features of a row. */
  get size(): number {
    return this.weight.shape[1];
  }

  forward(ids: TensorLike, options?: Partial<EmbeddingBagCall>): Tensor {
    const op = "EmbeddingBag";
    const { offsets, weights } = readOptions<EmbeddingBagCall>(op, options, { offsets: null, weights: null });
    const index = asIndex(op, ids, this.count);
    const { mode, paddingIndex, size } = this;
    const factors = weights === null ? null : asTensor(op, weights, this.weight.value.dtype);
    if (factors && mode !== "sum") throw new OptionError(`${op}: weights are of sums, got mode "${mode}"`);
    if (factors && !sameShape(factors.shape, index.shape)) {
      throw new ShapeError(
        `${op}: needs a weight for each id, got ${show(factors.shape)} for ${show(index.shape)}`,
      );
    }
    const { bags, bagOf } = bagsOf(op, index, offsets);
    const known = knownNumbers(index);
    const kept = Array.from(bagOf.keys()).filter((i) => known[i] !== paddingIndex);
    const list = (values: ArrayLike<number>): Tensor =>
      visitor()
        ? placeholder([values.length], "int32")
        : wrap(Int32Array.from(values), [values.length], "int32");
    const at = list(kept);
    const rows = indexSelectOp(
      this.weight.effective(),
      indexSelectOp(index.reshape([index.size]), at, { axis: 0 }),
      { axis: 0 },
    );
    const bag = kept.map((i) => bagOf[i]);
    const counts = newArray("int32", bags);
    for (const b of bag) counts[b]++;
    if (mode === "max") return largest(rows, bag, list(counts));
    const scaled = factors
      ? rows.mul(indexSelectOp(factors.reshape([index.size]), at, { axis: 0 }).unsqueeze(1))
      : rows;
    const sums = indexAddOp(list(bag), scaled, null, { axis: 0, shape: [bags, size] });
    return mode === "sum" ? sums : sums.div(list(counts.map((n) => Math.max(n, 1))).unsqueeze(1));
  }
}

/** How many bags there are, and the bag of every id. */
function bagsOf(op: string, ids: Tensor, offsets: TensorLike | null): { bags: number; bagOf: Int32Array } {
  if (ids.rank === 2) {
    if (offsets !== null)
      throw new OptionError(`${op}: rows are bags already, got offsets for ${show(ids.shape)}`);
    const [bags, length] = ids.shape;
    return { bags, bagOf: newArray("int32", ids.size).map((_, i) => Math.floor(i / length)) };
  }
  if (ids.rank !== 1 || offsets === null) {
    throw new ShapeError(
      `${op}: needs ids (B, L), or (n) with offsets, got ${show(ids.shape)} and ${offsets === null ? "none" : "offsets"}`,
    );
  }
  const starts = asIndex(op, offsets, ids.size + 1);
  if (starts.rank !== 1) throw new ShapeError(`${op}: offsets must be a list, got ${show(starts.shape)}`);
  const bagOf = newArray("int32", ids.size);
  const from = [...knownNumbers(starts)].map(Number);
  from.forEach((start, bag) => {
    if (start < (bag === 0 ? 0 : from[bag - 1]) || (bag === 0 && start > 0)) {
      throw new OptionError(`${op}: offsets must ascend from 0, got ${start} at index ${bag}`);
    }
    bagOf.fill(bag, start);
  });
  if (ids.size > 0 && starts.size === 0) throw new OptionError(`${op}: offsets must begin with 0, got none`);
  return { bags: starts.size, bagOf };
}

/** The largest of every feature among the rows of a bag, the first of equal ones; 0 of no rows. */
function largest(rows: Tensor, bag: readonly number[], counts: Tensor): Tensor {
  const [bags, size] = [counts.size, rows.shape[1]];
  const isEmpty = counts.equal(0).unsqueeze(1);
  if (visitor()) return isEmpty.where(0, rows.max({ axis: 0 }));
  const at = newArray("int32", bags * size);
  const { data } = rows;
  const isFirst = new Uint8Array(bags).fill(1);
  bag.forEach((b, row) => {
    for (let j = 0; j < size; j++) {
      const best = data[at[b * size + j] * size + j];
      const value = data[row * size + j];
      if (isFirst[b] === 1 || value > best || Number.isNaN(value)) at[b * size + j] = row;
    }
    isFirst[b] = 0;
  });
  if (bag.length === 0) return rows.sum({ axis: 0 }).broadcastTo([bags, size]);
  return isEmpty.where(0, gatherOp(rows, wrap(at, [bags, size], "int32"), { axis: 0 }));
}
