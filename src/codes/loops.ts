/**
 * The inner loops of the numeric contract. Each sees one kind of array, and says at its end what an element could have said, so
 * that nothing but the arithmetic is done for every element.
 */

import type { Tensor } from "../tensor.ts";

type Numbers = Float32Array | Float64Array;
type Codes = Int8Array | Uint8Array;

/** The numbers of a tensor as floats. */
export const floatsOf = ({ data }: Tensor): Numbers =>
  data instanceof Float32Array || data instanceof Float64Array ? data : Float64Array.from(data as Int32Array);

/** A double beyond which there are no fractions: adding and taking it away rounds half to even. */
const magic = 6755399441055744;

/** The index of the first element that is not finite, or −1. */
export function notFinite(x: Numbers, from: number, to: number): number {
  let zero = 0;
  for (let i = from; i < to; i++) zero += x[i] * 0;
  if (zero === 0) return -1;
  for (let i = from; i < to; i++) if (!(Math.abs(x[i]) < Infinity)) return i;
  return -1;
}

/** What scales are found from: least and largest element, and the sum of magnitudes over `count` elements. */
export interface Range {
  min: number;
  max: number;
  sum: number;
  count: number;
}

/** The range of finite numbers. */
export function rangeOf(x: Numbers, from: number, to: number): Range {
  let min = Infinity;
  let max = -Infinity;
  let sum = 0;
  for (let i = from; i < to; i++) {
    const v = x[i];
    if (v < min) min = v;
    if (v > max) max = v;
    sum += Math.abs(v);
  }
  return { min, max, sum, count: to - from };
}

/**
 * codes = clamp(roundEven(float32(x / scale)) + zero) to qmin … qmax. Returns 0 if no element had to be clamped, 1 if one had, and
 * NaN if one is not finite. The clamp makes integers of quotients that are too large to be rounded so.
 */
export function encode(
  codes: Codes,
  x: Numbers,
  from: number,
  to: number,
  scale: number,
  zero: number,
  qmin: number,
  qmax: number,
): number {
  let status = 0;
  let nothing = 0;
  for (let i = from; i < to; i++) {
    nothing += x[i] * 0;
    const q = Math.fround(x[i] / scale) + magic - magic + zero;
    if (q < qmin) {
      codes[i] = qmin;
      status = 1;
    } else if (q > qmax) {
      codes[i] = qmax;
      status = 1;
    } else codes[i] = q;
  }
  return nothing === 0 ? status : Number.NaN;
}

/** inside = 1 where the code before clamping lies in qmin … qmax. */
export function markInside(
  inside: Uint8Array,
  x: Numbers,
  from: number,
  to: number,
  scale: number,
  zero: number,
  qmin: number,
  qmax: number,
): void {
  for (let i = from; i < to; i++) {
    const q = Math.fround(x[i] / scale) + magic - magic + zero;
    inside[i] = q >= qmin && q <= qmax ? 1 : 0;
  }
}

export function encodeSigns(codes: Codes, x: Numbers, from: number, to: number): void {
  for (let i = from; i < to; i++) codes[i] = x[i] < 0 ? -1 : 1;
}

/** out = (code − zero) · scale. Adding 0 turns the −0 of a zero code under a negative scale into 0. */
export function decode(
  out: Float32Array,
  codes: Codes,
  from: number,
  to: number,
  scale: number,
  zero: number,
): void {
  for (let i = from; i < to; i++) out[i] = Math.fround(codes[i] - zero) * scale + 0;
}
