/**
 * The commonest functions, each with a loop of its own. A loop that is handed many different functions calls each element
 * through a boxed number, 5 to 10 times the cost of the arithmetic; `unary` and `binary` look here first.
 */

import type { FloatArray } from "../../src/dtype.ts";

export type Unary = (x: number) => number;
export type Binary = (a: number, b: number) => number;

export const negative: Unary = (x) => -x;
export const square: Unary = (x) => x * x;
/** max(x, 0), NaN for NaN. */
export const rectified: Unary = (x) => Math.max(x, 0);
export const plus: Binary = (a, b) => a + b;
export const minus: Binary = (a, b) => a - b;
export const times: Binary = (a, b) => a * b;
export const over: Binary = (a, b) => a / b;

type UnaryLoop = (out: FloatArray, x: FloatArray) => void;

/** out[at + k] = f(a[i + k·di], b[j + k·dj]) for k below n. */
type BinaryLoop = (
  out: FloatArray,
  at: number,
  n: number,
  a: FloatArray,
  i: number,
  di: number,
  b: FloatArray,
  j: number,
  dj: number,
) => void;

export const unaryLoops: ReadonlyMap<Unary, UnaryLoop> = new Map<Unary, UnaryLoop>([
  [
    negative,
    (out, x) => {
      for (let i = 0; i < out.length; i++) out[i] = -x[i];
    },
  ],
  [
    square,
    (out, x) => {
      for (let i = 0; i < out.length; i++) out[i] = x[i] * x[i];
    },
  ],
  [
    rectified,
    (out, x) => {
      for (let i = 0; i < out.length; i++) out[i] = Math.max(x[i], 0);
    },
  ],
]);

export const binaryLoops: ReadonlyMap<Binary, BinaryLoop> = new Map<Binary, BinaryLoop>([
  [
    plus,
    (out, at, n, a, i, di, b, j, dj) => {
      for (let k = 0; k < n; k++) out[at + k] = a[i + k * di] + b[j + k * dj];
    },
  ],
  [
    minus,
    (out, at, n, a, i, di, b, j, dj) => {
      for (let k = 0; k < n; k++) out[at + k] = a[i + k * di] - b[j + k * dj];
    },
  ],
  [
    times,
    (out, at, n, a, i, di, b, j, dj) => {
      for (let k = 0; k < n; k++) out[at + k] = a[i + k * di] * b[j + k * dj];
    },
  ],
  [
    over,
    (out, at, n, a, i, di, b, j, dj) => {
      for (let k = 0; k < n; k++) out[at + k] = a[i + k * di] / b[j + k * dj];
    },
  ],
]);
