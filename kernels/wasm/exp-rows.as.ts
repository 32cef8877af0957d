/** What softmax and cross entropy do with a row: Σ exp and its logarithm. */

import { storePart, total } from "./lanes.as";
import { Float4 } from "./math.as";
import { loadRow } from "./rows.as";

// Vectors whose exponentials are added in float before they go on in double.
const blockVectors: i32 = 64;

/** Σ exp(x − max), with the exponentials written to `out` unless that is 0. */
export function expRow(out: usize, x: usize, n: i32, max: f32): f64 {
  const shift = f32x4.splat(max);
  let sum: f64 = 0;
  while (n > 0) {
    let part = f32x4.splat(0);
    for (let count = min((n + 3) >> 2, blockVectors); count > 0; count--, n -= 4, x += 16) {
      const e = Float4.expFalling(f32x4.sub(loadRow(x, n, -Infinity), shift));
      part = f32x4.add(part, e);
      if (out) {
        if (n >= 4) v128.store(out, e);
        else storePart(out, e, n);
        out += 16;
      }
    }
    sum += total(part);
  }
  return sum;
}

/** The logarithm of fdlibm's e_log.c (Sun, 1993), for normal numbers; −Infinity of 0, NaN and Infinity themselves. */
export function logOf(x: f64): f64 {
  if (x === 0) return -Infinity;
  if (!(x < Infinity)) return x;
  const bits = reinterpret<i64>(x) + (0x3ff0000000000000 - 0x3fe6a09e667f3bcd);
  const k = ((bits >> 52) - 1023) as f64;
  const f = reinterpret<f64>((bits & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd) - 1;
  const s = f / (2 + f);
  const z = s * s;
  let p = z * 0.14798198605116586 + 0.15313837699209373;
  p = p * z + 0.1818357216161805;
  p = p * z + 0.22222198432149784;
  p = p * z + 0.2857142874366239;
  p = p * z + 0.3999999999940942;
  p = (p * z + 0.6666666666666735) * z;
  const half = 0.5 * f * f;
  return k * 0.6931471805599453 + (f - (half - s * (half + p)));
}
