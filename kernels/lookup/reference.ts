/**
 * lookup: out (m, n) = the output transform of the exact sums X · Wᵀ, for weights W (n, k) of 1, 2 or 4 bits, packed as
 * kernels/bits.ts says, and activations X (m, k) of 8, within the range of the kind.
 */

import { integerGemm } from "../gemm-b1/reference.ts";
import { type Output, type OutputArray, writeOutput } from "../output.ts";
import { type DigitKind, digitWeights } from "./digits.ts";

export function digits(
  kind: DigitKind,
  out: OutputArray,
  x: Int8Array | Uint8Array,
  w: Uint8Array,
  shape: { m: number; n: number; k: number },
  output: Output = { to: "int32" },
): void {
  const { m, n, k } = shape;
  const weights = digitWeights(kind, w, n, k);
  const { zeroX = 0 } = output;
  const sums = new Int32Array(m * n);
  integerGemm(sums, zeroX === 0 ? x : Array.from(x, (code) => code - zeroX), weights, shape);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) writeOutput(out, i, j, n, [sums[i * n + j]], output);
}
