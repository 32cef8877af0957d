/** Zero points of stored codes: a weight is (code − zero point) · scale. */

import type { CodeType } from "./codes.ts";

/** The least code, and the number of codes less 1. */
const rangeOf = ({ bits, signed }: CodeType): [least: number, steps: number] => [
  signed ? -(2 ** (bits - 1)) : 0,
  2 ** bits - 1,
];

/**
 * What zero points are. "integer": each is a code. "half": each is a code and 1/2, so that twice a weight's distance from it is an
 * odd integer. "float": any numbers; products with them are no sums of integers.
 */
export const zeroKinds = ["integer", "half", "float"] as const;
export type ZeroKind = (typeof zeroKinds)[number];

export function zeroKind(zeros: Float32Array, type: CodeType): ZeroKind {
  const [least, steps] = rangeOf(type);
  const areCodes = (shift: number): boolean =>
    zeros.every((z) => Number.isInteger(z - shift) && z - shift >= least && z - shift <= least + steps);
  return areCodes(0) ? "integer" : areCodes(0.5) ? "half" : "float";
}

/** Zero points that are no floats in a byte each: the code less the least one, the half left out. */
export function zeroBytes(zeros: Float32Array, type: CodeType): Uint8Array {
  const [least] = rangeOf(type);
  return Uint8Array.from(zeros, (z) => Math.floor(z) - least);
}

/** The inverse of zeroBytes. */
export function fromZeroBytes(bytes: Uint8Array, type: CodeType, kind: ZeroKind): Float32Array {
  const [least] = rangeOf(type);
  return Float32Array.from(bytes, (z) => z + least + (kind === "half" ? 0.5 : 0));
}

/** The largest magnitude of the integers that weights are multiplied as; of halves they are twice as large. */
export function largestInteger(type: CodeType, zeros: Float32Array | null | undefined): number {
  const [least, steps] = rangeOf(type);
  if (!zeros) return Math.max(-least, steps + least);
  const far = zeros.reduce((most, z) => Math.max(most, least + steps - z, z - least), 0);
  return zeroKind(zeros, type) === "half" ? 2 * far : far;
}
