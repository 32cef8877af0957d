/**
 * Products over windows that are read where they lie, those of a row one element apart: nothing is copied into columns. Sums
 * run as those of gemm-f32, in order of the taps and in its blocks, so that the bits are the same.
 */

import { fullRows, packRows, paddedRows, tileRows } from "../gemm-f32/pack.as";
import { Tile } from "../gemm-f32/tile.as";
import { madd } from "../wasm/madd.as";

export { paddedRows };

// As gemm-f32.
const blockDepth: i32 = 256;
const shallow: i32 = 64;
// Floats of filters that stay in the second level cache while they meet all windows.
const blockFloats: i32 = 1 << 16;

// The scratch: zeros, and a tile for groups that lack rows.
const edgeAt: usize = 64;

/** Lays filters w (m, k) out for `direct`, in paddedRows(m) · k floats: blocks of the depth, in them groups, depth-major. */
export function packFilters(to: usize, w: usize, m: i32, k: i32): void {
  const padded = paddedRows(m);
  for (let k0 = 0; k0 < k; k0 += blockDepth)
    packRows(to + k0 * padded * 4, w + k0 * 4, m, min(blockDepth, k - k0), k * 4, 4);
}

/**
 * out (m filters, rows · ow windows), `step` bytes from filter to filter, = packed filters · windows from x, whose taps lie
 * where the table says. ow is 8 or more; scratch has 256 bytes.
 */
export function direct(
  out: usize,
  step: i32,
  x: usize,
  taps: usize,
  filters: usize,
  m: i32,
  k: i32,
  rows: i32,
  ow: i32,
  rowStep: i32,
  scratch: usize,
): void {
  v128.store(scratch, f32x4.splat(0));
  v128.store(scratch, f32x4.splat(0), 16);
  const full = fullRows(m);
  const padded = paddedRows(m);
  const most = max(1, blockFloats / (k * tileRows)) * tileRows;
  for (let first = 0, end = 0; first < padded; first = end) {
    // Whole groups, of which those that are not full have a row less.
    end = first;
    while (end < padded && end - first < most) end += end < full ? tileRows : tileRows - 1;
    for (let y = 0; y < rows; y++)
      for (let j = 0; j < ow; j += 8) {
        // The last of a row may begin before the one before it has ended: the same numbers again.
        const column = min(j, ow - 8);
        const to = out + (y * ow + column) * 4;
        const windows = x + y * rowStep + column * 4;
        for (let k0 = 0; k0 < k; k0 += blockDepth) {
          const depth = min(blockDepth, k - k0);
          const table = taps + k0 * 4;
          const adds = k0 > 0 && depth > shallow;
          const starts = k0 > 0 && !adds;
          for (let i = first; i < end; ) {
            const group = filters + (k0 * padded + i * depth) * 4;
            const width = i < full ? tileRows : tileRows - 1;
            const at = to + i * step;
            const edges = adds || i + width > m;
            const result = edges ? scratch + edgeAt : at;
            const resultStep = edges ? 32 : step;
            const h = min(width, m - i);
            if (edges && starts) copyRows(result, 32, at, step, h);
            const from = starts ? result : scratch;
            const fromStep = starts ? resultStep : 0;
            if (width < tileRows)
              shortWindows(result, resultStep, from, fromStep, group, windows, table, depth);
            else if (adds) fullWindows(scratch + edgeAt, 32, scratch, 0, group, windows, table, depth);
            else fullWindows(at, step, from, fromStep, group, windows, table, depth);
            if (adds) addRows(at, step, result, 32, h);
            else if (edges) copyRows(at, step, result, 32, h);
            i += width;
          }
        }
      }
  }
}

/**
 * to (n taps, filters) = windows from x · dOut (rows · ow windows, filters), or that added: `dOut` lies in panels of eight
 * filters, which there are `filters` of. to has paddedRows(n) rows, scratch 256 bytes.
 */
export function directWeight(
  to: usize,
  x: usize,
  taps: usize,
  n: i32,
  dOut: usize,
  filters: i32,
  rows: i32,
  ow: i32,
  rowStep: i32,
  adds: bool,
  scratch: usize,
): void {
  const full = fullRows(n);
  const padded = paddedRows(n);
  const step = filters * 4;
  for (let j = 0; j < filters; j += 8) {
    const panel = dOut + j * rows * ow * 4;
    for (let i = 0; i < padded; ) {
      const width = i < full ? tileRows : tileRows - 1;
      const at = to + (i * filters + j) * 4;
      const last = n - 1 - i;
      if (adds) {
        if (width === tileRows) fullTaps(scratch, 32, x, taps + i * 4, last, panel, rows, ow, rowStep);
        else shortTaps(scratch, 32, x, taps + i * 4, last, panel, rows, ow, rowStep);
        addRows(at, step, scratch, 32, width);
      } else if (width === tileRows) fullTaps(at, step, x, taps + i * 4, last, panel, rows, ow, rowStep);
      else shortTaps(at, step, x, taps + i * 4, last, panel, rows, ow, rowStep);
      i += width;
    }
  }
}

