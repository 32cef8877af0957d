/**
 * Zero points of codes without a sign, as files store them and kernels take them: a weight is (code − zero point) · scale.
 */

import type { FloatWeights } from "./gemm-i4/reference.ts";

/**
 * What zero points are. "integer": each is a code. "half": each is a code and 1/2, so that twice a code's distance from it is an
 * odd integer. "float": any numbers; products with them are no sums of integers.
 */
export const zeroKinds = ["integer", "half", "float"] as const;
export type ZeroKind = (typeof zeroKinds)[number];

/** The kind of all of them, `least` being the least of the codes. */
export function zeroKind(zeros: Float32Array, bits: number, least = 0): ZeroKind {
  const areCodes = (shift: number): boolean =>
    zeros.every((z) => Number.isInteger(z - shift) && z - shift >= least && z - shift < least + 2 ** bits);
  return areCodes(0) ? "integer" : areCodes(0.5) ? "half" : "float";
}

/** The largest magnitude of the integers that kernels multiply: code − zero point, or twice that. */
export function largestInteger(zeros: Float32Array, bits: number): number {
  const far = zeros.reduce((most, z) => Math.max(most, 2 ** bits - 1 - z, z), 0);
  return zeroKind(zeros, bits) === "half" ? 2 * far : far;
}

/** The same as kernels take them. */
export function kernelZeros(zeros: Float32Array, bits: number): Partial<FloatWeights> {
  const kind = zeroKind(zeros, bits);
  return kind === "float" ? { offsets: zeros } : { zeros: Uint8Array.from(zeros), halves: kind === "half" };
}
