/**
 * gemm-b1: out (m, n) = the output transform of the exact sums A · Wᵀ, for weights W (n, k) of ±1; int32 sums where there is
 * none. Rows are packed as kernels/bits.ts says and are
 * contiguous; every size may be zero.
 *
 * signs: A (m, k) of ±1, so k − 2 · popcount(a xor w). ones: A (m, k) of {0, 1}, as binarized attention weights are, so
 * popcount(a) − 2 · popcount(a and w).
 */

import { unpackBits, unpackSigns } from "../bits.ts";
import { type Output, type OutputArray, writeOutput } from "../output.ts";

export interface BitShape {
  m: number;
  n: number;
  k: number;
}

/** out (m, n) = the transform of a (m, k) · w (n, k)ᵀ, of codes. */
export function integerGemm(
  out: OutputArray,
  a: ArrayLike<number>,
  w: ArrayLike<number>,
  { m, n, k }: BitShape,
  output: Output = { to: "int32" },
): void {
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += a[i * k + l] * w[j * k + l];
      writeOutput(out, i, j, n, [sum], output);
    }
}

export function signs(
  out: OutputArray,
  a: Uint8Array,
  w: Uint8Array,
  shape: BitShape,
  output?: Output,
): void {
  const { m, n, k } = shape;
  integerGemm(out, unpackSigns(a, m, k), unpackSigns(w, n, k), shape, output);
}

export function ones(out: OutputArray, a: Uint8Array, w: Uint8Array, shape: BitShape, output?: Output): void {
  const { m, n, k } = shape;
  integerGemm(out, unpackBits(a, m, k, 1), unpackSigns(w, n, k), shape, output);
}
