/**
 * Scaled dot-product attention, out = softmax(scale · q·kᵀ + mask) · v, and its gradients, without a Tq x Tk matrix.
 *
 * Layout: q (B, H, Tq, D), k (B, Hkv, Tk, D), v (B, Hkv, Tk, Dv), out (B, H, Tq, Dv), lse (B, H, Tq), contiguous; operands
 * in `beside` hold heads side by side, as q (B, Tq, H, D), which changes no bit but where heads have one feature. Query head
 * i reads key head floor(i / (H/Hkv)). causal lets query i see keys j <= i + Tk − Tq: the last query sees every key.
 * mask is added to the scores and read at strides over (B, H, Tq, Tk), 0 where it repeats; −Infinity hides a key.
 * A query that may see no key gives 0 in out and takes part in no gradient. A score that is NaN makes its row NaN.
 * Exactness: scores, probabilities and sums are doubles, each result is rounded once. lse is log Σ exp of each row of
 * scores, but Infinity for one that sees no key; the gradients recompute the probabilities from it, so give it doubles.
 * Memory: the caller allocates the results, which are overwritten. Scratch is `blockRows` rows of scores (forward one
 * matrix, backward two) and, backward, the gradients of one key head.
 */

import type { FloatArray } from "../../src/dtype.ts";
import { gemm } from "../gemm-f32/reference.ts";

export interface AttentionSizes {
  b: number;
  h: number;
  hkv: number;
  tq: number;
  tk: number;
  d: number;
  dv: number;
  /** Rows of k and v from head to head, of which the first tk are read; default: tk. Of `attention` alone. */
  rows?: number;
  /** Operands whose heads lie side by side, (B, T, H, D) for (B, H, T, D). Gradients lie as their operands do. */
  beside?: Partial<Record<"q" | "k" | "v" | "out", boolean>>;
}

/** Elements from batch to batch, from head to head and from row to row. */
export interface Steps {
  readonly batch: number;
  readonly head: number;
  readonly row: number;
}

/** How the operands lie. */
export function layoutOf(sizes: AttentionSizes): Record<"q" | "k" | "v" | "out", Steps> {
  const { h, hkv, tq, tk, d, dv, rows = tk, beside } = sizes;
  const steps = (side = false, heads: number, held: number, width: number): Steps => ({
    batch: heads * held * width,
    head: side ? width : held * width,
    row: side ? heads * width : width,
  });
  return {
    q: steps(beside?.q, h, tq, d),
    k: steps(beside?.k, hkv, rows, d),
    v: steps(beside?.v, hkv, rows, dv),
    out: steps(beside?.out, h, tq, dv),
  };
}

export interface AttentionMask {
  data: FloatArray;
  /** Steps in elements over (B, H, Tq, Tk). */
  strides: readonly [number, number, number, number];
}

export interface AttentionOptions {
  scale: number;
  causal: boolean;
  mask: AttentionMask | null;
}

const blockRows = 32;

/** The rows of one head of x, contiguous: where they lie, or else a copy. */
function headOf(
  x: FloatArray,
  steps: Steps,
  batch: number,
  head: number,
  rows: number,
  width: number,
): FloatArray {
  const first = batch * steps.batch + head * steps.head;
  if (steps.row === width) return x.subarray(first, first + rows * width);
  const copy = x.slice(0, rows * width);
  for (let r = 0, at = first; r < rows; r++, at += steps.row) copy.set(x.subarray(at, at + width), r * width);
  return copy;
}

/** Writes the rows of one head of x. */
function putHead(
  x: FloatArray,
  steps: Steps,
  batch: number,
  head: number,
  from: FloatArray,
  width: number,
): void {
  let at = batch * steps.batch + head * steps.head;
  for (let i = 0; i < from.length; i += width, at += steps.row) x.set(from.subarray(i, i + width), at);
}

/** One block of query rows: how many leading keys any of its rows may see. */
interface Block {
  batch: number;
  head: number;
  firstRow: number;
  rows: number;
  keys: number;
}

function blockAt(
  { tq, tk }: AttentionSizes,
  causal: boolean,
  batch: number,
  head: number,
  firstRow: number,
): Block {
  const rows = Math.min(blockRows, tq - firstRow);
  const keys = causal ? Math.max(0, Math.min(tk, firstRow + rows + tk - tq)) : tk;
  return { batch, head, firstRow, rows, keys };
}

/** scores (rows, keys) = scale · q·kᵀ + mask for one block of a head, −Infinity where causality hides a key. */
function scoreBlock(
  scores: Float64Array,
  q: FloatArray,
  k: FloatArray,
  { tq, tk, d }: AttentionSizes,
  { scale, causal, mask }: AttentionOptions,
  { batch, head, firstRow, rows, keys }: Block,
): void {
  gemm(scores, q, k, { m: rows, n: keys, k: d, transposeB: true, aOffset: firstRow * d });
  for (let r = 0; r < rows; r++) {
    const row = firstRow + r;
    const start = r * keys;
    const seen = causal ? Math.max(0, Math.min(keys, row + 1 + tk - tq)) : keys;
    if (mask === null) for (let j = 0; j < seen; j++) scores[start + j] *= scale;
    else {
      const [stepB, stepH, stepQ, stepK] = mask.strides;
      const at = batch * stepB + head * stepH + row * stepQ;
      for (let j = 0; j < seen; j++)
        scores[start + j] = scores[start + j] * scale + mask.data[at + j * stepK];
    }
    for (let j = seen; j < keys; j++) scores[start + j] = Number.NEGATIVE_INFINITY;
  }
}

