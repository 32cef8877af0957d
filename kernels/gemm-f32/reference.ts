/**
 * gemm: out (m, n) = op(a) (m, k) · op(b) (k, n), the matrix product every backend is measured against.
 *
 * Layout: row-major and contiguous from the given offsets. a holds (m, k), or (k, m) when transposeA; b holds (k, n), or
 * (n, k) when transposeB. Every size may be zero; k = 0 writes zeros.
 * Exactness: each element is the double-precision sum of its products in order of k, rounded once to the type of out.
 * Blocking does not change a bit of it. Integer arrays are exact while every partial sum stays below 2^53; a sum outside
 * the range of an integer out wraps, as storing into a typed array does.
 * Memory: the caller allocates out, which may not overlap a or b. Scratch is three fixed panels of 450 KB together;
 * integer operands are copied to doubles first.
 */

import type { FloatArray, TypedArray } from "../../src/dtype.ts";
import { isFloatArray } from "../floats.ts";

export interface GemmShape {
  m: number;
  n: number;
  k: number;
  transposeA?: boolean;
  transposeB?: boolean;
  aOffset?: number;
  bOffset?: number;
  outOffset?: number;
  /** Add the product to what out holds; the sum then starts from that value. */
  accumulate?: boolean;
  /** Start every row of out from these n values; not with `accumulate`. */
  bias?: FloatArray | null;
}

// A register tile of 2 x 4 sums leaves the 16 vector registers of x64 without spills. The blocks below keep one A block,
// one B block and their sums within a 512 KB cache.
const tileRows = 2;
const tileCols = 4;
const blockRows = 64;
const blockCols = 128;
const blockDepth = 256;

// Panels hold doubles whatever the inputs are, so the inner loop only ever sees Float64Array and stays monomorphic.
const panelA = /* @__PURE__ */ new Float64Array(blockRows * blockDepth);
const panelB = /* @__PURE__ */ new Float64Array(blockCols * blockDepth);
const sums = /* @__PURE__ */ new Float64Array(blockRows * blockCols);

/** out (m, n) = op(a) · op(b), or out + op(a) · op(b) with `accumulate`. */
export function gemm(out: TypedArray, a: TypedArray, b: TypedArray, shape: GemmShape): void {
  const { m, n, k, transposeA = false, transposeB = false, accumulate = false } = shape;
  if (m === 0 || n === 0) return;
  if (shape.bias) {
    const first = shape.outOffset ?? 0;
    for (let i = 0; i < m; i++) out.set(shape.bias, first + i * n);
    gemm(out, a, b, { ...shape, bias: null, accumulate: true });
    return;
  }
  const outOffset = shape.outOffset ?? 0;
  if (!isFloatArray(a) || !isFloatArray(b) || !isFloatArray(out)) {
    const target = Float64Array.from(out.subarray(outOffset, outOffset + m * n));
    const left = doubles(a, shape.aOffset ?? 0, m * k);
    const right = doubles(b, shape.bOffset ?? 0, k * n);
    gemm(target, left, right, { m, n, k, transposeA, transposeB, accumulate });
    out.set(target, outOffset);
    return;
  }
  const aOffset = shape.aOffset ?? 0;
  const bOffset = shape.bOffset ?? 0;
  const aRow = transposeA ? 1 : k;
  const aCol = transposeA ? m : 1;
  const bRow = transposeB ? 1 : n;
  const bCol = transposeB ? k : 1;
  if (m === 1) matVec(out, outOffset, n, b, bOffset, bCol, bRow, a, aOffset, aCol, k, accumulate);
  else if (n === 1) matVec(out, outOffset, m, a, aOffset, aRow, aCol, b, bOffset, bRow, k, accumulate);
  else blocked(out, outOffset, a, aOffset, aRow, aCol, b, bOffset, bRow, bCol, m, n, k, accumulate);
}

