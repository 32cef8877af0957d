/** How a packed layer makes codes of its float32 input. */

import { anyNonFinite, encodeSigns, quantizeBy, quantizeRows } from "../../backend.ts";
import { BitgradError, FormatError, show } from "../../errors.ts";
import { bitRoom, codeRoom, scaleRoom } from "../values.ts";

/**
 * "dynamic": symmetric codes, a scale for every row, or sample of a convolution, from its max|x| / (2^(bits−1) − 1).
 * "static": a scale and a zero point found beforehand. "signs": −1 below 0, else +1, and no scale. "mixed": "dynamic", but
 * that features, or channels of a convolution, in which the call has a magnitude above `threshold` are multiplied in
 * float32.
 */
export type PackedInput =
  | { readonly kind: "dynamic"; readonly bits: number }
  | {
      readonly kind: "static";
      readonly scale: number;
      readonly zeroPoint: number;
      readonly least: number;
      readonly most: number;
    }
  | { readonly kind: "signs" }
  | MixedInput;

export interface MixedInput {
  readonly kind: "mixed";
  readonly bits: number;
  readonly threshold: number;
}

/** Codes of rows, with what the sums are multiplied by. */
export interface Codes {
  readonly codes: Int8Array | Uint8Array;
  readonly zeroPoint: number;
  /** One scale, or one a row; null for 1. */
  readonly scale: Float32Array | null;
}

const isInteger = (x: unknown, from: number, to: number): boolean =>
  Number.isInteger(x) && (x as number) >= from && (x as number) <= to;

/** Throws FormatError for what is not a PackedInput. */
export function checkInput(input: unknown): PackedInput | null {
  if (input === null) return null;
  const { kind, bits, scale, zeroPoint, least, most, threshold } = (input ?? {}) as Record<string, unknown>;
  const fits =
    kind === "signs" ||
    (kind === "dynamic" && isInteger(bits, 2, 8)) ||
    (kind === "mixed" && isInteger(bits, 2, 8) && (threshold as number) > 0 && Number.isFinite(threshold)) ||
    (kind === "static" &&
      typeof scale === "number" &&
      Math.fround(scale) === scale &&
      scale > 0 &&
      scale < Infinity &&
      isInteger(least, -128, 0) &&
      isInteger(most, 1, (least as number) < 0 ? 127 : 255) &&
      isInteger(zeroPoint, least as number, most as number));
  if (!fits)
    throw new FormatError(
      `packed: an input must be dynamic, static, signs or mixed, got ${show(kind ?? input)}`,
    );
  return input as PackedInput;
}

/** Throws for NaN and infinity: a product with 0 is not 0 for them alone. */
export function checkFinite(op: string, x: Float32Array, length: number): void {
  if (!anyNonFinite(x, length)) return;
  const odd = x.findIndex((v) => !(Math.abs(v) < Infinity));
  throw new BitgradError(`${op}: every input must be finite, got ${x[odd]} at index ${odd}`, "NUMERICS");
}

/** The signs of `rows` rows of k numbers as bits, each row beginning on a byte. */
export function signBits(x: Float32Array, rows: number, k: number): Uint8Array {
  const bits = bitRoom(rows * Math.ceil(k / 8));
  encodeSigns(bits, x.length === rows * k ? x : x.subarray(0, rows * k), rows, k);
  return bits;
}

/** Codes of m rows of k numbers: the arithmetic of `quantize`, quotients rounded to float32 and then half to even. */
export function codesOf(op: string, x: Float32Array, m: number, k: number, input: PackedInput): Codes {
  checkFinite(op, x, m * k);
  const signed = codeRoom(m * k);
  if (input.kind === "signs") {
    for (let i = 0; i < m * k; i++) signed[i] = x[i] < 0 ? -1 : 1;
    return { codes: signed, zeroPoint: 0, scale: null };
  }
  if (input.kind === "static") {
    const { scale, zeroPoint, least, most } = input;
    const codes = least < 0 ? signed : new Uint8Array(signed.buffer, signed.byteOffset, m * k);
    quantizeBy(codes, x.subarray(0, m * k), { scale, zero: zeroPoint, least, most }, m, k);
    return { codes, zeroPoint, scale: Float32Array.of(scale) };
  }
  const scale = scaleRoom(m);
  quantizeRows(signed, scale, x, 2 ** (input.bits - 1) - 1, m, k);
  return { codes: signed, zeroPoint: 0, scale };
}
