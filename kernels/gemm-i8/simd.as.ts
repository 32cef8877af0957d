/**
 * Products of integer activations with weights of 1 to 8 bits, in AssemblyScript; kernels/gemm-i8/reference.ts states the
 * contract and simd.ts writes the words of a layer:
 *
 *     0 m   1 n   2 k   3 bits   4 depth: codes of a row in a group   5 groups   6 activations   7 bytes between their rows
 *     8 0x80808080 where they are uint8   9 weights   10 alpha   11 beta   12 betas or 0
 *     13 shifts or 0   14 scaleW, or 0 where there are no groups   15 output
 *
 * Weights are stored as codes c from 0 up: a sum over a group is alpha · Σ x c + beta · Σ x + shift, where all of it may
 * wrap, since the result does not. Words 12 to 14 are arrays (panels, groups, 8 rows). uint8 activations are read as int8, 128
 * less; the zero point that simd.ts writes says so too.
 */

import { writeRows } from "../wasm/output.as";
import { fours, packFive, packRow, packSplit, quadsAt, quadsOf, spread, sumGroups, widen } from "./codes.as";
import { finish, finishRows } from "./finish.as";
import { groups4, groups4Relaxed, groups8, groups16, groupsSpread } from "./groups.as";
import { seven, sumActivations, sumCodes } from "./strassen.as";
import { run8, tile8, tile16, tileRows } from "./tile.as";
import { quads4, sums4, sums4Relaxed, sums8Relaxed, sumsSpread } from "./vector.as";

// Exported so that they stay functions of their own: the compiler inlines what has one caller, and V8 then spills the sums.
export { groups4, groups4Relaxed, groupsSpread, run8, sums4, sumsSpread, tile8, tile16 };

// Up to so many rows, weights are read once a row and nothing is packed.
const fewRows: i32 = 4;

// Codes along k whose panels stay in the first level cache. A multiple of 16.
const blockDepth: i32 = 2048;

// Codes along k that are multiplied in halves.
const leastHalved: i32 = 256;
const mostHalved: i32 = 4096;

/** Quads for which pairs of products of int8 and codes of so many bits can be added up in int16; 0 where they are not. */
function runOf(bits: i32): i32 {
  return ASC_FEATURE_RELAXED_SIMD && bits <= 5 ? 32767 / (256 * ((1 << bits) - 1)) : 0;
}

function padded(k: i32): i32 {
  return (k + 15) & ~15;
}

/** Bytes of scratch for a block of `rows` rows of depth k in `groups` groups. */
export function scratchBytes(rows: i32, k: i32, groups: i32): i32 {
  const depth = padded(k);
  // A group takes up to 12 codes more than it has, a row as int16 2 bytes a code, and codes 8 and 16 for the 8 rows of a panel.
  const one =
    832 + rows * (groups * 4 + 32) + (max(rows, fewRows) + 4) * (depth + groups * 12) * 2 + 24 * depth;
  // Two panels of columns, seven of their sums, and sums of the activations beside them; up to 9 rows are added.
  return groups > 1 ? one : max(one, 832 + (rows + 9) * (68 + 4 * depth) + 72 * depth);
}

/** Outputs `column` … `end` − 1, `column` a multiple of 16, of `count` rows from row `first` on, by blocks of `blockRows`. */
export function gemm(
  layer: usize,
  scratch: usize,
  first: i32,
  count: i32,
  blockRows: i32,
  column: i32,
  end: i32,
): void {
  for (let i = 0; i < count; i += blockRows) {
    const rows = min(blockRows, count - i);
    const apart = rowsApart(layer, rows);
    block(layer, scratch, first + i, rows - apart, column, end);
    if (apart > 0) block(layer, scratch, first + i + rows - apart, apart, column, end);
  }
}

/** Rows at the end of a block that go one by one: where a tile would be mostly rows of zeros. */
function rowsApart(layer: usize, rows: i32): i32 {
  const run = runOf(load<i32>(layer, 12));
  if (rows <= fewRows || (load<usize>(layer, 56) && !isQuick(layer, true, run))) return 0;
  if (isHalved(layer, rows - (rows % 10), run)) return rows % 10 <= fewRows ? rows % 10 : 0;
  return rows % tileRows < fewRows ? rows % tileRows : 0;
}

