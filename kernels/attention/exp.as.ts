/** exp of four floats: relative error at most 2e-7, 0 below 2^-126, at most e^88, NaN of NaN. */

import { madd } from "../wasm/madd.as";

// Adding it leaves the nearest integer in the lowest bits.
const roundingShift: f32 = 12582912;

// After Cody and Waite (1980): ln 2 in two parts, and the polynomial of expf of the Cephes library.
export function exp(x: v128): v128 {
  const lowest = f32x4.splat(-87.33654);
  const isZero = f32x4.lt(x, lowest);
  // These keep NaN, which max and min would too but in several instructions.
  const bounded = f32x4.pmin(f32x4.pmax(x, lowest), f32x4.splat(88));
  const shift = f32x4.splat(roundingShift);
  const shifted = f32x4.add(f32x4.mul(bounded, f32x4.splat(1.44269504)), shift);
  const n = f32x4.sub(shifted, shift);
  const high = madd(n, f32x4.splat(-0.693359375), bounded);
  const r = madd(n, f32x4.splat(2.1219444e-4), high);
  let p = f32x4.splat(1.98756915e-4);
  p = madd(p, r, f32x4.splat(1.3981999507e-3));
  p = madd(p, r, f32x4.splat(8.3334519073e-3));
  p = madd(p, r, f32x4.splat(4.1665795894e-2));
  p = madd(p, r, f32x4.splat(1.6666665459e-1));
  p = madd(p, r, f32x4.splat(0.5));
  p = f32x4.add(madd(p, f32x4.mul(r, r), r), f32x4.splat(1));
  const power = i32x4.add(i32x4.shl(shifted, 23), i32x4.splat(0x3f800000));
  return v128.andnot(f32x4.mul(p, power), isZero);
}
