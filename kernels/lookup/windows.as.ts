/**
 * Convolution of images of ±1 by lookup, without columns: the tables of two windows beside each other are those of two
 * pixels one stride apart, so each frame row gets its tables once, for all the windows that reach it.
 *
 * A frame is an image of one group with its padding: rows of pixels, each of `pixelBytes` bytes of channels.
 */

import { addWords, differ, emit, pairTile1, pairTile2, placePair, spread } from "./pairs.as";

// Bytes of tables that stay in the second-level cache.
const tableBytes: i32 = 1 << 18;

// The scratch: a tile's sums, its counts, the indices, the tables.
const countsAt: usize = 128;
const indexAt: usize = countsAt + 256;

/** Steps of a run of taps in the indices: whole groups of three. */
function roomOf(steps: i32): i32 {
  return ((steps + 2) / 3) * 3;
}

function rowBytes(frameW: i32, strideW: i32, pixelBytes: i32): i32 {
  return (frameW - strideW) * pixelBytes * 32;
}

/** Window rows whose tables are made at once. */
function blockRows(oh: i32, row: i32, reach: i32, strideH: i32): i32 {
  return max(1, min(oh, (tableBytes / row - reach) / strideH + 1));
}

/** Bytes of scratch that `pairConv` needs; `reach` is the rows of a window in the frame. */
export function convScratchBytes(
  runs: i32,
  runSteps: i32,
  oh: i32,
  frameW: i32,
  strideH: i32,
  strideW: i32,
  pixelBytes: i32,
  reach: i32,
): i32 {
  const row = rowBytes(frameW, strideW, pixelBytes);
  const rows = (blockRows(oh, row, reach, strideH) - 1) * strideH + reach;
  return (indexAt as i32) + runs * roomOf(runSteps) * 32 + rows * row + 128;
}

/**
 * Copies an image (h, w) of pixels `pixelStep` bytes apart into a frame, with every byte outside of it `fill`, a pixel's
 * last one only in the bits of `tail`.
 */
export function frameBits(
  to: usize,
  frameH: i32,
  frameW: i32,
  x: usize,
  h: i32,
  w: i32,
  pixelBytes: i32,
  pixelStep: i32,
  top: i32,
  left: i32,
  fill: i32,
  tail: i32,
): void {
  const first = max(0, min(frameW, left));
  const end = max(first, min(frameW, w + left));
  const last = (fill & tail) as u8;
  for (let y = 0; y < frameH; y++) {
    const row = y - top;
    const inside = row >= 0 && row < h;
    const from = x + (row * w + first - left) * pixelStep;
    if (inside && pixelStep === pixelBytes)
      memory.copy(to + first * pixelBytes, from, (end - first) * pixelBytes);
    for (let p = 0; p < frameW; p++, to += pixelBytes) {
      if (inside && p >= first && p < end) {
        if (pixelStep === pixelBytes) continue;
        const at = from + (p - first) * pixelStep;
        for (let i = 0; i < pixelBytes; i++) store<u8>(to + i, load<u8>(at + i));
      } else {
        for (let i = 0; i < pixelBytes - 1; i++) store<u8>(to + i, fill as u8);
        store<u8>(to + pixelBytes - 1, last);
      }
    }
  }
}

/**
 * The transform `output` of the sums of windows (oh, ow), its rows from `firstRow` on, by n filters in panels: base − 2 ·
 * differing bits, plus correction (rowClass[y] · classes + colClass[x], n padded to 32) where that is not class 0.
 */
