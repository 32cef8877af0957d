/**
 * A product as tasks for the threads. Each sum runs in the order it has in one call, on the path that the whole product
 * would take, so the bits are the same.
 */

import { free, work } from "../wasm/heap.ts";
import { inTasks, isWorthThreads } from "../wasm/parallel.ts";

/** What simd.as.ts exports. */
export interface GemmExports {
  scratchBytes(): number;
  packB(to: number, b: number, n: number, k: number, ldb: number, transposed: number): void;
  gemm(
    out: number,
    a: number,
    b: number,
    m: number,
    n: number,
    k: number,
    lda: number,
    ldb: number,
    ldOut: number,
    flags: number,
    bias: number,
    batch: number,
    batchA: number,
    batchB: number,
    batchOut: number,
    scratch: number,
  ): void;
}

/** A product of matrices on the heap. Sizes and strides are in elements; what is left out says contiguous. */
export interface HeapGemm {
  m: number;
  n: number;
  k: number;
  transposeA?: boolean;
  transposeB?: boolean;
  /** Distances between the rows of the stored matrices. */
  lda?: number;
  ldb?: number;
  ldOut?: number;
  /** Start from what out holds. */
  accumulate?: boolean;
  /** Start every row from these n values; not with `accumulate`. 0 is none. */
  bias?: number;
  /** b holds panels that `packB` made: the same bits from 8 rows on, and there it pays. */
  packed?: boolean;
  /** So many products, one after another, and the distances between their matrices; 0 repeats one. */
  batch?: number;
  batchA?: number;
  batchB?: number;
  batchOut?: number;
}

export type FullShape = Required<HeapGemm>;

// As simd.as.ts: the depth blocks of panels, and which products pack nothing.
const blockDepth = 256;
const fewRows = 7;
export const fewCols = 4;
// Whole tiles of 5 or of 6 rows, and whole panels.
export const rowUnit = 30;
export const colUnit = 64;
const fewTasks = 8;

export interface Range {
  first: number;
  length: number;
}

interface Part {
  rows: Range;
  cols: Range;
  batch: Range;
}

const all = (length: number): Range => ({ first: 0, length });

/** Nanoseconds one thread takes, about: by its sums, and by what it reads. */
export const gemmCost = ({ m, n, k, batch }: FullShape): number =>
  batch * (m * n * k * 0.04 + (m * k + n * k) * 0.2);

export function callGemm(
  exports: GemmExports,
  out: number,
  a: number,
  b: number,
  s: FullShape,
  space: number,
): void {
  const flags = (s.transposeA ? 1 : 0) | (s.transposeB ? 2 : 0) | (s.accumulate ? 4 : 0) | (s.packed ? 8 : 0);
  exports.gemm(
    out,
    a,
    b,
    s.m,
    s.n,
    s.k,
    s.lda,
    s.ldb,
    s.ldOut,
    flags,
    s.bias,
    s.batch,
    s.batchA,
    s.batchB,
    s.batchOut,
    space,
  );
}

/**
 * Ranges that make up `size`, each of whole `unit`s but for the last, which has more. Threads take the last first; the first
 * are the smallest, so that all end at about the same time.
 */
export function ranges(size: number, unit: number, count: number): Range[] {
  const found: Range[] = [];
  for (let end = size; end > 0; ) {
    const first = Math.max(0, Math.floor((end - Math.max(unit, end / count)) / unit) * unit);
    found.unshift({ first, length: end - first });
    end = first;
  }
  return found;
}

/** The part of a product: fewer rows, columns and batches of it. */
function callPart(
  exports: GemmExports,
  out: number,
  a: number,
  b: number,
  s: FullShape,
  { rows, cols, batch }: Part,
  space: number,
): void {
  callGemm(
    exports,
    out + (batch.first * s.batchOut + rows.first * s.ldOut + cols.first) * 4,
    a + (batch.first * s.batchA + rows.first * (s.transposeA ? 1 : s.lda)) * 4,
    b + (batch.first * s.batchB + cols.first * (s.transposeB ? s.ldb : 1)) * 4,
    {
      ...s,
      m: rows.length,
      n: cols.length,
      batch: batch.length,
      bias: s.bias === 0 ? 0 : s.bias + cols.first * 4,
    },
    space,
  );
}