/** Outputs `column` … `n` − 1 of `rows` rows of activations from row `first` on. */
function block(layer: usize, scratch: usize, first: i32, rows: i32, column: i32, n: i32): void {
  const k = load<i32>(layer, 8);
  const bits = load<i32>(layer, 12);
  const depth = load<i32>(layer, 16);
  const groups = load<i32>(layer, 20);
  const step = load<i32>(layer, 28);
  const flip = load<u32>(layer, 32);
  const grouped = load<usize>(layer, 56) !== 0;
  const output = load<usize>(layer, 60);
  const chunks = padded(k) >> 4;
  const run = runOf(bits);
  const few = rows <= fewRows;
  const halved = isHalved(layer, rows, run);
  const multiple = few ? 1 : halved ? 2 * tileRows : tileRows;
  const whole = ((rows + multiple - 1) / multiple) * multiple;

  // Sums of activations, sums of the panel, one tile, spread codes, wide codes and what is read behind them, activations.
  const rowSums = (scratch + 63) & ~63;
  const sums = (rowSums + rows * groups * 4 + 63) & ~63;
  // Where halves are multiplied the tile is the sums of another panel, and all else is twice or more.
  const tile = sums + whole * 32;
  const codesAt = (tile + (halved ? whole : tileRows) * 32 + 63) & ~63;
  const wideAt = codesAt + chunks * (halved ? 256 : 128);
  const xAt = wideAt + chunks * (halved ? 896 : 256) + 64;

  let x = load<usize>(layer, 24) + first * step;
  for (let i = 0; i < rows; i++, x += step) sumGroups(rowSums + i * groups * 4, x, k, depth, flip);
  x = load<usize>(layer, 24) + first * step;
  const xQuads = groups * quadsOf(depth);
  const xBytes = run > 0 ? 4 : 8;
  if (few)
    for (let i = 0; i < rows; i++) {
      const to = xAt + i * xQuads * xBytes;
      if (run > 0) packRow(to, 4, x + i * step, k, depth, flip, false);
      else if (bits <= 4) packSplit(to, x + i * step, k, depth, flip);
      else packRow(to, 4, x + i * step, k, depth, flip, true);
    }
  else {
    if (halved && k & 15) memory.fill(xAt, 0, whole * xQuads * xBytes);
    packTiles(xAt, x, step, rows, whole, k, depth, xQuads * xBytes, run > 0, flip);
  }
  const pairs = whole / (2 * tileRows);
  const xSums = xAt + whole * xQuads * xBytes;
  if (halved) sumActivations(xSums, xAt, chunks * 80, pairs);

  const quick = isQuick(layer, few, run);
  if (quick) {
    // Σ x becomes what it adds to every sum of the row and group.
    const beta = load<i32>(layer, 44);
    for (let at = rowSums; at < rowSums + rows * groups * 4; at += 4) store<i32>(at, load<i32>(at) * beta);
  }
  const panel = 16 * bits * chunks;
  let from = load<usize>(layer, 36) + (column >> 3) * panel;
  if (halved)
    for (; column + 8 < n; column += 16, from += 2 * panel) {
      const left = spread(codesAt, from, bits, chunks);
      const right = spread(codesAt + chunks * 128, from + panel, bits, chunks);
      sumCodes(wideAt, left, right, chunks * 2);
      seven(sums, tile, xAt, xSums, wideAt, chunks * 2, pairs);
      for (let j = 0; j < 16; j += 8) {
        const at = j === 0 ? sums : tile;
        finishRows(layer, column + j, rowSums, at, rows);
        writeRows(output, first, rows, column + j, at, false);
      }
    }
  for (; column < n; column += 8, from += panel) {
    if (grouped || k === 0) memory.fill(sums, 0, whole * 32);
    const scale = load<usize>(layer, 56) + column * groups * 4;
    if (few) {
      const codes = bits <= 4 ? fours(codesAt, from, bits, chunks) : spread(codesAt, from, bits, chunks);
      if (quick)
        for (let i = 0; i < rows; i++) {
          const corrections = rowSums + i * groups * 4;
          const to = sums + i * 32;
          const xi = xAt + i * xQuads * xBytes;
          if (run > 0) groups4Relaxed(to, xi, codes, k, depth, corrections, scale);
          else if (bits <= 4) groups4(to, xi, codes, k, depth, corrections, scale);
          else groupsSpread(to, xi, codes, k, depth, corrections, scale);
        }
      else
        for (let g = 0; g < groups; g++) {
          const count = quadsAt(g * depth, depth, k);
          const at = codes + ((g * depth) >> 2) * (bits <= 4 ? 16 : 32);
          for (let i = 0; i < rows; i++) {
            const xq = xAt + (i * xQuads + g * quadsOf(depth)) * xBytes;
            vector(tile, xq, at, count, bits, run);
            finish(layer, g, column, load<i32>(rowSums + (i * groups + g) * 4), tile, sums + i * 32);
          }
        }
    } else {
      const codes = spread(codesAt, from, bits, chunks);
      if (run === 0) widen(wideAt, codes, chunks * 4);
      if (quick)
        for (let i = 0; i < whole; i += tileRows) {
          const corrections = rowSums + i * groups * 4;
          const to = sums + i * 32;
          const xi = xAt + i * xQuads * xBytes;
          if (run > 0) groups8(to, tile, xi, codes, k, depth, corrections, groups * 4, scale);
          else groups16(to, tile, xi, wideAt, k, depth, corrections, groups * 4, scale);
        }
      else
        for (let g = 0; g < groups; g++)
          tiles(layer, g, column, whole, xQuads, run, xAt, codes, wideAt, rowSums, sums, tile, grouped);
    }
    if (!few && !grouped) finishRows(layer, column, rowSums, sums, rows);
    writeRows(output, first, rows, column, sums, grouped);
  }
}

