/**
 * Packing of small codes, and the only file that knows how bits lie. A row of n codes of `bits` bits takes
 * ceil(n·bits/8) bytes. In order "lsb", the library's own, code i occupies bits i·bits … i·bits + bits − 1 of the row,
 * counted from the lowest bit of its first byte; in order "msb", which bitsandbytes and HQQ use, counted from the highest
 * bit, the code's own highest first. Rows begin on a byte; unused bits are 0. A signed code is stored in two's complement.
 *
 * Of 1-bit signs, 1 means negative; 0 and −0 are positive. A ternary digit t is stored as t + 1 in two bits.
 */

import { DTypeError, OptionError, ShapeError, show } from "../src/errors.ts";

export interface BitLayout {
  /** Which end of a byte holds its first code; "lsb". */
  readonly order?: "lsb" | "msb";
  /** Codes from −2^(bits−1) to 2^(bits−1) − 1 rather than from 0 to 2^bits − 1. */
  readonly signed?: boolean;
}

/** What is read of rows: all of their codes, or those of some columns. */
export interface BitReading extends BitLayout {
  readonly columns?: readonly number[] | null;
}

/** Bytes of a row of `n` codes. */
export const packedBytes = (n: number, bits: number): number => Math.ceil((n * bits) / 8);

function check(op: string, rows: number, n: number, bits: number, order: string): void {
  if (!Number.isInteger(bits) || bits < 1 || bits > 8) {
    throw new OptionError(`${op}: bits must be an integer from 1 to 8, got ${show(bits)}`);
  }
  if (order !== "lsb" && order !== "msb") {
    throw new OptionError(`${op}: order must be "lsb" or "msb", got ${show(order)}`);
  }
  for (const size of [rows, n]) {
    if (!Number.isInteger(size) || size < 0) {
      throw new ShapeError(`${op}: sizes must be integers from 0, got ${show(size)}`);
    }
  }
}

/** Bytes of a row. Throws ShapeError where `packed` is not so many rows of them. */
function checkBytes(
  op: string,
  packed: Uint8Array,
  rows: number,
  n: number,
  bits: number,
  order = "lsb",
): number {
  check(op, rows, n, bits, order);
  const stride = packedBytes(n, bits);
  if (packed.length === rows * stride) return stride;
  throw new ShapeError(`${op}: ${rows} rows of ${n} need ${rows * stride} bytes, got ${packed.length}`);
}

/** Packs `rows` rows of `n` codes. Throws OptionError for a code that does not fit, ShapeError for a wrong number of codes. */
export function packBits(
  codes: ArrayLike<number>,
  rows: number,
  n: number,
  bits: number,
  { order = "lsb", signed = false }: BitLayout = {},
): Uint8Array {
  check("packBits", rows, n, bits, order);
  if (codes.length !== rows * n) {
    throw new ShapeError(`packBits: ${rows} rows of ${n} need ${rows * n} codes, got ${codes.length}`);
  }
  const stride = packedBytes(n, bits);
  const out = new Uint8Array(rows * stride);
  const lowest = signed ? -(2 ** (bits - 1)) : 0;
  const highest = lowest + 2 ** bits - 1;
  const mask = 2 ** bits - 1;
  for (let r = 0; r < rows; r++) {
    for (let i = 0, at = r * stride * 8; i < n; i++, at += bits) {
      const code = codes[r * n + i];
      if (!Number.isInteger(code) || code < lowest || code > highest) {
        throw new OptionError(
          `packBits: codes must be integers from ${lowest} to ${highest}, got ${code} at row ${r}, column ${i}`,
        );
      }
      const byte = at >> 3;
      if (order === "lsb") {
        const shifted = (code & mask) << (at & 7);
        out[byte] |= shifted;
        if (shifted > 255) out[byte + 1] |= shifted >> 8;
      } else {
        const shifted = (code & mask) << (16 - bits - (at & 7));
        out[byte] |= shifted >> 8;
        if ((shifted & 255) !== 0) out[byte + 1] |= shifted & 255;
      }
    }
  }
  return out;
}

