/**
 * The loops over the groups of a row, for weights without zero points and activations without one: what most layers are. The
 * sums of a group are corrected by `corrections`, beta · Σ x of each row and group, made floats, scaled and added to those of
 * the groups before.
 */

import { dot8 } from "../wasm/dot8.as";
import { run8, tile16 } from "./tile.as";

/** sums + value · scale, of four sums over a group. */
function add(sums: v128, group: v128, correction: v128, scale: v128): v128 {
  return f32x4.add(sums, f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(group, correction)), scale));
}

/**
 * Five rows of activations: to (5, 8 floats), through `tile`, the sums of one group. Pairs are int16, `pairs` of them in
 * groups of `depth`.
 */
export function groups16(
  to: usize,
  tile: usize,
  a: usize,
  b: usize,
  pairs: i32,
  depth: i32,
  corrections: usize,
  correctionStep: i32,
  scale: usize,
): void {
  memory.fill(to, 0, 160);
  for (; pairs > 0; pairs -= depth, a += depth * 20, b += depth * 32) {
    tile16(tile, a, b, min(pairs, depth), false);
    addTile(to, tile, false, corrections, correctionStep, scale);
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
  quads: i32,
  depth: i32,
  corrections: usize,
  correctionStep: i32,
  scale: usize,
): void {
  memory.fill(to, 0, 160);
  for (; quads > 0; quads -= depth, a += depth * 20, b += depth * 32) {
    run8(tile, a, b, min(quads, depth));
    addTile(to, tile, true, corrections, correctionStep, scale);
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
  quads: i32,
  depth: i32,
  corrections: usize,
  scale: usize,
): void {
  const m0 = i16x8.splat(0x000f);
  const m1 = i16x8.splat(0x00f0);
  const m2 = i16x8.splat(0x0f00);
  let out0 = f32x4.splat(0);
  let out1 = out0;
  const end = codes + quads * 16;
  while (codes < end) {
    let s0 = i32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    for (const stop = min(end, codes + depth * 16); codes < stop; codes += 16, x += 16) {
      const v = v128.load(codes);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(v128.and(v, m0), v128.load32_splat(x)));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(v128.and(v, m1), v128.load32_splat(x, 8)));
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(v128.and(v, m2), v128.load32_splat(x, 12)));
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(i16x8.shr_u(v, 12), v128.load32_splat(x, 4)));
    }
    const correction = v128.load32_splat(corrections);
    out0 = add(out0, i32x4.shr_s(i32x4.add(s0, s2), 8), correction, v128.load(scale));
    out1 = add(out1, i32x4.shr_s(i32x4.add(s1, s3), 8), correction, v128.load(scale, 16));
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
  quads: i32,
  depth: i32,
  corrections: usize,
  scale: usize,
): void {
  const mask = i8x16.splat(15);
  let out0 = f32x4.splat(0);
  let out1 = out0;
  const end = codes + quads * 16;
  while (codes < end) {
    let s0 = i32x4.splat(0);
    let s1 = s0;
    for (const stop = min(end, codes + depth * 16); codes < stop; codes += 16, x += 4) {
      const v = v128.load(codes);
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
