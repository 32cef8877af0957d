/**
 * Products of weights of 1, 2 or 4 bits with activations of up to 8, by lookup of bytes.
 *
 * An activation is a digit, or a low and a high digit of base 16. A step is a nibble of B: one, two or four weights; for the
 * same digits of a row, a table of 16 bytes holds what each nibble adds, never less than 0. simd.ts writes the tables of all
 * pairs of digits. Two streams are looked up at once, of two rows or of the two digits of one.
 */

import { addWords, emit, find, spread } from "./pairs.as";

// Steps of a block, a multiple of every group, whose indices and tables stay in the first-level cache; 252 groups of bytes
// fit in 16 bits.
const blockSteps: i32 = 504;
const tableBytes: i32 = 1 << 18;
const mostRows: i32 = 64;

// The scratch: sums of a tile, what rows start from, the sums of a block of rows, indices, two rows of codes, tables.
const startsAt: usize = 128;
const sumsAt: usize = startsAt + mostRows * 4;
const indexAt: usize = sumsAt + mostRows * 128;
const codesAt: usize = indexAt + blockSteps * 32 + 64;

/** Steps with zeros behind them: whole blocks begin on a byte and a group. */
function roomOf(steps: i32): i32 {
  return (max(28, steps + 27) / 28) * 28;
}

function heightOf(m: i32, room: i32, rows: i32): i32 {
  return max(rows, min(min(mostRows, ((m + rows - 1) / rows) * rows), (tableBytes / (room << 5)) * rows));
}

function codeBytes(steps: i32): i32 {
  return ((steps << 3) + 64) & ~15;
}

/** Bytes of scratch that `digitGemm` needs. */
export function digitScratchBytes(m: i32, steps: i32, two: i32): i32 {
  const room = roomOf(steps);
  const rows = two ? 1 : 2;
  return (codesAt as i32) + codeBytes(steps) * 2 + (heightOf(m, room, rows) / rows) * (room << 5);
}

function one(lut: usize, a: i32, b: i32): v128 {
  return v128.load(lut + (((a << 5) | b) << 4));
}

/** What the `count` digits from `at` on look up, low or high ones. */
function table(lut: usize, at: usize, count: i32, low: bool, high: i32): v128 {
  let a: i32 = load<i16>(at);
  a = low ? a & 15 : (a >> 4) + high;
  if (count === 1) return v128.load(lut + (a << 4));
  let b: i32 = load<i16>(at, 2);
  b = low ? b & 15 : (b >> 4) + high;
  const first = one(lut, a, b);
  if (count === 2) return first;
  let c: i32 = load<i16>(at, 4);
  c = low ? c & 15 : (c >> 4) + high;
  let d: i32 = load<i16>(at, 6);
  d = low ? d & 15 : (d >> 4) + high;
  return i8x16.add(first, one(lut + 16384, c, d));
}

/** Copies k codes as 16 bits, each `shift` more, and zeros as `shift` behind; returns the sum of the codes. */
function copyCodes(to: usize, x: usize, k: i32, bytes: i32, signed: i32, shift: i32): i32 {
  let sum = 0;
  for (let i = 0; i < k; i++, to += 2) {
    const code: i32 = signed ? (load<i8>(x + i) as i32) : (load<u8>(x + i) as i32);
    sum += code;
    store<u16>(to, (code + shift) as u16);
  }
  for (let i = k; i < bytes >> 1; i++, to += 2) store<u16>(to, shift as u16);
  return sum;
}

