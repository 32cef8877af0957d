/** Copies with another order of axes. Row-major in, row-major out, of one type; nothing is allocated but
 * stride lists. */

import type { TypedArray } from "../../src/dtype.ts";
import { broadcastStrides, type Shape, stridesOf } from "../../src/shape.ts";
import { walkRows } from "../elementwise/reference.ts";

/** out[i…] = x at `strides` from `offset`, for out of `shape`: permutes, flips, slices and repeats. */
export function strided(
  out: TypedArray,
  shape: Shape,
  x: TypedArray,
  strides: readonly number[],
  offset = 0,
): void {
  const to = signless(out);
  const values = signless(x);
  walkRows(shape, [strides], (at, n, [i], [step]) => {
    const from = offset + i;
    if (step === 1) for (let k = 0; k < n; k++) to[at + k] = values[from + k];
    else for (let k = 0; k < n; k++) to[at + k] = values[from + k * step];
  });
}

/** The same bits as one of four types: past four V8 looks up every element (see floats.ts). A copy never reads a sign. */
export function signless(array: TypedArray): TypedArray {
  if (array instanceof Int32Array) return new Uint32Array(array.buffer, array.byteOffset, array.length);
  if (array instanceof Int8Array) return new Uint8Array(array.buffer, array.byteOffset, array.length);
  return array;
}

/** The adjoint of `strided`: adds g (shape) into `out` at the same places. */
export function scatterStrided(
  out: TypedArray,
  g: TypedArray,
  shape: Shape,
  strides: readonly number[],
  offset = 0,
): void {
  walkRows(shape, [strides], (at, n, [i], [step]) => {
    const from = offset + i;
    for (let k = 0; k < n; k++) out[from + k * step] += g[at + k];
  });
}

/** out = x with axis k taken from axis `order[k]`. */
export function permute(out: TypedArray, x: TypedArray, shape: Shape, order: readonly number[]): void {
  const strides = stridesOf(shape);
  strided(
    out,
    order.map((k) => shape[k]),
    x,
    order.map((k) => strides[k]),
  );
}

/** out (target) = x repeated along the axes where it has size 1 or none. */
export function broadcast(out: TypedArray, x: TypedArray, shape: Shape, target: Shape): void {
  strided(out, target, x, broadcastStrides(shape, target));
}

/** Writes zeros. */
export function clear(array: TypedArray): void {
  array.fill(0);
}

/** (outer, n, inner): rows of `inner` elements, n in each of `outer` blocks. */
export interface RowSizes {
  outer: number;
  n: number;
  inner: number;
}

/** out (outer, index.length, inner) = the rows of x (outer, n, inner) that an index of integers in 0…n−1 names. */
export function takeRows(out: TypedArray, x: TypedArray, index: TypedArray, sizes: RowSizes): void {
  const { outer, n, inner } = sizes;
  for (let o = 0, to = 0; o < outer; o++)
    for (let i = 0; i < index.length; i++, to += inner) {
      const from = (o * n + index[i]) * inner;
      for (let j = 0; j < inner; j++) out[to + j] = x[from + j];
    }
}

/** Rows that are added to one row without more ado; of more the rounding error would grow. */
const mostRepeats = 256;

/** Whether an index has more of a row. */
export function repeatsMuch(index: TypedArray, n: number): boolean {
  if (index.length <= mostRepeats) return false;
  const counts = new Uint32Array(n);
  return index.some((id) => ++counts[id] > mostRepeats);
}

/**
 * The adjoint of `takeRows`: adds the rows of g (outer, index.length, inner) into out (outer, n, inner), in their order.
 * Where an index has a row more than 256 times, its sums are made in double and rounded once.
 */
export function addRows(out: TypedArray, g: TypedArray, index: TypedArray, sizes: RowSizes): void {
  if (repeatsMuch(index, sizes.n)) {
    addInDouble(out, g, index, sizes);
    return;
  }
  const { outer, n, inner } = sizes;
  for (let o = 0, from = 0; o < outer; o++)
    for (let i = 0; i < index.length; i++, from += inner) {
      const to = (o * n + index[i]) * inner;
      for (let j = 0; j < inner; j++) out[to + j] += g[from + j];
    }
}

function addInDouble(out: TypedArray, g: TypedArray, index: TypedArray, { outer, n, inner }: RowSizes): void {
  // The places of each row one after another.
  const order = Uint32Array.from(index, (_, i) => i).sort((a, b) => index[a] - index[b] || a - b);
  const sums = new Float64Array(inner);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < order.length; ) {
      const id = index[order[i]];
      const to = (o * n + id) * inner;
      for (let j = 0; j < inner; j++) sums[j] = out[to + j];
      for (; i < order.length && index[order[i]] === id; i++) {
        const from = (o * order.length + order[i]) * inner;
        for (let j = 0; j < inner; j++) sums[j] += g[from + j];
      }
      out.set(sums, to);
    }
}
