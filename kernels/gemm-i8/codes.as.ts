/**
 * Weights of 1 to 8 bits as they lie on the heap, and their way into the registers. kernels/gemm-i8/layout.ts draws the
 * layout: panels of 8 rows in chunks of 16 codes a row, each chunk a part of 4 bits, one of 2 and one of 1, as the width
 * needs, or plain bytes for 8 bits.
 *
 * Spread codes are what the products read: for every four codes along k, 32 bytes, row by row, four codes a row.
 */

/** The parts of 2 and 1 bits of four codes of each of 8 rows, quad q of the chunk at `from`, as 4 bits lie. */
class Parts {
  @inline static of(bits: i32, from: usize, q: i32): v128 {
    if (bits === 1) return v128.and(i16x8.shr_u(v128.load(from), q), i8x16.splat(0x11));
    const two = v128.and(i16x8.shr_u(v128.load(from + 16 * (q >> 1)), 2 * (q & 1)), i8x16.splat(0x33));
    if (bits === 2) return two;
    const v = v128.load(from + 32);
    const one = q < 2 ? i16x8.shl(v, 2 - q) : i16x8.shr_u(v, q - 2);
    return v128.or(two, v128.and(one, i8x16.splat(0x44)));
  }

  /** Less than 4 bits as 4 bits lie. */
  @inline static widened(to: usize, from: usize, bits: i32, chunks: i32): void {
    for (const end = to + chunks * 64; to < end; to += 64, from += bits * 16) {
      v128.store(to, Parts.of(bits, from, 0));
      v128.store(to, Parts.of(bits, from, 1), 16);
      v128.store(to, Parts.of(bits, from, 2), 32);
      v128.store(to, Parts.of(bits, from, 3), 48);
    }
  }

  @inline static quad(to: usize, bits: i32, from: usize, q: i32): void {
    const mask = i8x16.splat(15);
    if (bits < 4) {
      const v = Parts.of(bits, from, q);
      v128.store(to, v128.and(v, mask));
      v128.store(to, v128.and(i16x8.shr_u(v, 4), mask), 16);
      return;
    }
    const low = v128.load(from + 16 * q);
    const high = Parts.of(bits & 3, from + 64, q);
    v128.store(to, v128.or(v128.and(low, mask), v128.andnot(i16x8.shl(high, 4), mask)));
    v128.store(to, v128.or(v128.and(i16x8.shr_u(low, 4), mask), v128.andnot(high, mask)), 16);
  }

  /** Spread codes of any width but 4 and 8. */
  @inline static spread(to: usize, from: usize, bits: i32, chunks: i32): void {
    for (const end = to + chunks * 128; to < end; to += 128, from += bits * 16) {
      Parts.quad(to, bits, from, 0);
      Parts.quad(to + 32, bits, from, 1);
      Parts.quad(to + 64, bits, from, 2);
      Parts.quad(to + 96, bits, from, 3);
    }
  }
}

/** The codes of `chunks` chunks of a panel of 1 to 4 bits, as 4 bits lie: in place for 4 bits, else written to `to`. */
export function fours(to: usize, from: usize, bits: i32, chunks: i32): usize {
  if (bits === 4) return from;
  if (bits === 1) Parts.widened(to, from, 1, chunks);
  else if (bits === 2) Parts.widened(to, from, 2, chunks);
  else Parts.widened(to, from, 3, chunks);
  return to;
}

/** The spread codes of `chunks` chunks of a panel: in place for 8 bits, else written to `to`. */
export function spread(to: usize, from: usize, bits: i32, chunks: i32): usize {
  if (bits === 8) return from;
  if (bits === 1) Parts.spread(to, from, 1, chunks);
  else if (bits === 2) Parts.spread(to, from, 2, chunks);
  else if (bits === 3) Parts.spread(to, from, 3, chunks);
  else if (bits === 4) spread4(to, from, chunks);
  else if (bits === 5) Parts.spread(to, from, 5, chunks);
  else if (bits === 6) Parts.spread(to, from, 6, chunks);
  else Parts.spread(to, from, 7, chunks);
  return to;
}

