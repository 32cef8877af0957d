/**
 * How integer weights of 1 to 8 bits lie on the heap: in panels of 8 rows, in chunks of 16 codes a row, so that a row takes
 * k rounded up to 16 times its bits. Rows and codes beyond the matrix are 0.
 *
 * A code is unsigned: value + 2^(bits−1), or (1 − value) / 2 for signs, so that 1 means negative. A chunk holds the lowest 4
 * bits of its codes, if the width has 4 or more, then the next 2, then the next 1, each only if the width has them: 7 = 4 + 2
 * + 1, 6 = 4 + 2, 5 = 4 + 1, 3 = 2 + 1. With c the row in the panel (0 … 7) and i the code in the chunk (0 … 15), q = i >> 2:
 *
 *     4 bits   byte 16 q + 4 (c & 3) + (i & 3), the low half for rows 0 … 3 and the high half for rows 4 … 7
 *     2 bits   byte 16 (q >> 1) + 4 (c & 3) + (i & 3), from bit 4 (c >> 2) + 2 (q & 1) on
 *     1 bit    byte 4 (c & 3) + (i & 3), bit 4 (c >> 2) + q
 *     8 bits   byte 32 q + 16 (c >> 2) + 4 (c & 3) + (i & 3)
 */

import type { IntWeights } from "./reference.ts";

export const codesOfChunk = 16;
export const rowsOfPanel = 8;

export const paddedDepth = (k: number): number => Math.ceil(k / codesOfChunk) * codesOfChunk;

/** Bytes of the panels. */
export const panelBytes = ({ n, k, bits }: Pick<IntWeights, "n" | "k" | "bits">): number =>
  Math.ceil(n / rowsOfPanel) * paddedDepth(k) * bits;

/** What kernels may read behind the panels: a quad of the last one, times zeros. */
export const readBehind = 32;

/** What is added to a value to make its code, which signs have not. */
const offsetOf = ({ codes, bits }: IntWeights): number => (codes instanceof Int8Array ? 2 ** (bits - 1) : 0);

const areSigns = ({ codes, bits }: IntWeights): boolean => codes instanceof Int8Array && bits === 1;

/** Σ x w = alpha · Σ x c + beta · Σ x, without zero points. */
export function affine(weights: IntWeights): { alpha: number; beta: number } {
  if (areSigns(weights)) return { alpha: -2, beta: 1 };
  return { alpha: weights.halves ? 2 : 1, beta: -offsetOf(weights) };
}

/** The beta of codes with a zero point. */
export const betaOf = ({ halves }: Pick<IntWeights, "halves">, zero: number): number =>
  halves ? -2 * zero - 1 : -zero;

/** Writes the panels to `to`. */
export function layOut(to: Uint8Array, weights: IntWeights): void {
  const { n, k, bits, codes } = weights;
  to.fill(0);
  const chunkBytes = codesOfChunk * bits;
  const panel = (paddedDepth(k) / codesOfChunk) * chunkBytes;
  const signs = areSigns(weights);
  const offset = offsetOf(weights);
  const at2 = bits & 4 ? 64 : 0;
  const at1 = at2 + (bits & 2 ? 32 : 0);
  const mask2 = bits & 4;
  for (let r = 0; r < n; r++) {
    const high = (r & 7) >> 2;
    for (let l = 0; l < k; l++) {
      const code = signs ? (1 - codes[r * k + l]) >> 1 : codes[r * k + l] + offset;
      const chunk = (r >> 3) * panel + (l >> 4) * chunkBytes;
      const byte = 4 * (r & 3) + (l & 3);
      const q = (l & 15) >> 2;
      if (bits === 8) to[chunk + 32 * q + 16 * high + byte] = code;
      else {
        if (bits & 4) to[chunk + 16 * q + byte] |= (code & 15) << (4 * high);
        if (bits & 2)
          to[chunk + at2 + 16 * (q >> 1) + byte] |= ((code >> mask2) & 3) << (4 * high + 2 * (q & 1));
        if (bits & 1) to[chunk + at1 + byte] |= (code >> (bits & 6)) << (4 * high + q);
      }
    }
  }
}
