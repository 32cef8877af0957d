/** The numbers of a tensor as floats, and whether they are finite. */

import type { FloatArray } from "../dtype.ts";
import type { Tensor } from "../tensor.ts";

/** The numbers of a tensor as floats. */
export const floatsOf = ({ data }: Tensor): FloatArray =>
  data instanceof Float32Array || data instanceof Float64Array ? data : Float64Array.from(data as Int32Array);

/** The index of the first element that is not finite, or −1. */
export function notFinite(x: FloatArray, from: number, to: number): number {
  let zero = 0;
  for (let i = from; i < to; i++) zero += x[i] * 0;
  if (zero === 0) return -1;
  for (let i = from; i < to; i++) if (!(Math.abs(x[i]) < Infinity)) return i;
  return -1;
}
