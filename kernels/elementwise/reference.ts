/**
 * Elementwise loops over row-major arrays: out[i] = f(x[i]) and out[i] = f(a[i], b[i]) with broadcasting. f works in
 * double precision; the store into `out` rounds once. Allocates stride lists, and double copies of operands that
 * are not floats.
 */

import type { FloatArray, TypedArray } from "../../src/dtype.ts";
import { broadcastStrides, type Shape, sizeOf } from "../../src/shape.ts";
import { asFloats, writeFloats } from "../floats.ts";
import { type Binary, binaryLoops, type Unary, unaryLoops } from "./arithmetic.ts";

/** out = f(x), element by element. */
export function unary(out: TypedArray, x: TypedArray, f: Unary): void {
  const loop = unaryLoops.get(f) ?? ((to, from) => callEach(to, from, f));
  const values = asFloats(x);
  writeFloats(out, (to) => loop(to, values));
}

function callEach(out: FloatArray, x: FloatArray, f: Unary): void {
  for (let i = 0; i < out.length; i++) out[i] = f(x[i]);
}

/** out = grad · slope(x, y), element by element. */
export function unaryGrad(
  out: TypedArray,
  grad: TypedArray,
  x: TypedArray,
  y: TypedArray,
  slope: Binary,
): void {
  const g = asFloats(grad);
  const input = asFloats(x);
  const output = asFloats(y);
  writeFloats(out, (to) => {
    for (let i = 0; i < to.length; i++) to[i] = g[i] * slope(input[i], output[i]);
  });
}

/** out (shape) = f(a broadcast to shape, b broadcast to shape). */
export function binary(
  out: TypedArray,
  shape: Shape,
  a: TypedArray,
  aShape: Shape,
  b: TypedArray,
  bShape: Shape,
  f: Binary,
): void {
  const left = asFloats(a);
  const right = asFloats(b);
  const loop =
    binaryLoops.get(f) ?? ((to, at, n, x, i, di, y, j, dj) => callPairs(to, at, n, x, i, di, y, j, dj, f));
  writeFloats(out, (to) => {
    const size = to.length;
    if ((a.length === size || a.length === 1) && (b.length === size || b.length === 1)) {
      loop(to, 0, size, left, 0, a.length === 1 ? 0 : 1, right, 0, b.length === 1 ? 0 : 1);
      return;
    }
    walkRows(
      shape,
      [broadcastStrides(aShape, shape), broadcastStrides(bShape, shape)],
      (at, n, [i, j], [di, dj]) => loop(to, at, n, left, i, di, right, j, dj),
    );
  });
}

function callPairs(
  out: FloatArray,
  at: number,
  n: number,
  a: FloatArray,
  i: number,
  di: number,
  b: FloatArray,
  j: number,
  dj: number,
  f: Binary,
): void {
  for (let k = 0; k < n; k++) out[at + k] = f(a[i + k * di], b[j + k * dj]);
}

/** out (shape) = a where c is not zero, else b, each broadcast to shape. */
export function select(
  out: TypedArray,
  shape: Shape,
  c: TypedArray,
  cShape: Shape,
  a: TypedArray,
  aShape: Shape,
  b: TypedArray,
  bShape: Shape,
): void {
  const left = asFloats(a);
  const right = asFloats(b);
  writeFloats(out, (to) => {
    const size = to.length;
    const whole = (x: TypedArray) => x.length === size || x.length === 1;
    if (whole(c) && whole(a) && whole(b)) {
      const [dc, da, db] = [c, a, b].map((x) => (x.length === 1 ? 0 : 1));
      for (let i = 0; i < size; i++) to[i] = c[i * dc] !== 0 ? left[i * da] : right[i * db];
      return;
    }
    const strides = [cShape, aShape, bShape].map((s) => broadcastStrides(s, shape));
    walkRows(shape, strides, (at, n, [ci, ai, bi], [dc, da, db]) => {
      for (let k = 0; k < n; k++) to[at + k] = c[ci + k * dc] !== 0 ? left[ai + k * da] : right[bi + k * db];
    });
  });
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
