/** The kinds of weights and activations that lookup of bytes serves, each with the operands it is tried on. */

import { packBits } from "../bits.ts";
import { codes, outputArray, outputOf, shapes } from "../gemm-b1/cases.ts";
import type { BitShape } from "../gemm-b1/reference.ts";
import type { Output, OutputArray } from "../output.ts";
import type { DigitKind } from "./digits.ts";

export type DigitArgs = [
  out: OutputArray,
  x: Int8Array | Uint8Array,
  w: Uint8Array,
  shape: BitShape,
  kind: DigitKind,
  output: Output,
];

const unsigned = (bits: number): readonly [number, number] => [0, 2 ** bits - 1];
const signed = (bits: number): readonly [number, number] => [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];

export function* digitKinds(): Generator<DigitKind> {
  for (let bits = 1; bits <= 8; bits++)
    for (const [lowest, highest] of [unsigned(bits), signed(bits)]) {
      yield { weights: "signs", bits: 1, lowest, highest };
      yield { weights: "unsigned", bits: 1, lowest, highest };
      yield { weights: "ternary", bits: 2, lowest, highest };
      if (bits <= 4)
        for (const weights of ["signed", "unsigned"] as const) yield { weights, bits: 2, lowest, highest };
      if (bits <= 2)
        for (const weights of ["signed", "unsigned"] as const) yield { weights, bits: 4, lowest, highest };
    }
  yield { weights: "signs", bits: 1, lowest: -1, highest: 1 };
  yield { weights: "signed", bits: 4, lowest: -1, highest: 1 };
}

export function* digitCases(): Generator<DigitArgs> {
  const kinds = [...digitKinds()];
  let turn = 0;
  const make = (shape: BitShape, kind: DigitKind): DigitArgs => {
    turn++;
    const { m, n, k } = shape;
    const { weights, bits, lowest, highest } = kind;
    const output = outputOf(turn % 3 === 0 ? turn : 0, m, n);
    const x = new (lowest < 0 ? Int8Array : Uint8Array)(m * k);
    codes(m, k, highest - lowest + 1, turn).forEach((code, i) => {
      x[i] = code + lowest;
    });
    const w = packBits(codes(n, k, weights === "ternary" ? 3 : 2 ** bits, turn + 1), n, k, bits);
    return [outputArray(output, m, n), x, w, shape, kind, turn % 5 === 0 ? { ...output, zeroX: 3 } : output];
  };
  // Every kind at a few shapes, rows of extremes among them, and every shape with some kind.
  for (const kind of kinds)
    for (const shape of [
      { m: 3, n: 33, k: 67 },
      { m: 6, n: 19, k: 1000 },
      { m: 1, n: 32, k: 129 },
    ])
      yield make(shape, kind);
  for (const shape of shapes()) yield make(shape, kinds[(turn * 7) % kinds.length]);
}