/** Whether strassen.as.ts serves a block: where its 7/8 are not lost to rows of zeros, nor its panels to the caches. */
function isHalved(layer: usize, rows: i32, run: i32): bool {
  const k = load<i32>(layer, 8);
  if (run > 0 || load<usize>(layer, 56) || load<i32>(layer, 4) <= 8) return false;
  if (k < leastHalved || k > mostHalved || padded(k) & 31) return false;
  const whole = ((rows + 4) / 5) * 5;
  return rows >= 30 && ((rows + 9) / 10) * 10 - whole <= whole / 12;
}

/** Whether the loops of groups.as.ts serve the layer. */
function isQuick(layer: usize, few: bool, run: i32): bool {
  const plain = load<i32>(layer, 40) === 1 && !load<usize>(layer, 48) && !load<usize>(layer, 52);
  if (!plain || !load<usize>(layer, 56)) return false;
  const wide = load<i32>(layer, 12) > 4;
  const quads = quadsOf(load<i32>(layer, 16));
  if (run > 0) return quads <= run && !(few && wide);
  return !few || wide || quads <= quads4;
}

/** Panels of 5 rows, `bytes` a row, the last one padded by rows of zeros. */
function packTiles(
  to: usize,
  x: usize,
  step: i32,
  rows: i32,
  whole: i32,
  k: i32,
  depth: i32,
  bytes: i32,
  narrow: bool,
  flip: u32,
): void {
  const panel = bytes * tileRows;
  for (let i = 0; i < whole; i += tileRows, to += panel, x += tileRows * step) {
    if (i + tileRows <= rows) packFive(to, x, step, k, depth, flip, !narrow);
    else
      for (let r = 0; r < tileRows; r++) {
        if (i + r < rows) packRow(to + r * 4, 20, x + r * step, k, depth, flip, !narrow);
        else for (let at = r * 4; at < panel; at += 20) store<u32>(to + at, 0);
      }
  }
}

/** The sums of one row of activations over one group. */
function vector(to: usize, x: usize, codes: usize, quads: i32, bits: i32, run: i32): void {
  if (run > 0) {
    if (bits <= 4) sums4Relaxed(to, x, codes, quads, run);
    else sums8Relaxed(to, x, codes, quads, run);
  } else if (bits <= 4) sums4(to, x, codes, quads);
  else sumsSpread(to, x, codes, quads);
}

/** The sums of all rows over group g, finished where there are groups. */
function tiles(
  layer: usize,
  g: i32,
  column: i32,
  whole: i32,
  xQuads: i32,
  run: i32,
  xAt: usize,
  codes: usize,
  wide: usize,
  rowSums: usize,
  sums: usize,
  tile: usize,
  grouped: bool,
): void {
  const groups = load<i32>(layer, 20);
  const depth = load<i32>(layer, 16);
  const quads = quadsAt(g * depth, depth, load<i32>(layer, 8));
  const q = (g * depth) >> 2;
  const first = g * quadsOf(depth);
  const bytes = tileRows * (run > 0 ? 4 : 8);
  // One tile of sums serves all rows where there are groups, and then nothing can be left for later.
  const step = grouped || run > 0 ? quads : blockDepth >> 2;
  for (let done = 0; done < quads; done += step) {
    const count = min(step, quads - done);
    for (let i = 0; i < whole; i += tileRows) {
      const to = grouped ? tile : sums + i * 32;
      const a = xAt + (i / tileRows) * xQuads * bytes + (first + done) * bytes;
      if (run > 0) tile8(to, a, codes + q * 32, quads, run);
      else tile16(to, a, wide + (q + done) * 64, count * 2, done > 0);
      if (!grouped) continue;
      for (let r = 0; r < tileRows; r++) {
        const sumX = load<i32>(rowSums + ((i + r) * groups + g) * 4);
        finish(layer, g, column, sumX, to + r * 32, sums + (i + r) * 32);
      }
    }
  }
}
