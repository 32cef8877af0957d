/**
 * Brings plain arrays to the heap for one kernel call: an array that lies there is used in place, any other is copied in,
 * and outputs are copied back.
 */

import { dtypeOfArray, type TypedArray } from "../../src/dtype.ts";
import { addressOf, free, heapFloats, smallBlock, smallBytes, view, work } from "./heap.ts";

export interface Staging {
  /** The address of `length` elements of the array from `offset`, with their values; 0 where the platform has no more memory. */
  input(array: TypedArray, offset: number, length: number): number;
  /** The same for elements the kernel writes; they reach the array when the staging closes. `keep` brings the old values. */
  output(array: TypedArray, offset: number, length: number, keep: boolean): number;
}

/**
 * Whether a pass that gives the reference's bits is worth staging: those that lie on the heap need none, and of others `elements` must reach
 * the number from which the pass gains more than the copies cost.
 */
export function pays(elements: number, least: number, ...arrays: readonly TypedArray[]): boolean {
  if (elements >= least) return true;
  for (const array of arrays) if (addressOf(array) === 0) return false;
  return true;
}

// What the open staging holds, kept from call to call: most calls find their arrays on the heap and allocate nothing.
const blocks: number[] = [];
const back: { array: TypedArray; offset: number; length: number; address: number }[] = [];

const viewAs = (array: TypedArray, address: number, length: number): TypedArray =>
  view(dtypeOfArray(array)!, address, length);

// Small arrays lie one behind the other in a block of their own, which lasts: to allocate for each takes as long as to copy it.
let smallUsed = 0;

// To make a view takes longer than to copy so many floats one by one.
const fewFloats = 256;

function take(array: TypedArray, offset: number, length: number, copies: boolean): number {
  const address = room(length * array.BYTES_PER_ELEMENT);
  if (address === 0 || !copies) return address;
  if (length <= fewFloats && array instanceof Float32Array) {
    const floats = heapFloats();
    for (let i = 0, at = address >>> 2; i < length; i++) floats[at + i] = array[offset + i];
  } else viewAs(array, address, length).set(array.subarray(offset, offset + length));
  return address;
}

function bringBack(array: TypedArray, offset: number, length: number, address: number): void {
  if (length <= fewFloats && array instanceof Float32Array) {
    const floats = heapFloats();
    for (let i = 0, at = address >>> 2; i < length; i++) array[offset + i] = floats[at + i];
  } else array.set(viewAs(array, address, length), offset);
}

function room(bytes: number): number {
  const size = Math.ceil((bytes + 16) / 64) * 64;
  if (smallUsed + size <= smallBytes) {
    smallUsed += size;
    return smallBlock() + smallUsed - size;
  }
  const address = work(bytes);
  if (address !== 0) blocks.push(address);
  return address;
}

const staging: Staging = {
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

/** Runs `kernel` with staged addresses; false where there is no room, and then nothing is written. */
export function staged(kernel: (staging: Staging) => boolean): boolean {
  const firstBlock = blocks.length;
  const firstBack = back.length;
  const firstSmall = smallUsed;
  try {
    const done = kernel(staging);
    if (done)
      for (let i = firstBack; i < back.length; i++) {
        const { array, offset, length, address } = back[i];
        bringBack(array, offset, length, address);
      }
    return done;
  } finally {
    while (back.length > firstBack) back.pop();
    smallUsed = firstSmall;
    while (blocks.length > firstBlock) free(blocks.pop()!);
  }
}

/**
 * The same for rows of which each is a result of its own: over all of them, or where the heap has no room for so many, over
 * halves, and halves of these, which begin at multiples of `unit`. Not for what writes over its inputs.
 */
export function stagedRows(
  rows: number,
  kernel: (staging: Staging, first: number, count: number) => boolean,
  unit = 1,
  first = 0,
): boolean {
  if (staged((staging) => kernel(staging, first, rows))) return true;
  const half = Math.ceil(rows / 2 / unit) * unit;
  return (
    half < rows &&
    stagedRows(half, kernel, unit, first) &&
    stagedRows(rows - half, kernel, unit, first + half)
  );
}
