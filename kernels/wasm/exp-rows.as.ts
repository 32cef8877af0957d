/** What softmax and cross entropy do with a row: Σ exp and its logarithm. */

import { Lanes, total } from "./lanes.as";
import { Float4 } from "./math.as";
import { loadRow } from "./rows.as";

// Groups of four vectors whose exponentials are added in float before they go on in double.
const blockGroups: i32 = 32;

/** Σ exp(x − max), with the exponentials written to `out` unless that is 0. */
export function expRow(out: usize, x: usize, n: i32, max: f32): f64 {
  let sum: f64 = 0;
  for (; n >= 16; n -= 16 * blockGroups) {
    const count = min(n >> 4, blockGroups);
    sum += out ? storedExps(out, x, count, max) : exps(x, count, max);
    x += count << 6;
    if (out) out += count << 6;
  }
  n &= 15;
  const shift = f32x4.splat(max);
  let rest = f32x4.splat(0);
  for (; n > 0; n -= 4, x += 16) {
    const e = Float4.expOfDifference(f32x4.sub(loadRow(x, n, -Infinity), shift));
    rest = f32x4.add(rest, e);
    if (out) {
      Lanes.store(out, e, n);
      out += 16;
    }
  }
  return sum + total(rest);
}

/** The same of `count` groups of 16 numbers. */
function storedExps(out: usize, x: usize, count: i32, max: f32): f64 {
  const shift = f32x4.splat(max);
  let even = f32x4.splat(0);
  let odd = even;
  do {
    const a = Float4.expOfDifference(f32x4.sub(v128.load(x), shift));
    const b = Float4.expOfDifference(f32x4.sub(v128.load(x, 16), shift));
    const c = Float4.expOfDifference(f32x4.sub(v128.load(x, 32), shift));
    const d = Float4.expOfDifference(f32x4.sub(v128.load(x, 48), shift));
    v128.store(out, a);
    v128.store(out, b, 16);
    v128.store(out, c, 32);
    v128.store(out, d, 48);
    even = f32x4.add(even, f32x4.add(a, b));
    odd = f32x4.add(odd, f32x4.add(c, d));
    out += 64;
    x += 64;
  } while (--count > 0);
  return total(f32x4.add(even, odd));
}

function exps(x: usize, count: i32, max: f32): f64 {
  const shift = f32x4.splat(max);
  let even = f32x4.splat(0);
  let odd = even;
  do {
    const a = Float4.expOfDifference(f32x4.sub(v128.load(x), shift));
    const b = Float4.expOfDifference(f32x4.sub(v128.load(x, 16), shift));
    const c = Float4.expOfDifference(f32x4.sub(v128.load(x, 32), shift));
    const d = Float4.expOfDifference(f32x4.sub(v128.load(x, 48), shift));
    even = f32x4.add(even, f32x4.add(a, b));
    odd = f32x4.add(odd, f32x4.add(c, d));
    x += 64;
  } while (--count > 0);
  return total(f32x4.add(even, odd));
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
