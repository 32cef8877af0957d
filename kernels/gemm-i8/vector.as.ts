/** One row of activations: sums over the 8 rows of a panel, written as 8 int32. An even number of quads. */

import { dot8 } from "../wasm/dot8.as";

// Quads after which a sum of products of int8 and a byte would leave int32.
export const quads4: i32 = 32768;

/**
 * 4-bit codes as they lie, and activations of `packSplit`. A lane of 16 bits holds, from its lowest bits on, rows c and
 * c + 4 at an even k and at the next one. A mask for each would take another activation for each; bytes and what is in
 * their low half serve as well, and the rows are told apart in their sums: a of r and b of r + 16 r' at even k, c of
 * r + 16 r' and d of r' at odd ones.
 */
export class Nested {
  @inline static first(a: v128, c: v128, d: v128): v128 {
    return i32x4.sub(i32x4.add(a, c), i32x4.shl(d, 4));
  }

  @inline static second(a: v128, b: v128, d: v128): v128 {
    return i32x4.add(i32x4.shr_s(i32x4.sub(b, a), 4), d);
  }
}

export function sums4(to: usize, x: usize, codes: usize, quads: i32): void {
  const low = i16x8.splat(0x000f);
  const byte = i16x8.splat(0x00ff);
  let t0 = i32x4.splat(0);
  let t1 = t0;
  while (quads > 0) {
    const count = min(quads, quads4);
    quads -= count;
    let s0 = i32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    for (const end = codes + count * 16; codes < end; codes += 32, x += 16) {
      const v = v128.load(codes);
      const a = v128.load32_splat(x);
      const b = v128.load32_splat(x, 4);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(v128.and(v, low), a));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(v128.and(v, byte), a));
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(i16x8.shr_u(v, 8), b));
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(i16x8.shr_u(v, 12), b));
      const w = v128.load(codes, 16);
      const c = v128.load32_splat(x, 8);
      const d = v128.load32_splat(x, 12);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(v128.and(w, low), c));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(v128.and(w, byte), c));
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(i16x8.shr_u(w, 8), d));
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(i16x8.shr_u(w, 12), d));
    }
    t0 = i32x4.add(t0, Nested.first(s0, s2, s3));
    t1 = i32x4.add(t1, Nested.second(s0, s1, s3));
  }
  v128.store(to, t0);
  v128.store(to, t1, 16);
}

/** Adds neighbouring sums of two vectors. */
export class Pairs {
  @inline static fold(a: v128, b: v128): v128 {
    return i32x4.add(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7));
  }
}

/** Spread codes, and activations as int16. */
export function sumsSpread(to: usize, x: usize, codes: usize, quads: i32): void {
  let s0 = i32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (const end = codes + quads * 32; codes < end; codes += 64, x += 16) {
    const v0 = v128.load(codes);
    const v1 = v128.load(codes, 16);
    const a = v128.load64_splat(x);
    s0 = i32x4.add(s0, i32x4.dot_i16x8_s(a, i16x8.extend_low_i8x16_u(v0)));
    s1 = i32x4.add(s1, i32x4.dot_i16x8_s(a, i16x8.extend_high_i8x16_u(v0)));
    s2 = i32x4.add(s2, i32x4.dot_i16x8_s(a, i16x8.extend_low_i8x16_u(v1)));
    s3 = i32x4.add(s3, i32x4.dot_i16x8_s(a, i16x8.extend_high_i8x16_u(v1)));
    const w0 = v128.load(codes, 32);
    const w1 = v128.load(codes, 48);
    const b = v128.load64_splat(x, 8);
    s0 = i32x4.add(s0, i32x4.dot_i16x8_s(b, i16x8.extend_low_i8x16_u(w0)));
    s1 = i32x4.add(s1, i32x4.dot_i16x8_s(b, i16x8.extend_high_i8x16_u(w0)));
    s2 = i32x4.add(s2, i32x4.dot_i16x8_s(b, i16x8.extend_low_i8x16_u(w1)));
    s3 = i32x4.add(s3, i32x4.dot_i16x8_s(b, i16x8.extend_high_i8x16_u(w1)));
  }
  v128.store(to, Pairs.fold(s0, s1));
  v128.store(to, Pairs.fold(s2, s3), 16);
}

/** The relaxed form of `sums4`: int8 quads, and int16 sums for `run` quads at a time. */
export function sums4Relaxed(to: usize, x: usize, codes: usize, quads: i32, run: i32): void {
  const mask = i8x16.splat(15);
  let t0 = i32x4.splat(0);
  let t1 = t0;
  const end = codes + quads * 16;
  while (codes < end) {
    let s0 = i32x4.splat(0);
    let s1 = s0;
    for (const stop = min(end, codes + run * 16); codes < stop; codes += 16, x += 4) {
      const v = v128.load(codes);
      const a = v128.load32_splat(x);
      s0 = dot8(s0, a, v128.and(v, mask));
      s1 = dot8(s1, a, v128.and(i16x8.shr_u(v, 4), mask));
    }
    t0 = i32x4.add(t0, i32x4.extadd_pairwise_i16x8_s(s0));
    t1 = i32x4.add(t1, i32x4.extadd_pairwise_i16x8_s(s1));
  }
  v128.store(to, t0);
  v128.store(to, t1, 16);
}

/** The relaxed form of `sumsSpread`, for codes up to 127. */
export function sums8Relaxed(to: usize, x: usize, codes: usize, quads: i32, run: i32): void {
  let t0 = i32x4.splat(0);
  let t1 = t0;
  const end = codes + quads * 32;
  while (codes < end) {
    let s0 = i32x4.splat(0);
    let s1 = s0;
    for (const stop = min(end, codes + run * 32); codes < stop; codes += 32, x += 4) {
      const a = v128.load32_splat(x);
      s0 = dot8(s0, a, v128.load(codes));
      s1 = dot8(s1, a, v128.load(codes, 16));
    }
    t0 = i32x4.add(t0, i32x4.extadd_pairwise_i16x8_s(s0));
    t1 = i32x4.add(t1, i32x4.extadd_pairwise_i16x8_s(s1));
  }
  v128.store(to, t0);
  v128.store(to, t1, 16);
}
