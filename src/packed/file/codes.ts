/**
 * Stored codes, by the conventions of `kernels/bits.ts`: each as its low `bits` bits from the lowest bit of a byte on, a signed one
 * in two's complement; of one bit, 1 means −1 and 0 means +1. Rows begin on a byte.
 */

import { packBits, packedBytes, packSigns, unpackBits, unpackSigns } from "../../../kernels/bits.ts";

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

/** The codes of some columns, rows of so many. */
export function unpackColumns(
  packed: Uint8Array,
  rows: number,
  n: number,
  { bits, signed }: CodeType,
  columns: readonly number[],
): Int8Array | Uint8Array {
  if (!signed) return unpackBits(packed, rows, n, bits, { columns });
  if (bits > 1) return unpackBits(packed, rows, n, bits, { columns, signed });
  return Int8Array.from(unpackBits(packed, rows, n, bits, { columns }), (sign) => 1 - 2 * sign);
}

/** What a byte of four ternary digits in two's complement is where a digit t is stored as t + 1. */
const shifted = /* @__PURE__ */ Uint8Array.from({ length: 256 }, (_, byte) => {
  let out = 0;
  for (let at = 0; at < 8; at += 2) out |= (((byte >> at) + 1) & 3) << at;
  return out;
});

/** Rows of signed codes of 2 bits as `packTernary` writes them; null where one is −2. */
export function ternaryRows(packed: Uint8Array, rows: number, n: number): Uint8Array | null {
  const stride = packedBytes(n, 2);
  const out = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) {
    // A high bit without its low one.
    if ((packed[i] & ~(packed[i] << 1) & 0xaa) !== 0) return null;
    out[i] = shifted[packed[i]];
  }
  for (let r = 1; r <= rows; r++) out[r * stride - 1] &= 255 >> (stride * 8 - n * 2);
  return out;
}

export { packedBytes };
