/** Weights as kernels of WebGPU read them: words of 32 bits, whole words a group. */

import { type CodedWeight, type PackedWeight, scalesPerRow } from "../../packed/file/weight.ts";

export interface Laid {
  readonly n: number;
  readonly k: number;
  /** Bits of a code in a word: 1, 2, 4 or 8. */
  readonly bits: number;
  /** Codes with scales of their own, and how many groups there are a row. */
  readonly group: number;
  readonly groups: number;
  /** Codes a group with those behind its last, which fill its words. */
  readonly span: number;
  readonly words: Uint32Array;
  /** (n, groups), each scale by its group; pairs of float16 where the file has such. */
  readonly scales: Float32Array | Uint32Array;
  readonly halves: boolean;
  /** Subtracted from codes, one for all or (n, groups). */
  readonly zero: number | Float32Array;
  readonly levels: Float32Array | null;
  /**
   * Codes times this, less as much of the zero point, are integers of int8 where it is not null: 2 where zero points lie
   * between codes.
   */
  readonly factor: 1 | 2 | null;
}

/** Bits that codes of so many take in a word. */
const roomOf = (bits: number): number => (bits <= 2 ? bits : bits <= 4 ? 4 : 8);

/**
 * Codes of four follow each other in the bytes of a plane: plane j of a word holds its codes from 4 · j on, each shifted by
 * j · bits, so that a shift and a mask give four codes in four bytes.
 */
export function layOut(weight: PackedWeight): Laid {
  const { rows: n, columns: k, coded } = weight;
  const { bits: of, signed, codebook } = coded!;
  const bits = roomOf(of);
  const each = 32 / bits;
  const group = Math.max(1, coded!.group ?? k);
  const groups = Math.ceil(k / group);
  // Rows of one group end on four words, which are read at once.
  const whole = groups <= 1 ? 4 * each : each;
  const span = whole * Math.ceil(group / whole);
  const codes = weight.unpacked();
  const signs = of === 1 && signed;
  // Codes of up to 4 bits are stored from 0 on, others as int8; levels are found by codes as they are.
  const shift = signs || codebook ? 0 : bits < 8 ? (signed ? 2 ** (of - 1) : 0) : signed ? 0 : -128;
  const stride = (groups * span) / each;
  const words = new Uint32Array(n * stride);
  for (let r = 0; r < n; r++)
    for (let i = 0; i < k; i++) {
      const code = codes[r * k + i];
      const digit = (signs ? (code + 1) / 2 : code + shift) & 255;
      const g = Math.floor(i / group);
      const place = g * span + (i - g * group);
      const within = place % each;
      words[r * stride + (place - within) / each] |= digit << (8 * (within % 4) + bits * (within >> 2));
    }
  const zeros = spread(coded!, coded!.zeroPoint ?? null, groups);
  const zero = signs ? 0.5 : (zeros?.map((z) => z + shift) ?? shift);
  const least = signed && !signs ? shift - 2 ** (of - 1) : shift;
  const halves = coded!.scaleType === "float16" && !signs;
  const scales = spread(coded!, coded!.scale, groups)!.map((s) => (signs ? 2 * s : s));
  return {
    ...{ n, k, bits, group, groups, span, words, zero, halves },
    scales: halves ? pairs(scales) : scales,
    levels: codebook && Float32Array.from(codebook),
    factor: codebook ? null : factorOf(zero, least, least + 2 ** of - 1),
  };
}

/** One number for every group of every row. */
function spread(coded: CodedWeight, numbers: Float32Array | null, groups: number): Float32Array | null {
  if (numbers === null) return null;
  const perRow = scalesPerRow(coded);
  if (perRow === groups || (perRow === 1 && groups === 1)) return numbers;
  const out = new Float32Array(coded.rows * groups);
  for (let r = 0; r < coded.rows; r++)
    out.fill(numbers[perRow === 0 ? 0 : r * perRow], r * groups, (r + 1) * groups);
  return out;
}

/** By what codes from `least` to `most` less their zero points become int8. */
function factorOf(zero: number | Float32Array, least: number, most: number): 1 | 2 | null {
  const zeros = typeof zero === "number" ? Float32Array.of(zero) : zero;
  const fits = (factor: 1 | 2) => (z: number) =>
    Number.isInteger(factor * z) && factor * (most - z) <= 127 && factor * (least - z) >= -128;
  return zeros.every(fits(1)) ? 1 : zeros.every(fits(2)) ? 2 : null;
}

/** Numbers that float16 holds, two in a word. */
function pairs(numbers: Float32Array): Uint32Array {
  const out = new Uint32Array(Math.ceil(numbers.length / 2));
  const bits = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  for (let i = 0; i < numbers.length; i++)
    out[i >> 1] |= halfOf(bits[i], Math.abs(numbers[i])) << (16 * (i & 1));
  return out;
}

/** The float16 of bits of a float32 that is one. */
function halfOf(bits: number, size: number): number {
  const sign = (bits >>> 16) & 0x8000;
  if (size < 2 ** -14) return sign | (size * 2 ** 24);
  return sign | (((bits >>> 13) - (112 << 10)) & 0x7fff);
}

/** Sums of the integers of each group: what a zero point of the input is multiplied by. */
export function sumsOf(weight: PackedWeight, { n, k, group, groups, factor }: Laid): Int32Array {
  const { coded } = weight;
  const signs = weight.bits === 1 && coded!.signed;
  const zeros = spread(coded!, coded!.zeroPoint ?? null, groups);
  const codes = weight.unpacked();
  const out = new Int32Array(n * groups);
  for (let r = 0; r < n; r++)
    for (let i = 0; i < k; i++) {
      const g = r * groups + Math.floor(i / group);
      out[g] += signs ? codes[r * k + i] : (codes[r * k + i] - (zeros?.[g] ?? 0)) * factor!;
    }
  return out;
}