/** The part of a product whose second operand is in panels: a call for each block of the depth. */
function callPanels(
  exports: GemmExports,
  out: number,
  a: number,
  panels: number,
  s: FullShape,
  { rows, cols }: Part,
  space: number,
): void {
  const width = Math.ceil(s.n / 8) * 8;
  const to = out + (rows.first * s.ldOut + cols.first) * 4;
  const bias = s.bias === 0 ? 0 : s.bias + cols.first * 4;
  const from = a + rows.first * (s.transposeA ? 1 : s.lda) * 4;
  const step = s.transposeA ? s.lda : 1;
  for (let k0 = 0; k0 < s.k; k0 += blockDepth) {
    const k = Math.min(blockDepth, s.k - k0);
    const part = {
      ...s,
      m: rows.length,
      n: cols.length,
      k,
      bias,
      accumulate: s.accumulate || k0 > 0,
      packed: true,
    };
    const block = panels + (k0 * width + cols.first * k) * 4;
    callGemm(exports, to, from + k0 * step * 4, block, part, space);
  }
}

/** The parts of a product that packs its operands for itself. */
function partsOf({ m, n, batch, packed }: FullShape): Part[] {
  const count = Math.max(1, Math.ceil(fewTasks / batch));
  let rows = [all(m)];
  let cols = [all(n)];
  if (packed || m > fewRows)
    rows = ranges(m, n <= fewCols ? colUnit : batch > 1 ? 4 * rowUnit : rowUnit, count);
  else cols = ranges(n, colUnit, count);
  const batches = ranges(batch, 1, fewTasks);
  return batches.flatMap((b) => rows.flatMap((r) => cols.map((c) => ({ rows: r, cols: c, batch: b }))));
}

/** The whole product on the threads; false, with nothing done, where one thread is to do it. */
export function splitGemm(exports: GemmExports, out: number, a: number, b: number, s: FullShape): boolean {
  const cost = gemmCost(s);
  // Batches that add to one output go one after another.
  if (!isWorthThreads(cost) || (s.batch > 1 && s.batchOut === 0)) return false;
  const run = (parts: readonly Part[], call: typeof callPart, from: number): boolean =>
    inTasks(cost, exports.scratchBytes(), [exports], (job) => {
      for (const part of parts) {
        call(job.of(exports), out, a, from, s, part, job.local);
        job.next();
      }
    });
  if (s.batch > 1 || s.m <= fewRows || s.n <= fewCols) return run(partsOf(s), callPart, b);
  const rows = ranges(s.m, rowUnit, fewTasks);
  const cols = rows.length < fewTasks ? ranges(s.n, colUnit, fewTasks / rows.length) : [all(s.n)];
  const parts = rows.flatMap((r) => cols.map((c) => ({ rows: r, cols: c, batch: all(1) })));
  if (s.packed) return run(parts, callPanels, b);
  const panels = work(Math.ceil(s.n / 8) * 8 * s.k * 4);
  if (panels === 0) return false;
  try {
    return packAll(exports, panels, b, s) && run(parts, callPanels, panels);
  } finally {
    free(panels);
  }
}

/** Packs b once for all tasks. */
function packAll(exports: GemmExports, to: number, b: number, s: FullShape): boolean {
  const width = Math.ceil(s.n / 8) * 8;
  const [lane, step] = s.transposeB ? [s.ldb, 1] : [1, s.ldb];
  return inTasks(s.n * s.k * 0.5, 0, [exports], (job) => {
    for (let k0 = 0; k0 < s.k; k0 += blockDepth)
      for (const { first, length } of ranges(s.n, colUnit, fewTasks / 2)) {
        const k = Math.min(blockDepth, s.k - k0);
        const from = b + (first * lane + k0 * step) * 4;
        job
          .of(exports)
          .packB(to + (k0 * width + first * k) * 4, from, length, k, s.ldb, s.transposeB ? 1 : 0);
        job.next();
      }
  });
}
