/** What every draw is tried on: lengths around vectors, chunks and tasks, and counters about to carry. */

import type { Key } from "./reference.ts";

export type WordArgs = [out: Uint32Array, key: Key, start: number];
export type NormalArgs = [out: Float32Array, key: Key, start: number, mean: number, std: number];
export type BernoulliArgs = [out: Uint8Array, key: Key, start: number, p: number];

const lengths = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 1023, 1024, 1025, 2049, 5001, 2 ** 16 + 1029];
const starts = [0, 1, 2 ** 32 - 3, 2 ** 32 - 514, 2 ** 33 + 2 ** 31 - 2, 2 ** 53 - 2 ** 20];

function* streams(): Generator<{ length: number; key: Key; start: number }> {
  let turn = 0;
  for (const length of lengths)
    for (const start of starts) {
      turn++;
      yield { length, key: [(turn * 0x9e3779b9) >>> 0, (turn * 0x85ebca6b) >>> 0], start };
    }
}

export function* wordCases(): Generator<WordArgs> {
  for (const { length, key, start } of streams()) yield [new Uint32Array(length), key, start];
}

export function* normalCases(): Generator<NormalArgs> {
  for (const { length, key, start } of streams()) {
    yield [new Float32Array(length), key, start, 0, 1];
    if (length < 2000) yield [new Float32Array(length), key, start, -1e-3, 0.02];
  }
}

export function* bernoulliCases(): Generator<BernoulliArgs> {
  for (const { length, key, start } of streams())
    for (const p of [0, 2 ** -33, 0.1, 0.5, 0.9, 1 - 2 ** -32]) yield [new Uint8Array(length), key, start, p];
}
