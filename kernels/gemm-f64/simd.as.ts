/**
 * The matrix product in double precision on the heap, in AssemblyScript; kernels/gemm-f32/reference.ts states the contract.
 * Both operands are made doubles while they are packed into panels, depth-major groups of `tileRows` rows of A and
 * `tileCols` columns of B, the last group padded with zeros. Every sum runs in order of k, product by product, as the
 * reference's does: the bits are the same. Steps are elements.
 */

const tileRows: i32 = 5;
const tileCols: i32 = 4;
const blockRows: i32 = 60;
const blockCols: i32 = 256;
const blockDepth: i32 = 128;

// The scratch: a tile for ragged edges, and the panels of A and B.
const edgeStep: usize = tileCols * 8;
const panelAAt: usize = 192;
const panelBAt: usize = panelAAt + blockRows * blockDepth * 8;
const scratchEnd: usize = panelBAt + blockCols * blockDepth * 8;

// What the elements of an operand are.
const float64Kind: i32 = 0;
const float32Kind: i32 = 1;
const int8Kind: i32 = 2;
const uint8Kind: i32 = 3;
const int32Kind: i32 = 4;

/** Bytes of scratch `gemm` needs, with any content. */
export function scratchBytes(): i32 {
  return scratchEnd as i32;
}

/** out (m, n) of doubles = op(a) (m, k) · op(b) (k, n), or out + that. */
export function gemm(
  out: usize,
  a: usize,
  aKind: i32,
  aRow: i32,
  aCol: i32,
  b: usize,
  bKind: i32,
  bRow: i32,
  bCol: i32,
  m: i32,
  n: i32,
  k: i32,
  accumulate: i32,
  scratch: usize,
): void {
  const panelA = scratch + panelAAt;
  const panelB = scratch + panelBAt;
  const step = (n as usize) * 8;
  if (!accumulate) memory.fill(out, 0, m * step);
  for (let j0 = 0; j0 < n; j0 += blockCols) {
    const cols = min(blockCols, n - j0);
    for (let k0 = 0; k0 < k; k0 += blockDepth) {
      const depth = min(blockDepth, k - k0);
      const bAt = (k0 as usize) * bRow + (j0 as usize) * bCol;
      packed(panelB, tileCols, b, bKind, bAt, bCol, bRow, cols, depth);
      for (let i0 = 0; i0 < m; i0 += blockRows) {
        const rows = min(blockRows, m - i0);
        const aAt = (i0 as usize) * aRow + (k0 as usize) * aCol;
        packed(panelA, tileRows, a, aKind, aAt, aRow, aCol, rows, depth);
        tiles(out + i0 * step + j0 * 8, step, panelA, panelB, rows, cols, depth, scratch);
      }
    }
  }
}

/**
 * out (rows, cols) += A panel · B panel. Lanes of the edge beyond out hold what they will: they are computed and dropped.
 */
function tiles(
  out: usize,
  step: usize,
  panelA: usize,
  panelB: usize,
  rows: i32,
  cols: i32,
  depth: i32,
  edge: usize,
): void {
  for (let j = 0; j < cols; j += tileCols) {
    const b = panelB + j * depth * 8;
    const w = min(tileCols, cols - j) * 8;
    for (let i = 0; i < rows; i += tileRows) {
      const a = panelA + i * depth * 8;
      const to = out + i * step + j * 8;
      const h = min(tileRows, rows - i);
      if (h === tileRows && w === tileCols * 8) tile(to, step, a, b, depth);
      else {
        for (let r = 0; r < h; r++) memory.copy(edge + r * edgeStep, to + r * step, w);
        tile(edge, edgeStep, a, b, depth);
        for (let r = 0; r < h; r++) memory.copy(to + r * step, edge + r * edgeStep, w);
      }
    }
  }
}

