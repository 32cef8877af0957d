/** SIMD attention and its gradients on float32: blocks of query rows, products by gemm-f32, the rest by simd.as.ts. */

import type { FloatArray } from "../../src/dtype.ts";
import { packedBytes } from "../gemm-f32/simd.ts";
import { heapFloats } from "../wasm/heap.ts";
import {
  accumulate,
  attentionCode,
  blockBytes,
  eachBlock,
  finishScores,
  headAt,
  onHeap,
  operandsOf,
  packKeys,
  packs,
  product,
  rowsAt,
  timesKeys,
  transposeA,
} from "./blocks.ts";
import type { AttentionOptions, AttentionSizes } from "./reference.ts";

export { attentionCode, attentionExports } from "./blocks.ts";

const isFloat32 = (arrays: readonly FloatArray[]): arrays is Float32Array[] =>
  arrays.every((array) => array instanceof Float32Array);

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
  const { b, h, tq, tk, d, dv } = sizes;
  const lie = operandsOf(sizes);
  return onHeap(
    code,
    sizes,
    options,
    8,
    [blockBytes(sizes), packs(d, sizes) ? packedBytes(tk, d) : 0],
    [
      [arrays[0], lie.out, true],
      [arrays[1], lie.q],
      [arrays[2], lie.k],
      [arrays[3], lie.v],
    ],
    (job, [to, queries, keys, values], statistics, [scores, panels]) => {
      eachBlock(
        job,
        (batch, keyHead) => packKeys(job, panels, keys, batch, keyHead),
        (block) => {
          const { batch, keyHead, rows, keys: n } = block;
          const stats = statistics + block.queryRow * 8;
          const outAt = rowsAt(to, block);
          // A sum of 0 says that the row sees no key.
          if (n === 0) heapFloats().fill(0, stats >>> 2, (stats >>> 2) + rows * 2);
          else {
            timesKeys(job, scores, queries, keys, panels, block);
            finishScores(job, job.attention.expRows, scores, block, stats);
            const from = headAt(values, batch, keyHead);
            product(job, outAt, scores, from, rows, dv, n, job.ld, values.row, to.row);
          }
          job.attention.divideRows(outAt, to.row * 4, rows, dv, stats);
        },
      );
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

/** Whether scores of a row overflow float32, and the row is not one that sees no key. */
function overflows(lse: FloatArray): boolean {
  for (let i = 0; i < lse.length; i++)
    if (lse[i] !== Number.POSITIVE_INFINITY && !(Math.abs(lse[i]) < 2 ** 127)) return true;
  return false;
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
  if (code === null || !isFloat32(arrays) || overflows(lse)) return false;
  const { tq, tk, d, dv: width } = sizes;
  const lie = operandsOf(sizes);
  const order = [lie.q, lie.k, lie.v, lie.out, lie.q, lie.k, lie.v, lie.out];
  const scale = Math.fround(options.scale);
  return onHeap(
    code,
    sizes,
    options,
    4,
    [
      blockBytes(sizes),
      blockBytes(sizes),
      packs(d, sizes) ? packedBytes(tk, d) : 0,
      packs(width, sizes) ? packedBytes(tk, width) : 0,
    ],
    arrays.map((array, i) => [array, order[i], i < 3] as const),
    (job, placed, norms, [p, dScores, keyPanels, valuePanels]) => {
      const [toQueries, toKeys, toValues, grads, queries, keys, values, outs] = placed;
      const zeros = ({ address, length }: (typeof placed)[number]) =>
        heapFloats().fill(0, address >>> 2, (address >>> 2) + length);
      heapFloats().set(lse, norms >>> 2);
      zeros(toKeys);
      zeros(toValues);
      // Queries that no block serves: those before the first key.
      if (tq > tk) zeros(toQueries);
      eachBlock(
        job,
        (batch, keyHead) => {
          packKeys(job, keyPanels, keys, batch, keyHead);
          packKeys(job, valuePanels, values, batch, keyHead);
        },
        (block) => {
          const { batch, keyHead, rows, keys: n } = block;
          if (n === 0) return;
          const { ld } = job;
          const [queriesAt, gradsAt] = [rowsAt(queries, block), rowsAt(grads, block)];
          const summed = transposeA | accumulate;
          timesKeys(job, p, queries, keys, keyPanels, block);
          finishScores(job, job.attention.probabilities, p, block, norms + block.queryRow * 4);
          const toValue = headAt(toValues, batch, keyHead);
          product(job, toValue, p, gradsAt, n, width, rows, ld, grads.row, toValues.row, summed);
          timesKeys(job, dScores, grads, values, valuePanels, block);
          const outAt = rowsAt(outs, block);
          job.attention.scoreGradients(dScores, p, ld, rows, n, gradsAt, outAt, outs.row * 4, width, scale);
          const keysAt = headAt(keys, batch, keyHead);
          product(job, rowsAt(toQueries, block), dScores, keysAt, rows, d, n, ld, keys.row, toQueries.row);
          const toKey = headAt(toKeys, batch, keyHead);
          product(job, toKey, dScores, queriesAt, n, d, rows, ld, queries.row, toKeys.row, summed);
        },
      );
    },
  );
}
