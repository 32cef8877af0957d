/**
 * The output transform of low-bit products, eight columns of one row at a time; kernels/output.ts defines it. Arrays over
 * columns are padded to a multiple of 8. The words of a spec, which kernels/wasm/output.ts writes:
 *
 *     0 kind   1 out   2 bytes between rows   3 n   4 scaleW   5 scaleX   6 step of scaleX   7 bias   8 low   9 high
 *     10 inverse   11 outZero, a float   12 −zeroX · sumW   13 thresholds   14 directions, 0 or −1
 *
 * Addresses may be 0 for 12 and 13 alone.
 */

const kindInt32: i32 = 0;
const kindFloat32: i32 = 1;
const kindInt8: i32 = 2;
const kindBits: i32 = 4;

/** The steps that rows and planes share. */
class Step {
  @inline static scaled(f: v128, scaleX: v128, bias: v128, low: v128, high: v128): v128 {
    return f32x4.pmin(f32x4.pmax(f32x4.add(f32x4.mul(f, scaleX), bias), low), high);
  }

  /** Eight codes, twice. */
  @inline static codes(kind: i32, f0: v128, f1: v128, inverse: v128, shift: v128): v128 {
    const c0 = i32x4.trunc_sat_f32x4_s(f32x4.add(f32x4.nearest(f32x4.mul(f0, inverse)), shift));
    const c1 = i32x4.trunc_sat_f32x4_s(f32x4.add(f32x4.nearest(f32x4.mul(f1, inverse)), shift));
    const words = i16x8.narrow_i32x4_s(c0, c1);
    return kind === kindInt8 ? i8x16.narrow_i16x8_s(words, words) : i8x16.narrow_i16x8_u(words, words);
  }
}

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
      writeWords(to + at, s0, s1, count);
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
  s0 = Step.scaled(s0, scaleX, v128.load(bias), low, high);
  s1 = Step.scaled(s1, scaleX, v128.load(bias, 16), low, high);
  if (kind === kindFloat32) writeWords(to + at, s0, s1, count);
  else if (kind === kindBits) {
    const zero = f32x4.splat(0);
    writeBits(to + (column >> 3), f32x4.lt(s0, zero), f32x4.lt(s1, zero), count);
  } else {
    const inverse = v128.load32_splat(spec, 40);
    const shift = v128.load32_splat(spec, 44);
    const codes = Step.codes(kind, s0, s1, inverse, shift);
    writeBytes(to + column, codes, count);
  }
}

/**
 * `count` rows of one column, which lie beside each other in the output, from its element `first` on, from int32 sums. They
 * share the scaleX of `row`; zeroX, bits and thresholds are not served. Sums are read up to a multiple of 8.
 */
export function writePlane(spec: usize, row: i32, column: i32, first: i32, count: i32, sums: usize): void {
  const kind = load<i32>(spec);
  const wide = kind === kindInt32 || kind === kindFloat32;
  const to = load<usize>(spec, 4) + (wide ? first << 2 : first);
  const at = column << 2;
  const scale = v128.load32_splat(load<usize>(spec, 16) + at);
  const scaleX = v128.load32_splat(load<usize>(spec, 20) + row * load<i32>(spec, 24));
  const bias = v128.load32_splat(load<usize>(spec, 28) + at);
  const low = v128.load32_splat(spec, 32);
  const high = v128.load32_splat(spec, 36);
  const inverse = v128.load32_splat(spec, 40);
  const shift = v128.load32_splat(spec, 44);
  let i = 0;
  if (kind === kindFloat32)
    for (let out = to; i + 8 <= count; i += 8, sums += 32, out += 32) {
      const f0 = f32x4.mul(f32x4.convert_i32x4_s(v128.load(sums)), scale);
      const f1 = f32x4.mul(f32x4.convert_i32x4_s(v128.load(sums, 16)), scale);
      v128.store(out, Step.scaled(f0, scaleX, bias, low, high));
      v128.store(out, Step.scaled(f1, scaleX, bias, low, high), 16);
    }
  for (; i < count; i += 8, sums += 32) {
    let s0 = v128.load(sums);
    let s1 = v128.load(sums, 16);
    if (kind !== kindInt32) {
      s0 = Step.scaled(f32x4.mul(f32x4.convert_i32x4_s(s0), scale), scaleX, bias, low, high);
      s1 = Step.scaled(f32x4.mul(f32x4.convert_i32x4_s(s1), scale), scaleX, bias, low, high);
    }
    if (wide) writeWords(to + (i << 2), s0, s1, count - i);
    else writeBytes(to + i, Step.codes(kind, s0, s1, inverse, shift), count - i);
  }
}

/** The same for `rows` rows from `row` on, 32 bytes of sums apart. */
export function writeRows(spec: usize, row: i32, rows: i32, column: i32, from: usize, scaled: bool): void {
  const kind = load<i32>(spec);
  const plain = kind !== kindBits && column + 8 <= load<i32>(spec, 12);
  if (!plain) for (let i = 0; i < rows; i++) writeEight(spec, row + i, column, from + i * 32, scaled);
  else if (kind === kindInt32) integerRows(spec, row, rows, column, from);
  else floatRows(spec, row, rows, column, from, scaled);
}