function packed(
  to: usize,
  width: i32,
  from: usize,
  kind: i32,
  offset: usize,
  laneStep: i32,
  depthStep: i32,
  lanes: i32,
  depth: i32,
): void {
  if (kind === float64Kind) pack<f64>(to, width, from + offset * 8, laneStep, depthStep, lanes, depth);
  else if (kind === float32Kind) pack<f32>(to, width, from + offset * 4, laneStep, depthStep, lanes, depth);
  else if (kind === int8Kind) pack<i8>(to, width, from + offset, laneStep, depthStep, lanes, depth);
  else if (kind === uint8Kind) pack<u8>(to, width, from + offset, laneStep, depthStep, lanes, depth);
  else if (kind === int32Kind) pack<i32>(to, width, from + offset * 4, laneStep, depthStep, lanes, depth);
  else pack<u32>(to, width, from + offset * 4, laneStep, depthStep, lanes, depth);
}

/** Lays lanes of `depth` numbers out in groups of `width`. */
function pack<T>(
  to: usize,
  width: i32,
  from: usize,
  laneStep: i32,
  depthStep: i32,
  lanes: i32,
  depth: i32,
): void {
  const lane = (laneStep as usize) * sizeof<T>();
  const step = (depthStep as usize) * sizeof<T>();
  const next = (width * 8) as usize;
  for (; lanes > 0; lanes -= width, from += width * lane) {
    const end = to + depth * next;
    if (lanes >= 4) {
      const four = width === 4 || lanes === 4;
      if (lanes < width) memory.fill(to, 0, depth * next);
      for (let at = from; to < end; to += next, at += step) {
        store<f64>(to, load<T>(at) as f64);
        store<f64>(to, load<T>(at + lane) as f64, 8);
        store<f64>(to, load<T>(at + 2 * lane) as f64, 16);
        store<f64>(to, load<T>(at + 3 * lane) as f64, 24);
        if (!four) store<f64>(to, load<T>(at + 4 * lane) as f64, 32);
      }
    } else {
      memory.fill(to, 0, depth * next);
      for (let at = from; to < end; to += next, at += step)
        for (let i = 0; i < lanes; i++) store<f64>(to + i * 8, load<T>(at + i * lane) as f64);
    }
  }
}

function tile(sums: usize, step: usize, a: usize, b: usize, depth: i32): void {
  const s1 = sums + step;
  const s2 = s1 + step;
  const s3 = s2 + step;
  const s4 = s3 + step;
  let c00 = v128.load(sums);
  let c01 = v128.load(sums, 16);
  let c10 = v128.load(s1);
  let c11 = v128.load(s1, 16);
  let c20 = v128.load(s2);
  let c21 = v128.load(s2, 16);
  let c30 = v128.load(s3);
  let c31 = v128.load(s3, 16);
  let c40 = v128.load(s4);
  let c41 = v128.load(s4, 16);
  const end = a + depth * (tileRows * 8);
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const a0 = v128.load64_splat(a);
    c00 = f64x2.add(c00, f64x2.mul(a0, b0));
    c01 = f64x2.add(c01, f64x2.mul(a0, b1));
    const a1 = v128.load64_splat(a, 8);
    c10 = f64x2.add(c10, f64x2.mul(a1, b0));
    c11 = f64x2.add(c11, f64x2.mul(a1, b1));
    const a2 = v128.load64_splat(a, 16);
    c20 = f64x2.add(c20, f64x2.mul(a2, b0));
    c21 = f64x2.add(c21, f64x2.mul(a2, b1));
    const a3 = v128.load64_splat(a, 24);
    c30 = f64x2.add(c30, f64x2.mul(a3, b0));
    c31 = f64x2.add(c31, f64x2.mul(a3, b1));
    const a4 = v128.load64_splat(a, 32);
    c40 = f64x2.add(c40, f64x2.mul(a4, b0));
    c41 = f64x2.add(c41, f64x2.mul(a4, b1));
    a += tileRows * 8;
    b += tileCols * 8;
  }
  v128.store(sums, c00);
  v128.store(sums, c01, 16);
  v128.store(s1, c10);
  v128.store(s1, c11, 16);
  v128.store(s2, c20);
  v128.store(s2, c21, 16);
  v128.store(s3, c30);
  v128.store(s3, c31, 16);
  v128.store(s4, c40);
  v128.store(s4, c41, 16);
}