const doubles = (array: TypedArray, offset: number, size: number): Float64Array =>
  new Float64Array(array.subarray(offset, offset + size));

function blocked(
  out: FloatArray,
  outOffset: number,
  a: FloatArray,
  aOffset: number,
  aRow: number,
  aCol: number,
  b: FloatArray,
  bOffset: number,
  bRow: number,
  bCol: number,
  m: number,
  n: number,
  k: number,
  accumulate: boolean,
): void {
  for (let j0 = 0; j0 < n; j0 += blockCols) {
    const cols = Math.min(blockCols, n - j0);
    for (let i0 = 0; i0 < m; i0 += blockRows) {
      const rows = Math.min(blockRows, m - i0);
      const target = outOffset + i0 * n + j0;
      loadSums(out, target, n, rows, cols, accumulate);
      for (let k0 = 0; k0 < k; k0 += blockDepth) {
        const depth = Math.min(blockDepth, k - k0);
        pack(panelA, tileRows, a, aOffset + i0 * aRow + k0 * aCol, aRow, aCol, rows, depth);
        // With one depth block the B panel of the first row block serves all others.
        if (i0 === 0 || k > blockDepth)
          pack(panelB, tileCols, b, bOffset + k0 * bRow + j0 * bCol, bCol, bRow, cols, depth);
        for (let j = 0; j < cols; j += tileCols)
          for (let i = 0; i < rows; i += tileRows)
            tile(i * blockCols + j, panelA, i * depth, panelB, j * depth, depth);
      }
      storeSums(out, target, n, rows, cols);
    }
  }
}

/** Lays `lanes` rows of `depth` values out as groups of `width` lanes, depth-major, the last group padded with zeros. */
function pack(
  panel: Float64Array,
  width: number,
  source: FloatArray,
  offset: number,
  laneStride: number,
  depthStride: number,
  lanes: number,
  depth: number,
): void {
  for (let lane0 = 0; lane0 < lanes; lane0 += width) {
    const group = lane0 * depth;
    const filled = Math.min(width, lanes - lane0);
    const from = offset + lane0 * laneStride;
    if (laneStride === 1 && filled === tileCols && width === tileCols) {
      for (let d = 0, to = group, at = from; d < depth; d++, to += tileCols, at += depthStride) {
        panel[to] = source[at];
        panel[to + 1] = source[at + 1];
        panel[to + 2] = source[at + 2];
        panel[to + 3] = source[at + 3];
      }
      continue;
    }
    for (let lane = 0; lane < width; lane++) {
      const end = group + depth * width;
      if (lane >= filled) for (let to = group + lane; to < end; to += width) panel[to] = 0;
      else
        for (let to = group + lane, at = from + lane * laneStride; to < end; to += width, at += depthStride)
          panel[to] = source[at];
    }
  }
}

function loadSums(
  out: FloatArray,
  offset: number,
  stride: number,
  rows: number,
  cols: number,
  accumulate: boolean,
): void {
  // Lanes of a partial tile beyond `rows` and `cols` are computed and dropped: whatever they hold does no harm.
  for (let i = 0; i < rows; i++) {
    const at = offset + i * stride;
    const to = i * blockCols;
    if (accumulate) for (let j = 0; j < cols; j++) sums[to + j] = out[at + j];
    else for (let j = 0; j < cols; j++) sums[to + j] = 0;
  }
}

function storeSums(out: FloatArray, offset: number, stride: number, rows: number, cols: number): void {
  for (let i = 0; i < rows; i++) {
    const to = offset + i * stride;
    const at = i * blockCols;
    for (let j = 0; j < cols; j++) out[to + j] = sums[at + j];
  }
}

