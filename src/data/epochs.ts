/** Which examples make the batches of an epoch, and in which order. */

import { dtypeOfArray } from "../dtype.ts";
import { isFunction, OptionError, show } from "../errors.ts";
import type { Rng } from "../random/rng.ts";

/** The indices of the examples of a batch. */
export type Rows = Int32Array | readonly number[];

export interface Epoch {
  /** Examples that are handed out. */
  readonly total: number;
  /** Batches. */
  readonly length: number;
  /** The examples of the batch before which so many were handed out; null where none begins. */
  rows(position: number): Int32Array | null;
}

export interface Order {
  /** What all epochs have in common, or null where draws decide it. */
  readonly fixed: Pick<Epoch, "total" | "length"> | null;
  begin(rng: Rng): Epoch;
}

/** `batch` examples at a time, as they come or in a random order. */
export function inTurn(count: number, batch: number, shuffle: boolean, dropLast: boolean): Order {
  const total = dropLast ? count - (count % batch) : count;
  const fixed = { total, length: Math.ceil(total / batch) };
  return {
    fixed,
    begin(rng) {
      const order = shuffle ? rng.permutation(count) : null;
      return {
        ...fixed,
        rows(position) {
          if (position >= total) return null;
          const size = Math.min(batch, total - position);
          return order
            ? order.subarray(position, position + size)
            : Int32Array.from({ length: size }, (_, i) => position + i);
        },
      };
    },
  };
}

/** The batches of a list, or of what a function draws for every epoch. */
export function asGiven(batches: unknown, count: number): Order {
  if (isFunction(batches)) {
    return { fixed: null, begin: (rng) => epochOf(batches(rng as never), count) };
  }
  const epoch = epochOf(batches, count);
  return { fixed: epoch, begin: () => epoch };
}

const isRows = (rows: unknown): rows is Rows =>
  Array.isArray(rows) || (ArrayBuffer.isView(rows) && dtypeOfArray(rows) === "int32");

function epochOf(batches: unknown, count: number): Epoch {
  if (!Array.isArray(batches)) {
    throw new OptionError(
      `loader: batches must be lists of indices, such as lengthBatches gives, got ${show(batches)}`,
    );
  }
  const starts = new Map<number, Int32Array>();
  let total = 0;
  for (const [i, rows] of (batches as unknown[]).entries()) {
    if (!isRows(rows) || rows.length === 0)
      throw new OptionError(`loader: a batch must be a list of indices, got ${show(rows)} at ${i}`);
    const list: readonly unknown[] = Array.from(rows);
    const wrong = list.findIndex(
      (row) => !(Number.isInteger(row) && Number(row) >= 0 && Number(row) < count),
    );
    if (wrong >= 0) {
      throw new OptionError(
        `loader: batches must hold indices of ${count} examples, got ${show(list[wrong])} in batch ${i}`,
      );
    }
    starts.set(total, Int32Array.from(rows));
    total += rows.length;
  }
  return { total, length: batches.length, rows: (position) => starts.get(position) ?? null };
}
