/**
 * encode: activations to what the integer products take. x (rows, n) is contiguous float32; a row of the result begins every
 * `stride` elements, and what it has beyond the n codes is 0.
 *
 * encodeSigns writes one bit a number as kernels/bits.ts lays them out: 1 where x < 0, so 0 and −0 are positive.
 * encodeAbove writes 1 where x ≥ threshold: rows of {0, 1}.
 * quantizeRows writes round(x / scale), half to even, with scale = max|x| / top of the row in float32 but at least 2⁻¹²⁶, and 1
 * for a row of zeros.
 * quantizeBy writes clamp(round(x / scale) + zero), the quotient rounded to float32, to least … most.
 * NaN is for the caller to refuse (`anyNonFinite`): here it is positive, not above, and the lowest code.
 */

import type { FloatArray } from "../../src/dtype.ts";
import { roundEven } from "../elementwise/special.ts";

export function encodeSigns(
  out: Uint8Array,
  x: Float32Array,
  rows: number,
  n: number,
  stride = Math.ceil(n / 8),
): void {
  packWhere(out, x, rows, n, stride, (value) => value < 0);
}

export function encodeAbove(
  out: Uint8Array,
  x: Float32Array,
  threshold: number,
  rows: number,
  n: number,
  stride = Math.ceil(n / 8),
): void {
  const least = Math.fround(threshold);
  packWhere(out, x, rows, n, stride, (value) => value >= least);
}

function packWhere(
  out: Uint8Array,
  x: Float32Array,
  rows: number,
  n: number,
  stride: number,
  test: (value: number) => boolean,
): void {
  for (let r = 0; r < rows; r++) {
    const to = r * stride;
    out.fill(0, to, to + stride);
    for (let i = 0; i < n; i++) if (test(x[r * n + i])) out[to + (i >> 3)] |= 1 << (i & 7);
  }
}

/** The code of a quotient, which NaN makes the lowest. */
const codeOf = (quotient: number, lowest: number, highest: number): number =>
  quotient > lowest ? roundEven(Math.min(quotient, highest)) : lowest;

/** The least normal float32. */
const leastScale = 2 ** -126;

export function quantizeRows(
  out: Int8Array,
  scales: Float32Array,
  x: Float32Array,
  top: number,
  rows: number,
  n: number,
  stride = n,
): void {
  for (let r = 0; r < rows; r++) {
    let largest = 0;
    for (let i = 0; i < n; i++) {
      const size = Math.abs(x[r * n + i]);
      if (size > largest) largest = size;
    }
    const scale = largest === 0 ? 1 : Math.max(Math.fround(largest / top), leastScale);
    scales[r] = scale;
    for (let i = 0; i < n; i++) out[r * stride + i] = codeOf(Math.fround(x[r * n + i] / scale), -top, top);
    out.fill(0, r * stride + n, (r + 1) * stride);
  }
}

/** How floats become codes from `least` to `most`, which the type of the result holds. */
export interface Steps {
  readonly scale: number;
  readonly zero: number;
  readonly least: number;
  readonly most: number;
}

export function quantizeBy(
  out: Int8Array | Uint8Array,
  x: Float32Array,
  { scale, zero, least, most }: Steps,
  rows: number,
  n: number,
  stride = n,
): void {
  const by = Math.fround(scale);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < n; i++)
      out[r * stride + i] = codeOf(Math.fround(x[r * n + i] / by), least - zero, most - zero) + zero;
    out.fill(0, r * stride + n, (r + 1) * stride);
  }
}

/** Whether NaN or an infinity is among the first `length` numbers. */
export function anyNonFinite(x: FloatArray, length: number): boolean {
  // A number that is not finite makes NaN of its product with 0. Four sums need not wait for one another.
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 3 < length; i += 4) {
    a += x[i] * 0;
    b += x[i + 1] * 0;
    c += x[i + 2] * 0;
    d += x[i + 3] * 0;
  }
  for (; i < length; i++) a += x[i] * 0;
  return a + b + c + d !== 0;
}
