/**
 * The float32 matrix product on the heap, in AssemblyScript. kernels/gemm-f32/index.ts states the contract.
 *
 * Both operands are packed into panels, A in groups of `tileRows` rows and B in groups of 8 columns, depth-major, the
 * last group padded with zeros, so that the register tile reads two streams in order. Every sum runs in order of k,
 * through blocks of `blockDepth` whose partial sums are stored in out; nothing else decides its bits.
 * Addresses and steps are bytes, sizes are elements.
 */

// A 4 x 8 tile fills the 16 vector registers of x64 without spills; a fused multiply-add needs no product register,
// and has room for 6 x 8.
const tileRows: i32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 4;
const tileCols: i32 = 8;
// A block and the B panel in use stay in the second and first level caches. The rows are a multiple of 4 and of 6.
const blockRows: i32 = 192;
const blockCols: i32 = 512;
const blockDepth: i32 = 256;

// The scratch: a row of zeros, one tile for ragged edges, the A block, the B block.
const edgeAt: usize = 64;
const panelAAt: usize = 256;
const panelBAt: usize = panelAAt + blockRows * blockDepth * 4;
const scratchEnd: usize = panelBAt + blockCols * blockDepth * 4;
// Vectors gathered by the narrow paths lie where the panels would.
const gatherDepth: i32 = 4096;

const transposeAFlag: i32 = 1;
const transposeBFlag: i32 = 2;
const accumulateFlag: i32 = 4;
const packedFlag: i32 = 8;

/** Bytes of scratch `gemm` needs, 64-byte aligned, with any content. */
export function scratchBytes(): i32 {
  return scratchEnd as i32;
}

