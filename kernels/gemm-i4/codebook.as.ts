/**
 * Codes of up to 4 bits as the levels of a codebook. Its 16 floats are taken apart: byte b of all of them lies from 16 b on, so
 * that four lookups of 16 codes give the bytes of their floats.
 */

/** How a float is put together. */
class Bytes {
  /** Four codes of each of four rows: the codes of all rows at one place side by side, as their floats will be. */
  @inline
  static byPlace(v: v128): v128 {
    return i8x16.shuffle(v, v, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  }

  /** Bytes of two by turns, the lower eight of each. */
  @inline
  static low(a: v128, b: v128): v128 {
    return i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  }

  @inline
  static high(a: v128, b: v128): v128 {
    return i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  }

  /** Halves of floats by turns, the lower four of each. */
  @inline
  static lowHalves(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  }

  @inline
  static highHalves(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  }
}

/** Four spread codes of each of four rows as floats times their scales, 32 bytes between the codes of a row. */
export function levels(to: usize, codes: usize, codebook: usize, scale: v128): void {
  const places = Bytes.byPlace(v128.load(codes));
  const b0 = i8x16.swizzle(v128.load(codebook), places);
  const b1 = i8x16.swizzle(v128.load(codebook, 16), places);
  const b2 = i8x16.swizzle(v128.load(codebook, 32), places);
  const b3 = i8x16.swizzle(v128.load(codebook, 48), places);
  let lower = Bytes.low(b0, b1);
  let upper = Bytes.low(b2, b3);
  v128.store(to, f32x4.mul(Bytes.lowHalves(lower, upper), scale));
  v128.store(to, f32x4.mul(Bytes.highHalves(lower, upper), scale), 32);
  lower = Bytes.high(b0, b1);
  upper = Bytes.high(b2, b3);
  v128.store(to, f32x4.mul(Bytes.lowHalves(lower, upper), scale), 64);
  v128.store(to, f32x4.mul(Bytes.highHalves(lower, upper), scale), 96);
}

/** Σ x · level of four rows over `quads` times four places; the codes of other rows lie between. */
function sumOf(x: usize, codes: usize, codebook: usize, quads: i32): v128 {
  const bytes0 = v128.load(codebook);
  const bytes1 = v128.load(codebook, 16);
  const bytes2 = v128.load(codebook, 32);
  const bytes3 = v128.load(codebook, 48);
  let even = f32x4.splat(0);
  let odd = even;
  for (const end = x + quads * 16; x < end; x += 16, codes += 32) {
    const places = Bytes.byPlace(v128.load(codes));
    const b0 = i8x16.swizzle(bytes0, places);
    const b1 = i8x16.swizzle(bytes1, places);
    const b2 = i8x16.swizzle(bytes2, places);
    const b3 = i8x16.swizzle(bytes3, places);
    const lower0 = Bytes.low(b0, b1);
    const upper0 = Bytes.low(b2, b3);
    even = f32x4.add(even, f32x4.mul(v128.load32_splat(x), Bytes.lowHalves(lower0, upper0)));
    odd = f32x4.add(odd, f32x4.mul(v128.load32_splat(x, 4), Bytes.highHalves(lower0, upper0)));
    const lower1 = Bytes.high(b0, b1);
    const upper1 = Bytes.high(b2, b3);
    even = f32x4.add(even, f32x4.mul(v128.load32_splat(x, 8), Bytes.lowHalves(lower1, upper1)));
    odd = f32x4.add(odd, f32x4.mul(v128.load32_splat(x, 12), Bytes.highHalves(lower1, upper1)));
  }
  return f32x4.add(even, odd);
}

/** to (8 floats) = the row x, with zeros to a multiple of four, · spread codes, with the panel's scales of every group. */
export function levelsRow(
  to: usize,
  x: usize,
  codes: usize,
  codebook: usize,
  k: i32,
  depth: i32,
  scale: usize,
): void {
  let out0 = f32x4.splat(0);
  let out1 = out0;
  for (let g0 = 0; g0 < k; g0 += depth, scale += 32) {
    const quads = (min(depth, k - g0) + 3) >> 2;
    out0 = f32x4.add(out0, f32x4.mul(sumOf(x, codes, codebook, quads), v128.load(scale)));
    out1 = f32x4.add(out1, f32x4.mul(sumOf(x, codes + 16, codebook, quads), v128.load(scale, 16)));
    x += quads * 16;
    codes += quads * 32;
  }
  v128.store(to, out0);
  v128.store(to, out1, 16);
}