/** Counts of 16 columns in both streams, `groups` of 7, 4 or 2 steps: two times 16 sums of 16 bits, even and odd apart. */
export function digitTile7(sums: usize, tables: usize, index: usize, groups: i32): void {
  let s0 = i32x4.splat(0);
  let s1 = s0;
  let h0 = s0;
  let h1 = s0;
  for (const end = tables + groups * 224; tables < end; tables += 224, index += 112) {
    let i = v128.load(index);
    let x0 = find(v128.load(tables), i);
    let x1 = find(v128.load(tables, 16), i);
    i = v128.load(index, 16);
    x0 = i8x16.add(x0, find(v128.load(tables, 32), i));
    x1 = i8x16.add(x1, find(v128.load(tables, 48), i));
    i = v128.load(index, 32);
    x0 = i8x16.add(x0, find(v128.load(tables, 64), i));
    x1 = i8x16.add(x1, find(v128.load(tables, 80), i));
    i = v128.load(index, 48);
    x0 = i8x16.add(x0, find(v128.load(tables, 96), i));
    x1 = i8x16.add(x1, find(v128.load(tables, 112), i));
    i = v128.load(index, 64);
    x0 = i8x16.add(x0, find(v128.load(tables, 128), i));
    x1 = i8x16.add(x1, find(v128.load(tables, 144), i));
    i = v128.load(index, 80);
    x0 = i8x16.add(x0, find(v128.load(tables, 160), i));
    x1 = i8x16.add(x1, find(v128.load(tables, 176), i));
    i = v128.load(index, 96);
    x0 = i8x16.add(x0, find(v128.load(tables, 192), i));
    x1 = i8x16.add(x1, find(v128.load(tables, 208), i));
    s0 = i16x8.add(s0, x0);
    s1 = i16x8.add(s1, x1);
    h0 = i16x8.add(h0, i16x8.shr_u(x0, 8));
    h1 = i16x8.add(h1, i16x8.shr_u(x1, 8));
  }
  part(sums, s0, h0);
  part(sums + 32, s1, h1);
}

export function digitTile4(sums: usize, tables: usize, index: usize, groups: i32): void {
  let s0 = i32x4.splat(0);
  let s1 = s0;
  let h0 = s0;
  let h1 = s0;
  for (const end = tables + groups * 128; tables < end; tables += 128, index += 64) {
    let i = v128.load(index);
    let x0 = find(v128.load(tables), i);
    let x1 = find(v128.load(tables, 16), i);
    i = v128.load(index, 16);
    x0 = i8x16.add(x0, find(v128.load(tables, 32), i));
    x1 = i8x16.add(x1, find(v128.load(tables, 48), i));
    i = v128.load(index, 32);
    x0 = i8x16.add(x0, find(v128.load(tables, 64), i));
    x1 = i8x16.add(x1, find(v128.load(tables, 80), i));
    i = v128.load(index, 48);
    x0 = i8x16.add(x0, find(v128.load(tables, 96), i));
    x1 = i8x16.add(x1, find(v128.load(tables, 112), i));
    s0 = i16x8.add(s0, x0);
    s1 = i16x8.add(s1, x1);
    h0 = i16x8.add(h0, i16x8.shr_u(x0, 8));
    h1 = i16x8.add(h1, i16x8.shr_u(x1, 8));
  }
  part(sums, s0, h0);
  part(sums + 32, s1, h1);
}

export function digitTile2(sums: usize, tables: usize, index: usize, groups: i32): void {
  let s0 = i32x4.splat(0);
  let s1 = s0;
  let h0 = s0;
  let h1 = s0;
  for (const end = tables + groups * 64; tables < end; tables += 64, index += 32) {
    const i = v128.load(index);
    const j = v128.load(index, 16);
    const x0 = i8x16.add(find(v128.load(tables), i), find(v128.load(tables, 32), j));
    const x1 = i8x16.add(find(v128.load(tables, 16), i), find(v128.load(tables, 48), j));
    s0 = i16x8.add(s0, x0);
    s1 = i16x8.add(s1, x1);
    h0 = i16x8.add(h0, i16x8.shr_u(x0, 8));
    h1 = i16x8.add(h1, i16x8.shr_u(x1, 8));
  }
  part(sums, s0, h0);
  part(sums + 32, s1, h1);
}

/** Sixteen sums in order: `odd` has those of the odd bytes, `all` what both add up to as words, modulo 2¹⁶. */
function part(to: usize, all: v128, odd: v128): void {
  const even = i16x8.sub(all, i16x8.shl(odd, 8));
  v128.store(to, v128.shuffle<i16>(even, odd, 0, 8, 1, 9, 2, 10, 3, 11));
  v128.store(to, v128.shuffle<i16>(even, odd, 4, 12, 5, 13, 6, 14, 7, 15), 16);
}

/** Adds 16 · each of eight sums of 16 bits. */
function addHigh(to: usize, words: v128): void {
  v128.store(to, i32x4.add(v128.load(to), i32x4.shl(i32x4.extend_low_i16x8_u(words), 4)));
  v128.store(to, i32x4.add(v128.load(to, 16), i32x4.shl(i32x4.extend_high_i16x8_u(words), 4)), 16);
}

