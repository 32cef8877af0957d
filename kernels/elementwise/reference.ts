/**
 * Elementwise loops over row-major arrays: out[i] = f(x[i]) and out[i] = f(a[i], b[i]) with broadcasting. f works in
 * double precision; the store into `out` rounds once. Nothing is allocated but stride lists.
 */

import type { TypedArray } from "../../src/dtype.ts";
import { broadcastStrides, type Shape, sameShape, sizeOf } from "../../src/shape.ts";

export function unary(out: TypedArray, x: TypedArray, f: (x: number) => number): void {
  for (let i = 0; i < out.length; i++) out[i] = f(x[i]);
}

/** out (shape) = f(a broadcast to shape, b broadcast to shape). */
export function binary(
  out: TypedArray,
  shape: Shape,
  a: TypedArray,
  aShape: Shape,
  b: TypedArray,
  bShape: Shape,
  f: (a: number, b: number) => number,
): void {
  const size = out.length;
  if (a.length === size && b.length === size) {
    for (let i = 0; i < size; i++) out[i] = f(a[i], b[i]);
  } else if (b.length === 1) {
    const y = b[0];
    for (let i = 0; i < size; i++) out[i] = f(a.length === 1 ? a[0] : a[i], y);
  } else if (a.length === 1) {
    const x = a[0];
    for (let i = 0; i < size; i++) out[i] = f(x, b[i]);
  } else if (a.length === size && repeats(bShape, shape)) {
    const n = b.length;
    for (let i = 0; i < size; i += n) for (let j = 0; j < n; j++) out[i + j] = f(a[i + j], b[j]);
  } else {
    const aStep = broadcastStrides(aShape, shape);
    const bStep = broadcastStrides(bShape, shape);
    walkRows(shape, [aStep, bStep], (at, n, [i, j], [di, dj]) => {
      for (let k = 0; k < n; k++) out[at + k] = f(a[i + k * di], b[j + k * dj]);
    });
  }
}

/** Whether `shape` is `target` without some leading axes, so that its data simply repeats. */
function repeats(shape: Shape, target: Shape): boolean {
  let lead = 0;
  while (lead < shape.length && shape[lead] === 1) lead++;
  const tail = shape.slice(lead);
  return sizeOf(tail) > 0 && sameShape(tail, target.slice(target.length - tail.length));
}

/**
 * Calls `row(at, n, offsets, steps)` for every run along the last axis of `shape`: its start in row-major order, its
 * length, and each operand's offset there and step along it.
 */
export function walkRows(
  shape: Shape,
  strides: readonly (readonly number[])[],
  row: (at: number, n: number, offsets: readonly number[], steps: readonly number[]) => void,
): void {
  const last = shape.length - 1;
  const size = sizeOf(shape);
  if (size === 0) return;
  const n = last < 0 ? 1 : shape[last];
  const steps = strides.map((s) => (last < 0 ? 0 : s[last]));
  const offsets = strides.map(() => 0);
  const index = new Array<number>(Math.max(last, 0)).fill(0);
  for (let at = 0; at < size; at += n) {
    row(at, n, offsets, steps);
    for (let axis = last - 1; axis >= 0; axis--) {
      for (let s = 0; s < strides.length; s++) offsets[s] += strides[s][axis];
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
      for (let s = 0; s < strides.length; s++) offsets[s] -= strides[s][axis] * shape[axis];
    }
  }
}
