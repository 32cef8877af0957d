/**
 * Draws of the seeded generator: element i takes word i mod 2 of counter start + ⌊i / 2⌋. Counters lie below 2⁵³.
 *
 * Exactness: every operation is one that all engines round alike, so that every way gives the same bits.
 */

import type { FloatArray } from "../../src/dtype.ts";
import { normalQuantile } from "./quantile.ts";
import { TWO_32, threefry } from "./threefry.ts";

export type Key = readonly [number, number];

const pair = new Uint32Array(2);

function eachWord(
  length: number,
  [k0, k1]: Key,
  start: number,
  visit: (word: number, i: number) => void,
): void {
  for (let i = 0; i < length; i++) {
    const counter = start + (i >>> 1);
    if (i % 2 === 0) threefry(k0, k1, counter >>> 0, Math.floor(counter / TWO_32), pair);
    visit(pair[i % 2], i);
  }
}

/** The words themselves. */
export function words(out: Uint32Array, key: Key, start: number): void {
  eachWord(out.length, key, start, (word, i) => {
    out[i] = word;
  });
}

/** Normals of 32 random bits, by the inverse of the distribution function. */
export function normals(out: Float32Array, key: Key, start: number, mean: number, std: number): void {
  eachWord(out.length, key, start, (word, i) => {
    // Half a step keeps the probability off 0 and 1 and the draw symmetric.
    out[i] = mean + std * normalQuantile((word + 0.5) * 2 ** -32);
  });
}

/** 1 at probability p, in steps of 2⁻³², and 0 otherwise. */
export function bernoulli(out: Uint8Array | FloatArray, key: Key, start: number, p: number): void {
  eachWord(out.length, key, start, (word, i) => {
    out[i] = Number(word < p * TWO_32);
  });
}
