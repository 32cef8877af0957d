/** Features that hold outliers, and those alone or all others. */

import { room } from "../values.ts";

/** How numbers lie: (…, features, inner), as rows of features, or images of channels. */
export interface Featured {
  readonly features: number;
  readonly inner: number;
}

/** The features that hold a number of a magnitude above `threshold`, in rising order. */
export function outliersOf(x: Float32Array, { features, inner }: Featured, threshold: number): number[] {
  const holds = new Uint8Array(features);
  for (let at = 0; at < x.length; at++)
    if (Math.abs(x[at]) > threshold) holds[Math.floor(at / inner) % features] = 1;
  const some: number[] = [];
  for (let f = 0; f < features; f++) if (holds[f] === 1) some.push(f);
  return some;
}

/** Calls `visit` with where each of some features lies: from the first number to before the last. */
function forEach(
  x: Float32Array,
  { features, inner }: Featured,
  some: readonly number[],
  visit: (from: number, to: number) => void,
): void {
  const step = features * inner;
  for (let row = 0; row < x.length; row += step)
    for (const f of some) visit(row + f * inner, row + (f + 1) * inner);
}

/** x with 0 in some features. */
export function without(x: Float32Array, lies: Featured, some: readonly number[]): Float32Array {
  const rest = room(x.length);
  rest.set(x);
  forEach(x, lies, some, (from, to) => {
    for (let at = from; at < to; at++) rest[at] = 0;
  });
  return rest;
}

/** x with 0 in all other features. */
export function alone(x: Float32Array, lies: Featured, some: readonly number[]): Float32Array {
  const out = room(x.length).fill(0);
  forEach(x, lies, some, (from, to) => {
    for (let at = from; at < to; at++) out[at] = x[at];
  });
  return out;
}