/** Eight columns of rows as int32. */
function integerRows(spec: usize, row: i32, rows: i32, column: i32, from: usize): void {
  const step = load<i32>(spec, 8);
  const at = column << 2;
  const shift = load<usize>(spec, 48);
  const shift0 = shift ? v128.load(shift + at) : i32x4.splat(0);
  const shift1 = shift ? v128.load(shift + at, 16) : shift0;
  let to = load<usize>(spec, 4) + row * step + at;
  for (const end = from + rows * 32; from < end; from += 32, to += step) {
    v128.store(to, i32x4.add(v128.load(from), shift0));
    v128.store(to, i32x4.add(v128.load(from, 16), shift1), 16);
  }
}

/** Eight columns of rows as floats, or as codes made from them. */
function floatRows(spec: usize, row: i32, rows: i32, column: i32, from: usize, scaled: bool): void {
  const kind = load<i32>(spec);
  const step = load<i32>(spec, 8);
  const at = column << 2;
  const shift = scaled ? 0 : load<usize>(spec, 48);
  const shift0 = shift ? v128.load(shift + at) : i32x4.splat(0);
  const shift1 = shift ? v128.load(shift + at, 16) : shift0;
  const scale = load<usize>(spec, 16) + at;
  const scale0 = scaled ? shift0 : v128.load(scale);
  const scale1 = scaled ? shift0 : v128.load(scale, 16);
  const bias = load<usize>(spec, 28) + at;
  const bias0 = v128.load(bias);
  const bias1 = v128.load(bias, 16);
  const low = v128.load32_splat(spec, 32);
  const high = v128.load32_splat(spec, 36);
  const stepX = load<i32>(spec, 24);
  let x = load<usize>(spec, 20) + row * stepX;
  let to = load<usize>(spec, 4) + row * step + (kind === kindFloat32 ? at : column);
  for (const end = from + rows * 32; from < end; from += 32, x += stepX, to += step) {
    let s0 = v128.load(from);
    let s1 = v128.load(from, 16);
    if (!scaled) {
      s0 = f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(s0, shift0)), scale0);
      s1 = f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(s1, shift1)), scale1);
    }
    const scaleX = v128.load32_splat(x);
    s0 = f32x4.pmin(f32x4.pmax(f32x4.add(f32x4.mul(s0, scaleX), bias0), low), high);
    s1 = f32x4.pmin(f32x4.pmax(f32x4.add(f32x4.mul(s1, scaleX), bias1), low), high);
    if (kind === kindFloat32) {
      v128.store(to, s0);
      v128.store(to, s1, 16);
    } else v128.store64_lane(to, codesOf(spec, s0, s1), 0);
  }
}

/** Eight floats as codes, in the low half. */
function codesOf(spec: usize, s0: v128, s1: v128): v128 {
  const inverse = v128.load32_splat(spec, 40);
  const shift = v128.load32_splat(spec, 44);
  const c0 = i32x4.trunc_sat_f32x4_s(f32x4.add(f32x4.nearest(f32x4.mul(s0, inverse)), shift));
  const c1 = i32x4.trunc_sat_f32x4_s(f32x4.add(f32x4.nearest(f32x4.mul(s1, inverse)), shift));
  const words = i16x8.narrow_i32x4_s(c0, c1);
  if (load<i32>(spec) === kindInt8) return i8x16.narrow_i16x8_s(words, words);
  return i8x16.narrow_i16x8_u(words, words);
}

/** s ≥ t, or s ≤ t in the lanes of `down`. */
function reaches(s: v128, t: v128, down: v128): v128 {
  return v128.bitselect(i32x4.le_s(s, t), i32x4.ge_s(s, t), down);
}

/** Eight words, or the first `count`. */
function writeWords(to: usize, v0: v128, v1: v128, count: i32): void {
  if (count >= 8) {
    v128.store(to, v0);
    v128.store(to, v1, 16);
    return;
  }
  for (; count > 0; count--, to += 4) {
    v128.store32_lane(to, v0, 0);
    v0 = v128.shuffle<i32>(v0, v1, 1, 2, 3, 4);
    v1 = v128.shuffle<i32>(v1, v1, 1, 2, 3, 3);
  }
}

/** The same for bytes. */
function writeBytes(to: usize, codes: v128, count: i32): void {
  if (count >= 8) {
    v128.store64_lane(to, codes, 0);
    return;
  }
  for (; count > 0; count--, to++) {
    v128.store8_lane(to, codes, 0);
    codes = i64x2.shr_u(codes, 8);
  }
}

function writeBits(to: usize, v0: v128, v1: v128, count: i32): void {
  store<u8>(to, (i32x4.bitmask(v0) | (i32x4.bitmask(v1) << 4)) & ((1 << count) - 1));
}
