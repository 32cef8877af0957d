/** Products of low-bit integers: what is multiplied, the same for every library. */

import { Rng } from "../../src/random/rng.ts";
import { type Block, draw } from "./library.ts";

export type Sizes = readonly [m: number, k: number, n: number];

/** uint8 rows (m, k) by int8 weights (n, k), to int32 or, by scales of powers of two, to uint8. */
export interface IntProblem {
  readonly sizes: Sizes;
  readonly x: Uint8Array<ArrayBuffer>;
  readonly weight: Int8Array<ArrayBuffer>;
  /** Those of rows, weights and output, and the zero point of rows and output; null for the sums. */
  readonly requantize: { readonly scales: readonly [number, number, number]; readonly zero: number } | null;
}

/** float32 rows (m, k) by int4 weights (n, k), which have a scale for every block of codes in a row. */
export interface BlockProblem {
  readonly sizes: Sizes;
  readonly x: Block;
  /** -8 to 7. */
  readonly codes: Int8Array<ArrayBuffer>;
  readonly block: number;
  /** (n, k / block). */
  readonly scale: Float32Array<ArrayBuffer>;
  /** Whether the rows become int8 first, each library with its own scales. */
  readonly integers: boolean;
}

/** float32 rows (m, k) by weights (n, k) of a few levels: integers, of the bits that `weightBits` says. */
export interface LevelProblem {
  readonly a: Block;
  readonly b: Block;
  readonly transposeB: true;
  readonly weightBits: 1 | 2;
  /** Whether the rows are ±1; else they are int8 codes with 127 among them in every row, so that their scale is 1. */
  readonly signs: boolean;
}

const levels = { 1: [-1, 1], 2: [-1, 0, 1] } as const;

export function levelProblem([m, k, n]: Sizes, weightBits: 1 | 2, signs: boolean): LevelProblem {
  const rng = new Rng("levels");
  const block = (rows: number, of: readonly number[]): Block => ({
    shape: [rows, k],
    data: Float32Array.from({ length: rows * k }, () => of[Math.floor(rng.next() * of.length)]),
  });
  const a = block(m, signs ? levels[1] : Array.from({ length: 255 }, (_, i) => i - 127));
  if (!signs) for (let r = 0; r < m; r++) a.data[r * k] = 127;
  return { a, b: block(n, levels[weightBits]), transposeB: true, weightBits, signs };
}

export function intProblem(sizes: Sizes, requantized: boolean): IntProblem {
  const [m, k, n] = sizes;
  const rng = new Rng("codes");
  const scales = [2 ** -8, 2 ** -8, 2 ** -4] as const;
  return {
    sizes,
    x: Uint8Array.from({ length: m * k }, () => Math.floor(rng.next() * 256)),
    weight: Int8Array.from({ length: n * k }, () => Math.floor(rng.next() * 256) - 128),
    requantize: requantized ? { scales, zero: 128 } : null,
  };
}

const largestScale = 1 / 8;

export function blockProblem(sizes: Sizes, integers: boolean): BlockProblem {
  const [m, k, n] = sizes;
  const block = 32;
  const rng = new Rng("codes");
  return {
    sizes,
    x: draw([m, k], "x"),
    codes: Int8Array.from({ length: n * k }, () => Math.floor(rng.next() * 16) - 8),
    block,
    scale: Float32Array.from({ length: (n * k) / block }, () => ((1 + rng.next()) / 2) * largestScale),
    integers,
  };
}

/**
 * How far two results may be apart. Sums of floats: as of float32 weights of at most 1. Where both sides round their rows
 * to steps of absmax / 127, with absmax at most 1, and not to the same codes: six standard deviations of a sum of k such
 * differences, each of variance step² / 6, times weights.
 */
export function blockTolerance(k: number, integers: boolean): number {
  if (!integers) return 1e-6 * k;
  const meanSquare = 21.5 * largestScale ** 2;
  return (6 / 127) * Math.sqrt((k * meanSquare) / 6);
}
