/**
 * Block formats: a row of floats as blocks of `blockSize` codes with a scale, `byteSize` bytes each, byte for byte as other
 * programs store them. A format is one row: how a block is encoded and how it is decoded.
 */

import { isBytes } from "../../src/dtype.ts";
import { FormatError, ShapeError, show } from "../../src/errors.ts";
import { toFloat16, widenFloat16 } from "./half.ts";

export interface BlockFormat {
  readonly name: string;
  /** Numbers in a block. */
  readonly blockSize: number;
  /** Bytes of a block. */
  readonly byteSize: number;
  /** The bytes of x, whose length is a multiple of `blockSize`. Throws FormatError for NaN, infinities and scales that overflow. */
  encode(x: ArrayLike<number>): Uint8Array;
  /** The floats that bytes stand for. Throws FormatError for a length that is no whole number of blocks and for scales that are not finite. */
  decode(bytes: Uint8Array): Float32Array;
  /** Σ decode(bytes) · x, summed in double. */
  dot(bytes: Uint8Array, x: ArrayLike<number>): number;
}

export interface BlockCode {
  readonly name: string;
  readonly blockSize: number;
  readonly byteSize: number;
  /** Writes one block; the bytes are zeroed. */
  encode(x: Float32Array, block: Uint8Array): void;
  decode(block: Uint8Array, out: Float32Array): void;
}

export function blockFormat({ name, blockSize, byteSize, encode, decode }: BlockCode): BlockFormat {
  const blocksOf = (op: string, bytes: Uint8Array): number => {
    if (!isBytes(bytes) || bytes.length % byteSize !== 0) {
      const got = isBytes(bytes) ? `${bytes.length} bytes` : show(bytes);
      throw new FormatError(`${name}.${op}: needs whole blocks of ${byteSize} bytes, got ${got}`);
    }
    return bytes.length / byteSize;
  };
  const checkList = (op: string, x: ArrayLike<number>): void => {
    if (typeof x !== "object" || typeof x?.length !== "number") {
      throw new FormatError(`${name}.${op}: needs a list of numbers, got ${show(x)}`);
    }
  };
  const values = new Float32Array(blockSize);
  const decodeBlock = (op: string, bytes: Uint8Array, block: number): void => {
    decode(bytes.subarray(block * byteSize, (block + 1) * byteSize), values);
    // One non-finite scale spoils every value of its block, save those with code 0.
    if (!values.every(Number.isFinite))
      throw new FormatError(`${name}.${op}: a scale must be finite, got another in block ${block}`);
  };
  return {
    name,
    blockSize,
    byteSize,
    encode(x) {
      checkList("encode", x);
      if (x.length % blockSize !== 0) {
        throw new ShapeError(
          `${name}.encode: the length must be a multiple of ${blockSize}, got ${x.length}; pad the row with zeros`,
        );
      }
      const bytes = new Uint8Array((x.length / blockSize) * byteSize);
      const floats = new Float32Array(blockSize);
      for (let block = 0; block * blockSize < x.length; block++) {
        for (let i = 0; i < blockSize; i++) {
          floats[i] = x[block * blockSize + i];
          if (!Number.isFinite(floats[i])) {
            throw new FormatError(
              `${name}.encode: values must be finite float32 numbers, got ${x[block * blockSize + i]} at index ${block * blockSize + i}`,
            );
          }
        }
        encode(floats, bytes.subarray(block * byteSize, (block + 1) * byteSize));
      }
      return bytes;
    },
    decode(bytes) {
      const blocks = blocksOf("decode", bytes);
      const out = new Float32Array(blocks * blockSize);
      for (let block = 0; block < blocks; block++) {
        decodeBlock("decode", bytes, block);
        out.set(values, block * blockSize);
      }
      return out;
    },
    dot(bytes, x) {
      const blocks = blocksOf("dot", bytes);
      checkList("dot", x);
      if (x.length !== blocks * blockSize) {
        throw new ShapeError(
          `${name}.dot: ${blocks} blocks hold ${blocks * blockSize} numbers, got ${x.length} to multiply with`,
        );
      }
      let sum = 0;
      for (let block = 0; block < blocks; block++) {
        decodeBlock("dot", bytes, block);
        for (let i = 0; i < blockSize; i++) sum += values[i] * x[block * blockSize + i];
      }
      return sum;
    },
  };
}

/** The first number of the largest magnitude. */
export function signedMax(x: Float32Array): number {
  let max = 0;
  for (const v of x) if (Math.abs(v) > Math.abs(max)) max = v;
  return max;
}

/** 1/d in float32, or 0 where that overflows: a block of zeros, or of what no float16 scale reaches, has codes of 0. */
export function inverse(d: number): number {
  const id = Math.fround(1 / d);
  return Number.isFinite(id) ? id : 0;
}

/** Stores d as float16 at `at`, and returns what is stored. Throws FormatError where it overflows. */
export function putHalf(name: string, block: Uint8Array, at: number, d: number): number {
  const half = toFloat16([d]);
  const stored = widenFloat16(half)[0];
  if (!Number.isFinite(stored))
    throw new FormatError(`${name}.encode: a scale must fit float16, got ${d}; scale the values down`);
  block[at] = half[0] & 255;
  block[at + 1] = half[0] >> 8;
  return stored;
}

export const getHalf = (block: Uint8Array, at: number): number =>
  widenFloat16(Uint16Array.of(block[at] | (block[at + 1] << 8)))[0];
