/**
 * Products of integer activations with integer weights, as plain loops.
 *
 * Layout: activations are (m, k) rows of int8 or uint8, weights (n, k), row = output. A sum is Σ_k (x − zeroX) · w, exact;
 * what becomes of it is the output transform of kernels/output.ts. The caller keeps |x − zeroX| · |w| · k below 2³¹.
 */

import { type Output, type OutputArray, writeOutput } from "../output.ts";

/** Integer weights (n, k). */
export interface IntWeights {
  readonly n: number;
  readonly k: number;
  /** 1 to 8: what a code takes on the heap. */
  readonly bits: number;
  /**
   * (n, k). Int8: the values themselves, from −2^(bits−1) to 2^(bits−1) − 1; with 1 bit −1 and 1. Uint8: codes from 0 to
   * 2^bits − 1, less their zero point.
   */
  readonly codes: Int8Array | Uint8Array;
  /** Codes of a row that share a scale and a zero point; left out, a whole row. */
  readonly group?: number;
  /** Zero points of uint8 codes (n, groups). */
  readonly zeros?: Uint8Array;
  /** Whether the zero points lie half a code above `zeros`: a value is then twice what it is less, an odd integer. */
  readonly halves?: boolean;
}

export interface IntShape {
  readonly m: number;
}

export type Activations = Int8Array | Uint8Array;

/** Codes of a group, at least 1. */
export const groupDepth = ({ k, group }: IntWeights): number => Math.max(1, Math.min(group ?? k, k));

/** How many groups a row has; 1 where k is 0. */
export const groupCount = (weights: IntWeights): number =>
  Math.max(1, Math.ceil(weights.k / groupDepth(weights)));

/** The value of a weight of row r. */
export function weightAt(weights: IntWeights, r: number, i: number): number {
  const { k, codes, zeros, halves } = weights;
  const code = codes[r * k + i];
  if (zeros === undefined) return code;
  const value = code - zeros[r * groupCount(weights) + Math.floor(i / groupDepth(weights))];
  return halves ? 2 * value - 1 : value;
}

/** The integers Σ_k w of each row and group, (n, groups): what a zero point of the activations is multiplied by. */
export function weightSums(weights: IntWeights): Int32Array {
  const { n, k } = weights;
  const [groups, depth] = [groupCount(weights), groupDepth(weights)];
  const sums = new Int32Array(n * groups);
  for (let r = 0; r < n; r++)
    for (let i = 0; i < k; i++) sums[r * groups + Math.floor(i / depth)] += weightAt(weights, r, i);
  return sums;
}

/** out (m, n) = the output transform of x (m, k) · weightsᵀ. */
export function gemmInt(
  out: OutputArray,
  x: Activations,
  weights: IntWeights,
  { m }: IntShape,
  output: Output,
): void {
  const { n, k } = weights;
  const [groups, depth, zeroX] = [groupCount(weights), groupDepth(weights), output.zeroX ?? 0];
  const values =
    weights.zeros === undefined
      ? weights.codes
      : Int16Array.from(weights.codes, (_, at) => weightAt(weights, Math.floor(at / k), at % k));
  // Without scales of its own a group is nothing apart.
  const apart = output.to !== "int32" && (output.scaleW?.length ?? 0) > n;
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      const sums = new Array<number>(apart ? groups : 1).fill(0);
      for (let g = 0; g < groups; g++) {
        let sum = 0;
        for (let l = g * depth; l < Math.min(k, (g + 1) * depth); l++)
          sum += (x[i * k + l] - zeroX) * values[j * k + l];
        sums[apart ? g : 0] += sum;
      }
      writeOutput(out, i, j, n, sums, output);
    }
}
