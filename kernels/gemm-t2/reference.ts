/**
 * gemm-t2: out (m, n) = the output transform of the exact sums A · Wᵀ, for ternary weights W (n, k), digits −1, 0 and 1 stored as t + 1 in two bits.
 * Rows are packed as kernels/bits.ts says and are contiguous; every size may be zero. The code 3 is not allowed.
 *
 * signs: A (m, k) of ±1. ternary: A (m, k) of ternary digits.
 */

import { unpackSigns, unpackTernary } from "../bits.ts";
import { type BitShape, integerGemm } from "../gemm-b1/reference.ts";
import type { Output, OutputArray } from "../output.ts";

export function signs(
  out: OutputArray,
  a: Uint8Array,
  w: Uint8Array,
  shape: BitShape,
  output?: Output,
): void {
  const { m, n, k } = shape;
  integerGemm(out, unpackSigns(a, m, k), unpackTernary(w, n, k), shape, output);
}

export function ternary(
  out: OutputArray,
  a: Uint8Array,
  w: Uint8Array,
  shape: BitShape,
  output?: Output,
): void {
  const { m, n, k } = shape;
  integerGemm(out, unpackTernary(a, m, k), unpackTernary(w, n, k), shape, output);
}