export function pairConv(
  output: usize,
  firstRow: i32,
  frame: usize,
  frameW: i32,
  pixelBytes: i32,
  panels: usize,
  n: i32,
  oh: i32,
  ow: i32,
  kh: i32,
  kw: i32,
  strideH: i32,
  strideW: i32,
  dilationH: i32,
  dilationW: i32,
  base: i32,
  corrections: usize,
  rowClass: usize,
  colClass: usize,
  classes: i32,
  tables: usize,
  scratch: usize,
): void {
  const pixelSteps = pixelBytes << 1;
  // Taps beside each other are one run of steps.
  const runsInRow = dilationW === 1 ? 1 : kw;
  const runSteps = dilationW === 1 ? kw * pixelSteps : pixelSteps;
  const room = roomOf(runSteps);
  const groups = room / 3;
  const panelBytes = kh * kw * pixelBytes;
  const row = rowBytes(frameW, strideW, pixelBytes);
  const reach = (kh - 1) * dilationH + 1;
  const height = blockRows(oh, row, reach, strideH);
  const index = scratch + indexAt;
  const indexRun = room << 5;
  const tablesAt = index + kh * runsInRow * indexRun;
  const counts = scratch + countsAt;
  const width = (n + 31) & ~31;
  for (let y0 = 0; y0 < oh; y0 += height) {
    const rows = min(height, oh - y0);
    const steps = (frameW - strideW) * pixelSteps;
    for (let r = 0; r < (rows - 1) * strideH + reach; r++) {
      const from = frame + (y0 * strideH + r) * frameW * pixelBytes;
      placePair(tablesAt + r * row, steps, from, from + strideW * pixelBytes, steps, differ, tables);
    }
    for (let j0 = 0; j0 < n; j0 += 32) {
      const columns = min(32, n - j0);
      const wide = columns > 16;
      const gap = wide ? 32 : 16;
      const panel = panels + j0 * panelBytes;
      for (let run = 0; run < kh * runsInRow; run++) {
        const to = index + run * indexRun;
        const at = run * (runSteps >> 1);
        const first = min(16, columns);
        // An index with its highest bit set finds a zero: steps behind a run count nothing.
        for (let s = runSteps; s < room; s++) {
          v128.store(to + s * gap, i8x16.splat(-128));
          if (wide) v128.store(to + s * gap, i8x16.splat(-128), 16);
        }
        spread(to, gap, panel + at * first, first, runSteps);
        if (wide)
          spread(to + 16, gap, panel + (panelBytes << 4) + at * (columns - 16), columns - 16, runSteps);
      }
      for (let y = 0; y < rows; y++)
        for (let x = 0; x < ow; x += 2) {
          memory.fill(scratch, 0, 384);
          for (let i = 0; i < kh; i++) {
            let table = tablesAt + (y * strideH + i * dilationH) * row + ((x * strideW * pixelSteps) << 4);
            let at = index + i * runsInRow * indexRun;
            for (let run = 0; run < runsInRow; run++) {
              if (wide) pairTile2(scratch, table, at, groups);
              else pairTile1(scratch, table, at, groups);
              table += (dilationW * pixelSteps) << 4;
              at += indexRun;
            }
          }
          for (let i = 0; i < 128; i += 16) addWords(counts + (i << 1), v128.load(scratch + i));
          for (let side = 0; side < min(2, ow - x); side++) {
            const from = counts + (side << 7);
            const to = firstRow + (y0 + y) * ow + x + side;
            let start = base;
            let factor = -2;
            if (corrections) {
              const kind = (load<u8>(rowClass + y0 + y) as i32) * classes + load<u8>(colClass + x + side);
              if (kind !== 0) {
                correct(from, corrections + ((kind * width + j0) << 2), base);
                start = 0;
                factor = 1;
              }
            }
            emit(output, to, j0, columns, from, start, factor);
          }
        }
    }
  }
}

/** base − 2 · count + correction, in place. */
function correct(counts: usize, corrections: usize, base: i32): void {
  const start = i32x4.splat(base);
  for (let i = 0; i < 128; i += 16) {
    const sum = i32x4.sub(start, i32x4.shl(v128.load(counts + i), 1));
    v128.store(counts + i, i32x4.add(sum, v128.load(corrections + i)));
  }
}
