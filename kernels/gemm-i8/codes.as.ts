/**
 * Weights of 1 to 8 bits as they lie on the heap, and their way into the registers. kernels/gemm-i8/layout.ts draws the
 * layout: panels of 8 rows in chunks of 16 codes a row, each chunk a part of 4 bits, one of 2 and one of 1, as the width
 * needs, or plain bytes for 8 bits.
 *
 * Spread codes are what the products read: for every four codes along k, 32 bytes, row by row, four codes a row.
 */

/** The spread codes of `chunks` chunks of a panel: in place for 8 bits, else written to `to`. */
export function spread(to: usize, from: usize, bits: i32, chunks: i32): usize {
  if (bits === 8) return from;
  if (bits === 4) spread4(to, from, chunks);
  else spreadParts(to, from, bits, chunks);
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

function spreadParts(to: usize, from: usize, bits: i32, chunks: i32): void {
  const mask4 = i8x16.splat(15);
  const mask2 = i8x16.splat(3);
  const mask1 = i8x16.splat(1);
  const has4 = bits & 4;
  const shift2 = has4;
  const shift1 = bits & 6;
  for (let chunk = 0; chunk < chunks; chunk++) {
    let at = to;
    if (has4)
      for (let i = 0; i < 4; i++, from += 16, at += 32) {
        const v = v128.load(from);
        v128.store(at, v128.and(v, mask4));
        v128.store(at, v128.and(i16x8.shr_u(v, 4), mask4), 16);
      }
    else memory.fill(to, 0, 128);
    if (bits & 2) {
      at = to;
      for (let i = 0; i < 2; i++, from += 16) {
        const v = v128.load(from);
        for (let shift = 0; shift < 8; shift += 2, at += 16) {
          const part = i8x16.shl(v128.and(i16x8.shr_u(v, shift), mask2), shift2);
          v128.store(at, v128.or(v128.load(at), part));
        }
      }
    }
    if (bits & 1) {
      at = to;
      const v = v128.load(from);
      from += 16;
      for (let shift = 0; shift < 8; shift++, at += 16) {
        const part = i8x16.shl(v128.and(i16x8.shr_u(v, shift), mask1), shift1);
        v128.store(at, v128.or(v128.load(at), part));
      }
    }
    to += 128;
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

/** Four activations from `from`, as int8: of uint8 ones 128 is taken, which `flip`, 0x80 in every byte, does. */
function four(from: usize, left: i32, flip: u32): u32 {
  if (left >= 4) return load<u32>(from) ^ flip;
  let word: u32 = 0;
  for (let i = 0; i < left; i++) word |= ((load<u8>(from + i) as u32) ^ (flip & 0xff)) << (8 * i);
  return word;
}

/**
 * Activations of `rows` rows, `between` bytes from quad to quad and `stepRow` from row to row: as int8 quads, or, `wide`,
 * as int16 in pairs, the second pair of a quad `between` bytes behind the first. Codes beyond k are 0.
 */
export function packRow(
  to: usize,
  between: i32,
  from: usize,
  k: i32,
  quads: i32,
  flip: u32,
  wide: bool,
): void {
  for (let q = 0; q < quads; q++) {
    const word = four(from + 4 * q, max(0, k - 4 * q), flip);
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
