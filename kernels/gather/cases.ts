/** What every gather is tried on: an axis with many and with few elements, before, between and behind others. */

import type { TypedArray } from "../../src/dtype.ts";
import { sizeOf } from "../../src/shape.ts";
import { wave } from "../elementwise/cases.ts";
import type { IndexSizes } from "./reference.ts";

export type GatherArgs = [out: TypedArray, x: TypedArray, index: Int32Array, sizes: IndexSizes];
export type ScatterArgs = [
  out: TypedArray,
  x: TypedArray,
  index: Int32Array,
  source: TypedArray,
  sizes: IndexSizes,
];

function* indices(): Generator<{ sizes: IndexSizes; index: Int32Array }> {
  for (const [outer, n, m, inner] of [
    [1, 1, 1, 1],
    [0, 3, 2, 5],
    [2, 3, 0, 5],
    [1, 5, 300, 1],
    [3, 33, 17, 1],
    [2, 7, 9, 3],
    [1, 9, 40, 19],
    // More sums than one panel holds.
    [2, 700, 3, 37],
  ]) {
    const sizes = { within: [outer, n, inner], shape: [outer, m, inner], axis: 1 };
    const index = Int32Array.from({ length: outer * m * inner }, (_, i) => (i * 7919 + (i >> 2)) % n);
    yield { sizes, index };
  }
}

const specials = [-0, Number.NaN, Infinity, -Infinity, 1e-40, 3e38, 3e38];

function numbers(length: number, seed: number): Float32Array {
  const x = wave(length, seed, 10);
  specials.forEach((special, i) => {
    if (length > 60) x[i * 8 + seed] = special;
  });
  return x;
}

export function* gatherCases(): Generator<GatherArgs> {
  for (const { sizes, index } of indices()) {
    const x = numbers(sizeOf(sizes.within), 1);
    yield [new Float32Array(index.length), x, index, sizes];
    const bits = new Uint32Array(x.buffer);
    yield [new Uint32Array(index.length), bits, index, sizes];
  }
}

export function* scatterCases(): Generator<ScatterArgs> {
  for (const { sizes, index } of indices()) {
    const x = numbers(sizeOf(sizes.within), 1);
    yield [new Float32Array(x.length), x, index, numbers(index.length, 2), sizes];
  }
}
