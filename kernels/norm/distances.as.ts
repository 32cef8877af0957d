/** How far the numbers of a row lie from a center, which is subtracted in two float parts. */

import { total } from "../wasm/lanes.as";
import { madd } from "../wasm/madd.as";

const blockGroups: i32 = 16;

export function high(center: f64): v128 {
  return f32x4.splat(center as f32);
}
export function low(center: f64): v128 {
  return f32x4.splat((center - (center as f32 as f64)) as f32);
}

// Σ (x − center), which `squares` leaves here: what is missing from n times the mean.
export let drift: f64 = 0;

/** Σ (x − center)². */
export function squares(x: usize, n: i32, center: f64): f64 {
  const a = high(center);
  const b = low(center);
  let sum: f64 = 0;
  drift = 0;
  while (n > 0) {
    let even = f32x4.splat(0);
    let odd = even;
    let evenDrift = even;
    let oddDrift = even;
    let count = min(n >> 4, blockGroups);
    n -= count << 4;
    if (count > 0)
      do {
        const d = f32x4.sub(f32x4.sub(v128.load(x), a), b);
        const e = f32x4.sub(f32x4.sub(v128.load(x, 16), a), b);
        const f = f32x4.sub(f32x4.sub(v128.load(x, 32), a), b);
        const g = f32x4.sub(f32x4.sub(v128.load(x, 48), a), b);
        even = madd(d, d, even);
        odd = madd(e, e, odd);
        even = madd(f, f, even);
        odd = madd(g, g, odd);
        evenDrift = f32x4.add(evenDrift, f32x4.add(d, f));
        oddDrift = f32x4.add(oddDrift, f32x4.add(e, g));
        x += 64;
      } while (--count > 0);
    if (n < 16)
      for (; n > 0; n -= 4, x += 16) {
        const lanes = i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(n));
        const d = v128.and(f32x4.sub(f32x4.sub(v128.load(x), a), b), lanes);
        even = madd(d, d, even);
        evenDrift = f32x4.add(evenDrift, d);
      }
    sum += total(f32x4.add(even, odd));
    drift += total(f32x4.add(evenDrift, oddDrift));
  }
  return sum;
}
