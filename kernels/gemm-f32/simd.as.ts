/**
 * The float32 matrix product on the heap, in AssemblyScript. kernels/gemm-f32/index.ts states the contract.
 *
 * Both operands are packed into panels, A in groups of `tileRows` rows or one less and B in groups of 8 columns,
 * depth-major, the last group padded with zeros, so that the register tile reads two streams in order. Every sum runs in
 * order of k, in blocks of `blockDepth`. What is added to out begins at 0, but for shallow blocks, so that rounding grows
 * with their number and not with k; nothing else decides its bits.
 * Addresses and steps are bytes, sizes are elements.
 */

import { addBlocks, dots } from "./narrow.as";
import { fullRows, packColumns, packRows, tileCols, tileRows } from "./pack.as";
import { Tile } from "./tile.as";

// A block and the B panel in use stay in the second and first level caches. The rows are a multiple of 5 and of 6.
const blockRows: i32 = 180;
const blockCols: i32 = 512;
const blockDepth: i32 = 256;
// Up to here a block goes on from what out holds: adding it would take too long.
const shallow: i32 = 64;

// The scratch: a row of zeros, one tile for ragged edges, the A block, the B block.
const edgeAt: usize = 64;
const panelAAt: usize = 256;
const panelBAt: usize = panelAAt + blockRows * blockDepth * 4;
const scratchEnd: usize = panelBAt + blockCols * blockDepth * 4;

// Up to here a product costs less than packing its larger operand.
const fewRows: i32 = 7;
const fewCols: i32 = 4;

const transposeAFlag: i32 = 1;
const transposeBFlag: i32 = 2;
const accumulateFlag: i32 = 4;
const packedFlag: i32 = 8;

/** Bytes of scratch `gemm` needs, 64-byte aligned, with any content. */
export function scratchBytes(): i32 {
  return scratchEnd as i32;
}

/** Packs op(b) (k, n) for `gemm` with flag 8. */
export function packB(to: usize, b: usize, n: i32, k: i32, ldb: i32, transposed: i32): void {
  const lane = (transposed ? ldb : 1) * 4;
  const step = (transposed ? 1 : ldb) * 4;
  const width = ((n + 7) & ~7) * 4;
  for (let k0 = 0; k0 < k; k0 += blockDepth) {
    const depth = min(blockDepth, k - k0);
    packColumns(to + k0 * width, b + k0 * step, n, depth, lane, step);
  }
}

/**
 * batch times: out (m, n) = op(a) (m, k) · op(b) (k, n), starting from out (flag 4), from bias (n) unless 0, or from 0.
 * Flags: 1 a holds (k, m); 2 b holds (n, k); 4 accumulate; 8 b holds panels of `packB`. ld* are the row strides of the
 * stored matrices and batch* the distances between the matrices of a batch, in elements.
 */
export function gemm(
  out: usize,
  a: usize,
  b: usize,
  m: i32,
  n: i32,
  k: i32,
  lda: i32,
  ldb: i32,
  ldOut: i32,
  flags: i32,
  bias: usize,
  batch: i32,
  batchA: i32,
  batchB: i32,
  batchOut: i32,
  scratch: usize,
): void {
  if (m === 0 || n === 0) return;
  v128.store(scratch, f32x4.splat(0));
  v128.store(scratch, f32x4.splat(0), 16);
  const aRow = (flags & transposeAFlag ? 1 : lda) * 4;
  const aCol = (flags & transposeAFlag ? lda : 1) * 4;
  const bRow = (flags & transposeBFlag ? 1 : ldb) * 4;
  const bCol = (flags & transposeBFlag ? ldb : 1) * 4;
  const step = ldOut * 4;
  for (let i = 0; i < batch; i++) {
    if (k === 0) clear(out, step, m, n, flags, bias);
    else if (flags & packedFlag) blocked(out, step, a, aRow, aCol, b, 0, 0, m, n, k, flags, bias, scratch);
    else if (m <= fewRows) {
      clear(out, step, m, n, flags, bias);
      if (bRow === 4) dots(out, step, 4, b, bCol, n, a, aRow, aCol, m, k, scratch + panelAAt);
      else
        for (let r = 0; r < m; r++)
          addBlocks(out + r * step, b, bRow, n, a + r * aRow, aCol, k, scratch + panelAAt);
    } else if (n <= fewCols && aCol === 4) {
      clear(out, step, m, n, flags, bias);
      dots(out, 4, step, a, aRow, m, b, bCol, bRow, n, k, scratch + panelAAt);
    } else if (n === 1 && step === 4) {
      clear(out, step, m, n, flags, bias);
      addBlocks(out, a, aCol, m, b, bRow, k, scratch + panelAAt);
    } else blocked(out, step, a, aRow, aCol, b, bRow, bCol, m, n, k, flags, bias, scratch);
    out += batchOut * 4;
    a += batchA * 4;
    b += batchB * 4;
  }
}

