/** What the SIMD passes over attention share: operands at heap addresses, blocks of query rows, and their products. */

import { gemmExports, packB } from "../gemm-f32/simd.ts";
import { free, work } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inTasks } from "../wasm/parallel.ts";
import { staged } from "../wasm/staging.ts";
import { type AttentionOptions, type AttentionSizes, layoutOf, type Steps } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface AttentionExports {
  expRows(...blockAndStats: number[]): void;
  probabilities(...blockAndLse: number[]): void;
  divideRows(out: number, step: number, rows: number, n: number, stats: number): void;
  scoreGradients(
    dScores: number,
    p: number,
    ld: number,
    rows: number,
    keys: number,
    dOut: number,
    out: number,
    step: number,
    n: number,
    scale: number,
  ): void;
}

export const attentionExports = /* @__PURE__ */ wasmKernel<AttentionExports>(bytes);

/** The compiled code of both folders, of one build. */
export interface AttentionCode {
  attention: AttentionExports;
  gemm: NonNullable<ReturnType<typeof gemmExports>>;
}

/** Null where the build cannot run. */
export function attentionCode(build?: "plain" | "relaxed"): AttentionCode | null {
  const attention = attentionExports(build);
  const gemm = gemmExports(build);
  return attention === null || gemm === null ? null : { attention, gemm };
}

// Whole tiles of 5 and of 6 rows.
const blockRows = 30;
// Up to here panels are one block deep, and those of the first keys are the first of all panels.
const packedDepth = 256;
// With fewer query rows to a key head packing costs more than it saves.
const packedRows = 16;

/** An operand, and how much of it is read or written. */
export interface Operand extends Steps {
  /** Features of a row. */
  readonly width: number;
  readonly length: number;
}

/** The same on the heap. */
export interface Placed extends Operand {
  readonly address: number;
}

/** How q, k, v and out lie. */
export function operandsOf(sizes: AttentionSizes): Record<"q" | "k" | "v" | "out", Operand> {
  const { b, h, hkv, tq, tk, d, dv } = sizes;
  const { q, k, v, out } = layoutOf(sizes);
  const operand = (steps: Steps, heads: number, rows: number, width: number): Operand => {
    const last = (b - 1) * steps.batch + (heads - 1) * steps.head + (rows - 1) * steps.row + width;
    return { ...steps, width, length: b * heads * rows === 0 ? 0 : last };
  };
  return {
    q: operand(q, h, tq, d),
    k: operand(k, hkv, tk, d),
    v: operand(v, hkv, tk, dv),
    out: operand(out, h, tq, dv),
  };
}

/** Everything at heap addresses; the code writes down a task for the threads, or runs. */
export interface Job extends AttentionCode {
  /** Scratch of the products. */
  products: number;
  /** Ends the task of a key head. */
  next: () => void;
  sizes: AttentionSizes;
  options: AttentionOptions;
  mask: number;
  /** Elements between rows of a block. */
  ld: number;
}

/** Query rows of one head, which read the first `keys` of a key head. */
export interface Block {
  batch: number;
  head: number;
  keyHead: number;
  firstRow: number;
  /** The first row among the rows of all heads. */
  queryRow: number;
  rows: number;
  keys: number;
}

export const headAt = (x: Placed, batch: number, head: number): number =>
  x.address + (batch * x.batch + head * x.head) * 4;

/** Where the rows of a block begin. */
export const rowsAt = (x: Placed, { batch, head, firstRow }: Block): number =>
  headAt(x, batch, head) + firstRow * x.row * 4;

/** The key heads in turn, each as a task: `begin`, then its blocks. */
export function eachBlock(
  { sizes, options, next }: Job,
  begin: (batch: number, keyHead: number) => void,
  run: (block: Block) => void,
): void {
  const { b, h, hkv, tq, tk } = sizes;
  const share = h / hkv;
  for (let batch = 0; batch < b; batch++)
    for (let keyHead = 0; keyHead < hkv; keyHead++) {
      begin(batch, keyHead);
      for (let head = keyHead * share; head < (keyHead + 1) * share; head++)
        for (let firstRow = 0; firstRow < tq; firstRow += blockRows) {
          const rows = Math.min(blockRows, tq - firstRow);
          const keys = options.causal ? Math.max(0, Math.min(tk, firstRow + rows + tk - tq)) : tk;
          run({ batch, head, keyHead, firstRow, queryRow: (batch * h + head) * tq + firstRow, rows, keys });
        }
      next();
    }
}

// Flags of the gemm export.
export const transposeA = 1;
export const transposeB = 2;
export const accumulate = 4;
const packed = 8;

/** out (m, n) = a · b, by the export itself: to make a shape takes as long as a small product. */
export function product(
  { gemm, products }: Job,
  out: number,
  a: number,
  b: number,
  m: number,
  n: number,
  k: number,
  lda: number,
  ldb: number,
  ldOut: number,
  flags = 0,
): void {
  gemm.gemm(out, a, b, m, n, k, lda, ldb, ldOut, flags, 0, 1, 0, 0, 0, products);
}

