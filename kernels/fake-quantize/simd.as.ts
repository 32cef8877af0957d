/**
 * Fake quantization of float32 on the heap, in AssemblyScript; kernels/fake-quantize/reference.ts states the contract. An
 * address of 0 stands for what is not written. Runs begin with number `first`, of `count` scales.
 */

export { ranges } from "./ranges.as";

import { Lanes } from "../wasm/lanes.as";
import { largestOf, load4, oddOf } from "./ranges.as";

/** The lowest bytes of four integers. */
function storeBytes(to: usize, lanes: v128, left: i32): void {
  const bytes = i8x16.swizzle(lanes, i8x16(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12));
  if (left >= 4) {
    v128.store_lane<u32>(to, bytes, 0);
    return;
  }
  store<u8>(to, i8x16.extract_lane_u(bytes, 0));
  if (left > 1) store<u8>(to, i8x16.extract_lane_u(bytes, 1), 1);
  if (left > 2) store<u8>(to, i8x16.extract_lane_u(bytes, 2), 2);
}

function mark(seen: usize, outside: v128, odd: v128): void {
  if (v128.any_true(outside)) store<u8>(seen, 1);
  if (v128.any_true(odd)) store<u8>(seen, 1, 1);
}

/** Values are multiples of `unit`. */
function uniformRun(
  values: usize,
  codes: usize,
  inside: usize,
  seen: usize,
  x: usize,
  n: i32,
  scale: f32,
  unit: f32,
  zero: f32,
  least: f32,
  most: f32,
): void {
  const none = f32x4.splat(0);
  const by = f32x4.splat(scale);
  const units = f32x4.splat(unit);
  const bottom = f32x4.splat(least - zero);
  const top = f32x4.splat(most - zero);
  const shift = f32x4.splat(zero);
  const one = i32x4.splat(1);
  let outside = none;
  let odd = none;
  for (let i = 0; i < n; i += 4) {
    const left = n - i;
    const v = load4(x + (i << 2), left);
    const q = f32x4.nearest(f32x4.div(v, by));
    const held = f32x4.pmin(top, f32x4.pmax(bottom, q));
    const clamped = f32x4.ne(held, q);
    outside = v128.or(outside, clamped);
    odd = v128.or(odd, oddOf(v));
    if (values) Lanes.store(values + (i << 2), f32x4.add(f32x4.mul(held, units), none), left);
    if (codes) storeBytes(codes + i, i32x4.trunc_sat_f32x4_s(f32x4.add(held, shift)), left);
    if (inside) storeBytes(inside + i, v128.andnot(one, clamped), left);
  }
  mark(seen, outside, odd);
}

export function uniform(
  values: usize,
  codes: usize,
  inside: usize,
  seen: usize,
  x: usize,
  scales: usize,
  zeros: usize,
  rows: i32,
  n: i32,
  step: i32,
  first: i32,
  count: i32,
  least: f32,
  most: f32,
  whole: i32,
): void {
  let k = first % count;
  for (; rows > 0; rows--)
    for (let from = 0; from < n; from += step) {
      const length = min(step, n - from);
      const zero: f32 = zeros ? load<f32>(zeros + (k << 2)) : 0;
      const scale = load<f32>(scales + (k << 2));
      const unit: f32 = whole ? 1 : scale;
      uniformRun(values, codes, inside, seen, x, length, scale, unit, zero, least, most);
      x += length << 2;
      if (values) values += length << 2;
      if (codes) codes += length;
      if (inside) inside += length;
      if (++k === count) k = 0;
    }
}

