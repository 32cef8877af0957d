/** What products of few bits are tried on: every k around bytes, steps and blocks, ragged panels, extremes. */

import { packBits } from "../bits.ts";
import { type Output, type OutputArray, outputStride } from "../output.ts";
import type { BitShape } from "./reference.ts";

export type BitArgs = [out: OutputArray, a: Uint8Array, w: Uint8Array, shape: BitShape, output: Output];

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

const arrays = {
  int32: Int32Array,
  float32: Float32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bits: Uint8Array,
} as const;

const wave = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(12.9898 * (i + 1) + seed) / 16);

/** Every kind of output, in turn: exact sums, floats, codes, signs of floats, integer thresholds. */
export function outputOf(turn: number, m: number, n: number): Output {
  const to = (["int32", "float32", "bits", "int8", "uint8", "bits"] as const)[turn % 6];
  if (to === "int32") return { to };
  if (turn % 6 === 5)
    return {
      to,
      thresholds: Int32Array.from({ length: n }, (_, j) => ((j * 5) % 13) - 6),
      directions: Int8Array.from({ length: n }, (_, j) => (j % 3 === 0 ? -1 : 1)),
    };
  const one = turn % 4 === 1;
  return {
    to,
    scaleW: wave(one ? 1 : n, 1),
    scaleX: wave(one ? 1 : m, 2),
    bias: wave(n, 3),
    low: -0.75,
    high: 6,
    inverse: 37.5,
    outZero: to === "uint8" ? 100 : -3,
  };
}

/** The output's array, filled, with one element more to show a write outside. */
export const outputArray = ({ to }: Output, m: number, n: number): OutputArray =>
  new arrays[to](m * outputStride(to, n) + 1).fill(to === "bits" ? 0 : 7);

/** Operands of so many levels, stored in so many bits. */
export const bitCases = (a: { levels: number; bits: number }, w: { levels: number; bits: number }) =>
  function* (): Generator<BitArgs> {
    let turn = 0;
    for (const shape of shapes())
      for (let more = 0; more < (shape.k > 4000 ? 1 : 2); more++) {
        const { m, n, k } = shape;
        turn++;
        const output = outputOf(more === 0 ? 0 : turn, m, n);
        yield [
          outputArray(output, m, n),
          packBits(codes(m, k, a.levels, 2 * turn), m, k, a.bits),
          packBits(codes(n, k, w.levels, 2 * turn + 1), n, k, w.bits),
          shape,
          output,
        ];
      }
  };
