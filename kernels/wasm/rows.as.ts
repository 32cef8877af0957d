/**
 * Sums and maxima of contiguous floats. Sums run in float lanes over blocks and in double over the blocks, in one fixed
 * order, so that their error does not grow with the length.
 */

import { loadPart, total } from "./lanes.as";

// Groups of eight vectors in a block: each lane adds up so many numbers.
const groups: i32 = 32;

/** The four floats from x on, of which `left` belong to the row; the others are `fill`. */
export function loadRow(x: usize, left: i32, fill: f32): v128 {
  return left >= 4 ? v128.load(x) : loadPart(x, left, fill);
}

/** What float lanes overflow is added up anew in double. */
export function sumOf(x: usize, n: i32): f64 {
  const sum = laneSum(x, n);
  return sum - sum === 0 ? sum : doubleSum(x, n);
}

function doubleSum(x: usize, n: i32): f64 {
  let sum: f64 = 0;
  for (; n > 0; n--, x += 4) sum += load<f32>(x);
  return sum;
}

function laneSum(x: usize, n: i32): f64 {
  let sum: f64 = 0;
  while (n >= 32) {
    const count = min(n >> 5, groups);
    n -= count << 5;
    let a = f32x4.splat(0);
    let b = a;
    let c = a;
    let d = a;
    let e = a;
    let f = a;
    let g = a;
    let h = a;
    const end = x + (count << 7);
    do {
      a = f32x4.add(a, v128.load(x));
      b = f32x4.add(b, v128.load(x, 16));
      c = f32x4.add(c, v128.load(x, 32));
      d = f32x4.add(d, v128.load(x, 48));
      e = f32x4.add(e, v128.load(x, 64));
      f = f32x4.add(f, v128.load(x, 80));
      g = f32x4.add(g, v128.load(x, 96));
      h = f32x4.add(h, v128.load(x, 112));
      x += 128;
    } while (x < end);
    a = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
    e = f32x4.add(f32x4.add(e, f), f32x4.add(g, h));
    sum += total(f32x4.add(a, e));
  }
  let rest = f32x4.splat(0);
  for (; n > 0; n -= 4, x += 16) rest = f32x4.add(rest, loadRow(x, n, 0));
  return sum + total(rest);
}

/** The largest; NaN is passed over, −Infinity for none. */
export function maxOf(x: usize, n: i32): f32 {
  const lowest = f32x4.splat(-Infinity);
  let a = lowest;
  let b = lowest;
  let c = lowest;
  let d = lowest;
  if (n >= 16)
    do {
      a = f32x4.pmax(a, v128.load(x));
      b = f32x4.pmax(b, v128.load(x, 16));
      c = f32x4.pmax(c, v128.load(x, 32));
      d = f32x4.pmax(d, v128.load(x, 48));
      x += 64;
      n -= 16;
    } while (n >= 16);
  for (; n > 0; n -= 4, x += 16) a = f32x4.pmax(a, loadRow(x, n, -Infinity));
  a = f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d));
  const high = max(f32x4.extract_lane(a, 0), f32x4.extract_lane(a, 1));
  return max(high, max(f32x4.extract_lane(a, 2), f32x4.extract_lane(a, 3)));
}
