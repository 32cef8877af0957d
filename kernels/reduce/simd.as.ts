/** Reductions of float32 on the heap, in AssemblyScript; kernels/reduce/reference.ts states the contract. Sizes are elements. */

export { fold, scan } from "./fold.as";

import { Lanes } from "../wasm/lanes.as";
import { loadRow, sumOf } from "../wasm/rows.as";

// Rows that are added in float lanes before they go on in double, so that rounding does not grow with their number.
const blockRows: i32 = 32;

/** out (rows) = scale · sum of each row of x (rows, n). */
export function sumRows(out: usize, x: usize, rows: i32, n: i32, scale: f64): void {
  for (; rows > 0; rows--, out += 4, x += n * 4) store<f32>(out, (sumOf(x, n) * scale) as f32);
}

// Four floats as doubles.
function low(v: v128): v128 {
  return f64x2.promote_low_f32x4(v);
}
function high(v: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1));
}

/** Writes scale times the sums of up to four columns; those that overflowed float lanes are added up anew in double. */
function finish(out: usize, a: v128, b: v128, left: i32, x: usize, n: i32, step: i32, scale: f64): void {
  const by = f64x2.splat(scale);
  // What lies behind the last column has no say.
  const ends = i64x2.splat(left);
  const c = v128.and(f64x2.sub(a, a), i64x2.gt_s(ends, i64x2(0, 1)));
  const d = v128.and(f64x2.sub(b, b), i64x2.gt_s(ends, i64x2(2, 3)));
  const off = v128.or(c, d);
  if (v128.any_true(f64x2.ne(off, off))) {
    for (let i = min(left, 4); i > 0; i--, out += 4, x += 4) {
      let sum: f64 = 0;
      for (let k = 0, at = x; k < n; k++, at += step) sum += load<f32>(at);
      store<f32>(out, (sum * scale) as f32);
    }
    return;
  }
  const first = f32x4.demote_f64x2_zero(f64x2.mul(a, by));
  const second = f32x4.demote_f64x2_zero(f64x2.mul(b, by));
  Lanes.store(out, v128.shuffle<i64>(first, second, 0, 2), left);
}

/** out (outer, inner) = scale · sum over n of x (outer, n, inner). */
export function sumColumns(out: usize, x: usize, outer: i32, n: i32, inner: i32, scale: f64): void {
  const step = inner * 4;
  const zero = f64x2.splat(0);
  for (; outer > 0; outer--, x += n * step) {
    let left = inner;
    let from = x;
    for (; left >= 16; left -= 16, from += 64, out += 64) {
      let a = zero;
      let b = zero;
      let c = zero;
      let d = zero;
      let e = zero;
      let f = zero;
      let g = zero;
      let h = zero;
      let row = from;
      for (let k = 0; k < n; k += blockRows) {
        let p = f32x4.splat(0);
        let q = p;
        let r = p;
        let s = p;
        for (let i = min(blockRows, n - k); i > 0; i--, row += step) {
          p = f32x4.add(p, v128.load(row));
          q = f32x4.add(q, v128.load(row, 16));
          r = f32x4.add(r, v128.load(row, 32));
          s = f32x4.add(s, v128.load(row, 48));
        }
        a = f64x2.add(a, low(p));
        b = f64x2.add(b, high(p));
        c = f64x2.add(c, low(q));
        d = f64x2.add(d, high(q));
        e = f64x2.add(e, low(r));
        f = f64x2.add(f, high(r));
        g = f64x2.add(g, low(s));
        h = f64x2.add(h, high(s));
      }
      finish(out, a, b, 4, from, n, step, scale);
      finish(out + 16, c, d, 4, from + 16, n, step, scale);
      finish(out + 32, e, f, 4, from + 32, n, step, scale);
      finish(out + 48, g, h, 4, from + 48, n, step, scale);
    }
    for (; left > 0; left -= 4, from += 16) {
      let a = zero;
      let b = zero;
      let row = from;
      for (let k = 0; k < n; k += blockRows) {
        let p = f32x4.splat(0);
        for (let i = min(blockRows, n - k); i > 0; i--, row += step) p = f32x4.add(p, v128.load(row));
        a = f64x2.add(a, low(p));
        b = f64x2.add(b, high(p));
      }
      finish(out, a, b, left, from, n, step, scale);
      out += min(left, 4) * 4;
    }
  }
}

/** out (rows) = the largest of each row; NaN wins. */
export function maxRows(out: usize, x: usize, rows: i32, n: i32): void {
  for (; rows > 0; rows--, out += 4) {
    let best = f32x4.splat(-Infinity);
    for (let left = n; left > 0; left -= 4, x += 16) best = f32x4.max(best, loadRow(x, left, -Infinity));
    x -= (((n + 3) & ~3) - n) * 4;
    const low = max(f32x4.extract_lane(best, 0), f32x4.extract_lane(best, 1));
    store<f32>(out, max(low, max(f32x4.extract_lane(best, 2), f32x4.extract_lane(best, 3))));
  }
}

/** out (rows) = the smallest of each row; NaN wins. */
export function minRows(out: usize, x: usize, rows: i32, n: i32): void {
  for (; rows > 0; rows--, out += 4) {
    let best = f32x4.splat(Infinity);
    for (let left = n; left > 0; left -= 4, x += 16) best = f32x4.min(best, loadRow(x, left, Infinity));
    x -= (((n + 3) & ~3) - n) * 4;
    const low = min(f32x4.extract_lane(best, 0), f32x4.extract_lane(best, 1));
    store<f32>(out, min(low, min(f32x4.extract_lane(best, 2), f32x4.extract_lane(best, 3))));
  }
}