function spread4(to: usize, from: usize, chunks: i32): void {
  const mask = i8x16.splat(15);
  for (const end = from + chunks * 64; from < end; from += 16, to += 32) {
    const v = v128.load(from);
    v128.store(to, v128.and(v, mask));
    v128.store(to, v128.and(i16x8.shr_u(v, 4), mask), 16);
  }
}

/** Spread codes as int16 in pairs along k: for each pair 8 rows. */
export function widen(to: usize, from: usize, quads: i32): void {
  for (const end = from + quads * 32; from < end; from += 32, to += 64) {
    const v0 = v128.load(from);
    const v1 = v128.load(from, 16);
    const a = i16x8.extend_low_i8x16_u(v0);
    const b = i16x8.extend_high_i8x16_u(v0);
    const c = i16x8.extend_low_i8x16_u(v1);
    const d = i16x8.extend_high_i8x16_u(v1);
    v128.store(to, v128.shuffle<i32>(a, b, 0, 2, 4, 6));
    v128.store(to, v128.shuffle<i32>(c, d, 0, 2, 4, 6), 16);
    v128.store(to, v128.shuffle<i32>(a, b, 1, 3, 5, 7), 32);
    v128.store(to, v128.shuffle<i32>(c, d, 1, 3, 5, 7), 48);
  }
}

/**
 * Quads in which a group of `depth` codes is multiplied, wherever it begins: an even number, since loops take two at once.
 * Where a group begins or ends within a quad, or before an even one, its activations are 0 in the rest.
 */
export function quadsOf(depth: i32): i32 {
  const touched = (depth & 3 ? depth + 6 : depth) >> 2;
  return (touched + 1) & ~1;
}

/** Those of the group that begins at code `begin` of k; the last one may have fewer. */
export function quadsAt(begin: i32, depth: i32, k: i32): i32 {
  if (begin + depth < k) return quadsOf(depth);
  return (((k + 3) >> 2) - (begin >> 2) + 1) & ~1;
}

/** Activations i … i + 3 as int8, 0 outside of begin … end − 1: of uint8 ones 128 is taken, which `flip`, 0x80 in every byte, does. */
function four(from: usize, i: i32, begin: i32, end: i32, flip: u32): u32 {
  if (i >= begin && i + 4 <= end) return load<u32>(from + i) ^ flip;
  let word: u32 = 0;
  for (let l = max(i, begin); l < min(i + 4, end); l++)
    word |= ((load<u8>(from + l) as u32) ^ (flip & 0xff)) << (8 * (l - i));
  return word;
}

/**
 * Activations of a row, a group behind the other, `between` bytes from quad to quad: as int8 quads, or, `wide`, as int16 in
 * pairs, the second pair of a quad `between` bytes behind the first.
 */
export function packRow(
  to: usize,
  between: i32,
  from: usize,
  k: i32,
  depth: i32,
  flip: u32,
  wide: bool,
): void {
  for (let begin = 0; begin < k; begin += depth) {
    const end = min(k, begin + depth);
    const first = begin & ~3;
    for (let i = first; i < first + 4 * quadsAt(begin, depth, k); i += 4) {
      const word = four(from, i, begin, end, flip);
      if (wide) {
        const v = i16x8.extend_low_i8x16_s(i32x4.splat(word));
        store<i32>(to, i32x4.extract_lane(v, 0));
        store<i32>(to + between, i32x4.extract_lane(v, 1));
        to += 2 * between;
      } else {
        store<u32>(to, word);
        to += between;
      }
    }
  }
}

