/**
 * Reading and writing by an index along one axis: element i of the index, at a place of its own shape, stands for the
 * element of x at that place, but at index[i] on the axis. The index has the rank of x and fits into it off the axis.
 *
 * Memory: the caller allocates the results, which are written whole. An index out of range reads or writes some other
 * element, or none: the caller has checked it.
 */

import type { TypedArray } from "../../src/dtype.ts";
import { type Shape, sizeOf, stridesOf } from "../../src/shape.ts";
import { walkRows } from "../elementwise/reference.ts";
import { asFloats } from "../floats.ts";
import { signless } from "../movement/reference.ts";

/** An index of `shape` into something of shape `within` along `axis`. */
export interface IndexSizes {
  within: Shape;
  shape: Shape;
  axis: number;
}

/** Calls run for rows of the index: element i + k of n stands for from + k · step + index[i + k] · along. */
function eachRun(
  { within, shape, axis }: IndexSizes,
  run: (i: number, n: number, from: number, step: number, along: number) => void,
): void {
  const strides = stridesOf(within);
  const along = strides[axis];
  strides[axis] = 0;
  const wide = (_: number, k: number) => shape[k] !== 1;
  walkRows(shape.filter(wide), [strides.filter(wide)], (i, n, [from], [step]) =>
    run(i, n, from, step, along),
  );
}

/** The place of the first element outside of 0 … n − 1, or −1. */
export function firstOutside(index: TypedArray, n: number): number {
  // Without its sign what is negative is large.
  for (let i = 0; i < index.length; i++) if (index[i] >>> 0 >= n) return i;
  return -1;
}

/** The places of what is not 0. */
export function places(mask: TypedArray): Int32Array {
  const found = new Int32Array(mask.length + 1);
  let count = 0;
  // Without branches, which a mask of no pattern would mislead: what does not hold is overwritten.
  for (let i = 0; i < mask.length; i++) {
    found[count] = i;
    count += Number(mask[i] !== 0);
  }
  return found.slice(0, count);
}

/** out[i] = x at the place that index[i] stands for. */
export function gather(out: TypedArray, x: TypedArray, index: TypedArray, sizes: IndexSizes): void {
  const to = signless(out);
  const values = signless(x);
  eachRun(sizes, (i, n, from, step, along) => {
    for (let k = i; k < i + n; k++, from += step) to[k] = values[from + index[k] * along];
  });
}

/** out = x with source[i] at the place that index[i] stands for; of several at one place the last. */
export function scatter(
  out: TypedArray,
  x: TypedArray,
  index: TypedArray,
  source: TypedArray,
  sizes: IndexSizes,
): void {
  out.set(x);
  eachRun(sizes, (i, n, from, step, along) => {
    for (let k = i; k < i + n; k++, from += step) out[from + index[k] * along] = source[k];
  });
}

/**
 * out = x with source[i] added at the place that index[i] stands for. Sums are made in double, in the order of the index,
 * and rounded once.
 */
export function scatterAdd(
  out: TypedArray,
  x: TypedArray,
  index: TypedArray,
  source: TypedArray,
  sizes: IndexSizes,
): void {
  out.set(x);
  const values = asFloats(source);
  // Of an index with one element along its axis no place is met twice, and each sum is rounded once anyway.
  const inPlace = out instanceof Float64Array || sizes.shape[sizes.axis] === 1;
  // The rows of one block follow one another: so many elements are in double at once.
  const block = sizeOf(sizes.within.slice(sizes.axis));
  const sums = inPlace ? out : new Float64Array(block);
  let open = -1;
  const settle = () => {
    if (open >= 0) for (let k = 0; k < block; k++) out[open + k] = sums[k];
  };
  eachRun(sizes, (i, n, from, step, along) => {
    const start = inPlace ? 0 : from - (from % block);
    if (!inPlace && start !== open) {
      settle();
      open = start;
      for (let k = 0; k < block; k++) sums[k] = out[open + k];
    }
    from -= start;
    for (let k = i; k < i + n; k++, from += step) sums[from + index[k] * along] += values[k];
  });
  settle();
}
