/** Products with so few rows or columns that packing would cost more than the product. */

import { Lanes } from "../wasm/lanes.as";
import { madd } from "../wasm/madd.as";

// Vectors that are not contiguous are gathered into scratch, up to seven of this length.
const gatherDepth: i32 = 4096;

/**
 * out[r, v] += sum of row r of the matrix times vector v, for few vectors: rows are read once and nothing is packed.
 * Sums run over eight interleaved parts, then over them.
 */
export function dots(
  out: usize,
  outVector: i32,
  outRow: i32,
  matrix: usize,
  matrixRow: i32,
  rows: i32,
  vectors: usize,
  vectorRow: i32,
  vectorCol: i32,
  count: i32,
  k: i32,
  scratch: usize,
): void {
  for (let k0 = 0; k0 < k; k0 += gatherDepth) {
    const depth = min(gatherDepth, k - k0);
    let vector = vectors + k0 * vectorCol;
    let between = vectorRow;
    if (vectorCol !== 4) {
      const gathered = scratch;
      for (let v = 0; v < count; v++)
        for (let d = 0; d < depth; d++)
          store<f32>(gathered + (v * gatherDepth + d) * 4, load<f32>(vector + v * vectorRow + d * vectorCol));
      vector = gathered;
      between = gatherDepth * 4;
    }
    const base = matrix + k0 * 4;
    let r = 0;
    for (; r + 4 <= rows; r += 4)
      for (let v = 0; v < count; v++)
        dot4(
          out + r * outRow + v * outVector,
          outRow,
          base + r * matrixRow,
          matrixRow,
          vector + v * between,
          depth,
        );
    for (; r < rows; r++)
      for (let v = 0; v < count; v++)
        dot1(out + r * outRow + v * outVector, base + r * matrixRow, vector + v * between, depth);
  }
}

