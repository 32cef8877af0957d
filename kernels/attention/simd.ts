/** SIMD attention and its gradients on float32: blocks of 32 query rows, products by gemm-f32, the rest by simd.as.ts. */

import type { FloatArray } from "../../src/dtype.ts";
import { gemmExports, gemmHeap, packB, packedBytes } from "../gemm-f32/simd.ts";
import { free, heapFloats, work } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inTasks } from "../wasm/parallel.ts";
import { type Staging, staged } from "../wasm/staging.ts";
import type { AttentionOptions, AttentionSizes } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface AttentionExports {
  expRows(...blockAndStats: number[]): void;
  probabilities(...blockAndLse: number[]): void;
  divideRows(out: number, rows: number, n: number, stats: number): void;
  scoreGradients(
    dScores: number,
    p: number,
    ld: number,
    rows: number,
    keys: number,
    dOut: number,
    out: number,
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

const blockRows = 32;
// Up to here panels are one block deep, and those of the first keys are the first of all panels.
const packedDepth = 256;
// With fewer query rows to a key head packing costs more than it saves.
const packedRows = 16;

const isFloat32 = (arrays: readonly FloatArray[]): arrays is Float32Array[] =>
  arrays.every((array) => array instanceof Float32Array);

/** An operand (keys, depth) of products with its transpose, in panels where that pays. */
interface Keys {
  address: number;
  panels: number;
  depth: number;
}

/** Everything at heap addresses; the code writes down a task for the threads, or runs. */
interface Job extends AttentionCode {
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

interface Block {
  /** Of all rows of all heads. */
  queryRow: number;
  rows: number;
  keys: number;
  seen: number;
  seenStep: number;
  mask: number;
}

function blockAt({ sizes, options, mask }: Job, batch: number, head: number, firstRow: number): Block {
  const { h, tq, tk } = sizes;
  const rows = Math.min(blockRows, tq - firstRow);
  const past = firstRow + tk - tq;
  const keys = options.causal ? Math.max(0, Math.min(tk, past + rows)) : tk;
  const [stepB, stepH, stepQ] = options.mask?.strides ?? [0, 0, 0];
  return {
    queryRow: (batch * h + head) * tq + firstRow,
    rows,
    keys,
    seen: options.causal ? past + 1 : keys,
    seenStep: options.causal ? 1 : 0,
    mask: mask === 0 ? 0 : mask + (batch * stepB + head * stepH + firstRow * stepQ) * 4,
  };
}

/** out (rows, keys) = x (rows, depth) · keysᵀ. */
function timesKeys(
  job: Job,
  out: number,
  x: number,
  { address, panels, depth }: Keys,
  { rows, keys }: Block,
) {
  const shape = { m: rows, n: keys, k: depth, transposeB: true, packed: panels !== 0, ldOut: job.ld };
  gemmHeap(out, x, panels === 0 ? address : panels, shape, job.gemm, job.products);
}

/** Calls `expRows` or `probabilities` on a block. */
function finishScores(job: Job, run: (...args: number[]) => void, scores: number, block: Block, to: number) {
  const { rows, keys, seen, seenStep, mask } = block;
  const [, , stepQ, stepK] = job.options.mask?.strides ?? [0, 0, 0, 0];
  const scale = Math.fround(job.options.scale);
  run(scores, job.ld, rows, keys, seen, seenStep, scale, mask, stepQ * 4, stepK * 4, to);
}

const packs = (depth: number, { h, hkv, tq }: AttentionSizes): boolean =>
  depth <= packedDepth && depth > 0 && (tq * h) / hkv >= packedRows;

function packKeys({ gemm, sizes }: Job, keys: Keys): void {
  const shape = { n: sizes.tk, k: keys.depth, transposeB: true };
  if (keys.panels !== 0) packB(keys.panels, keys.address, shape, gemm);
}

/** Nanoseconds one thread takes, about, for one product of each kind. */
const cost = ({ b, h, tq, tk, d, dv }: AttentionSizes, { causal }: AttentionOptions): number =>
  b * h * tq * tk * (1 + (d + dv) * 0.04) * (causal ? 0.5 : 1);

/**
 * Stages what every direction reads, takes `rowBytes` for each query row of all heads and `scratchSizes` bytes for each task,
 * has `tasks` do the work and calls `end`, which may refuse it; false where it did, or where the heap has no room.
 */
function onHeap(
  code: AttentionCode,
  sizes: AttentionSizes,
  options: AttentionOptions,
  rowBytes: number,
  scratchSizes: readonly number[],
  addAll: (staging: Staging) => number[],
  tasks: (job: Job, addresses: readonly number[], rows: number, spaces: readonly number[]) => void,
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
    const addresses = addAll(staging);
    const maskAt = mask === undefined ? 0 : staging.input(mask, 0, mask.length);
    if (addresses.includes(0) || (mask !== undefined && maskAt === 0)) return false;
    const rows = work(sizes.b * sizes.h * sizes.tq * rowBytes);
    if (rows === 0) return false;
    const ld = Math.ceil(sizes.tk / 4) * 4;
    try {
      const done = inTasks(cost(sizes, options), total, Object.values(code), ({ of, local, next }) => {
        const [products, ...spaces] = offsets.map((offset) => local + offset);
        const own = { attention: of(code.attention), gemm: of(code.gemm), products, next };
        tasks(
          { ...own, sizes, options, mask: maskAt, ld },
          addresses,
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

/** Whether scores of a row overflow float32, and the row is not one that sees no key. */
const overflows = (lse: number): boolean => lse !== Number.POSITIVE_INFINITY && !(Math.abs(lse) < 2 ** 127);

const blockBytes = ({ tq, tk }: AttentionSizes): number =>
  Math.min(blockRows, tq) * Math.ceil(tk / 4) * 16 + 64;

/** As in reference.ts, for float32 arrays, lse of either kind. False where it does not apply; results then hold anything. */
export function attention(
  out: FloatArray,
  lse: FloatArray,
  q: FloatArray,
  k: FloatArray,
  v: FloatArray,
  sizes: AttentionSizes,
  options: AttentionOptions,
  code = attentionCode(),
): boolean {
  const arrays = [out, q, k, v];
  if (code === null || !isFloat32(arrays)) return false;
  const { b, h, hkv, tq, tk, d, dv, rows: held = tk } = sizes;
  const read = Math.max(0, (b * hkv - 1) * held + tk);
  const spaces = [blockBytes(sizes), packs(d, sizes) ? packedBytes(tk, d) : 0];
  const addAll = (staging: Staging): number[] => [
    staging.output(arrays[0], 0, b * h * tq * dv, false),
    staging.input(arrays[1], 0, b * h * tq * d),
    staging.input(arrays[2], 0, read * d),
    staging.input(arrays[3], 0, read * dv),
  ];
  return onHeap(
    code,
    sizes,
    options,
    8,
    spaces,
    addAll,
    (job, [to, qAt, kAt, vAt], statistics, [scores, panels]) => {
      const share = h / hkv;
      for (let keyHead = 0; keyHead < b * hkv; keyHead++) {
        const keys = { address: kAt + keyHead * held * d * 4, panels, depth: d };
        packKeys(job, keys);
        for (let part = 0; part < share; part++)
          for (let firstRow = 0; firstRow < tq; firstRow += blockRows) {
            const head = (keyHead % hkv) * share + part;
            const block = blockAt(job, Math.floor(keyHead / hkv), head, firstRow);
            const { rows, queryRow } = block;
            const stats = statistics + queryRow * 8;
            const outAt = to + queryRow * dv * 4;
            if (block.keys === 0) {
              heapFloats().fill(0, outAt >>> 2, (outAt >>> 2) + rows * dv);
              heapFloats().fill(0, stats >>> 2, (stats >>> 2) + rows * 2);
              continue;
            }
            timesKeys(job, scores, qAt + queryRow * d * 4, keys, block);
            finishScores(job, job.attention.expRows, scores, block, stats);
            const values = vAt + keyHead * held * dv * 4;
            const shape = { m: rows, n: dv, k: block.keys, lda: job.ld };
            gemmHeap(outAt, scores, values, shape, job.gemm, job.products);
            job.attention.divideRows(outAt, rows, dv, stats);
          }
        job.next();
      }
    },
    (statistics) => {
      const floats = heapFloats();
      for (let row = 0, at = statistics >>> 2; row < b * h * tq; row++, at += 2) {
        const [peak, sum] = [floats[at], floats[at + 1]];
        // Scores that overflow float32 are the reference's.
        if (sum !== 0 && !Number.isFinite(peak + sum)) return false;
        lse[row] = sum === 0 ? Number.POSITIVE_INFINITY : peak + Math.log(sum);
      }
      return true;
    },
  );
}

/** As in reference.ts, for float32 arrays, lse of either kind. False where it does not apply; results then hold anything. */
export function attentionGrad(
  dq: FloatArray,
  dk: FloatArray,
  dv: FloatArray,
  dOut: FloatArray,
  q: FloatArray,
  k: FloatArray,
  v: FloatArray,
  out: FloatArray,
  lse: FloatArray,
  sizes: AttentionSizes,
  options: AttentionOptions,
  code = attentionCode(),
): boolean {
  const arrays = [dq, dk, dv, dOut, q, k, v, out];
  if (code === null || !isFloat32(arrays) || lse.some(overflows)) return false;
  const { b, h, hkv, tq, tk, d, dv: width } = sizes;
  const [queries, keySize, valueSize] = [b * h * tq, b * hkv * tk * d, b * hkv * tk * width];
  const lengths = [
    queries * d,
    keySize,
    valueSize,
    queries * width,
    queries * d,
    keySize,
    valueSize,
    queries * width,
  ];
  const addAll = (staging: Staging): number[] =>
    arrays.map((array, i) =>
      i < 3 ? staging.output(array, 0, lengths[i], false) : staging.input(array, 0, lengths[i]),
    );
  const spaces = [
    blockBytes(sizes),
    blockBytes(sizes),
    packs(d, sizes) ? packedBytes(tk, d) : 0,
    packs(width, sizes) ? packedBytes(tk, width) : 0,
  ];
  return onHeap(
    code,
    sizes,
    options,
    4,
    spaces,
    addAll,
    (job, at, norms, [p, dScores, keyPanels, valuePanels]) => {
      const [dqAt, dkAt, dvAt, dOutAt, qAt, kAt, vAt, outAt] = at;
      const share = h / hkv;
      heapFloats().set(lse.subarray(0, queries), norms >>> 2);
      heapFloats().fill(0, dkAt >>> 2, (dkAt >>> 2) + keySize);
      heapFloats().fill(0, dvAt >>> 2, (dvAt >>> 2) + valueSize);
      for (let keyHead = 0; keyHead < b * hkv; keyHead++) {
        const [keyAt, valueAt] = [keyHead * tk * d * 4, keyHead * tk * width * 4];
        const keys = { address: kAt + keyAt, panels: keyPanels, depth: d };
        const values = { address: vAt + valueAt, panels: valuePanels, depth: width };
        packKeys(job, keys);
        packKeys(job, values);
        for (let part = 0; part < share; part++)
          for (let firstRow = 0; firstRow < tq; firstRow += blockRows) {
            const head = (keyHead % hkv) * share + part;
            const block = blockAt(job, Math.floor(keyHead / hkv), head, firstRow);
            const { rows, queryRow, keys: n } = block;
            const [queryAt, rowAt] = [queryRow * d * 4, queryRow * width * 4];
            if (n === 0) {
              heapFloats().fill(0, (dqAt + queryAt) >>> 2, ((dqAt + queryAt) >>> 2) + rows * d);
              continue;
            }
            timesKeys(job, p, qAt + queryAt, keys, block);
            finishScores(job, job.attention.probabilities, p, block, norms + queryRow * 4);
            const byKeys = { m: n, k: rows, transposeA: true, lda: job.ld, accumulate: true };
            gemmHeap(dvAt + valueAt, p, dOutAt + rowAt, { ...byKeys, n: width }, job.gemm, job.products);
            timesKeys(job, dScores, dOutAt + rowAt, values, block);
            const scale = Math.fround(options.scale);
            job.attention.scoreGradients(
              dScores,
              p,
              job.ld,
              rows,
              n,
              dOutAt + rowAt,
              outAt + rowAt,
              width,
              scale,
            );
            const byRows = { m: rows, n: d, k: n, lda: job.ld };
            gemmHeap(dqAt + queryAt, dScores, keys.address, byRows, job.gemm, job.products);
            gemmHeap(dkAt + keyAt, dScores, qAt + queryAt, { ...byKeys, n: d }, job.gemm, job.products);
          }
        job.next();
      }
    },
  );
}