/** Writes what the sums start from, for paths that add to out in memory. */
function clear(out: usize, step: i32, m: i32, n: i32, flags: i32, bias: usize): void {
  if (flags & accumulateFlag) return;
  for (let i = 0; i < m; i++, out += step)
    if (bias) memory.copy(out, bias, n * 4);
    else memory.fill(out, 0, n * 4);
}

/** The general product. A `bRow` of 0 says that b is packed already. */
function blocked(
  out: usize,
  step: i32,
  a: usize,
  aRow: i32,
  aCol: i32,
  b: usize,
  bRow: i32,
  bCol: i32,
  m: i32,
  n: i32,
  k: i32,
  flags: i32,
  bias: usize,
  scratch: usize,
): void {
  const panelA = scratch + panelAAt;
  const width = (n + 7) & ~7;
  for (let j0 = 0; j0 < n; j0 += blockCols) {
    const cols = min(blockCols, n - j0);
    for (let k0 = 0; k0 < k; k0 += blockDepth) {
      const depth = min(blockDepth, k - k0);
      let panelB = scratch + panelBAt;
      if (bRow === 0) panelB = b + (k0 * width + j0 * depth) * 4;
      else packColumns(panelB, b + k0 * bRow + j0 * bCol, cols, depth, bCol, bRow);
      for (let i0 = 0; i0 < m; i0 += blockRows) {
        const rows = min(blockRows, m - i0);
        packRows(panelA, a + i0 * aRow + k0 * aCol, rows, depth, aRow, aCol);
        const to = out + i0 * step + j0 * 4;
        if (k0 > 0 || flags & accumulateFlag)
          tiles(to, step, to, step, 4, panelA, panelB, rows, cols, depth, scratch);
        else if (bias) tiles(to, step, bias + j0 * 4, 0, 4, panelA, panelB, rows, cols, depth, scratch);
        else tiles(to, step, scratch, 0, 0, panelA, panelB, rows, cols, depth, scratch);
      }
    }
  }
}

/** out (rows, cols) = from + A panel · B panel, `from` read with its own steps; out itself is added to, as the head says. */
export function tiles(
  out: usize,
  step: i32,
  from: usize,
  fromStep: i32,
  fromCol: i32,
  panelA: usize,
  panelB: usize,
  rows: i32,
  cols: i32,
  depth: i32,
  scratch: usize,
): void {
  const edge = scratch + edgeAt;
  const adds = from === out && depth > shallow;
  const full = fullRows(rows);
  for (let j = 0; j < cols; j += tileCols) {
    const b = panelB + j * depth * 4;
    const w = min(tileCols, cols - j);
    for (let i = 0, width = tileRows; i < rows; i += width) {
      if (i >= full) width = tileRows - 1;
      const a = panelA + i * depth * 4;
      const to = out + i * step + j * 4;
      const start = from + i * fromStep + j * fromCol;
      const h = min(width, rows - i);
      if (adds) {
        if (i < full) fullTile(edge, tileCols * 4, scratch, 0, a, b, depth);
        else shortTile(edge, tileCols * 4, scratch, 0, a, b, depth);
        addTile(to, step, edge, h, w);
      } else if (i < full && w === tileCols) fullTile(to, step, start, fromStep, a, b, depth);
      else if (h === width && w === tileCols) shortTile(to, step, start, fromStep, a, b, depth);
      else {
        // Lanes beyond the edge hold whatever was there: they are computed and dropped.
        copyTile(edge, tileCols * 4, start, fromStep, h, w);
        if (i < full) fullTile(edge, tileCols * 4, edge, tileCols * 4, a, b, depth);
        else shortTile(edge, tileCols * 4, edge, tileCols * 4, a, b, depth);
        copyTile(to, step, edge, tileCols * 4, h, w);
      }
    }
  }
}

function copyTile(to: usize, toStep: i32, from: usize, fromStep: i32, h: i32, w: i32): void {
  for (let i = 0; i < h; i++, to += toStep, from += fromStep)
    for (let j = 0; j < w * 4; j += 4) store<f32>(to + j, load<f32>(from + j));
}

function addTile(to: usize, step: i32, from: usize, h: i32, w: i32): void {
  for (let i = 0; i < h; i++, to += step, from += tileCols * 4)
    if (w === tileCols) {
      v128.store(to, f32x4.add(v128.load(to), v128.load(from)));
      v128.store(to, f32x4.add(v128.load(to, 16), v128.load(from, 16)), 16);
    } else for (let j = 0; j < w * 4; j += 4) store<f32>(to + j, load<f32>(to + j) + load<f32>(from + j));
}

function fullTile(out: usize, step: i32, from: usize, fromStep: i32, a: usize, b: usize, depth: i32): void {
  Tile.run(true, false, out, step, from, fromStep, a, b, 0, depth);
}

function shortTile(out: usize, step: i32, from: usize, fromStep: i32, a: usize, b: usize, depth: i32): void {
  Tile.run(false, false, out, step, from, fromStep, a, b, 0, depth);
}