/** Of `last` + 1 levels as float32, and of the last + 2 thresholds of reference.ts, each rounded down to float32. */
function levelRun(
  values: usize,
  codes: usize,
  inside: usize,
  seen: usize,
  x: usize,
  n: i32,
  scale: f32,
  levels: usize,
  ends: usize,
  last: i32,
): void {
  const none = f32x4.splat(0);
  const by = f32x4.splat(scale);
  const bottom = v128.load32_splat(ends);
  const top = v128.load32_splat(ends + ((last + 1) << 2));
  const one = i32x4.splat(1);
  let outside = none;
  let odd = none;
  for (let i = 0; i < n; i += 4) {
    const left = n - i;
    const v = load4(x + (i << 2), left);
    const u = f32x4.div(v, by);
    let code = i32x4.splat(0);
    let value = v128.load32_splat(levels);
    for (let at = 4; at <= last << 2; at += 4) {
      const beyond = f32x4.gt(u, v128.load32_splat(ends + at));
      value = v128.bitselect(v128.load32_splat(levels + at), value, beyond);
      code = i32x4.sub(code, beyond);
    }
    const away = v128.or(v128.not(f32x4.gt(u, bottom)), f32x4.gt(u, top));
    outside = v128.or(outside, away);
    odd = v128.or(odd, oddOf(v));
    if (values) Lanes.store(values + (i << 2), f32x4.add(f32x4.mul(value, by), none), left);
    if (codes) storeBytes(codes + i, code, left);
    if (inside) storeBytes(inside + i, v128.andnot(one, away), left);
  }
  mark(seen, outside, odd);
}

export function levels(
  values: usize,
  codes: usize,
  inside: usize,
  seen: usize,
  x: usize,
  scales: usize,
  rows: i32,
  n: i32,
  step: i32,
  first: i32,
  count: i32,
  table: usize,
  ends: usize,
  last: i32,
): void {
  let k = first % count;
  for (; rows > 0; rows--)
    for (let from = 0; from < n; from += step) {
      const length = min(step, n - from);
      levelRun(values, codes, inside, seen, x, length, load<f32>(scales + (k << 2)), table, ends, last);
      x += length << 2;
      if (values) values += length << 2;
      if (codes) codes += length;
      if (inside) inside += length;
      if (++k === count) k = 0;
    }
}

function signRun(
  values: usize,
  codes: usize,
  inside: usize,
  seen: usize,
  x: usize,
  n: i32,
  scale: f32,
): void {
  const none = f32x4.splat(0);
  // Scales of 0 have no −0 either.
  const plus = f32x4.splat(scale + 0);
  const minus = f32x4.splat(0 - scale);
  const one = i32x4.splat(1);
  const unit = f32x4.splat(1);
  let outside = none;
  let odd = none;
  for (let i = 0; i < n; i += 4) {
    const left = n - i;
    const v = load4(x + (i << 2), left);
    const below = f32x4.lt(v, none);
    const within = f32x4.le(f32x4.abs(v), unit);
    outside = v128.or(outside, v128.not(within));
    odd = v128.or(odd, oddOf(v));
    if (values) Lanes.store(values + (i << 2), v128.bitselect(minus, plus, below), left);
    if (codes) storeBytes(codes + i, v128.or(below, one), left);
    if (inside) storeBytes(inside + i, v128.and(within, one), left);
  }
  mark(seen, outside, odd);
}

export function signs(
  values: usize,
  codes: usize,
  inside: usize,
  seen: usize,
  x: usize,
  scales: usize,
  rows: i32,
  n: i32,
  step: i32,
  first: i32,
  count: i32,
): void {
  let k = first % count;
  for (; rows > 0; rows--)
    for (let from = 0; from < n; from += step) {
      const length = min(step, n - from);
      signRun(values, codes, inside, seen, x, length, load<f32>(scales + (k << 2)));
      x += length << 2;
      if (values) values += length << 2;
      if (codes) codes += length;
      if (inside) inside += length;
      if (++k === count) k = 0;
    }
}

// The least normal float.
const leastScale: f32 = 1.1754943508222875e-38;

/** Values are integers where there is room for the scales. */
export function rows(values: usize, scales: usize, x: usize, seen: usize, rows: i32, n: i32, top: f32): void {
  for (; rows > 0; rows--, values += n << 2, x += n << 2) {
    const largest = largestOf(x, n);
    const scale: f32 = largest === 0 ? 1 : max(largest / top, leastScale);
    if (scales) {
      store<f32>(scales, scale);
      scales += 4;
    }
    uniformRun(values, 0, 0, seen, x, n, scale, scales ? 1 : scale, 0, -top, top);
  }
}
