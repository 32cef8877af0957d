/**
 * Stored codes, by the conventions of `kernels/bits.ts`: each as its low `bits` bits from the lowest bit of a byte on, a signed one
 * in two's complement; of one bit, 1 means −1 and 0 means +1. Rows begin on a byte.
 */

import { packBits, packedBytes, packSigns, unpackBits, unpackSigns } from "../../kernels/bits.ts";

/** What codes are: their width, and whether they have a sign. Signed codes of one bit are −1 and +1. */
export interface CodeType {
  readonly bits: number;
  readonly signed: boolean;
}

/** `rows` rows of n codes as bytes. */
export const packCodes = (
  codes: ArrayLike<number>,
  rows: number,
  n: number,
  { bits, signed }: CodeType,
): Uint8Array =>
  bits === 1 && signed ? packSigns(codes, rows, n) : packBits(codes, rows, n, bits, { signed });

/** The codes of `rows` rows of n: the inverse of packCodes. */
export function unpackCodes(
  packed: Uint8Array,
  rows: number,
  n: number,
  { bits, signed }: CodeType,
): Int8Array | Uint8Array {
  if (!signed) return unpackBits(packed, rows, n, bits);
  return bits === 1 ? unpackSigns(packed, rows, n) : unpackBits(packed, rows, n, bits, { signed });
}

export { packedBytes };
