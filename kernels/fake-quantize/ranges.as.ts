/** What scales are made from: the least, the largest and the mean magnitude of runs. */

import { loadPart } from "../wasm/lanes.as";

/** Four floats of which `left` belong to the run; the others repeat the first, so that they say nothing new. */
export function load4(x: usize, left: i32): v128 {
  return left >= 4 ? v128.load(x) : loadPart(x, left, load<f32>(x));
}

/** Where a number is not finite: x − x is 0 for all others. */
export function oddOf(x: v128): v128 {
  const zero = f32x4.sub(x, x);
  return f32x4.ne(zero, zero);
}

// Four floats as doubles.
function low(v: v128): v128 {
  return f64x2.promote_low_f32x4(v);
}
function high(v: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1));
}
function pair(v: v128): f64 {
  return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1);
}

/** The sum of magnitudes of n numbers: number i belongs to partial sum i modulo 8. */
function magnitudes(x: usize, n: i32): f64 {
  let a = f64x2.splat(0);
  let b = a;
  let c = a;
  let d = a;
  for (; n >= 8; n -= 8, x += 32) {
    const p = f32x4.abs(v128.load(x));
    const q = f32x4.abs(v128.load(x, 16));
    a = f64x2.add(a, low(p));
    b = f64x2.add(b, high(p));
    c = f64x2.add(c, low(q));
    d = f64x2.add(d, high(q));
  }
  if (n > 0) {
    const p = f32x4.abs(loadPart(x, min(n, 4), 0));
    a = f64x2.add(a, low(p));
    b = f64x2.add(b, high(p));
  }
  if (n > 4) {
    const q = f32x4.abs(loadPart(x + 16, n - 4, 0));
    c = f64x2.add(c, low(q));
    d = f64x2.add(d, high(q));
  }
  return pair(a) + pair(b) + (pair(c) + pair(d));
}

function least4(v: v128): f32 {
  const other = v128.shuffle<i64>(v, v, 1, 0);
  const two = f32x4.pmin(v, other);
  return min(f32x4.extract_lane(two, 0), f32x4.extract_lane(two, 1));
}

/** out: 4 doubles a run. */
export function ranges(out: usize, x: usize, rows: i32, n: i32, step: i32, sums: i32): void {
  for (; rows > 0; rows--)
    for (let from = 0; from < n; from += step) {
      const length = min(step, n - from);
      // NaN is neither less nor more than anything, so that it is passed over.
      let a = f32x4.splat(Infinity);
      let b = a;
      let c = a;
      let d = a;
      let e = f32x4.splat(-Infinity);
      let f = e;
      let g = e;
      let h = e;
      let odd = i32x4.splat(0);
      let at = x;
      let left = length;
      // Four of each need not wait for one another.
      for (; left >= 16; left -= 16, at += 64) {
        const p = v128.load(at);
        const q = v128.load(at, 16);
        const r = v128.load(at, 32);
        const s = v128.load(at, 48);
        a = f32x4.pmin(a, p);
        b = f32x4.pmin(b, q);
        c = f32x4.pmin(c, r);
        d = f32x4.pmin(d, s);
        e = f32x4.pmax(e, p);
        f = f32x4.pmax(f, q);
        g = f32x4.pmax(g, r);
        h = f32x4.pmax(h, s);
        odd = v128.or(odd, v128.or(v128.or(oddOf(p), oddOf(q)), v128.or(oddOf(r), oddOf(s))));
      }
      for (; left > 0; left -= 4, at += 16) {
        const v = load4(at, left);
        a = f32x4.pmin(a, v);
        e = f32x4.pmax(e, v);
        odd = v128.or(odd, oddOf(v));
      }
      const more = f32x4.pmax(f32x4.pmax(e, f), f32x4.pmax(g, h));
      const finite = !v128.any_true(odd);
      store<f64>(out, (least4(f32x4.pmin(f32x4.pmin(a, b), f32x4.pmin(c, d))) + 0) as f64);
      store<f64>(out, (-least4(f32x4.neg(more)) + 0) as f64, 8);
      store<f64>(out, sums ? magnitudes(x, length) : finite ? 0 : NaN, 16);
      store<f64>(out, length, 24);
      x += length << 2;
      out += 32;
    }
}

/** The largest magnitude; NaN is passed over. */
export function largestOf(x: usize, n: i32): f32 {
  let a = f32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  for (; n >= 16; n -= 16, x += 64) {
    a = f32x4.pmax(a, f32x4.abs(v128.load(x)));
    b = f32x4.pmax(b, f32x4.abs(v128.load(x, 16)));
    c = f32x4.pmax(c, f32x4.abs(v128.load(x, 32)));
    d = f32x4.pmax(d, f32x4.abs(v128.load(x, 48)));
  }
  for (; n > 0; n -= 4, x += 16) a = f32x4.pmax(a, f32x4.abs(load4(x, n)));
  return -least4(f32x4.neg(f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d))));
}