export const packs = (depth: number, { h, hkv, tq }: AttentionSizes): boolean =>
  depth <= packedDepth && depth > 0 && (tq * h) / hkv >= packedRows;

/** Lays the panels of a key head's rows, for products with its transpose; at 0 there are none. */
export function packKeys({ gemm, sizes }: Job, panels: number, keys: Placed, batch: number, head: number) {
  if (panels === 0) return;
  packB(
    panels,
    headAt(keys, batch, head),
    { n: sizes.tk, k: keys.width, transposeB: true, ldb: keys.row },
    gemm,
  );
}

/** scores (rows, keys) = x (rows, width) · keysᵀ, by the panels where there are some. */
export function timesKeys(
  job: Job,
  scores: number,
  x: Placed,
  keys: Placed,
  panels: number,
  block: Block,
): void {
  const from = panels === 0 ? headAt(keys, block.batch, block.keyHead) : panels;
  const flags = panels === 0 ? transposeB : packed;
  product(
    job,
    scores,
    rowsAt(x, block),
    from,
    block.rows,
    block.keys,
    x.width,
    x.row,
    keys.row,
    job.ld,
    flags,
  );
}

const noSteps = [0, 0, 0, 0] as const;

/** Scales the scores of a block, adds the mask, hides, and takes exp of each row, by one of the exports. */
export function finishScores(
  { sizes, options, mask, ld }: Job,
  run: (...args: number[]) => void,
  scores: number,
  { batch, head, firstRow, rows, keys }: Block,
  to: number,
): void {
  const { causal, scale } = options;
  const [stepB, stepH, stepQ, stepK] = options.mask?.strides ?? noSteps;
  const seen = causal ? firstRow + sizes.tk - sizes.tq + 1 : keys;
  const at = mask === 0 ? 0 : mask + (batch * stepB + head * stepH + firstRow * stepQ) * 4;
  run(scores, ld, rows, keys, seen, causal ? 1 : 0, Math.fround(scale), at, stepQ * 4, stepK * 4, to);
}

/** Bytes of the scores of a block. */
export const blockBytes = ({ tq, tk }: AttentionSizes): number =>
  Math.min(blockRows, tq) * Math.ceil(tk / 4) * 16 + 64;

/** Nanoseconds one thread takes, about, for one product of each kind. */
const cost = ({ b, h, tq, tk, d, dv }: AttentionSizes, { causal }: AttentionOptions): number =>
  b * h * tq * tk * (1 + (d + dv) * 0.04) * (causal ? 0.5 : 1);

/** An array, how it lies, and whether it is a result. */
export type Given = readonly [array: Float32Array, operand: Operand, isResult?: boolean];

/**
 * Stages what every direction reads, takes `rowBytes` for each query row of all heads and `scratchSizes` bytes for each
 * task, has `tasks` do the work and calls `end`, which may refuse it; false where it did, or where the heap has no room.
 */
export function onHeap(
  code: AttentionCode,
  sizes: AttentionSizes,
  options: AttentionOptions,
  rowBytes: number,
  scratchSizes: readonly number[],
  given: readonly Given[],
  tasks: (job: Job, operands: readonly Placed[], rows: number, spaces: readonly number[]) => void,
  end: (rows: number) => boolean = () => true,
): boolean {
  const mask = options.mask?.data;
  if (mask !== undefined && !(mask instanceof Float32Array)) return false;
  const offsets: number[] = [];
  let total = 0;
  for (const size of [code.gemm.scratchBytes(), ...scratchSizes]) {
    offsets.push(total);
    total += Math.ceil(size / 64) * 64;
  }
  return staged((staging) => {
    const placed = given.map(([array, operand, isResult]): Placed => {
      const { length } = operand;
      const address = isResult ? staging.output(array, 0, length, false) : staging.input(array, 0, length);
      return { ...operand, address };
    });
    const maskAt = mask === undefined ? 0 : staging.input(mask, 0, mask.length);
    if (placed.some(({ address }) => address === 0) || (mask !== undefined && maskAt === 0)) return false;
    const rows = work(sizes.b * sizes.h * sizes.tq * rowBytes);
    if (rows === 0) return false;
    const ld = Math.ceil(sizes.tk / 4) * 4;
    try {
      const done = inTasks(cost(sizes, options), total, Object.values(code), ({ of, local, next }) => {
        const [products, ...spaces] = offsets.map((offset) => local + offset);
        const own = { attention: of(code.attention), gemm: of(code.gemm), products, next };
        tasks(
          { ...own, sizes, options, mask: maskAt, ld },
          placed,
          rows,
          spaces.map((at, i) => (scratchSizes[i] === 0 ? 0 : at)),
        );
      });
      return done && end(rows);
    } finally {
      free(rows);
    }
  });
}
