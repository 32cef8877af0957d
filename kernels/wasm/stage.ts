/**
 * Brings plain arrays to the heap for one kernel call: an array that lies there is used in place, any other is copied in,
 * and outputs are copied back.
 */

import { dtypeOfArray, type TypedArray } from "../../src/dtype.ts";
import { addressOf, alloc, free, view } from "./heap.ts";

export interface Stage {
  /** The address of `length` elements of the array from `offset`, with their values; 0 where the heap is exhausted. */
  input(array: TypedArray, offset: number, length: number): number;
  /** The same for elements the kernel writes; they reach the array when the stage closes. `keep` brings the old values. */
  output(array: TypedArray, offset: number, length: number, keep: boolean): number;
}

/**
 * Whether a pass over the arrays is worth staging: those that lie on the heap need none, and of others `elements` must reach
 * the number from which the pass gains more than the copies cost.
 */
export function pays(elements: number, least: number, ...arrays: readonly TypedArray[]): boolean {
  if (elements >= least) return true;
  for (const array of arrays) if (addressOf(array) === 0) return false;
  return true;
}

// What the open stages hold, kept from call to call: most calls find their arrays on the heap and allocate nothing.
const blocks: number[] = [];
const back: { array: TypedArray; offset: number; length: number; address: number }[] = [];

const viewAs = (array: TypedArray, address: number, length: number): TypedArray =>
  view(dtypeOfArray(array)!, address, length);

function take(array: TypedArray, offset: number, length: number, copies: boolean): number {
  const address = alloc(length * array.BYTES_PER_ELEMENT);
  if (address === 0) return 0;
  blocks.push(address);
  if (copies) viewAs(array, address, length).set(array.subarray(offset, offset + length));
  return address;
}

const stage: Stage = {
  input(array, offset, length) {
    const base = addressOf(array);
    return base === 0 ? take(array, offset, length, true) : base + offset * array.BYTES_PER_ELEMENT;
  },
  output(array, offset, length, keep) {
    const base = addressOf(array);
    if (base !== 0) return base + offset * array.BYTES_PER_ELEMENT;
    const address = take(array, offset, length, keep);
    if (address !== 0) back.push({ array, offset, length, address });
    return address;
  },
};

/** Runs `kernel` with staged addresses; false where the heap is exhausted, and then nothing is written. */
export function staged(kernel: (stage: Stage) => boolean): boolean {
  const [firstBlock, firstBack] = [blocks.length, back.length];
  try {
    const done = kernel(stage);
    if (done)
      for (let i = firstBack; i < back.length; i++) {
        const { array, offset, length, address } = back[i];
        array.set(viewAs(array, address, length), offset);
      }
    return done;
  } finally {
    back.length = firstBack;
    while (blocks.length > firstBlock) free(blocks.pop()!);
  }
}
