/** Reductions of float32 on the heap, in AssemblyScript; kernels/reduce/reference.ts states the contract. Sizes are elements. */

import { storePart } from "../wasm/lanes.as";
import { loadRow, sumOf } from "../wasm/rows.as";

// Rows that are added in one register before they go on to the next, so that rounding does not grow with their number.
const blockRows: i32 = 64;

/** out (rows) = scale · sum of each row of x (rows, n). */
export function sumRows(out: usize, x: usize, rows: i32, n: i32, scale: f64): void {
  for (; rows > 0; rows--, out += 4, x += n * 4) store<f32>(out, (sumOf(x, n) * scale) as f32);
}

/** out (outer, inner) = scale · sum over n of x (outer, n, inner). */
export function sumColumns(out: usize, x: usize, outer: i32, n: i32, inner: i32, scale: f32): void {
  const step = inner * 4;
  const by = f32x4.splat(scale);
  for (; outer > 0; outer--, x += n * step) {
    let left = inner;
    let from = x;
    for (; left >= 16; left -= 16, from += 64, out += 64) {
      let a = f32x4.splat(0);
      let b = a;
      let c = a;
      let d = a;
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
        a = f32x4.add(a, p);
        b = f32x4.add(b, q);
        c = f32x4.add(c, r);
        d = f32x4.add(d, s);
      }
      v128.store(out, f32x4.mul(a, by));
      v128.store(out, f32x4.mul(b, by), 16);
      v128.store(out, f32x4.mul(c, by), 32);
      v128.store(out, f32x4.mul(d, by), 48);
    }
    for (; left > 0; left -= 4, from += 16) {
      let a = f32x4.splat(0);
      let row = from;
      for (let k = 0; k < n; k += blockRows) {
        let p = f32x4.splat(0);
        for (let i = min(blockRows, n - k); i > 0; i--, row += step) p = f32x4.add(p, v128.load(row));
        a = f32x4.add(a, p);
      }
      a = f32x4.mul(a, by);
      if (left < 4) storePart(out, a, left);
      else v128.store(out, a);
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