/** Bytes of the panels of a (k, n) operand. */
export function packedBytes(n: i32, k: i32): i32 {
  return ((n + 7) & ~7) * k * 4;
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
    else if (m <= 3) {
      clear(out, step, m, n, flags, bias);
      if (bRow === 4) dots(out, step, 4, b, bCol, n, a, aRow, aCol, m, k, scratch);
      else for (let r = 0; r < m; r++) addRows(out + r * step, b, bRow, n, a + r * aRow, aCol, k);
    } else if (n <= 4 && aCol === 4) {
      clear(out, step, m, n, flags, bias);
      dots(out, 4, step, a, aRow, m, b, bCol, bRow, n, k, scratch);
    } else if (n === 1 && step === 4) {
      clear(out, step, m, n, flags, bias);
      addRows(out, a, aCol, m, b, bRow, k);
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

/** out (rows, cols) = from + A panel · B panel, `from` read with its own steps. */
function tiles(
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
  for (let j = 0; j < cols; j += tileCols) {
    const b = panelB + j * depth * 4;
    for (let i = 0; i < rows; i += tileRows) {
      const a = panelA + i * depth * 4;
      const to = out + i * step + j * 4;
      const start = from + i * fromStep + j * fromCol;
      const h = min(tileRows, rows - i);
      const w = min(tileCols, cols - j);
      if (h === tileRows && w === tileCols) tile(to, step, start, fromStep, a, b, depth);
      else {
        // Lanes beyond the edge hold whatever was there: they are computed and dropped.
        copyTile(edge, tileCols * 4, start, fromStep, h, w);
        tile(edge, tileCols * 4, edge, tileCols * 4, a, b, depth);
        copyTile(to, step, edge, tileCols * 4, h, w);
      }
    }
  }
}

function copyTile(to: usize, toStep: i32, from: usize, fromStep: i32, h: i32, w: i32): void {
  for (let i = 0; i < h; i++, to += toStep, from += fromStep)
    for (let j = 0; j < w * 4; j += 4) store<f32>(to + j, load<f32>(from + j));
}

function madd(a: v128, b: v128, c: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? f32x4.relaxed_madd(a, b, c) : f32x4.add(c, f32x4.mul(a, b));
}

function tile(out: usize, step: i32, from: usize, fromStep: i32, a: usize, b: usize, depth: i32): void {
  const end = a + depth * (tileRows * 4);
  let c00 = v128.load(from);
  let c01 = v128.load(from, 16);
  from += fromStep;
  let c10 = v128.load(from);
  let c11 = v128.load(from, 16);
  from += fromStep;
  let c20 = v128.load(from);
  let c21 = v128.load(from, 16);
  from += fromStep;
  let c30 = v128.load(from);
  let c31 = v128.load(from, 16);
  if (ASC_FEATURE_RELAXED_SIMD) {
    from += fromStep;
    let c40 = v128.load(from);
    let c41 = v128.load(from, 16);
    from += fromStep;
    let c50 = v128.load(from);
    let c51 = v128.load(from, 16);
    while (a < end) {
      const b0 = v128.load(b);
      const b1 = v128.load(b, 16);
      const a0 = v128.load32_splat(a);
      c00 = madd(a0, b0, c00);
      c01 = madd(a0, b1, c01);
      const a1 = v128.load32_splat(a, 4);
      c10 = madd(a1, b0, c10);
      c11 = madd(a1, b1, c11);
      const a2 = v128.load32_splat(a, 8);
      c20 = madd(a2, b0, c20);
      c21 = madd(a2, b1, c21);
      const a3 = v128.load32_splat(a, 12);
      c30 = madd(a3, b0, c30);
      c31 = madd(a3, b1, c31);
      const a4 = v128.load32_splat(a, 16);
      c40 = madd(a4, b0, c40);
      c41 = madd(a4, b1, c41);
      const a5 = v128.load32_splat(a, 20);
      c50 = madd(a5, b0, c50);
      c51 = madd(a5, b1, c51);
      a += 24;
      b += 32;
    }
    v128.store(out + 4 * step, c40);
    v128.store(out + 4 * step, c41, 16);
    v128.store(out + 5 * step, c50);
    v128.store(out + 5 * step, c51, 16);
  } else {
    while (a < end) {
      const b0 = v128.load(b);
      const b1 = v128.load(b, 16);
      const a0 = v128.load32_splat(a);
      c00 = madd(a0, b0, c00);
      c01 = madd(a0, b1, c01);
      const a1 = v128.load32_splat(a, 4);
      c10 = madd(a1, b0, c10);
      c11 = madd(a1, b1, c11);
      const a2 = v128.load32_splat(a, 8);
      c20 = madd(a2, b0, c20);
      c21 = madd(a2, b1, c21);
      const a3 = v128.load32_splat(a, 12);
      c30 = madd(a3, b0, c30);
      c31 = madd(a3, b1, c31);
      a += 16;
      b += 32;
    }
  }
  v128.store(out, c00);
  v128.store(out, c01, 16);
  out += step;
  v128.store(out, c10);
  v128.store(out, c11, 16);
  out += step;
  v128.store(out, c20);
  v128.store(out, c21, 16);
  out += step;
  v128.store(out, c30);
  v128.store(out, c31, 16);
}

function packRows(to: usize, from: usize, lanes: i32, depth: i32, laneStep: i32, depthStep: i32): void {
  for (let i = 0; i < lanes; i += tileRows) {
    const group = to + i * depth * 4;
    const start = from + i * laneStep;
    if (lanes - i < tileRows) packEdge(group, tileRows, start, lanes - i, depth, laneStep, depthStep);
    else {
      pack4(group, tileRows * 4, start, depth, laneStep, depthStep);
      if (tileRows === 6) pack2(group + 16, start + 4 * laneStep, depth, laneStep, depthStep);
    }
  }
}

function packColumns(to: usize, from: usize, lanes: i32, depth: i32, laneStep: i32, depthStep: i32): void {
  for (let j = 0; j < lanes; j += tileCols) {
    const group = to + j * depth * 4;
    const start = from + j * laneStep;
    if (lanes - j < tileCols) packEdge(group, tileCols, start, lanes - j, depth, laneStep, depthStep);
    else if (laneStep === 4) pack8(group, start, depth, depthStep);
    else {
      pack4(group, 32, start, depth, laneStep, depthStep);
      pack4(group + 16, 32, start + 4 * laneStep, depth, laneStep, depthStep);
    }
  }
}

function packEdge(
  to: usize,
  width: i32,
  from: usize,
  lanes: i32,
  depth: i32,
  laneStep: i32,
  depthStep: i32,
): void {
  const step = width * 4;
  for (let lane = 0; lane < width; lane++) {
    let at = to + lane * 4;
    let source = from + lane * laneStep;
    if (lane < lanes)
      for (let d = 0; d < depth; d++, at += step, source += depthStep) store<f32>(at, load<f32>(source));
    else for (let d = 0; d < depth; d++, at += step) store<f32>(at, 0);
  }
}

/** Eight adjacent columns. */
function pack8(to: usize, from: usize, depth: i32, depthStep: i32): void {
  const end = to + depth * 32;
  for (; to < end; to += 32, from += depthStep) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
  }
}

/** Four lanes, one step of the source being an element. */
function pack4(to: usize, toStep: i32, from: usize, depth: i32, laneStep: i32, depthStep: i32): void {
  if (laneStep === 4) {
    for (let d = 0; d < depth; d++, to += toStep, from += depthStep) v128.store(to, v128.load(from));
    return;
  }
  const from1 = from + laneStep;
  const from2 = from1 + laneStep;
  const from3 = from2 + laneStep;
  const whole = (depth & ~3) * 4;
  let at = 0;
  for (; at < whole; at += 16) {
    const r0 = v128.load(from + at);
    const r1 = v128.load(from1 + at);
    const r2 = v128.load(from2 + at);
    const r3 = v128.load(from3 + at);
    const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
    const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
    const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
    const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
    v128.store(to, v128.shuffle<i64>(low01, low23, 0, 2));
    to += toStep;
    v128.store(to, v128.shuffle<i64>(low01, low23, 1, 3));
    to += toStep;
    v128.store(to, v128.shuffle<i64>(high01, high23, 0, 2));
    to += toStep;
    v128.store(to, v128.shuffle<i64>(high01, high23, 1, 3));
    to += toStep;
  }
  for (; at < depth * 4; at += 4, to += toStep) {
    store<f32>(to, load<f32>(from + at));
    store<f32>(to, load<f32>(from1 + at), 4);
    store<f32>(to, load<f32>(from2 + at), 8);
    store<f32>(to, load<f32>(from3 + at), 12);
  }
}

/** The last two lanes of a group of six. */
function pack2(to: usize, from: usize, depth: i32, laneStep: i32, depthStep: i32): void {
  for (let d = 0; d < depth; d++, to += 24, from += depthStep) {
    store<f32>(to, load<f32>(from));
    store<f32>(to, load<f32>(from + laneStep), 4);
  }
}

/**
 * out[r, v] += sum of row r of the matrix times vector v, for few vectors: rows are read once and nothing is packed.
 * Sums run over eight interleaved parts, then over them.
 */
function dots(
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
      const gathered = scratch + panelAAt;
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
