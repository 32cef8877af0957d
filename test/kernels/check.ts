/** What the kernel tests share: reproducible values, closeness, and gradients by central differences. */

import { expect } from "vitest";

/** Smooth values in −1 … 1, different for each seed. */
export const values = (size: number, seed: number): Float64Array =>
  Float64Array.from({ length: size }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed));

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Passes where |got − want| <= tolerance · (1 + |want|) for every element; NaN equals NaN. */
export function expectClose(got: ArrayLike<number>, want: ArrayLike<number>, tolerance = 1e-12): void {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < got.length; i++) {
    if (Object.is(got[i], want[i]) || got[i] === want[i]) continue;
    if (!(Math.abs(got[i] - want[i]) <= tolerance * (1 + Math.abs(want[i]))))
      expect.fail(`element ${i}: got ${got[i]}, want ${want[i]}`);
  }
}

/** The gradient of f() in each element of x, by central differences. */
export function numericGrad(f: () => number, x: Float64Array, step = 1e-6): Float64Array {
  return x.map((value, i) => {
    x[i] = value + step;
    const above = f();
    x[i] = value - step;
    const below = f();
    x[i] = value;
    return (above - below) / (2 * step);
  });
}
