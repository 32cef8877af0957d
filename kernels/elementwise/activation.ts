/** Activation functions and their slopes in double precision; the functions themselves say which SIMD loop to run. */

import type { Binary, Unary } from "./arithmetic.ts";
import { erf, sigmoid } from "./special.ts";

const invSqrt2 = Math.SQRT1_2;
const tanhScale = Math.sqrt(2 / Math.PI);
const cube = 0.044715;

/** Slopes take the input x and the output y. */
export const tanhSlope: Binary = (_, y) => 1 - y * y;
export const sigmoidSlope: Binary = (_, y) => y * (1 - y);

/** x where slopes still change: beyond, an infinite x would meet a factor of 0. */
const within = (x: number): number => Math.min(Math.max(x, -40), 40);

/** x · Φ(x). Hendrycks and Gimpel, 2016, arXiv:1606.08415. */
export const gelu: Unary = (x) => 0.5 * x * (1 + erf(x * invSqrt2));
export const geluSlope: Binary = (value) => {
  const x = within(value);
  return 0.5 * (1 + erf(x * invSqrt2)) + (x * Math.exp(-0.5 * x * x) * invSqrt2) / Math.sqrt(Math.PI);
};

/** The same with Φ by tanh. */
export const geluTanh: Unary = (x) => 0.5 * x * (1 + Math.tanh(tanhScale * (x + cube * x * x * x)));
export const geluTanhSlope: Binary = (value) => {
  const x = within(value);
  const t = Math.tanh(tanhScale * (x + cube * x * x * x));
  return 0.5 * (1 + t + x * (1 - t * t) * tanhScale * (1 + 3 * cube * x * x));
};

/** x · σ(x). */
export const silu: Unary = (x) => (x === Number.NEGATIVE_INFINITY ? Number.NaN : x * sigmoid(x));
export const siluSlope: Binary = (x) => {
  const s = sigmoid(x);
  return s * (x * (1 - s) + 1);
};

/** The gradient where x is positive, 0 elsewhere: a NaN there stays out. */
export const gated: Binary = (grad, x) => (x > 0 ? grad : 0);

/** clip(x/6 + 1/2, 0, 1). */
export const hardSigmoid: Unary = (x) => (x <= -3 ? 0 : x >= 3 ? 1 : x / 6 + 0.5);
/** x · hardSigmoid(x). */
export const hardSwish: Unary = (x) => (x <= -3 ? 0 : x >= 3 ? x : (x * (x + 3)) / 6);
