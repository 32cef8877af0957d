/**
 * Block formats: a row of floats as blocks of `blockSize` codes with a scale, `byteSize` bytes each, byte for byte as other
 * programs store them. A format is one row: how a block is encoded and how it is decoded.
 */

import { isBytes } from "../../src/dtype.ts";
import { FormatError, OptionError, readOptions, ShapeError, show } from "../../src/errors.ts";
import { powerBelow, toFloat16, widenFloat16 } from "./half.ts";

export interface EncodeOptions {
  /**
   * What the error of each column counts, such as the sum of squares of what a layer is given there (`statistics`,
   * `readImatrix`): a number for each of the columns of a matrix whose rows x is. Q4_0 to Q5_1, Q2_K to Q6_K, IQ4_NL and
   * IQ4_XS then search for the scales by which least is lost, as ggml does with an importance matrix; the other formats have
   * no search. By default the formats' own weights, which know x alone.
   *
   * The ratios alone count. A column counts 2^-20 of the most important one at least, so that no scale is lost where inputs
   * are dead.
   */
  importance: ArrayLike<number> | null;
}

/** What the columns of a block count, and the row that it is of. */
export interface Importance {
  readonly columns: Float32Array;
  /** The mean of x² over the row. */
  readonly meanSquare: number;
}

export interface BlockFormat {
  readonly name: string;
  /** Numbers in a block. */
  readonly blockSize: number;
  /** Bytes of a block. */
  readonly byteSize: number;
  /**
   * The bytes of x, whose length is a multiple of `blockSize`. Throws FormatError for NaN, infinities and scales that
   * overflow, OptionError for an importance that is negative or not finite, and ShapeError for one that rows of its length
   * do not fit.
   */
  encode(x: ArrayLike<number>, options?: Partial<EncodeOptions>): Uint8Array;
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
  encode(x: Float32Array, block: Uint8Array, importance: Importance | null): void;
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
    encode(x, options) {
      checkList("encode", x);
      const { importance } = readOptions<EncodeOptions>(`${name}.encode`, options, { importance: null });
      if (x.length % blockSize !== 0) {
        throw new ShapeError(
          `${name}.encode: the length must be a multiple of ${blockSize}, got ${x.length}; pad the row with zeros`,
        );
      }
      const importances = importance && importanceOf(name, blockSize, x, importance);
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
        const counts = importances?.(block) ?? null;
        encode(floats, bytes.subarray(block * byteSize, (block + 1) * byteSize), counts);
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

/** The least share of the most important column that a column counts. */
const leastShare = 2 ** -20;

/** What the columns of each block of x count. */
function importanceOf(
  name: string,
  blockSize: number,
  x: ArrayLike<number>,
  given: ArrayLike<number>,
): (block: number) => Importance {
  if (typeof given !== "object" || typeof given.length !== "number") {
    throw new OptionError(`${name}.encode: importance must be a list of numbers, got ${show(given)}`);
  }
  const columns = given.length;
  if (columns === 0 || columns % blockSize !== 0 || x.length % columns !== 0) {
    throw new ShapeError(
      `${name}.encode: importance must have one number for each column, a multiple of ${blockSize}, got ${columns} for ${x.length} numbers`,
    );
  }
  let most = 0;
  for (let c = 0; c < columns; c++) {
    if (!(given[c] >= 0 && given[c] < Infinity)) {
      throw new OptionError(
        `${name}.encode: importance must be finite and not negative, got ${given[c]} of column ${c}`,
      );
    }
    most = Math.max(most, given[c]);
  }
  // A power of two keeps every bit of the ratios. That of a subnormal number is not found.
  const unit = powerBelow(Math.max(most, 2 ** -1022));
  const least = most > 0 ? (most / unit) * leastShare : 1;
  const scaled = Float32Array.from({ length: columns }, (_, c) => Math.max(least, given[c] / unit));
  const meanSquares = Float32Array.from({ length: x.length / columns }, (_, row) => {
    let squares = 0;
    for (let i = row * columns; i < (row + 1) * columns; i++) {
      squares = Math.fround(squares + Math.fround(Math.fround(x[i]) ** 2));
    }
    return squares / columns;
  });
  return (block) => {
    const from = (block * blockSize) % columns;
    return {
      columns: scaled.subarray(from, from + blockSize),
      meanSquare: meanSquares[Math.floor((block * blockSize) / columns)],
    };
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