function tile(
  at: number,
  left: Float64Array,
  leftAt: number,
  right: Float64Array,
  rightAt: number,
  depth: number,
): void {
  const next = at + blockCols;
  let s00 = sums[at];
  let s01 = sums[at + 1];
  let s02 = sums[at + 2];
  let s03 = sums[at + 3];
  let s10 = sums[next];
  let s11 = sums[next + 1];
  let s12 = sums[next + 2];
  let s13 = sums[next + 3];
  const end = leftAt + depth * tileRows;
  for (let i = leftAt, j = rightAt; i < end; i += tileRows, j += tileCols) {
    const b0 = right[j];
    const b1 = right[j + 1];
    const b2 = right[j + 2];
    const b3 = right[j + 3];
    const a0 = left[i];
    s00 += a0 * b0;
    s01 += a0 * b1;
    s02 += a0 * b2;
    s03 += a0 * b3;
    const a1 = left[i + 1];
    s10 += a1 * b0;
    s11 += a1 * b1;
    s12 += a1 * b2;
    s13 += a1 * b3;
  }
  sums[at] = s00;
  sums[at + 1] = s01;
  sums[at + 2] = s02;
  sums[at + 3] = s03;
  sums[next] = s10;
  sums[next + 1] = s11;
  sums[next + 2] = s12;
  sums[next + 3] = s13;
}

/** out (rows) = matrix (rows, k) · vector (k), for a matrix stored either way. */
function matVec(
  out: FloatArray,
  outOffset: number,
  rows: number,
  matrix: FloatArray,
  offset: number,
  rowStride: number,
  colStride: number,
  vector: FloatArray,
  vectorOffset: number,
  vectorStride: number,
  k: number,
  accumulate: boolean,
): void {
  // Blocks of rows bound the scratch; four rows at a time keep four independent sums in flight.
  for (let row0 = 0; row0 < rows; row0 += sums.length) {
    const count = Math.min(sums.length, rows - row0);
    const base = offset + row0 * rowStride;
    const target = outOffset + row0;
    for (let i = 0; i < count; i++) sums[i] = accumulate ? out[target + i] : 0;
    if (rowStride === 1) addColumns(count, matrix, base, colStride, vector, vectorOffset, vectorStride, k);
    else dotRows(count, matrix, base, rowStride, colStride, vector, vectorOffset, vectorStride, k);
    for (let i = 0; i < count; i++) out[target + i] = sums[i];
  }
}

function addColumns(
  count: number,
  matrix: FloatArray,
  base: number,
  colStride: number,
  vector: FloatArray,
  vectorOffset: number,
  vectorStride: number,
  k: number,
): void {
  for (let l = 0; l < k; l++) {
    const v = vector[vectorOffset + l * vectorStride];
    const at = base + l * colStride;
    for (let i = 0; i < count; i++) sums[i] += v * matrix[at + i];
  }
}

function dotRows(
  count: number,
  matrix: FloatArray,
  base: number,
  rowStride: number,
  colStride: number,
  vector: FloatArray,
  vectorOffset: number,
  vectorStride: number,
  k: number,
): void {
  let i = 0;
  for (; i + 4 <= count; i += 4) {
    let s0 = sums[i];
    let s1 = sums[i + 1];
    let s2 = sums[i + 2];
    let s3 = sums[i + 3];
    let at0 = base + i * rowStride;
    let at1 = at0 + rowStride;
    let at2 = at1 + rowStride;
    let at3 = at2 + rowStride;
    for (let l = 0, at = vectorOffset; l < k; l++, at += vectorStride) {
      const v = vector[at];
      s0 += v * matrix[at0];
      s1 += v * matrix[at1];
      s2 += v * matrix[at2];
      s3 += v * matrix[at3];
      at0 += colStride;
      at1 += colStride;
      at2 += colStride;
      at3 += colStride;
    }
    sums[i] = s0;
    sums[i + 1] = s1;
    sums[i + 2] = s2;
    sums[i + 3] = s3;
  }
  for (; i < count; i++) {
    let s = sums[i];
    for (let l = 0; l < k; l++)
      s += vector[vectorOffset + l * vectorStride] * matrix[base + i * rowStride + l * colStride];
    sums[i] = s;
  }
}
