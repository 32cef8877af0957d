/**
 * Brings plain arrays to the heap for one kernel call: an array that lies there is used in place, any other is copied in,
 * and outputs are copied back.
 */

import { addressOf, alloc, free, heapFloats } from "./heap.ts";

export interface Stage {
  /** The address of `length` elements of the array from `offset`, with their values; 0 where the heap is exhausted. */
  input(array: Float32Array, offset: number, length: number): number;
  /** The same for elements the kernel writes; they reach the array when the stage closes. `keep` brings the old values. */
  output(array: Float32Array, offset: number, length: number, keep: boolean): number;
}

/** Runs `kernel` with staged addresses; false where the heap is exhausted, and then nothing is written. */
export function staged(kernel: (stage: Stage) => boolean): boolean {
  const blocks: number[] = [];
  const back: { array: Float32Array; offset: number; length: number; address: number }[] = [];
  const take = (array: Float32Array, offset: number, length: number, copies: boolean): number => {
    const address = alloc(length * 4);
    if (address === 0) return 0;
    blocks.push(address);
    if (copies) heapFloats().set(array.subarray(offset, offset + length), address >>> 2);
    return address;
  };
  try {
    const done = kernel({
      input(array, offset, length) {
        const base = addressOf(array);
        return base === 0 ? take(array, offset, length, true) : base + offset * 4;
      },
      output(array, offset, length, keep) {
        const base = addressOf(array);
        if (base !== 0) return base + offset * 4;
        const address = take(array, offset, length, keep);
        if (address !== 0) back.push({ array, offset, length, address });
        return address;
      },
    });
    if (done)
      for (const { array, offset, length, address } of back)
        array.set(heapFloats().subarray(address >>> 2, (address >>> 2) + length), offset);
    return done;
  } finally {
    for (const address of blocks) free(address);
  }
}