function sum(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) +
    f32x4.extract_lane(v, 1) +
    (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

function dot4(out: usize, outStep: i32, row0: usize, rowStep: i32, vector: usize, depth: i32): void {
  const row1 = row0 + rowStep;
  const row2 = row1 + rowStep;
  const row3 = row2 + rowStep;
  let s00 = f32x4.splat(0);
  let s01 = f32x4.splat(0);
  let s10 = f32x4.splat(0);
  let s11 = f32x4.splat(0);
  let s20 = f32x4.splat(0);
  let s21 = f32x4.splat(0);
  let s30 = f32x4.splat(0);
  let s31 = f32x4.splat(0);
  const whole = (depth & ~7) * 4;
  let at = 0;
  for (; at < whole; at += 32) {
    const v0 = v128.load(vector + at);
    const v1 = v128.load(vector + at, 16);
    s00 = madd(v0, v128.load(row0 + at), s00);
    s01 = madd(v1, v128.load(row0 + at, 16), s01);
    s10 = madd(v0, v128.load(row1 + at), s10);
    s11 = madd(v1, v128.load(row1 + at, 16), s11);
    s20 = madd(v0, v128.load(row2 + at), s20);
    s21 = madd(v1, v128.load(row2 + at, 16), s21);
    s30 = madd(v0, v128.load(row3 + at), s30);
    s31 = madd(v1, v128.load(row3 + at, 16), s31);
  }
  let t0 = sum(f32x4.add(s00, s01));
  let t1 = sum(f32x4.add(s10, s11));
  let t2 = sum(f32x4.add(s20, s21));
  let t3 = sum(f32x4.add(s30, s31));
  for (; at < depth * 4; at += 4) {
    const v = load<f32>(vector + at);
    t0 += v * load<f32>(row0 + at);
    t1 += v * load<f32>(row1 + at);
    t2 += v * load<f32>(row2 + at);
    t3 += v * load<f32>(row3 + at);
  }
  store<f32>(out, load<f32>(out) + t0);
  out += outStep;
  store<f32>(out, load<f32>(out) + t1);
  out += outStep;
  store<f32>(out, load<f32>(out) + t2);
  out += outStep;
  store<f32>(out, load<f32>(out) + t3);
}

/** The same order of sums as dot4, for the rows left over. */
function dot1(out: usize, row: usize, vector: usize, depth: i32): void {
  let s0 = f32x4.splat(0);
  let s1 = f32x4.splat(0);
  const whole = (depth & ~7) * 4;
  let at = 0;
  for (; at < whole; at += 32) {
    s0 = madd(v128.load(vector + at), v128.load(row + at), s0);
    s1 = madd(v128.load(vector + at, 16), v128.load(row + at, 16), s1);
  }
  let t = sum(f32x4.add(s0, s1));
  for (; at < depth * 4; at += 4) t += load<f32>(vector + at) * load<f32>(row + at);
  store<f32>(out, load<f32>(out) + t);
}

// Rows that are added in scratch before they go on, and columns that scratch holds.
const addDepth: i32 = 256;
const addCols: i32 = 16384;

/** out (n) += vector (k) · matrix (k, n), whose rows are contiguous, in blocks that each begin at 0. */
export function addBlocks(
  out: usize,
  matrix: usize,
  matrixRow: i32,
  n: i32,
  vector: usize,
  vectorStep: i32,
  k: i32,
  scratch: usize,
): void {
  if (k <= addDepth) {
    addRows(out, matrix, matrixRow, n, vector, vectorStep, k);
    return;
  }
  for (let j = 0; j < n; j += addCols) {
    const cols = min(addCols, n - j);
    for (let l = 0; l < k; l += addDepth) {
      const block = matrix + l * matrixRow + j * 4;
      memory.fill(scratch, 0, cols * 4);
      addRows(scratch, block, matrixRow, cols, vector + l * vectorStep, vectorStep, min(addDepth, k - l));
      const to = out + j * 4;
      for (let i = 0; i < cols; i += 4)
        Lanes.store(to + i * 4, f32x4.add(v128.load(to + i * 4), v128.load(scratch + i * 4)), cols - i);
    }
  }
}

/** out (n) += vector (k) · matrix (k, n), whose rows are contiguous: four rows a pass over out, in order of k. */
function addRows(
  out: usize,
  matrix: usize,
  matrixRow: i32,
  n: i32,
  vector: usize,
  vectorStep: i32,
  k: i32,
): void {
  const whole = (n & ~3) * 4;
  const end = n * 4;
  let l = 0;
  for (; l + 4 <= k; l += 4) {
    const row0 = matrix + l * matrixRow;
    const row1 = row0 + matrixRow;
    const row2 = row1 + matrixRow;
    const row3 = row2 + matrixRow;
    const at = vector + l * vectorStep;
    const x0 = load<f32>(at);
    const x1 = load<f32>(at + vectorStep);
    const x2 = load<f32>(at + 2 * vectorStep);
    const x3 = load<f32>(at + 3 * vectorStep);
    const v0 = f32x4.splat(x0);
    const v1 = f32x4.splat(x1);
    const v2 = f32x4.splat(x2);
    const v3 = f32x4.splat(x3);
    let j = 0;
    for (; j < whole; j += 16) {
      const s0 = madd(v0, v128.load(row0 + j), v128.load(out + j));
      const s1 = madd(v1, v128.load(row1 + j), s0);
      const s2 = madd(v2, v128.load(row2 + j), s1);
      v128.store(out + j, madd(v3, v128.load(row3 + j), s2));
    }
    for (; j < end; j += 4) {
      const s = load<f32>(out + j) + x0 * load<f32>(row0 + j) + x1 * load<f32>(row1 + j);
      store<f32>(out + j, s + x2 * load<f32>(row2 + j) + x3 * load<f32>(row3 + j));
    }
  }
  for (; l < k; l++) {
    const row = matrix + l * matrixRow;
    const x = load<f32>(vector + l * vectorStep);
    const v = f32x4.splat(x);
    let j = 0;
    for (; j < whole; j += 16) v128.store(out + j, madd(v, v128.load(row + j), v128.load(out + j)));
    for (; j < end; j += 4) store<f32>(out + j, load<f32>(out + j) + x * load<f32>(row + j));
  }
}