/** Four words of each of five rows, 20 bytes between the words of a row. */
class Five {
  @inline static put(to: usize, r0: v128, r1: v128, r2: v128, r3: v128, r4: v128): void {
    const a = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
    const b = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
    const c = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
    const d = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
    v128.store(to, v128.shuffle<i64>(a, b, 0, 2));
    v128.store32_lane(to, r4, 0, 16);
    v128.store(to, v128.shuffle<i64>(a, b, 1, 3), 20);
    v128.store32_lane(to, r4, 1, 36);
    v128.store(to, v128.shuffle<i64>(c, d, 0, 2), 40);
    v128.store32_lane(to, r4, 2, 56);
    v128.store(to, v128.shuffle<i64>(c, d, 1, 3), 60);
    v128.store32_lane(to, r4, 3, 76);
  }
}

/** Five rows, `step` bytes apart, as five calls of `packRow` would. */
export function packFive(to: usize, from: usize, step: i32, k: i32, depth: i32, flip: u32, wide: bool): void {
  const flips = i32x4.splat(flip);
  // Groups of whole pairs of quads follow each other without a gap.
  const whole = depth & 7 ? 0 : k & ~15;
  for (const end = from + whole; from < end; from += 16) {
    const v0 = v128.xor(v128.load(from), flips);
    const v1 = v128.xor(v128.load(from + step), flips);
    const v2 = v128.xor(v128.load(from + 2 * step), flips);
    const v3 = v128.xor(v128.load(from + 3 * step), flips);
    const v4 = v128.xor(v128.load(from + 4 * step), flips);
    if (wide) {
      Five.put(
        to,
        i16x8.extend_low_i8x16_s(v0),
        i16x8.extend_low_i8x16_s(v1),
        i16x8.extend_low_i8x16_s(v2),
        i16x8.extend_low_i8x16_s(v3),
        i16x8.extend_low_i8x16_s(v4),
      );
      Five.put(
        to + 80,
        i16x8.extend_high_i8x16_s(v0),
        i16x8.extend_high_i8x16_s(v1),
        i16x8.extend_high_i8x16_s(v2),
        i16x8.extend_high_i8x16_s(v3),
        i16x8.extend_high_i8x16_s(v4),
      );
      to += 160;
    } else {
      Five.put(to, v0, v1, v2, v3, v4);
      to += 80;
    }
  }
  const rest = depth & 7 ? depth : 16;
  for (let r = 0; r < 5; r++, from += step) packRow(to + r * 4, 20, from, k - whole, rest, flip, wide);
}

/** The same for codes as 4 bits lie: int16, 8 bytes a quad x0, x2, x1, x3. */
export function packSplit(to: usize, from: usize, k: i32, depth: i32, flip: u32): void {
  for (let begin = 0; begin < k; begin += depth) {
    const end = min(k, begin + depth);
    const first = begin & ~3;
    for (let i = first; i < first + 4 * quadsAt(begin, depth, k); i += 4, to += 8) {
      const v = i16x8.extend_low_i8x16_s(i32x4.splat(four(from, i, begin, end, flip)));
      v128.store64_lane(to, v128.shuffle<i16>(v, v, 0, 2, 1, 3, 4, 5, 6, 7), 0);
    }
  }
}

/** The sums of the activations of a row, one for each group of `depth`. */
export function sumGroups(to: usize, from: usize, k: i32, depth: i32, flip: u32): void {
  const flips = i32x4.splat(flip);
  for (let k0 = 0; k0 < max(k, 1); k0 += depth, to += 4) {
    const end = min(k0 + depth, k);
    let sums = i32x4.splat(0);
    let i = k0;
    for (; i + 16 <= end; i += 16) {
      const v = v128.xor(v128.load(from + i), flips);
      sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(v)));
    }
    let sum =
      i32x4.extract_lane(sums, 0) +
      i32x4.extract_lane(sums, 1) +
      i32x4.extract_lane(sums, 2) +
      i32x4.extract_lane(sums, 3);
    for (; i < end; i++) sum += (load<u8>(from + i) ^ ((flip & 0xff) as u8)) as i8 as i32;
    store<i32>(to, sum);
  }
}
