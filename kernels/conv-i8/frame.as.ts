/**
 * Images of codes as int16 less their zero point, with padding around them, which is 0 then. An image is planes of h · w bytes;
 * `top` and `left` say where its first pixel lies in the frame, and may be negative.
 */

class Code {
  @inline static eight(at: usize, unsigned: bool, zero: v128): v128 {
    return i16x8.sub(unsigned ? v128.load8x8_u(at) : v128.load8x8_s(at), zero);
  }

  @inline static one(at: usize, unsigned: bool, zero: i32): i32 {
    return (unsigned ? (load<u8>(at) as i32) : (load<i8>(at) as i32)) - zero;
  }
}

/** The first and last but one columns of a frame with pixels in them. */
class Inside {
  @inline static first(frameW: i32, left: i32): i32 {
    return max(0, min(frameW, left));
  }

  @inline static end(frameW: i32, left: i32, w: i32): i32 {
    return max(Inside.first(frameW, left), min(frameW, w + left));
  }
}

/** to (rows, frameW, channels): channels last. */
export function frameLast(
  to: usize,
  rows: i32,
  frameW: i32,
  x: usize,
  h: i32,
  w: i32,
  channels: i32,
  top: i32,
  left: i32,
  zero: i32,
  unsigned: bool,
): void {
  const pixel = channels << 1;
  const first = Inside.first(frameW, left);
  const end = Inside.end(frameW, left, w);
  for (let y = 0; y < rows; y++, to += frameW * pixel) {
    const row = y - top;
    if (row < 0 || row >= h || first === end) {
      memory.fill(to, 0, frameW * pixel);
      continue;
    }
    if (first > 0) memory.fill(to, 0, first * pixel);
    const from = x + row * w + first - left;
    channelsLast(to + first * pixel, from, h * w, channels, end - first, zero, unsigned);
    if (end < frameW) memory.fill(to + end * pixel, 0, (frameW - end) * pixel);
  }
}

/** Transposes (channels, plane apart; count pixels) in blocks of 8 x 8, the last of which may lie over the one before. */
function channelsLast(
  to: usize,
  from: usize,
  plane: i32,
  channels: i32,
  count: i32,
  zero: i32,
  unsigned: bool,
): void {
  if (channels < 8 || count < 8) {
    for (let c = 0; c < channels; c++)
      for (let p = 0; p < count; p++)
        store<i16>(to + ((p * channels + c) << 1), Code.one(from + c * plane + p, unsigned, zero));
    return;
  }
  const zeros = i16x8.splat(zero as i16);
  for (let i = 0; i < channels; i += 8) {
    const c = min(i, channels - 8);
    for (let j = 0; j < count; j += 8) {
      const p = min(j, count - 8);
      block(to + ((p * channels + c) << 1), channels << 1, from + c * plane + p, plane, unsigned, zeros);
    }
  }
}

/** Three times the halves of vectors i and i + 4 are interleaved: that transposes. */
function block(to: usize, pixel: i32, from: usize, plane: i32, unsigned: bool, zeros: v128): void {
  const r0 = Code.eight(from, unsigned, zeros);
  const r1 = Code.eight(from + plane, unsigned, zeros);
  const r2 = Code.eight(from + plane * 2, unsigned, zeros);
  const r3 = Code.eight(from + plane * 3, unsigned, zeros);
  from += plane << 2;
  const r4 = Code.eight(from, unsigned, zeros);
  const r5 = Code.eight(from + plane, unsigned, zeros);
  const r6 = Code.eight(from + plane * 2, unsigned, zeros);
  const r7 = Code.eight(from + plane * 3, unsigned, zeros);
  const a0 = Zip.low(r0, r4);
  const a1 = Zip.high(r0, r4);
  const a2 = Zip.low(r1, r5);
  const a3 = Zip.high(r1, r5);
  const a4 = Zip.low(r2, r6);
  const a5 = Zip.high(r2, r6);
  const a6 = Zip.low(r3, r7);
  const a7 = Zip.high(r3, r7);
  const b0 = Zip.low(a0, a4);
  const b1 = Zip.high(a0, a4);
  const b2 = Zip.low(a1, a5);
  const b3 = Zip.high(a1, a5);
  const b4 = Zip.low(a2, a6);
  const b5 = Zip.high(a2, a6);
  const b6 = Zip.low(a3, a7);
  const b7 = Zip.high(a3, a7);
  v128.store(to, Zip.low(b0, b4));
  v128.store(to + pixel, Zip.high(b0, b4));
  v128.store(to + pixel * 2, Zip.low(b1, b5));
  v128.store(to + pixel * 3, Zip.high(b1, b5));
  to += pixel << 2;
  v128.store(to, Zip.low(b2, b6));
  v128.store(to + pixel, Zip.high(b2, b6));
  v128.store(to + pixel * 2, Zip.low(b3, b7));
  v128.store(to + pixel * 3, Zip.high(b3, b7));
}

class Zip {
  @inline static low(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  }

  @inline static high(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  }
}

/** to (rows, frameW): one plane. */
export function framePlane(
  to: usize,
  rows: i32,
  frameW: i32,
  x: usize,
  h: i32,
  w: i32,
  top: i32,
  left: i32,
  zero: i32,
  unsigned: bool,
): void {
  const first = Inside.first(frameW, left);
  const end = Inside.end(frameW, left, w);
  const zeros = i16x8.splat(zero as i16);
  for (let y = 0; y < rows; y++, to += frameW << 1) {
    const row = y - top;
    if (row < 0 || row >= h || first === end) {
      memory.fill(to, 0, frameW << 1);
      continue;
    }
    const from = x + row * w - left;
    let p = 0;
    for (; p < first; p++) store<i16>(to + (p << 1), 0);
    if (unsigned)
      for (; p + 8 <= end; p += 8) v128.store(to + (p << 1), i16x8.sub(v128.load8x8_u(from + p), zeros));
    else for (; p + 8 <= end; p += 8) v128.store(to + (p << 1), i16x8.sub(v128.load8x8_s(from + p), zeros));
    for (; p < end; p++) store<i16>(to + (p << 1), Code.one(from + p, unsigned, zero));
    for (; p < frameW; p++) store<i16>(to + (p << 1), 0);
  }
}
