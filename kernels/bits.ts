/**
 * Packing of small codes, and the only file that knows how bits lie. A row of n codes of `bits` bits takes
 * ceil(n·bits/8) bytes; code i occupies bits i·bits … i·bits + bits − 1 of the row, counted from the lowest bit of its
 * first byte. Rows begin on a byte; unused bits are 0. For 1-bit signs, 1 means negative.
 */

import { OptionError, ShapeError, show } from "../src/errors.ts";

/** Bytes of a row of `n` codes. */
export const packedBytes = (n: number, bits: number): number => Math.ceil((n * bits) / 8);

function checkBits(bits: number): void {
  if (!Number.isInteger(bits) || bits < 1 || bits > 8) {
    throw new OptionError(`packBits: bits must be an integer from 1 to 8, got ${show(bits)}`);
  }
}

/** Packs `rows` rows of `n` unsigned codes below 2^bits. Throws for a code that does not fit. */
export function packBits(codes: ArrayLike<number>, rows: number, n: number, bits: number): Uint8Array {
  checkBits(bits);
  if (codes.length !== rows * n) {
    throw new ShapeError(`packBits: ${rows} rows of ${n} need ${rows * n} codes, got ${codes.length}`);
  }
  const stride = packedBytes(n, bits);
  const out = new Uint8Array(rows * stride);
  const limit = 2 ** bits;
  for (let r = 0; r < rows; r++) {
    for (let i = 0, at = r * stride * 8; i < n; i++, at += bits) {
      const code = codes[r * n + i];
      if (!Number.isInteger(code) || code < 0 || code >= limit) {
        throw new OptionError(
          `packBits: codes must be integers from 0 to ${limit - 1}, got ${code} at row ${r}, column ${i}`,
        );
      }
      const byte = at >> 3;
      const shifted = code << (at & 7);
      out[byte] |= shifted;
      if (shifted > 255) out[byte + 1] |= shifted >> 8;
    }
  }
  return out;
}

/** The codes of `rows` rows of `n`: the inverse of packBits. */
export function unpackBits(packed: Uint8Array, rows: number, n: number, bits: number): Uint8Array {
  checkBits(bits);
  const stride = packedBytes(n, bits);
  if (packed.length !== rows * stride) {
    throw new ShapeError(
      `unpackBits: ${rows} rows of ${n} need ${rows * stride} bytes, got ${packed.length}`,
    );
  }
  const out = new Uint8Array(rows * n);
  const mask = 2 ** bits - 1;
  for (let r = 0; r < rows; r++) {
    const end = (r + 1) * stride;
    for (let i = 0, at = r * stride * 8; i < n; i++, at += bits) {
      const byte = at >> 3;
      const word = packed[byte] | (byte + 1 < end ? packed[byte + 1] << 8 : 0);
      out[r * n + i] = (word >> (at & 7)) & mask;
    }
  }
  return out;
}
