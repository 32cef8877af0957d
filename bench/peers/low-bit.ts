/** Products of low-bit integers: what is multiplied, the same for every library. */

import { Rng } from "../../src/random/rng.ts";
import {
  type Block,
  type BlockProblem,
  draw,
  type IntProblem,
  type LevelProblem,
  type Sizes,
} from "./library.ts";

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
