/**
 * Scaled dot-product attention, out = softmax(scale · q·kᵀ + mask) · v, and its gradients, without a Tq x Tk matrix.
 *
 * Layout: q (B, H, Tq, D), k (B, Hkv, Tk, D), v (B, Hkv, Tk, Dv), out (B, H, Tq, Dv), lse (B, H, Tq), contiguous. Query head
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

/** One block of query rows: where it lies, and how many leading keys any of its rows may see. */
interface Block {
  batch: number;
  head: number;
  firstRow: number;
  rows: number;
  keys: number;
}

function blockAt(
  sizes: AttentionSizes,
  causal: boolean,
  batch: number,
  head: number,
  firstRow: number,
): Block {
  const { tq, tk } = sizes;
  const rows = Math.min(blockRows, tq - firstRow);
  const keys = causal ? Math.max(0, Math.min(tk, firstRow + rows + tk - tq)) : tk;
  return { batch, head, firstRow, rows, keys };
}

/** scores (rows, keys) = scale · q·kᵀ + mask for one block, −Infinity where causality hides a key. */
function scoreBlock(
  scores: Float64Array,
  q: FloatArray,
  k: FloatArray,
  sizes: AttentionSizes,
  { scale, causal, mask }: AttentionOptions,
  { batch, head, firstRow, rows, keys }: Block,
): void {
  const { h, hkv, tq, tk, d, rows: held = tk } = sizes;
  const keyHead = batch * hkv + Math.floor((head * hkv) / h);
  gemm(scores, q, k, {
    m: rows,
    n: keys,
    k: d,
    transposeB: true,
    aOffset: ((batch * h + head) * tq + firstRow) * d,
    bOffset: keyHead * held * d,
  });
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
  const { b, h, hkv, tq, tk, dv, rows: held = tk } = sizes;
  const scores = new Float64Array(Math.min(blockRows, tq) * tk);
  for (let batch = 0; batch < b; batch++)
    for (let head = 0; head < h; head++)
      for (let firstRow = 0; firstRow < tq; firstRow += blockRows) {
        const block = blockAt(sizes, options.causal, batch, head, firstRow);
        const { rows, keys } = block;
        const queryRow = (batch * h + head) * tq + firstRow;
        if (keys === 0) {
          out.fill(0, queryRow * dv, (queryRow + rows) * dv);
          lse.fill(Number.POSITIVE_INFINITY, queryRow, queryRow + rows);
          continue;
        }
        scoreBlock(scores, q, k, sizes, options, block);
        for (let r = 0; r < rows; r++) lse[queryRow + r] = softmaxRow(scores, r * keys, keys);
        gemm(out, scores, v, {
          m: rows,
          n: dv,
          k: keys,
          bOffset: (batch * hkv + Math.floor((head * hkv) / h)) * held * dv,
          outOffset: queryRow * dv,
        });
        // Not 0 · v, which is NaN for a v that is not finite.
        for (let r = queryRow; r < queryRow + rows; r++)
          if (lse[r] === Number.POSITIVE_INFINITY) out.fill(0, r * dv, (r + 1) * dv);
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
  const probabilities = new Float64Array(Math.min(blockRows, tq) * tk);
  const dScores = new Float64Array(probabilities.length);
  const keySums = new Float64Array(tk * d);
  const valueSums = new Float64Array(tk * width);
  for (let keyHead = 0; keyHead < b * hkv; keyHead++) {
    keySums.fill(0);
    valueSums.fill(0);
    const batch = Math.floor(keyHead / hkv);
    const share = h / hkv;
    const firstHead = (keyHead % hkv) * share;
    for (let head = firstHead; head < firstHead + share; head++)
      for (let firstRow = 0; firstRow < tq; firstRow += blockRows) {
        const block = blockAt(sizes, options.causal, batch, head, firstRow);
        const { rows, keys } = block;
        const queryRow = (batch * h + head) * tq + firstRow;
        if (keys === 0) {
          dq.fill(0, queryRow * d, (queryRow + rows) * d);
          continue;
        }
        scoreBlock(probabilities, q, k, sizes, options, block);
        for (let r = 0; r < rows; r++) {
          const norm = lse[queryRow + r];
          for (let i = r * keys; i < (r + 1) * keys; i++)
            probabilities[i] = Math.exp(probabilities[i] - norm);
        }
        // dv += pᵀ · dOut
        gemm(valueSums, probabilities, dOut, {
          m: keys,
          n: width,
          k: rows,
          transposeA: true,
          accumulate: true,
          bOffset: queryRow * width,
        });
        // dp = dOut · vᵀ, then the gradient of the softmax and of the scale
        gemm(dScores, dOut, v, {
          m: rows,
          n: keys,
          k: width,
          transposeB: true,
          aOffset: queryRow * width,
          bOffset: keyHead * tk * width,
        });
        for (let r = 0; r < rows; r++) {
          let sum = 0;
          for (let i = (queryRow + r) * width, end = i + width; i < end; i++) sum += dOut[i] * out[i];
          for (let i = r * keys; i < (r + 1) * keys; i++)
            dScores[i] = probabilities[i] * (dScores[i] - sum) * options.scale;
        }
        gemm(dq, dScores, k, { m: rows, n: d, k: keys, bOffset: keyHead * tk * d, outOffset: queryRow * d });
        // dk += dsᵀ · q
        gemm(keySums, dScores, q, {
          m: keys,
          n: d,
          k: rows,
          transposeA: true,
          accumulate: true,
          bOffset: queryRow * d,
        });
      }
    dk.set(keySums, keyHead * tk * d);
    dv.set(valueSums, keyHead * tk * width);
  }
}
