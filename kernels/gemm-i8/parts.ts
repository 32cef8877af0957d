/** How products share their outputs out among threads: by rows where there are many, else by columns. */

import { scratch } from "../wasm/heap.ts";
import { inTasks, isWorthThreads } from "../wasm/parallel.ts";

/** Rows `first` … `first + count − 1` of outputs `column` … `end − 1`. */
export interface Part {
  readonly first: number;
  readonly count: number;
  readonly column: number;
  readonly end: number;
}

export interface Parted {
  readonly m: number;
  readonly n: number;
  /** What one thread takes for all, about. */
  readonly nanoseconds: number;
  /** Bytes of scratch for a part. */
  readonly space: number;
  /** From so many rows on they are shared out by rows. */
  readonly manyRows: number;
}

// Rows of a part are a multiple of the halves of tiles of 5, columns of two panels.
const partsOfAll = 8;
const rowStep = 10;
const columnStep = 16;

function* partsOf({ m, n, manyRows }: Parted): Generator<Part> {
  if (m >= manyRows) {
    const each = Math.ceil(m / partsOfAll / rowStep) * rowStep;
    for (let first = 0; first < m; first += each)
      yield { first, count: Math.min(each, m - first), column: 0, end: n };
    return;
  }
  const each = Math.ceil(n / partsOfAll / columnStep) * columnStep;
  for (let column = 0; column < n; column += each)
    yield { first: 0, count: m, column, end: Math.min(n, column + each) };
}

/**
 * Runs `call` on all outputs with scratch at `space`, after `prepare`: in parts on the threads where that pays. False, with
 * nothing done, where the heap has no room.
 */
export function inParts<E extends object>(
  exports: E,
  all: Parted,
  prepare: () => void,
  call: (exports: E, space: number, part: Part) => void,
): boolean {
  const whole = { first: 0, count: all.m, column: 0, end: all.n };
  if (isWorthThreads(all.nanoseconds))
    return inTasks(all.nanoseconds, all.space, [exports], (job) => {
      prepare();
      for (const part of job.recorded ? partsOf(all) : [whole]) {
        call(job.of(exports), job.local, part);
        job.next();
      }
    });
  const space = scratch(all.space);
  if (space === 0) return false;
  prepare();
  call(exports, space, whole);
  return true;
}
