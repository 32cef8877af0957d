/**
 * The loops over the groups of a row, for weights without zero points and activations without one: what most layers are. The
 * sums of a group are corrected by `corrections`, beta · Σ x of each row and group, made floats, scaled and added to those of
 * the groups before.
 */

import { dot8 } from "../wasm/dot8.as";
import { quadsAt } from "./codes.as";
import { run8, tile16 } from "./tile.as";
import { Nested, Pairs } from "./vector.as";

/** sums + value · scale, of four sums over a group. */
function add(sums: v128, group: v128, correction: v128, scale: v128): v128 {
  return f32x4.add(sums, f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(group, correction)), scale));
}

/**
 * Five rows of activations: to (5, 8 floats), through `tile`, the sums of one group. Pairs are int16, two of them a quad.
 */
export function groups16(
  to: usize,
  tile: usize,
  a: usize,
  b: usize,
  k: i32,
  depth: i32,
  corrections: usize,
  correctionStep: i32,
  scale: usize,
): void {
  memory.fill(to, 0, 160);
  for (let begin = 0; begin < k; begin += depth) {
    const quads = quadsAt(begin, depth, k);
    tile16(tile, a, b + (begin >> 2) * 64, quads * 2, false);
    addTile(to, tile, false, corrections, correctionStep, scale);
    a += quads * 40;
    corrections += 4;
    scale += 32;
  }
}

/** The same from int8 quads in the relaxed build; a group's sums fit int16. */
export function groups8(
  to: usize,
  tile: usize,
  a: usize,
  b: usize,
  k: i32,
  depth: i32,
  corrections: usize,
  correctionStep: i32,
  scale: usize,
): void {
  memory.fill(to, 0, 160);
  for (let begin = 0; begin < k; begin += depth) {
    const quads = quadsAt(begin, depth, k);
    run8(tile, a, b + (begin >> 2) * 32, quads);
    addTile(to, tile, true, corrections, correctionStep, scale);
    a += quads * 20;
    corrections += 4;
    scale += 32;
  }
}

/** `narrow`: the sums of the tile are int16, in pairs. */
function addTile(
  to: usize,
  tile: usize,
  narrow: bool,
  corrections: usize,
  correctionStep: i32,
  scale: usize,
): void {
  const s0 = v128.load(scale);
  const s1 = v128.load(scale, 16);
  for (const end = to + 160; to < end; to += 32, tile += 32, corrections += correctionStep) {
    const correction = v128.load32_splat(corrections);
    let t0 = v128.load(tile);
    let t1 = v128.load(tile, 16);
    if (narrow) {
      t0 = i32x4.extadd_pairwise_i16x8_s(t0);
      t1 = i32x4.extadd_pairwise_i16x8_s(t1);
    }
    v128.store(to, add(v128.load(to), t0, correction, s0));
    v128.store(to, add(v128.load(to, 16), t1, correction, s1), 16);
  }
}

/** One row, 4-bit codes as they lie; see sums4. */
export function groups4(
  to: usize,
  x: usize,
  codes: usize,
  k: i32,
  depth: i32,
  corrections: usize,
  scale: usize,
): void {
  const low = i16x8.splat(0x000f);
  const byte = i16x8.splat(0x00ff);
  let out0 = f32x4.splat(0);
  let out1 = out0;
  for (let begin = 0; begin < k; begin += depth) {
    let s0 = i32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let at = codes + (begin >> 2) * 16;
    for (const end = at + quadsAt(begin, depth, k) * 16; at < end; at += 32, x += 16) {
      const v = v128.load(at);
      const a = v128.load32_splat(x);
      const b = v128.load32_splat(x, 4);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(v128.and(v, low), a));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(v128.and(v, byte), a));
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(i16x8.shr_u(v, 8), b));
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(i16x8.shr_u(v, 12), b));
      const w = v128.load(at, 16);
      const c = v128.load32_splat(x, 8);
      const d = v128.load32_splat(x, 12);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(v128.and(w, low), c));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(v128.and(w, byte), c));
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(i16x8.shr_u(w, 8), d));
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(i16x8.shr_u(w, 12), d));
    }
    const correction = v128.load32_splat(corrections);
    out0 = add(out0, Nested.first(s0, s2, s3), correction, v128.load(scale));
    out1 = add(out1, Nested.second(s0, s1, s3), correction, v128.load(scale, 16));
    corrections += 4;
    scale += 32;
  }
  v128.store(to, out0);
  v128.store(to, out1, 16);
}

/** One row, spread codes; see sumsSpread. */
export function groupsSpread(
  to: usize,
  x: usize,
  codes: usize,
  k: i32,
  depth: i32,
  corrections: usize,
  scale: usize,
): void {
  let out0 = f32x4.splat(0);
  let out1 = out0;
  for (let begin = 0; begin < k; begin += depth) {
    let s0 = i32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let at = codes + (begin >> 2) * 32;
    for (const end = at + quadsAt(begin, depth, k) * 32; at < end; at += 64, x += 16) {
      const v0 = v128.load(at);
      const v1 = v128.load(at, 16);
      const a = v128.load64_splat(x);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(a, i16x8.extend_low_i8x16_u(v0)));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(a, i16x8.extend_high_i8x16_u(v0)));
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(a, i16x8.extend_low_i8x16_u(v1)));
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(a, i16x8.extend_high_i8x16_u(v1)));
      const w0 = v128.load(at, 32);
      const w1 = v128.load(at, 48);
      const b = v128.load64_splat(x, 8);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(b, i16x8.extend_low_i8x16_u(w0)));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(b, i16x8.extend_high_i8x16_u(w0)));
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(b, i16x8.extend_low_i8x16_u(w1)));
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(b, i16x8.extend_high_i8x16_u(w1)));
    }
    const correction = v128.load32_splat(corrections);
    out0 = add(out0, Pairs.fold(s0, s1), correction, v128.load(scale));
    out1 = add(out1, Pairs.fold(s2, s3), correction, v128.load(scale, 16));
    corrections += 4;
    scale += 32;
  }
  v128.store(to, out0);
  v128.store(to, out1, 16);
}

/** The relaxed form of `groups4`: int8 quads, whose sums over a group fit int16. */
export function groups4Relaxed(
  to: usize,
  x: usize,
  codes: usize,
  k: i32,
  depth: i32,
  corrections: usize,
  scale: usize,
): void {
  const mask = i8x16.splat(15);
  let out0 = f32x4.splat(0);
  let out1 = out0;
  for (let begin = 0; begin < k; begin += depth) {
    let s0 = i32x4.splat(0);
    let s1 = s0;
    let at = codes + (begin >> 2) * 16;
    for (const end = at + quadsAt(begin, depth, k) * 16; at < end; at += 16, x += 4) {
      const v = v128.load(at);
      const a = v128.load32_splat(x);
      s0 = dot8(s0, a, v128.and(v, mask));
      s1 = dot8(s1, a, v128.and(i16x8.shr_u(v, 4), mask));
    }
    const correction = v128.load32_splat(corrections);
    out0 = add(out0, i32x4.extadd_pairwise_i16x8_s(s0), correction, v128.load(scale));
    out1 = add(out1, i32x4.extadd_pairwise_i16x8_s(s1), correction, v128.load(scale, 16));
    corrections += 4;
    scale += 32;
  }
  v128.store(to, out0);
  v128.store(to, out1, 16);
}
