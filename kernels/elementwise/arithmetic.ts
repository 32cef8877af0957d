/**
 * The commonest functions, each with a loop of its own. A loop that is handed many different functions calls each element
 * through a boxed number, 5 to 10 times the cost of the arithmetic; `unary` and `binary` look here first.
 */

import type { FloatArray } from "../../src/dtype.ts";
import { softplus } from "./special.ts";

export type Unary = (x: number) => number;
export type Binary = (a: number, b: number) => number;

export const negative: Unary = (x) => -x;
export const square: Unary = (x) => x * x;
/** max(x, 0), NaN for NaN. */
export const rectified: Unary = (x) => Math.max(x, 0);
export const reciprocal: Unary = (x) => 1 / x;
export const reciprocalSqrt: Unary = (x) => 1 / Math.sqrt(x);
/** −1, 0 or 1; 0 for NaN. */
export const signOf: Unary = (x) => Number(x > 0) - Number(x < 0);
export const plus: Binary = (a, b) => a + b;
export const minus: Binary = (a, b) => a - b;
export const times: Binary = (a, b) => a * b;
export const over: Binary = (a, b) => a / b;

/** Comparisons, as 0 or 1. */
export const equals: Binary = (a, b) => Number(a === b);
export const differs: Binary = (a, b) => Number(a !== b);
export const below: Binary = (a, b) => Number(a < b);
export const atMost: Binary = (a, b) => Number(a <= b);
export const above: Binary = (a, b) => Number(a > b);
export const atLeast: Binary = (a, b) => Number(a >= b);

/** Quotients of integers, rounded down and towards zero. */
export const floored: Binary = (a, b) => Math.floor(a / b);
export const truncated: Binary = (a, b) => Math.trunc(a / b);
/** Whether both, one or both, and just one are other than 0, as 0 or 1. */
export const both: Binary = (a, b) => Number(a !== 0 && b !== 0);
export const either: Binary = (a, b) => Number(a !== 0 || b !== 0);
export const one: Binary = (a, b) => Number((a !== 0) !== (b !== 0));
/** Whether |a| is below b, and whether it equals b, as 0 or 1. */
export const sizeBelow: Binary = (a, b) => Number(Math.abs(a) < b);
export const sizeEquals: Binary = (a, b) => Number(Math.abs(a) === b);

export const fraction: Unary = (x) => x - Math.trunc(x);
/** Remainders with the sign of a, and of b. */
export const modulo: Binary = (a, b) => a % b;
export const modFloored: Binary = (a, b) => {
  const r = a % b;
  return r !== 0 && r < 0 !== b < 0 ? r + b : r;
};
/** Of integers, as those of 32 bits. */
export const bitAnd: Binary = (a, b) => a & b;
export const bitOr: Binary = (a, b) => a | b;
export const bitXor: Binary = (a, b) => a ^ b;

/** A function with numbers of its own; `loop` is what its SIMD loop is called. */
export interface Tuned extends Unary {
  readonly loop: "clip" | "leaky" | "elu" | "softplus";
  readonly numbers: readonly number[];
}

const tuned = (loop: Tuned["loop"], numbers: readonly number[], f: Unary): Tuned =>
  Object.assign(f, { loop, numbers });

export const held = (min: number, max: number): Tuned =>
  tuned("clip", [min, max], (x) => Math.min(Math.max(x, min), max));
export const leaky = (slope: number): Tuned => tuned("leaky", [slope], (x) => (x > 0 ? x : x * slope));
export const exponentialLinear = (alpha: number): Tuned =>
  tuned("elu", [alpha], (x) => (x > 0 ? x : alpha * Math.expm1(x)));
/** log(1 + exp(x)), x itself above the threshold. */
export const softplusTo = (threshold: number): Tuned =>
  tuned("softplus", [threshold], (x) => (x > threshold ? x : softplus(x)));

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
