/** One row of activations: sums over the 8 rows of a panel, written as 8 int32. */

import { dot8 } from "../wasm/dot8.as";

/** Activations of a row for `sums4`, 16 bytes a quad x0 … x3: 256·(x0, x2), 256·(x1, x3), 16·(x0, x2), (x1, x3). */
export function scaleQuads(to: usize, from: usize, quads: i32): void {
  for (const end = to + quads * 16; to < end; to += 16, from += 4) {
    const x0 = load<i8>(from) as i32;
    const x1 = load<i8>(from, 1) as i32;
    const x2 = load<i8>(from, 2) as i32;
    const x3 = load<i8>(from, 3) as i32;
    store<i32>(to, ((x0 << 8) & 0xffff) | (x2 << 24));
    store<i32>(to, ((x1 << 8) & 0xffff) | (x3 << 24), 4);
    store<i32>(to, ((x0 << 4) & 0xffff) | (x2 << 20), 8);
    store<i32>(to, (x1 & 0xffff) | (x3 << 16), 12);
  }
}

// Quads after which 256 times a sum of products of int8 and 4 bits would leave int32.
export const quads4: i32 = 1024;

/**
 * 4-bit codes as they lie. A lane of 16 bits holds, from its lowest bits on, rows c and c + 4 at an even k and at the next
 * one; a code that is masked but not shifted is a multiple of 16 or 256, and meets an activation that makes up for it.
 */
export function sums4(to: usize, x: usize, codes: usize, quads: i32): void {
  const m0 = i16x8.splat(0x000f);
  const m1 = i16x8.splat(0x00f0);
  const m2 = i16x8.splat(0x0f00);
  let t0 = i32x4.splat(0);
  let t1 = t0;
  while (quads > 0) {
    const count = min(quads, quads4);
    quads -= count;
    let s0 = i32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    for (const end = codes + count * 16; codes < end; codes += 16, x += 16) {
      const v = v128.load(codes);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(v128.and(v, m0), v128.load32_splat(x)));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(v128.and(v, m1), v128.load32_splat(x, 8)));
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(v128.and(v, m2), v128.load32_splat(x, 12)));
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(i16x8.shr_u(v, 12), v128.load32_splat(x, 4)));
    }
    t0 = i32x4.add(t0, i32x4.shr_s(i32x4.add(s0, s2), 8));
    t1 = i32x4.add(t1, i32x4.shr_s(i32x4.add(s1, s3), 8));
  }
  v128.store(to, t0);
  v128.store(to, t1, 16);
}

/** Spread codes, and activations as int16. */
export function sums16(to: usize, x: usize, codes: usize, quads: i32): void {
  let s0 = i32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (const end = codes + quads * 32; codes < end; codes += 32, x += 8) {
    const v0 = v128.load(codes);
    const v1 = v128.load(codes, 16);
    const a = v128.load64_splat(x);
    s0 = i32x4.add(s0, i32x4.dot_i16x8_s(a, i16x8.extend_low_i8x16_u(v0)));
    s1 = i32x4.add(s1, i32x4.dot_i16x8_s(a, i16x8.extend_high_i8x16_u(v0)));
    s2 = i32x4.add(s2, i32x4.dot_i16x8_s(a, i16x8.extend_low_i8x16_u(v1)));
    s3 = i32x4.add(s3, i32x4.dot_i16x8_s(a, i16x8.extend_high_i8x16_u(v1)));
  }
  v128.store(to, i32x4.add(v128.shuffle<i32>(s0, s1, 0, 2, 4, 6), v128.shuffle<i32>(s0, s1, 1, 3, 5, 7)));
  v128.store(to, i32x4.add(v128.shuffle<i32>(s2, s3, 0, 2, 4, 6), v128.shuffle<i32>(s2, s3, 1, 3, 5, 7)), 16);
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

/** The relaxed form of `sums16`, for codes up to 127. */
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
