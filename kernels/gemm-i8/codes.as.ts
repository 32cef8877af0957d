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
  const has4 = (bits & 4) !== 0;
  for (let chunk = 0; chunk < chunks; chunk++, to += 128) {
    if (has4)
      for (let at: usize = 0; at < 128; at += 32, from += 16) {
        const v = v128.load(from);
        v128.store(to + at, v128.and(v, mask4));
        v128.store(to + at, v128.and(i16x8.shr_u(v, 4), mask4), 16);
      }
    // Where there is a part below, its codes are in place already; the first part of a width writes, the others add.
    if (bits & 2)
      for (let at: usize = 0; at < 128; at += 64, from += 16) {
        if (has4) parts2(to + at, v128.load(from), 4, true);
        else parts2(to + at, v128.load(from), 0, false);
      }
    if (bits & 1) {
      const v = v128.load(from);
      from += 16;
      if (bits === 1) {
        parts1(to, v, 0, false);
        parts1(to + 64, i16x8.shr_u(v, 4), 0, false);
      } else {
        parts1(to, v, bits & 6, true);
        parts1(to + 64, i16x8.shr_u(v, 4), bits & 6, true);
      }
    }
  }
}

/** Writes 16 codes, or adds them as bits above those in place. */
function put(to: usize, part: v128, shift: i32, add: bool): void {
  v128.store(to, add ? v128.or(v128.load(to), i16x8.shl(part, shift)) : part);
}

/** The four parts of 2 bits of every byte. */
function parts2(to: usize, v: v128, shift: i32, add: bool): void {
  const mask = i8x16.splat(3);
  put(to, v128.and(v, mask), shift, add);
  put(to + 16, v128.and(i16x8.shr_u(v, 2), mask), shift, add);
  put(to + 32, v128.and(i16x8.shr_u(v, 4), mask), shift, add);
  put(to + 48, v128.and(i16x8.shr_u(v, 6), mask), shift, add);
}

/** The lowest four bits of every byte. */
function parts1(to: usize, v: v128, shift: i32, add: bool): void {
  const mask = i8x16.splat(1);
  put(to, v128.and(v, mask), shift, add);
  put(to + 16, v128.and(i16x8.shr_u(v, 1), mask), shift, add);
  put(to + 32, v128.and(i16x8.shr_u(v, 2), mask), shift, add);
  put(to + 48, v128.and(i16x8.shr_u(v, 3), mask), shift, add);
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
