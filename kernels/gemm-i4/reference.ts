/**
 * Products of float32 activations with integer weights and their scales (weight-only), as plain loops.
 *
 * Layout: activations are (m, k) rows, weights (n, k) codes, row = output, with a scale a row or a scale for each group of
 * codes. A weight is value · scale, and out = bias + Σ_k x · weight. The reference sums in double and rounds once; others
 * choose their order and lie within (k + 2) · 2⁻²⁴ · (|bias| + Σ|x||w|).
 */

import { groupCount, groupDepth, type IntWeights, weightAt } from "../gemm-i8/reference.ts";

export interface FloatWeights extends IntWeights {
  /** (n), or with groups (n, groups). */
  readonly scale: Float32Array;
  /** What uint8 codes, then without zero points, stand for; left out, themselves. */
  readonly codebook?: Float32Array;
  /** Zero points of uint8 codes (n, groups) that are no integers, in the place of `zeros`: a value is float32(code − offset). */
  readonly offsets?: Float32Array;
}

export interface FloatShape {
  readonly m: number;
  /** (n). */
  readonly bias?: Float32Array;
}

/** The weights (n, k) as they are meant, in double. */
export function floatValues(weights: FloatWeights): Float64Array {
  const { k, codes, scale, n, codebook, offsets } = weights;
  const [groups, depth] = [groupCount(weights), groupDepth(weights)];
  const apart = scale.length > n;
  return Float64Array.from(codes, (_, at) => {
    const [r, i] = [Math.floor(at / k), at % k];
    const value = codebook === undefined ? weightAt(weights, r, i) : codebook[codes[at]];
    const group = r * groups + Math.floor(i / depth);
    return (offsets ? Math.fround(value - offsets[group]) : value) * scale[apart ? group : r];
  });
}

/** out (m, n) = x (m, k) · weightsᵀ + bias. */
export function gemmFloat(
  out: Float32Array,
  x: Float32Array,
  weights: FloatWeights,
  { m, bias }: FloatShape,
): void {
  const { n, k } = weights;
  const values = floatValues(weights);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = bias?.[j] ?? 0;
      for (let l = 0; l < k; l++) sum += x[i * k + l] * values[j * k + l];
      out[i * n + j] = sum;
    }
}
