/**
 * Products whose sums of four bits of a row fit in half a byte, two rows of A at once.
 *
 * A step is a nibble of B: four signs or two ternary digits. For two rows of A and one step, a table of 16 bytes holds what
 * each nibble of B adds, the first row's part in the low half of a byte and the second's in the high half. One byte shuffle
 * then looks up 16 columns of B: 64 products a row (T-MAC, arXiv 2407.00088, does the same with one row a table). Three
 * lookups add up before a half could overflow, 63 before a byte could.
 */

import { writeEight } from "../wasm/output.as";

/** What the halves of a table hold at most is 4: so many groups of three steps fit in a byte. */
const groupsInByte: i32 = 21;

/** How a nibble of A meets a nibble of B; kernels/bits.ts says what the bits mean. */
export const differ: i32 = 0;
export const both: i32 = 1;
export const ternarySigns: i32 = 2;
export const ternaryTernary: i32 = 3;

/** (t + 1)-coded digits and a sign, or two digits: their product plus 1. */
function meet(kind: i32, a: i32, b: i32): i32 {
  if (kind === differ) return popcnt(a ^ b);
  if (kind === both) return popcnt(a & b);
  let sum = 0;
  for (let i = 0; i < 2; i++) {
    const digit = ((b >> (2 * i)) & 3) - 1;
    const factor = kind === ternarySigns ? 1 - 2 * ((a >> i) & 1) : ((a >> (2 * i)) & 3) - 1;
    sum += (digit === 2 ? 0 : digit) * (factor === 2 ? 0 : factor) + 1;
  }
  return sum;
}

/** Writes the 256 tables of all pairs of nibbles of A, 4 KB. */
export function pairTables(to: usize, kind: i32): void {
  for (let pair = 0; pair < 256; pair++)
    for (let b = 0; b < 16; b++, to++)
      store<u8>(to, meet(kind, pair & 15, b) | (meet(kind, pair >> 4, b) << 4));
}

/** The tables of two rows of A, one a step, then zeros up to `room` steps. */
export function placePair(
  to: usize,
  room: i32,
  a0: usize,
  a1: usize,
  steps: i32,
  kind: i32,
  tables: usize,
): void {
  const end = to + (room << 4);
  if (kind === ternarySigns)
    for (let s = 0; s < steps; s++, to += 16) {
      const shift = (s & 3) << 1;
      const low = ((load<u8>(a0 + (s >> 2)) as i32) >> shift) & 3;
      const high = ((load<u8>(a1 + (s >> 2)) as i32) >> shift) & 3;
      v128.store(to, v128.load(tables + ((low | (high << 4)) << 4)));
    }
  else {
    let s = 0;
    for (; s < steps - 1; s += 2, to += 32) {
      const low: i32 = load<u8>(a0 + (s >> 1));
      const high: i32 = load<u8>(a1 + (s >> 1));
      v128.store(to, v128.load(tables + (((low & 15) << 4) | ((high & 15) << 8))));
      v128.store(to, v128.load(tables + ((low & 240) | ((high & 240) << 4))), 16);
    }
    if (s < steps) {
      const low: i32 = load<u8>(a0 + (s >> 1));
      const high: i32 = load<u8>(a1 + (s >> 1));
      v128.store(to, v128.load(tables + (((low & 15) << 4) | ((high & 15) << 8))));
      to += 16;
    }
  }
  for (; to < end; to += 16) v128.store(to, i32x4.splat(0));
}

export function find(table: v128, index: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? i8x16.relaxed_swizzle(table, index) : i8x16.swizzle(table, index);
}

/** Adds 16 bytes to 16 sums of 16 bits. */
function widen(to: usize, bytes: v128): void {
  v128.store(to, i16x8.add(v128.load(to), i16x8.extend_low_i8x16_u(bytes)));
  v128.store(to, i16x8.add(v128.load(to, 16), i16x8.extend_high_i8x16_u(bytes)), 16);
}

/** `high` counts the high halves, `whole` everything modulo 256. */
function flush(to: usize, second: i32, whole: v128, high: v128, mask: v128): void {
  widen(to, i8x16.sub(whole, i16x8.shl(v128.and(high, mask), 4)));
  widen(to + second, high);
}

/** Adds the sums of 2 rows by 32 columns, `groups` of three steps: row 0's 32 and row 1's, 16 bits each, at `sums`. */
export function pairTile2(sums: usize, tables: usize, index: usize, groups: i32): void {
  const mask = i8x16.splat(15);
  while (groups > 0) {
    const count = min(groups, groupsInByte);
    groups -= count;
    let whole0 = i32x4.splat(0);
    let whole1 = whole0;
    let high0 = whole0;
    let high1 = whole0;
    for (const end = tables + count * 48; tables < end; tables += 48, index += 96) {
      const t0 = v128.load(tables);
      const t1 = v128.load(tables, 16);
      const t2 = v128.load(tables, 32);
      let x0 = find(t0, v128.load(index));
      let x1 = find(t0, v128.load(index, 16));
      x0 = i8x16.add(x0, find(t1, v128.load(index, 32)));
      x1 = i8x16.add(x1, find(t1, v128.load(index, 48)));
      x0 = i8x16.add(x0, find(t2, v128.load(index, 64)));
      x1 = i8x16.add(x1, find(t2, v128.load(index, 80)));
      whole0 = i8x16.add(whole0, x0);
      whole1 = i8x16.add(whole1, x1);
      high0 = i8x16.add(high0, v128.and(i16x8.shr_u(x0, 4), mask));
      high1 = i8x16.add(high1, v128.and(i16x8.shr_u(x1, 4), mask));
    }
    flush(sums, 64, whole0, high0, mask);
    flush(sums + 32, 64, whole1, high1, mask);
  }
}

