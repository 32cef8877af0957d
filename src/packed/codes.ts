/**
 * Stored codes: each as its low `bits` bits, a signed one in two's complement; of one bit, 1 means −1 and 0 means +1. Rows are
 * packed by `kernels/bits.ts`, each from a whole byte.
 */

import { packBits, packedBytes, unpackBits } from "../../kernels/bits.ts";

/** What codes are: their width, and whether they have a sign. Signed codes of one bit are −1 and +1. */
export interface CodeType {
  readonly bits: number;
  readonly signed: boolean;
}

/** `rows` rows of n codes as bytes. */
export function packCodes(
  codes: ArrayLike<number>,
  rows: number,
  n: number,
  { bits, signed }: CodeType,
): Uint8Array {
  const mask = 2 ** bits - 1;
  const plain = new Uint8Array(rows * n);
  if (bits === 1 && signed) for (let i = 0; i < plain.length; i++) plain[i] = codes[i] < 0 ? 1 : 0;
  else for (let i = 0; i < plain.length; i++) plain[i] = codes[i] & mask;
  return packBits(plain, rows, n, bits);
}

/** The codes of `rows` rows of n: the inverse of packCodes. */
export function unpackCodes(
  packed: Uint8Array,
  rows: number,
  n: number,
  { bits, signed }: CodeType,
): Int8Array | Uint8Array {
  const plain = unpackBits(packed, rows, n, bits);
  if (!signed) return plain;
  const codes = new Int8Array(plain.buffer);
  if (bits === 1) for (let i = 0; i < codes.length; i++) codes[i] = plain[i] ? -1 : 1;
  else {
    const shift = 32 - bits;
    for (let i = 0; i < codes.length; i++) codes[i] = (plain[i] << shift) >> shift;
  }
  return codes;
}

export { packedBytes };