/** out (B, H, Tq, Dv) and lse (B, H, Tq). */
export function attention(
  out: FloatArray,
  lse: FloatArray,
  q: FloatArray,
  k: FloatArray,
  v: FloatArray,
  sizes: AttentionSizes,
  options: AttentionOptions,
): void {
  const { b, h, hkv, tq, tk, d, dv } = sizes;
  const lie = layoutOf(sizes);
  const scores = new Float64Array(Math.min(blockRows, tq) * tk);
  for (let batch = 0; batch < b; batch++)
    for (let head = 0; head < h; head++) {
      const keyHead = Math.floor((head * hkv) / h);
      const queries = headOf(q, lie.q, batch, head, tq, d);
      const keyRows = headOf(k, lie.k, batch, keyHead, tk, d);
      const values = headOf(v, lie.v, batch, keyHead, tk, dv);
      const mixed = headOf(out, lie.out, batch, head, tq, dv);
      const sums = lse.subarray((batch * h + head) * tq, (batch * h + head + 1) * tq);
      for (let firstRow = 0; firstRow < tq; firstRow += blockRows) {
        const block = blockAt(sizes, options.causal, batch, head, firstRow);
        const { rows, keys } = block;
        if (keys === 0) {
          mixed.fill(0, firstRow * dv, (firstRow + rows) * dv);
          sums.fill(Number.POSITIVE_INFINITY, firstRow, firstRow + rows);
          continue;
        }
        scoreBlock(scores, queries, keyRows, sizes, options, block);
        for (let r = 0; r < rows; r++) sums[firstRow + r] = softmaxRow(scores, r * keys, keys);
        gemm(mixed, scores, values, { m: rows, n: dv, k: keys, outOffset: firstRow * dv });
        // Not 0 · v, which is NaN for a v that is not finite.
        for (let r = firstRow; r < firstRow + rows; r++)
          if (sums[r] === Number.POSITIVE_INFINITY) mixed.fill(0, r * dv, (r + 1) * dv);
      }
      putHead(out, lie.out, batch, head, mixed, dv);
    }
}

/** Turns a row of scores into probabilities in place and returns its log Σ exp; zeros and Infinity where all are hidden. */
function softmaxRow(scores: Float64Array, start: number, n: number): number {
  const end = start + n;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = start; i < end; i++) if (scores[i] > max) max = scores[i];
  if (max === Number.NEGATIVE_INFINITY) max = 0;
  let sum = 0;
  for (let i = start; i < end; i++) {
    const e = Math.exp(scores[i] - max);
    scores[i] = e;
    sum += e;
  }
  if (sum === 0) return Number.POSITIVE_INFINITY;
  for (let i = start; i < end; i++) scores[i] /= sum;
  return max + Math.log(sum);
}

/** dq, dk and dv (the shapes of q, k and v) from dOut and the out and lse that `attention` wrote. */
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
): void {
  const { b, h, hkv, tq, tk, d, dv: width } = sizes;
  const lie = layoutOf(sizes);
  const probabilities = new Float64Array(Math.min(blockRows, tq) * tk);
  const dScores = new Float64Array(probabilities.length);
  const keySums = new Float64Array(tk * d);
  const valueSums = new Float64Array(tk * width);
  const share = h / hkv;
  for (let keyHead = 0; keyHead < b * hkv; keyHead++) {
    keySums.fill(0);
    valueSums.fill(0);
    const batch = Math.floor(keyHead / hkv);
    const own = keyHead % hkv;
    const keyRows = headOf(k, lie.k, batch, own, tk, d);
    const values = headOf(v, lie.v, batch, own, tk, width);
    for (let head = own * share; head < (own + 1) * share; head++) {
      const queries = headOf(q, lie.q, batch, head, tq, d);
      const grads = headOf(dOut, lie.out, batch, head, tq, width);
      const mixed = headOf(out, lie.out, batch, head, tq, width);
      const dQueries = headOf(dq, lie.q, batch, head, tq, d);
      for (let firstRow = 0; firstRow < tq; firstRow += blockRows) {
        const block = blockAt(sizes, options.causal, batch, head, firstRow);
        const { rows, keys } = block;
        if (keys === 0) {
          dQueries.fill(0, firstRow * d, (firstRow + rows) * d);
          continue;
        }
        scoreBlock(probabilities, queries, keyRows, sizes, options, block);
        for (let r = 0; r < rows; r++) {
          const norm = lse[(batch * h + head) * tq + firstRow + r];
          for (let i = r * keys; i < (r + 1) * keys; i++)
            probabilities[i] = Math.exp(probabilities[i] - norm);
        }
        const byKeys = { m: keys, k: rows, transposeA: true, accumulate: true };
        // dv += pᵀ · dOut
        gemm(valueSums, probabilities, grads, { ...byKeys, n: width, bOffset: firstRow * width });
        // dp = dOut · vᵀ, then the gradient of the softmax and of the scale
        gemm(dScores, grads, values, {
          m: rows,
          n: keys,
          k: width,
          transposeB: true,
          aOffset: firstRow * width,
        });
        for (let r = 0; r < rows; r++) {
          let sum = 0;
          for (let i = (firstRow + r) * width, end = i + width; i < end; i++) sum += grads[i] * mixed[i];
          for (let i = r * keys; i < (r + 1) * keys; i++)
            dScores[i] = probabilities[i] * (dScores[i] - sum) * options.scale;
        }
        gemm(dQueries, dScores, keyRows, { m: rows, n: d, k: keys, outOffset: firstRow * d });
        // dk += dsᵀ · q
        gemm(keySums, dScores, queries, { ...byKeys, n: d, bOffset: firstRow * d });
      }
      putHead(dq, lie.q, batch, head, dQueries, d);
    }
    putHead(dk, lie.k, batch, own, keySums, d);
    putHead(dv, lie.v, batch, own, valueSums, width);
  }
}