/**
 * The codes of `rows` rows of `n`, or of some `columns` of these: the inverse of packBits. Throws ShapeError for a wrong
 * number of bytes.
 */
export function unpackBits(
  packed: Uint8Array,
  rows: number,
  n: number,
  bits: number,
  layout: BitReading & { readonly signed: true },
): Int8Array;
export function unpackBits(
  packed: Uint8Array,
  rows: number,
  n: number,
  bits: number,
  layout?: BitReading & { readonly signed?: false },
): Uint8Array;
export function unpackBits(
  packed: Uint8Array,
  rows: number,
  n: number,
  bits: number,
  { order = "lsb", signed = false, columns = null }: BitReading = {},
): Uint8Array | Int8Array {
  const stride = checkBytes("unpackBits", packed, rows, n, bits, order);
  const count = columns?.length ?? n;
  const out = signed ? new Int8Array(rows * count) : new Uint8Array(rows * count);
  // Shifted up to the sign of an int32 and back, a field is extended by its sign or by zeros.
  const spare = 32 - bits;
  for (let r = 0; r < rows; r++) {
    const end = (r + 1) * stride;
    for (let i = 0; i < count; i++) {
      const at = r * stride * 8 + (columns ? columns[i] : i) * bits;
      const byte = at >> 3;
      const next = byte + 1 < end ? packed[byte + 1] : 0;
      const field =
        order === "lsb"
          ? ((packed[byte] | (next << 8)) >> (at & 7)) << spare
          : (((packed[byte] << 8) | next) >> (16 - bits - (at & 7))) << spare;
      out[r * count + i] = signed ? field >> spare : field >>> spare;
    }
  }
  return out;
}

/** The signs of rows of numbers, one bit each. Throws DTypeError on NaN, which has no sign. */
export function packSigns(x: ArrayLike<number>, rows: number, n: number): Uint8Array {
  const signs = new Uint8Array(x.length);
  for (let i = 0; i < x.length; i++) {
    if (Number.isNaN(x[i])) throw new DTypeError(`packSigns: NaN has no sign, got NaN at element ${i}`);
    signs[i] = x[i] < 0 ? 1 : 0;
  }
  return packBits(signs, rows, n, 1);
}

/** The eight signs of every byte. */
const signsOf = /* @__PURE__ */ Int8Array.from(
  { length: 256 * 8 },
  (_, i) => 1 - 2 * ((i >> (3 + (i & 7))) & 1),
);

/** Rows of ±1 from their bits. Throws ShapeError for a wrong number of bytes. */
export function unpackSigns(packed: Uint8Array, rows: number, n: number): Int8Array {
  const stride = checkBytes("unpackSigns", packed, rows, n, 1);
  const out = new Int8Array(rows * n);
  for (let r = 0, at = 0; r < rows; r++) {
    const end = at + n;
    for (let byte = r * stride; at < end; byte++) {
      const stop = Math.min(at + 8, end);
      for (let from = packed[byte] * 8; at < stop; ) out[at++] = signsOf[from++];
    }
  }
  return out;
}

/** Rows of −1, 0 and 1, two bits each. Throws OptionError for anything else. */
export function packTernary(digits: ArrayLike<number>, rows: number, n: number): Uint8Array {
  const codes = new Uint8Array(digits.length);
  for (let i = 0; i < digits.length; i++) {
    const t = digits[i];
    if (t !== 0 && t !== 1 && t !== -1)
      throw new OptionError(`packTernary: digits must be -1, 0 or 1, got ${t} at element ${i}`);
    codes[i] = t + 1;
  }
  return packBits(codes, rows, n, 2);
}

/** Rows of −1, 0 and 1 from their codes. Throws OptionError for the code 3, which stands for nothing. */
export function unpackTernary(packed: Uint8Array, rows: number, n: number): Int8Array {
  const digits = new Int8Array(unpackBits(packed, rows, n, 2).buffer);
  for (let i = 0; i < digits.length; i++) {
    if (digits[i] === 3) throw new OptionError("unpackTernary: codes must be from 0 to 2, got 3");
    digits[i]--;
  }
  return digits;
}
