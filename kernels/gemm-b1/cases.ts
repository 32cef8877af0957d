/** What products of few bits are tried on: every k around bytes, steps and blocks, ragged panels, extremes. */

import { packBits } from "../bits.ts";
import type { BitShape } from "./reference.ts";

export type BitArgs = [out: Int32Array, a: Uint8Array, w: Uint8Array, shape: BitShape];

export const depths = [1, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 127, 128, 129, 1000, 4097];

/** Codes below `levels`, with rows of the lowest and of the highest alone. */
export function codes(rows: number, k: number, levels: number, seed: number): Uint8Array {
  const out = new Uint8Array(rows * k);
  // A linear congruential generator (Numerical Recipes): its high bits are good enough to vary codes.
  let state = seed >>> 0;
  for (let i = 0; i < out.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = ((state >>> 16) * levels) >>> 16;
  }
  if (rows > 2) {
    out.fill(levels - 1, 0, k);
    out.fill(0, k, 2 * k);
  }
  return out;
}

/** Sizes of products: every depth at a few shapes, and ragged shapes at a few depths. */
export function* shapes(): Generator<BitShape> {
  for (const k of depths)
    for (const [m, n] of [
      [1, 5],
      [4, 19],
      [3, 33],
    ])
      yield { m, n, k };
  for (const m of [0, 1, 2, 5, 65, 67])
    for (const n of [0, 1, 15, 16, 17, 32, 48, 65]) for (const k of [0, 20, 70]) yield { m, n, k };
  yield { m: 3, n: 17, k: 9001 };
  yield { m: 1, n: 3, k: 70001 };
}

/** Operands of so many levels, stored in so many bits. */
export const bitCases = (a: { levels: number; bits: number }, w: { levels: number; bits: number }) =>
  function* (): Generator<BitArgs> {
    let seed = 1;
    for (const shape of shapes()) {
      const { m, n, k } = shape;
      yield [
        new Int32Array(m * n).fill(-7),
        packBits(codes(m, k, a.levels, seed++), m, k, a.bits),
        packBits(codes(n, k, w.levels, seed++), n, k, w.bits),
        shape,
      ];
    }
  };
