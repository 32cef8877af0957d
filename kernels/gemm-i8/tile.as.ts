/** Register tiles of 5 rows of activations and 8 rows of weights. Sums are int32, 8 a row, 32 bytes apart. */

import { dot8 } from "../wasm/dot8.as";

export const tileRows: i32 = 5;

/** sums = or += activations · codes, both int16 in pairs: `pairs` of them. */
export function tile16(to: usize, a: usize, b: usize, pairs: i32, more: bool): void {
  const end = a + pairs * 20;
  const zero = i32x4.splat(0);
  let c00 = more ? v128.load(to) : zero;
  let c01 = more ? v128.load(to, 16) : zero;
  let c10 = more ? v128.load(to, 32) : zero;
  let c11 = more ? v128.load(to, 48) : zero;
  let c20 = more ? v128.load(to, 64) : zero;
  let c21 = more ? v128.load(to, 80) : zero;
  let c30 = more ? v128.load(to, 96) : zero;
  let c31 = more ? v128.load(to, 112) : zero;
  let c40 = more ? v128.load(to, 128) : zero;
  let c41 = more ? v128.load(to, 144) : zero;
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const a0 = v128.load32_splat(a);
    c00 = i32x4.add(c00, i32x4.dot_i16x8_s(a0, b0));
    c01 = i32x4.add(c01, i32x4.dot_i16x8_s(a0, b1));
    const a1 = v128.load32_splat(a, 4);
    c10 = i32x4.add(c10, i32x4.dot_i16x8_s(a1, b0));
    c11 = i32x4.add(c11, i32x4.dot_i16x8_s(a1, b1));
    const a2 = v128.load32_splat(a, 8);
    c20 = i32x4.add(c20, i32x4.dot_i16x8_s(a2, b0));
    c21 = i32x4.add(c21, i32x4.dot_i16x8_s(a2, b1));
    const a3 = v128.load32_splat(a, 12);
    c30 = i32x4.add(c30, i32x4.dot_i16x8_s(a3, b0));
    c31 = i32x4.add(c31, i32x4.dot_i16x8_s(a3, b1));
    const a4 = v128.load32_splat(a, 16);
    c40 = i32x4.add(c40, i32x4.dot_i16x8_s(a4, b0));
    c41 = i32x4.add(c41, i32x4.dot_i16x8_s(a4, b1));
    a += 20;
    b += 32;
  }
  v128.store(to, c00);
  v128.store(to, c01, 16);
  v128.store(to, c10, 32);
  v128.store(to, c11, 48);
  v128.store(to, c20, 64);
  v128.store(to, c21, 80);
  v128.store(to, c30, 96);
  v128.store(to, c31, 112);
  v128.store(to, c40, 128);
  v128.store(to, c41, 144);
}

/** sums (int16, in pairs) of int8 quads and spread codes in the relaxed build: so few quads that int16 holds them. */
export function run8(to: usize, a: usize, b: usize, quads: i32): void {
  const end = a + quads * 20;
  const zero = i32x4.splat(0);
  let c00 = zero;
  let c01 = zero;
  let c10 = zero;
  let c11 = zero;
  let c20 = zero;
  let c21 = zero;
  let c30 = zero;
  let c31 = zero;
  let c40 = zero;
  let c41 = zero;
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const a0 = v128.load32_splat(a);
    c00 = dot8(c00, a0, b0);
    c01 = dot8(c01, a0, b1);
    const a1 = v128.load32_splat(a, 4);
    c10 = dot8(c10, a1, b0);
    c11 = dot8(c11, a1, b1);
    const a2 = v128.load32_splat(a, 8);
    c20 = dot8(c20, a2, b0);
    c21 = dot8(c21, a2, b1);
    const a3 = v128.load32_splat(a, 12);
    c30 = dot8(c30, a3, b0);
    c31 = dot8(c31, a3, b1);
    const a4 = v128.load32_splat(a, 16);
    c40 = dot8(c40, a4, b0);
    c41 = dot8(c41, a4, b1);
    a += 20;
    b += 32;
  }
  v128.store(to, c00);
  v128.store(to, c01, 16);
  v128.store(to, c10, 32);
  v128.store(to, c11, 48);
  v128.store(to, c20, 64);
  v128.store(to, c21, 80);
  v128.store(to, c30, 96);
  v128.store(to, c31, 112);
  v128.store(to, c40, 128);
  v128.store(to, c41, 144);
}

function flush(to: usize, at: usize, sums: v128, more: bool): void {
  const wide = i32x4.extadd_pairwise_i16x8_s(sums);
  v128.store(to + at, more ? i32x4.add(v128.load(to + at), wide) : wide);
}

/**
 * The same from int8 quads and spread codes, in the relaxed build. Sums stay in int16 for `run` quads at a time, few enough
 * that they cannot overflow.
 */
export function tile8(to: usize, a: usize, b: usize, quads: i32, run: i32): void {
  const end = a + quads * 20;
  const zero = i32x4.splat(0);
  let more = false;
  while (a < end) {
    let c00 = zero;
    let c01 = zero;
    let c10 = zero;
    let c11 = zero;
    let c20 = zero;
    let c21 = zero;
    let c30 = zero;
    let c31 = zero;
    let c40 = zero;
    let c41 = zero;
    const stop = min(end, a + run * 20);
    while (a < stop) {
      const b0 = v128.load(b);
      const b1 = v128.load(b, 16);
      const a0 = v128.load32_splat(a);
      c00 = dot8(c00, a0, b0);
      c01 = dot8(c01, a0, b1);
      const a1 = v128.load32_splat(a, 4);
      c10 = dot8(c10, a1, b0);
      c11 = dot8(c11, a1, b1);
      const a2 = v128.load32_splat(a, 8);
      c20 = dot8(c20, a2, b0);
      c21 = dot8(c21, a2, b1);
      const a3 = v128.load32_splat(a, 12);
      c30 = dot8(c30, a3, b0);
      c31 = dot8(c31, a3, b1);
      const a4 = v128.load32_splat(a, 16);
      c40 = dot8(c40, a4, b0);
      c41 = dot8(c41, a4, b1);
      a += 20;
      b += 32;
    }
    flush(to, 0, c00, more);
    flush(to, 16, c01, more);
    flush(to, 32, c10, more);
    flush(to, 48, c11, more);
    flush(to, 64, c20, more);
    flush(to, 80, c21, more);
    flush(to, 96, c30, more);
    flush(to, 112, c31, more);
    flush(to, 128, c40, more);
    flush(to, 144, c41, more);
    more = true;
  }
}