/**
 * The transform `output`, its rows from `firstRow` on, of base + factor · counts (m, n), and with `sumX` the sum of row i of the codes. `count` weights a
 * step; codes are `shift` more than they say, then with `two` split in digits, the high one `high` more.
 */
export function digitGemm(
  output: usize,
  firstRow: i32,
  x: usize,
  ldx: i32,
  b: usize,
  m: i32,
  n: i32,
  k: i32,
  count: i32,
  two: i32,
  signed: i32,
  shift: i32,
  high: i32,
  group: i32,
  base: i32,
  factor: i32,
  sumX: i32,
  lut: usize,
  scratch: usize,
): void {
  const steps = (k + count - 1) / count;
  const room = roomOf(steps);
  const pairRows = two ? 1 : 2;
  const height = heightOf(m, room, pairRows);
  const bytes = codeBytes(steps);
  const tablesAt = scratch + codesAt + bytes * 2;
  const rowBytes = (steps + 1) >> 1;
  for (let i0 = 0; i0 < m; i0 += height, x += ldx * height) {
    const rows = min(height, m - i0);
    for (let r = 0; r < rows; r++) {
      // The streams of two rows share a run of tables.
      const stream = two ? 0 : r & 1;
      const codes = scratch + codesAt + stream * bytes;
      const sum = copyCodes(codes, x + r * ldx, k, bytes, signed, shift);
      store<i32>(scratch + startsAt + (r << 2), base + (sumX ? sum : 0));
      let to = tablesAt + (r / pairRows) * (room << 5) + (stream << 4);
      let at = codes;
      const gap = count << 1;
      if (two)
        for (let s = 0; s < steps; s++, to += 32, at += gap) {
          v128.store(to, table(lut, at, count, true, 0));
          v128.store(to, table(lut + 32768, at, count, false, high), 16);
        }
      else for (let s = 0; s < steps; s++, to += 32, at += gap) v128.store(to, whole(lut, at, count));
      for (let s = steps; s < room; s++, to += 32) {
        v128.store(to, i32x4.splat(0));
        if (two) v128.store(to, i32x4.splat(0), 16);
      }
    }
    for (let j0 = 0; j0 < n; j0 += 32) {
      const columns = min(32, n - j0);
      memory.fill(scratch + sumsAt, 0, rows << 7);
      const panel = b + j0 * rowBytes;
      for (let d = 0; d < room; d += blockSteps) {
        const depth = min(blockSteps, room - d);
        for (let j = 0; j < columns; j += 16) {
          const width = min(16, columns - j);
          const from = panel + j * rowBytes + (d >> 1) * width;
          spread(scratch + indexAt + j * blockSteps, 16, from, width, min(depth, steps - d));
        }
        // The tables of two rows meet both panels while they are in the first-level cache.
        for (let r = 0; r < rows; r += pairRows) {
          const tables = tablesAt + (r / pairRows) * (room << 5) + (d << 5);
          for (let j = 0; j < columns; j += 16) {
            const index = scratch + indexAt + j * blockSteps;
            if (group === 7) digitTile7(scratch, tables, index, depth / 7);
            else if (group === 4) digitTile4(scratch, tables, index, depth >> 2);
            else digitTile2(scratch, tables, index, depth >> 1);
            const sums = scratch + sumsAt + (r << 7) + (j << 2);
            addWords(sums, v128.load(scratch));
            addWords(sums + 32, v128.load(scratch, 16));
            if (two) {
              addHigh(sums, v128.load(scratch, 32));
              addHigh(sums + 32, v128.load(scratch, 48));
            } else if (r + 1 < rows) {
              addWords(sums + 128, v128.load(scratch, 32));
              addWords(sums + 160, v128.load(scratch, 48));
            }
          }
        }
      }
      for (let r = 0; r < rows; r++) {
        const start = load<i32>(scratch + startsAt + (r << 2));
        emit(output, firstRow + i0 + r, j0, columns, scratch + sumsAt + (r << 7), start, factor);
      }
    }
  }
}

/** The table of digits that are whole codes. */
function whole(lut: usize, at: usize, count: i32): v128 {
  const a: i32 = load<u16>(at);
  if (count === 1) return v128.load(lut + (a << 4));
  const first = one(lut, a, load<u16>(at, 2));
  if (count === 2) return first;
  return i8x16.add(first, one(lut + 16384, load<u16>(at, 4) as i32, load<u16>(at, 6) as i32));
}
