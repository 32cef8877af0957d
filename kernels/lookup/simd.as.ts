/**
 * Integer products of few bits by table lookup, on the heap, in AssemblyScript. kernels/lookup/simd.ts states the contract.
 *
 * B lies in panels of 16 rows, the last one narrower: byte i of each of its rows, then byte i + 1. No byte is added, but
 * reading takes 16 bytes at a time, so 16 must be readable behind the last.
 */

import { addWords, both, emit, pairTile1, pairTile2, placePair, singleTile, spread } from "./pairs.as";

// The tiles are exported so that they stay functions of their own: the compiler inlines what has one caller, and V8 then
// spills their sums.
export { pairTables, pairTile1, pairTile2, singleTile } from "./pairs.as";

// Steps of a block: its indices stay in the first-level cache beside the tables of two rows. Even, and a multiple of 3.
const blockSteps: i32 = 510;
// Bytes of tables in a block of rows, which stay in the second-level cache, and rows of such a block.
const tableBytes: i32 = 1 << 18;
const mostPairs: i32 = 32;

const indexBytes: i32 = blockSteps * 32 + 64;
const sumBytes: i32 = mostPairs * 2 * 32 * 4;

// The scratch: 128 bytes of a tile's sums, what each row starts from, the sums of a block of rows, the indices of two
// panels, the tables.
const startsAt: usize = 128;
const sumsAt: usize = startsAt + mostPairs * 2 * 4;
const indexAt: usize = sumsAt + sumBytes;
const tablesAt: usize = indexAt + indexBytes;

/** Steps with the zeros behind them: a multiple of 6, so that blocks begin on a byte and a group, and at least one. */
function roomOf(steps: i32): i32 {
  return (max(6, steps + 5) / 6) * 6;
}

function pairsOf(m: i32, room: i32): i32 {
  return max(1, min(min(mostPairs, (m + 1) >> 1), tableBytes / (room << 4)));
}

/** Bytes of scratch that `pairGemm` needs. */
export function scratchBytes(m: i32, steps: i32): i32 {
  const room = roomOf(steps);
  return (tablesAt as i32) + pairsOf(m, room) * (room << 4);
}

/** Lays n rows of `bytes` bytes out in panels. */
export function panels(to: usize, rows: usize, n: i32, bytes: i32): void {
  for (let j = 0; j < n; j += 16, rows += bytes << 4) {
    const width = min(16, n - j);
    for (let i = 0; i < bytes; i++, to += width)
      for (let r = 0; r < width; r++) store<u8>(to + r, load<u8>(rows + r * bytes + i));
  }
}

export { digitGemm, digitScratchBytes, digitTile2, digitTile4, digitTile7 } from "./digits.as";
export { convScratchBytes, frameBits, pairConv } from "./windows.as";

function ones(row: usize, bytes: i32): i32 {
  let count = 0;
  for (let i = 0; i < bytes; i++) count += popcnt<i32>(load<u8>(row + i));
  return count;
}

/**
 * The transform `output`, its rows from `firstRow` on, of the sums (m, n) = base + factor · Σ over steps of what the nibbles of row i of A and row j of B
 * add by `kind`; the base of kind `both` has the ones of row i added. A's rows are `lda` bytes apart.
 */
export function pairGemm(
  output: usize,
  firstRow: i32,
  a: usize,
  lda: i32,
  b: usize,
  m: i32,
  n: i32,
  steps: i32,
  kind: i32,
  base: i32,
  factor: i32,
  tables: usize,
  scratch: usize,
): void {
  const room = roomOf(steps);
  const pairBytes = room << 4;
  const height = pairsOf(m, room) << 1;
  const rowBytes = (steps + 1) >> 1;
  const blocks = (room + blockSteps - 1) / blockSteps;
  const depth = roomOf((room + blocks - 1) / blocks);
  for (let i0 = 0; i0 < m; i0 += height, a += lda * height) {
    const rows = min(height, m - i0);
    for (let r = 0; r < rows; r += 2) {
      const row = a + r * lda;
      const next = r + 1 < rows ? row + lda : row;
      placePair(scratch + tablesAt + (r >> 1) * pairBytes, room, row, next, steps, kind, tables);
    }
    for (let r = 0; r < rows; r++)
      store<i32>(scratch + startsAt + (r << 2), base + (kind === both ? ones(a + r * lda, rowBytes) : 0));
    for (let j0 = 0; j0 < n; j0 += 32) {
      const columns = min(32, n - j0);
      const panel = b + j0 * rowBytes;
      if (m === 1) {
        for (let j = 0; j < columns; j += 16)
          singleTile(
            scratch + sumsAt + (j << 2),
            scratch + tablesAt,
            panel + j * rowBytes,
            min(16, columns - j),
            steps,
          );
      } else
        for (let d = 0; d < room; d += depth)
          block(scratch, panel, columns, rows, steps, d, min(depth, room - d), pairBytes, rowBytes);
      for (let r = 0; r < rows; r++) {
        const sums = scratch + sumsAt + (r << 7);
        emit(output, firstRow + i0 + r, j0, columns, sums, load<i32>(scratch + startsAt + (r << 2)), factor);
      }
    }
  }
}

/** Adds `depth` steps from `d` on to the sums of all rows and 32 columns. */
function block(
  scratch: usize,
  panel: usize,
  columns: i32,
  rows: i32,
  steps: i32,
  d: i32,
  depth: i32,
  pairBytes: i32,
  rowBytes: i32,
): void {
  const index = scratch + indexAt;
  const held = min(depth, steps - d);
  const wide = columns > 16;
  const width = min(16, columns);
  spread(index, wide ? 32 : 16, panel + (d >> 1) * width, width, held);
  if (wide) spread(index + 16, 32, panel + (rowBytes << 4) + (d >> 1) * (columns - 16), columns - 16, held);
  const groups = depth / 3;
  for (let r = 0; r < rows; r += 2) {
    const table = scratch + tablesAt + (r >> 1) * pairBytes + (d << 4);
    memory.fill(scratch, 0, 128);
    if (wide) pairTile2(scratch, table, index, groups);
    else pairTile1(scratch, table, index, groups);
    const sums = scratch + sumsAt + (r << 7);
    if (d === 0) memory.fill(sums, 0, 256);
    for (let i = 0; i < 64; i += 16) {
      addWords(sums + (i << 1), v128.load(scratch + i));
      addWords(sums + 128 + (i << 1), v128.load(scratch + i, 64));
    }
  }
}