/** dw (filters, n taps), `step` bytes from filter to filter, = from (n taps, `lanes` filters and more). */
export function storeWeight(dw: usize, step: i32, from: usize, lanes: i32, filters: i32, n: i32): void {
  for (let t = 0; t < n; t++, from += lanes * 4)
    for (let o = 0; o < filters; o++) store<f32>(dw + o * step + t * 4, load<f32>(from + o * 4));
}

function copyRows(to: usize, toStep: i32, from: usize, fromStep: i32, rows: i32): void {
  for (; rows > 0; rows--, to += toStep, from += fromStep) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
  }
}

function addRows(to: usize, toStep: i32, from: usize, fromStep: i32, rows: i32): void {
  for (; rows > 0; rows--, to += toStep, from += fromStep) {
    v128.store(to, f32x4.add(v128.load(to), v128.load(from)));
    v128.store(to, f32x4.add(v128.load(to, 16), v128.load(from, 16)), 16);
  }
}

function fullWindows(
  out: usize,
  step: i32,
  from: usize,
  fromStep: i32,
  a: usize,
  x: usize,
  taps: usize,
  depth: i32,
): void {
  Tile.run(true, true, out, step, from, fromStep, a, x, taps, depth);
}

function shortWindows(
  out: usize,
  step: i32,
  from: usize,
  fromStep: i32,
  a: usize,
  x: usize,
  taps: usize,
  depth: i32,
): void {
  Tile.run(false, true, out, step, from, fromStep, a, x, taps, depth);
}

function fullTaps(
  to: usize,
  step: i32,
  x: usize,
  taps: usize,
  last: i32,
  b: usize,
  rows: i32,
  ow: i32,
  rowStep: i32,
): void {
  Taps.run(true, to, step, x, taps, last, b, rows, ow, rowStep);
}

function shortTaps(
  to: usize,
  step: i32,
  x: usize,
  taps: usize,
  last: i32,
  b: usize,
  rows: i32,
  ow: i32,
  rowStep: i32,
): void {
  Taps.run(false, to, step, x, taps, last, b, rows, ow, rowStep);
}

/** A tile of eight filters by `tileRows` taps where `full`, else by one less. */
class Taps {
  /** to (taps, 8), 32 bytes a row, = windows · a panel of eight filters; taps beyond `last` are that one again. */
  @inline
  static run(
    full: bool,
    to: usize,
    step: i32,
    x: usize,
    taps: usize,
    last: i32,
    b: usize,
    rows: i32,
    ow: i32,
    rowStep: i32,
  ): void {
    let p0 = x + load<i32>(taps + min(0, last) * 4);
    let p1 = x + load<i32>(taps + min(1, last) * 4);
    let p2 = x + load<i32>(taps + min(2, last) * 4);
    let p3 = x + load<i32>(taps + min(3, last) * 4);
    let p4 = x + load<i32>(taps + min(4, last) * 4);
    let p5 = x + load<i32>(taps + min(5, last) * 4);
    let c00 = f32x4.splat(0);
    let c01 = c00;
    let c10 = f32x4.splat(0);
    let c11 = c10;
    let c20 = f32x4.splat(0);
    let c21 = c20;
    let c30 = f32x4.splat(0);
    let c31 = c30;
    let c40 = f32x4.splat(0);
    let c41 = c40;
    let c50 = f32x4.splat(0);
    let c51 = c50;
    const gap = rowStep - ow * 4;
    for (; rows > 0; rows--) {
      const end = b + ow * 32;
      do {
        const b0 = v128.load(b);
        const b1 = v128.load(b, 16);
        const a0 = v128.load32_splat(p0);
        c00 = madd(a0, b0, c00);
        c01 = madd(a0, b1, c01);
        p0 += 4;
        const a1 = v128.load32_splat(p1);
        c10 = madd(a1, b0, c10);
        c11 = madd(a1, b1, c11);
        p1 += 4;
        const a2 = v128.load32_splat(p2);
        c20 = madd(a2, b0, c20);
        c21 = madd(a2, b1, c21);
        p2 += 4;
        const a3 = v128.load32_splat(p3);
        c30 = madd(a3, b0, c30);
        c31 = madd(a3, b1, c31);
        p3 += 4;
        if (full || tileRows === 6) {
          const a4 = v128.load32_splat(p4);
          c40 = madd(a4, b0, c40);
          c41 = madd(a4, b1, c41);
          p4 += 4;
        }
        if (full && tileRows === 6) {
          const a5 = v128.load32_splat(p5);
          c50 = madd(a5, b0, c50);
          c51 = madd(a5, b1, c51);
          p5 += 4;
        }
        b += 32;
      } while (b < end);
      p0 += gap;
      p1 += gap;
      p2 += gap;
      p3 += gap;
      p4 += gap;
      p5 += gap;
    }
    v128.store(to, c00);
    v128.store(to, c01, 16);
    to += step;
    v128.store(to, c10);
    v128.store(to, c11, 16);
    to += step;
    v128.store(to, c20);
    v128.store(to, c21, 16);
    to += step;
    v128.store(to, c30);
    v128.store(to, c31, 16);
    if (full || tileRows === 6) {
      to += step;
      v128.store(to, c40);
      v128.store(to, c41, 16);
    }
    if (full && tileRows === 6) {
      to += step;
      v128.store(to, c50);
      v128.store(to, c51, 16);
    }
  }
}
