/**
 * Encoding of float32 rows, as signs and as integers, on the heap, in AssemblyScript. kernels/encode/reference.ts states the
 * contract. `stride` is the distance of the rows of the result in bytes.
 */

import { loadPart } from "../wasm/lanes.as";

// Added to a float below 2²² in magnitude, this leaves its nearest integer, half to even, in the lowest bits.
const magic: f32 = 12582912;
const magicBits: i32 = 0x4b400000;

function narrow(a: v128, b: v128, c: v128, d: v128): v128 {
  return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
}

/** A bit a number: 1 where x < level, or with `above` where x ≥ level. */
export function packBits(to: usize, x: usize, rows: i32, n: i32, stride: i32, level: f32, above: i32): void {
  const levels = f32x4.splat(level);
  for (let r = 0; r < rows; r++, to += stride, x += n << 2) {
    let at = to;
    let from = x;
    if (above)
      for (const end = x + ((n >> 4) << 6); from < end; from += 64, at += 2)
        store<u16>(
          at,
          i8x16.bitmask(
            narrow(
              f32x4.ge(v128.load(from), levels),
              f32x4.ge(v128.load(from, 16), levels),
              f32x4.ge(v128.load(from, 32), levels),
              f32x4.ge(v128.load(from, 48), levels),
            ),
          ) as u16,
        );
    else
      for (const end = x + ((n >> 4) << 6); from < end; from += 64, at += 2)
        store<u16>(
          at,
          i8x16.bitmask(
            narrow(
              f32x4.lt(v128.load(from), levels),
              f32x4.lt(v128.load(from, 16), levels),
              f32x4.lt(v128.load(from, 32), levels),
              f32x4.lt(v128.load(from, 48), levels),
            ),
          ) as u16,
        );
    const end = to + stride;
    let bits = 0;
    for (let i = 0; i < (n & 15); i++) {
      const value = load<f32>(from + (i << 2));
      if (above ? value >= level : value < level) bits |= 1 << i;
    }
    for (; at < end; at++, bits >>= 8) store<u8>(at, bits as u8);
  }
}

/** Four codes as int32. The bounds are integers, so that clamping first rounds the same. */
function codes(x: v128, scale: v128, lowest: v128, highest: v128, offset: v128): v128 {
  const held = f32x4.pmin(highest, f32x4.pmax(lowest, f32x4.div(x, scale)));
  return i32x4.sub(f32x4.add(held, f32x4.splat(magic)), offset);
}

/** One row of codes: clamp(round(x / by), lowest, lowest + span) + zero, stored as int8, or as uint8 with `unsigned`. */
function quantizeRow(
  to: usize,
  x: usize,
  n: i32,
  stride: i32,
  by: f32,
  lowest: f32,
  highest: f32,
  zero: i32,
  unsigned: i32,
): void {
  const scale = f32x4.splat(by);
  const low = f32x4.splat(lowest);
  const high = f32x4.splat(highest);
  const offset = i32x4.splat(magicBits - zero);
  let i = 0;
  for (; i + 16 <= n; i += 16, x += 64) {
    const left = i16x8.narrow_i32x4_s(
      codes(v128.load(x), scale, low, high, offset),
      codes(v128.load(x, 16), scale, low, high, offset),
    );
    const right = i16x8.narrow_i32x4_s(
      codes(v128.load(x, 32), scale, low, high, offset),
      codes(v128.load(x, 48), scale, low, high, offset),
    );
    v128.store(to + i, unsigned ? i8x16.narrow_i16x8_u(left, right) : i8x16.narrow_i16x8_s(left, right));
  }
  for (; i < n; i += 4, x += 16) {
    const left = min(n - i, 4);
    const four = codes(loadPart(x, left, 0), scale, low, high, offset);
    store<u8>(to + i, i32x4.extract_lane(four, 0) as u8);
    if (left > 1) store<u8>(to + i, i32x4.extract_lane(four, 1) as u8, 1);
    if (left > 2) store<u8>(to + i, i32x4.extract_lane(four, 2) as u8, 2);
    if (left > 3) store<u8>(to + i, i32x4.extract_lane(four, 3) as u8, 3);
  }
  if (stride > n) memory.fill(to + n, 0, stride - n);
}

/** The largest magnitude of a row; NaN is passed over. */
function largestOf(x: usize, n: i32): f32 {
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
  for (; n > 0; n -= 4, x += 16) a = f32x4.pmax(a, f32x4.abs(loadPart(x, min(n, 4), 0)));
  a = f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d));
  const high = max(f32x4.extract_lane(a, 0), f32x4.extract_lane(a, 1));
  return max(high, max(f32x4.extract_lane(a, 2), f32x4.extract_lane(a, 3)));
}

// The least normal float.
const leastScale: f32 = 1.1754943508222875e-38;

export function quantizeRows(
  to: usize,
  scales: usize,
  x: usize,
  rows: i32,
  n: i32,
  stride: i32,
  top: f32,
): void {
  for (let r = 0; r < rows; r++, to += stride, x += n << 2, scales += 4) {
    const largest = largestOf(x, n);
    const scale: f32 = largest === 0 ? 1 : max(largest / top, leastScale);
    store<f32>(scales, scale);
    quantizeRow(to, x, n, stride, scale, -top, top, 0, 0);
  }
}

/** To codes from `least` to `most`, bytes with a sign where `least` is below 0. */
export function quantizeBy(
  to: usize,
  x: usize,
  rows: i32,
  n: i32,
  stride: i32,
  scale: f32,
  zero: i32,
  least: i32,
  most: i32,
): void {
  for (let r = 0; r < rows; r++, to += stride, x += n << 2)
    quantizeRow(
      to,
      x,
      n,
      stride,
      scale,
      (least - zero) as f32,
      (most - zero) as f32,
      zero,
      least < 0 ? 0 : 1,
    );
}

/** What is 0 in all bits for finite numbers alone. */
function difference(x: v128): v128 {
  return f32x4.sub(x, x);
}

export function anyNonFinite(x: usize, n: i32): i32 {
  let seen = f32x4.splat(0);
  let more = seen;
  for (; n >= 16; n -= 16, x += 64) {
    seen = v128.or(seen, v128.or(difference(v128.load(x)), difference(v128.load(x, 16))));
    more = v128.or(more, v128.or(difference(v128.load(x, 32)), difference(v128.load(x, 48))));
  }
  for (; n > 0; n -= 4, x += 16) seen = v128.or(seen, difference(loadPart(x, min(n, 4), 0)));
  return v128.any_true(v128.or(seen, more)) ? 1 : 0;
}