/** The same for 16 columns: row 0's 16 sums at `sums` and row 1's 64 bytes on. */
export function pairTile1(sums: usize, tables: usize, index: usize, groups: i32): void {
  const mask = i8x16.splat(15);
  while (groups > 0) {
    const count = min(groups, groupsInByte);
    groups -= count;
    let whole = i32x4.splat(0);
    let high = whole;
    for (const end = tables + count * 48; tables < end; tables += 48, index += 48) {
      let x = find(v128.load(tables), v128.load(index));
      x = i8x16.add(x, find(v128.load(tables, 16), v128.load(index, 16)));
      x = i8x16.add(x, find(v128.load(tables, 32), v128.load(index, 32)));
      whole = i8x16.add(whole, x);
      high = i8x16.add(high, v128.and(i16x8.shr_u(x, 4), mask));
    }
    flush(sums, 64, whole, high, mask);
  }
}

/**
 * Sums of one row by a panel of `width` columns straight from the panel's bytes, two steps each, 16 of 32 bits at `to`. The
 * tables are those of `placePair` with any second row.
 */
export function singleTile(to: usize, tables: usize, panel: usize, width: i32, steps: i32): void {
  const mask = i8x16.splat(15);
  memory.fill(to, 0, 64);
  for (let s = 0; s < steps; ) {
    let low = i32x4.splat(0);
    let high = low;
    for (const end = min(steps, s + (groupsInByte << 9)); s < end; ) {
      let even = i32x4.splat(0);
      let odd = even;
      // Each byte of `even` and `odd` counts 62 steps: with their sum it would overflow.
      for (const last = min(end, s + 124); s < last; s += 2, tables += 32, panel += width) {
        const bytes = v128.load(panel);
        even = i8x16.add(even, v128.and(find(v128.load(tables), v128.and(bytes, mask)), mask));
        odd = i8x16.add(
          odd,
          v128.and(find(v128.load(tables, 16), v128.and(i16x8.shr_u(bytes, 4), mask)), mask),
        );
      }
      low = i16x8.add(low, i16x8.add(i16x8.extend_low_i8x16_u(even), i16x8.extend_low_i8x16_u(odd)));
      high = i16x8.add(high, i16x8.add(i16x8.extend_high_i8x16_u(even), i16x8.extend_high_i8x16_u(odd)));
    }
    addWords(to, low);
    addWords(to + 32, high);
  }
}

/** Adds eight sums of 16 bits to eight of 32. */
export function addWords(to: usize, words: v128): void {
  v128.store(to, i32x4.add(v128.load(to), i32x4.extend_low_i16x8_u(words)));
  v128.store(to, i32x4.add(v128.load(to, 16), i32x4.extend_high_i16x8_u(words)), 16);
}

/** The nibbles of a panel from `from` on, a byte each, every `gap` bytes. */
export function spread(to: usize, gap: i32, from: usize, width: i32, steps: i32): void {
  const mask = i8x16.splat(15);
  for (let s = 0; s < steps; s += 2, from += width, to += gap << 1) {
    const bytes = v128.load(from);
    v128.store(to, v128.and(bytes, mask));
    v128.store(to + gap, v128.and(i16x8.shr_u(bytes, 4), mask));
  }
}

/** Writes 32 columns of a row, at most, from counts of 32 bits, which it may overwrite: base + factor · count. */
export function emit(
  output: usize,
  row: i32,
  column: i32,
  columns: i32,
  counts: usize,
  base: i32,
  factor: i32,
): void {
  // Sums that leave as they are: output.as.ts says what the words are.
  if (columns === 32 && load<i32>(output) === 0 && load<usize>(output, 48) === 0) {
    finish(load<usize>(output, 4) + row * load<i32>(output, 8) + (column << 2), counts, base, factor);
    return;
  }
  finish(counts, counts, base, factor);
  for (let j = 0; j < columns; j += 8) writeEight(output, row, column + j, counts + (j << 2), false);
}

/** base + factor · each of 32 counts. */
function finish(to: usize, counts: usize, base: i32, factor: i32): void {
  const start = i32x4.splat(base);
  const by = i32x4.splat(factor);
  for (let j = 0; j < 128; j += 16)
    v128.store(to + j, i32x4.add(start, i32x4.mul(by, v128.load(counts + j))));
}
