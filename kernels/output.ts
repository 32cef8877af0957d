/**
 * What becomes of the integer sums of a low-bit product: the one transform that every such kernel ends with, here as the
 * definition and in kernels/wasm/output.as.ts as SIMD. With Math.fround after every float step, never a fused
 * multiply-add, the two give the same bits on every machine and in every build:
 *
 *     s = sum − zeroX · sumW[n]                        exact
 *     f = float32(s) · scaleW[n]                       or, with groups, Σ over g ascending of float32(s_g) · scaleW[n, g]
 *     f = f · scaleX[m] + bias[n], clamped to [low, high]
 *     out = f | clamp(roundEven(f · inverse) + outZero) for int8 and uint8 | bit (f < 0), or (s ≥ t[n]), or (s ≤ t[n])
 *
 * A step whose operand is missing is left out.
 */

import { roundEven } from "./elementwise/special.ts";

export interface Output {
  readonly to: "int32" | "float32" | "int8" | "uint8" | "bits";
  /** The zero point of the activations: what is subtracted from each code. */
  readonly zeroX?: number;
  /** One scale, one a row of the weights (n), or one a row and group (n, groups). */
  readonly scaleW?: Float32Array;
  /** One scale, or one a row of the activations (m). */
  readonly scaleX?: Float32Array;
  /** (n). */
  readonly bias?: Float32Array;
  readonly low?: number;
  readonly high?: number;
  /** For int8 and uint8: one over the scale of the output, as a float32, and the output's zero point. */
  readonly inverse?: number;
  readonly outZero?: number;
  /** For bits, (n) each: the bit is s ≥ threshold where the direction is 1, s ≤ threshold where it is −1. */
  readonly thresholds?: Int32Array;
  readonly directions?: Int8Array;
}

export type OutputArray = Int32Array | Float32Array | Int8Array | Uint8Array;

const fround = (x: number): number => Math.fround(x);

/** The range of the codes that leave. */
export const codeRange = (to: Output["to"]): readonly [low: number, high: number] =>
  to === "uint8" ? [0, 255] : [-128, 127];

/** Elements of a row of n outputs: for bits the bytes that hold them, the lowest bit first. */
export const outputStride = (to: Output["to"], n: number): number => (to === "bits" ? Math.ceil(n / 8) : n);

/** The scaled sum of one output; `sums` has its exact sums, one a group. */
export function scaledSum(sums: ArrayLike<number>, column: number, { scaleW }: Output): number {
  const scale = (g: number): number =>
    scaleW === undefined ? 1 : scaleW[scaleW.length === 1 ? 0 : column * sums.length + g];
  let f = fround(fround(sums[0]) * scale(0));
  for (let g = 1; g < sums.length; g++) f = fround(f + fround(fround(sums[g]) * scale(g)));
  return f;
}

/** Writes output (row, column) of n columns from its exact sums, one a group, corrected for zeroX already. */
export function writeOutput(
  out: OutputArray,
  row: number,
  column: number,
  n: number,
  sums: ArrayLike<number>,
  output: Output,
): void {
  const { to, scaleX, bias, low = -Infinity, high = Infinity, thresholds, directions } = output;
  const at = row * outputStride(to, n) + (to === "bits" ? column >> 3 : column);
  if (to === "int32") {
    out[at] = sums[0];
    return;
  }
  const setBit = (bit: boolean): void => {
    const mask = 1 << (column & 7);
    out[at] = bit ? out[at] | mask : out[at] & ~mask;
  };
  if (to === "bits" && thresholds !== undefined) {
    const [s, t] = [sums[0], thresholds[column]];
    setBit((directions?.[column] ?? 1) > 0 ? s >= t : s <= t);
    return;
  }
  let f = scaledSum(sums, column, output);
  if (scaleX !== undefined) f = fround(f * scaleX[scaleX.length === 1 ? 0 : row]);
  if (bias !== undefined) f = fround(f + bias[column]);
  if (f < low) f = low;
  if (f > high) f = high;
  if (to === "float32") out[at] = f;
  else if (to === "bits") setBit(f < 0);
  else {
    const [least, most] = codeRange(to);
    const code = fround(roundEven(fround(f * (output.inverse ?? 1))) + (output.outZero ?? 0));
    out[at] = code < least ? least : code > most ? most : code;
  }
}
