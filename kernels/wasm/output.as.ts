/**
 * The output transform of low-bit products, eight columns of one row at a time; kernels/output.ts defines it. Arrays over
 * columns are padded to a multiple of 8. The words of a spec, which kernels/wasm/output.ts writes:
 *
 *     0 kind   1 out   2 bytes between rows   3 n   4 scaleW   5 scaleX   6 step of scaleX   7 bias   8 low   9 high
 *     10 inverse   11 outZero, a float   12 −zeroX · sumW   13 thresholds   14 directions, 0 or −1   15 scratch of 32 bytes
 *
 * Addresses may be 0 for 12 and 13 alone.
 */

const kindInt32: i32 = 0;
const kindFloat32: i32 = 1;
const kindInt8: i32 = 2;
const kindBits: i32 = 4;

/** Columns from `column` on of a row, from eight int32 sums, or, `scaled`, from eight floats that have met scaleW. */
export function writeEight(spec: usize, row: i32, column: i32, from: usize, scaled: bool): void {
  const kind = load<i32>(spec);
  const count = min(8, load<i32>(spec, 12) - column);
  let to = load<usize>(spec, 4) + row * load<i32>(spec, 8);
  const at = column << 2;
  let s0 = v128.load(from);
  let s1 = v128.load(from, 16);
  if (!scaled) {
    const shift = load<usize>(spec, 48);
    if (shift) {
      s0 = i32x4.add(s0, v128.load(shift + at));
      s1 = i32x4.add(s1, v128.load(shift + at, 16));
    }
    if (kind === kindInt32) {
      writeWords(spec, to + at, s0, s1, count);
      return;
    }
    const thresholds = load<usize>(spec, 52);
    if (thresholds) {
      const directions = load<usize>(spec, 56) + at;
      const b0 = reaches(s0, v128.load(thresholds + at), v128.load(directions));
      const b1 = reaches(s1, v128.load(thresholds + at, 16), v128.load(directions, 16));
      writeBits(to + (column >> 3), b0, b1, count);
      return;
    }
    const scale = load<usize>(spec, 16) + at;
    s0 = f32x4.mul(f32x4.convert_i32x4_s(s0), v128.load(scale));
    s1 = f32x4.mul(f32x4.convert_i32x4_s(s1), v128.load(scale, 16));
  }
  const scaleX = v128.load32_splat(load<usize>(spec, 20) + row * load<i32>(spec, 24));
  const bias = load<usize>(spec, 28) + at;
  const low = v128.load32_splat(spec, 32);
  const high = v128.load32_splat(spec, 36);
  s0 = f32x4.add(f32x4.mul(s0, scaleX), v128.load(bias));
  s1 = f32x4.add(f32x4.mul(s1, scaleX), v128.load(bias, 16));
  s0 = f32x4.pmin(f32x4.pmax(s0, low), high);
  s1 = f32x4.pmin(f32x4.pmax(s1, low), high);
  if (kind === kindFloat32) writeWords(spec, to + at, s0, s1, count);
  else if (kind === kindBits) {
    const zero = f32x4.splat(0);
    writeBits(to + (column >> 3), f32x4.lt(s0, zero), f32x4.lt(s1, zero), count);
  } else {
    const inverse = v128.load32_splat(spec, 40);
    const shift = v128.load32_splat(spec, 44);
    const c0 = i32x4.trunc_sat_f32x4_s(f32x4.add(f32x4.nearest(f32x4.mul(s0, inverse)), shift));
    const c1 = i32x4.trunc_sat_f32x4_s(f32x4.add(f32x4.nearest(f32x4.mul(s1, inverse)), shift));
    const words = i16x8.narrow_i32x4_s(c0, c1);
    const codes = kind === kindInt8 ? i8x16.narrow_i16x8_s(words, words) : i8x16.narrow_i16x8_u(words, words);
    to += column;
    if (count === 8) v128.store64_lane(to, codes, 0);
    else {
      const edge = load<usize>(spec, 60);
      v128.store(edge, codes);
      for (let i = 0; i < count; i++) store<u8>(to + i, load<u8>(edge + i));
    }
  }
}

/** s ≥ t, or s ≤ t in the lanes of `down`. */
function reaches(s: v128, t: v128, down: v128): v128 {
  return v128.bitselect(i32x4.le_s(s, t), i32x4.ge_s(s, t), down);
}

function writeWords(spec: usize, to: usize, v0: v128, v1: v128, count: i32): void {
  if (count === 8) {
    v128.store(to, v0);
    v128.store(to, v1, 16);
    return;
  }
  const edge = load<usize>(spec, 60);
  v128.store(edge, v0);
  v128.store(edge, v1, 16);
  for (let i = 0; i < count * 4; i += 4) store<u32>(to + i, load<u32>(edge + i));
}

function writeBits(to: usize, v0: v128, v1: v128, count: i32): void {
  store<u8>(to, (i32x4.bitmask(v0) | (i32x4.bitmask(v1) << 4)) & ((1 << count) - 1));
}
