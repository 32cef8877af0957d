/**
 * SIMD cross entropy over the last axis, without class weights. Each function has the contract of reference.ts and returns
 * false, nothing written, where it does not apply.
 */

import type { FloatArray, TypedArray } from "../../src/dtype.ts";
import type { ReduceSizes } from "../reduce/reference.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inRows } from "../wasm/parallel.ts";
import { stagedRows } from "../wasm/staging.ts";
import type { CrossEntropyOptions } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface LossExports {
  crossEntropy(
    loss: number,
    lse: number,
    logits: number,
    targets: number,
    rows: number,
    n: number,
    ignoreIndex: number,
    smoothing: number,
  ): void;
  divergence(...addressesAndSizes: number[]): void;
  divergenceGrad(...addressesAndSizes: number[]): void;
  crossEntropyGrad(
    dLogits: number,
    dLoss: number,
    lse: number,
    logits: number,
    targets: number,
    rows: number,
    n: number,
    ignoreIndex: number,
    smoothing: number,
  ): void;
}

export const lossExports = /* @__PURE__ */ wasmKernel<LossExports>(bytes);

const applies = (
  lse: FloatArray,
  floats: readonly FloatArray[],
  targets: TypedArray,
  { inner }: ReduceSizes,
  { ignoreIndex, weight }: CrossEntropyOptions,
): boolean =>
  inner === 1 &&
  weight === null &&
  (ignoreIndex | 0) === ignoreIndex &&
  lse instanceof Float64Array &&
  targets instanceof Int32Array &&
  floats.every((array) => array instanceof Float32Array);

/** loss and lse (outer) of logits (outer, n); lse holds doubles and targets int32. */
export function crossEntropy(
  loss: FloatArray,
  lse: FloatArray,
  logits: FloatArray,
  targets: TypedArray,
  sizes: ReduceSizes,
  options: CrossEntropyOptions,
  exports = lossExports(),
): boolean {
  if (exports === null || !applies(lse, [loss, logits], targets, sizes, options)) return false;
  const { outer, n } = sizes;
  return stagedRows(outer, (staging, first, rows) => {
    const from = staging.input(logits, first * n, rows * n);
    const classes = staging.input(targets, first, rows);
    const to = staging.output(loss, first, rows, false);
    const norms = staging.output(lse, first, rows, false);
    if (from === 0 || classes === 0 || to === 0 || norms === 0) return false;
    const { ignoreIndex, labelSmoothing } = options;
    inRows(exports, "crossEntropy", rows, 1, rows * n * 2, (row, count) => {
      const [loss, lse, logits, target] = [
        to + row * 4,
        norms + row * 8,
        from + row * n * 4,
        classes + row * 4,
      ];
      return [loss, lse, logits, target, count, n, ignoreIndex, labelSmoothing];
    });
    return true;
  });
}

/** dLogits (outer, n) from dLoss and the lse that `crossEntropy` wrote. */
export function crossEntropyGrad(
  dLogits: FloatArray,
  dLoss: FloatArray,
  lse: FloatArray,
  logits: FloatArray,
  targets: TypedArray,
  sizes: ReduceSizes,
  options: CrossEntropyOptions,
  exports = lossExports(),
): boolean {
  if (exports === null || !applies(lse, [dLogits, dLoss, logits], targets, sizes, options)) return false;
  const { outer, n } = sizes;
  const { ignoreIndex, labelSmoothing } = options;
  return stagedRows(outer, (staging, first, rows) => {
    const grad = staging.input(dLoss, first, rows);
    const norms = staging.input(lse, first, rows);
    const from = staging.input(logits, first * n, rows * n);
    const classes = staging.input(targets, first, rows);
    const to = staging.output(dLogits, first * n, rows * n, false);
    if (grad === 0 || norms === 0 || from === 0 || classes === 0 || to === 0) return false;
    inRows(exports, "crossEntropyGrad", rows, 1, rows * n * 2, (row, count) => {
      const at = row * n * 4;
      const perRow = [grad + row * 4, norms + row * 8, from + at, classes + row * 4];
      return [to + at, ...perRow, count, n, ignoreIndex, labelSmoothing];
    });
    return true;
  });
}

/** Calls a kernel with the addresses of `arrays`, the first `results` of them results, in parts of their rows. */
function inRowsOf(
  exports: LossExports | null,
  name: "divergence" | "divergenceGrad",
  arrays: readonly FloatArray[],
  results: number,
  stats: FloatArray,
  n: number,
  temperature: number,
): boolean {
  const rows = stats.length / 4;
  if (exports === null || n * rows === 0 || !(stats instanceof Float64Array)) return false;
  if (arrays.some((array) => array !== stats && !(array instanceof Float32Array))) return false;
  return stagedRows(rows, (staging, first, held) => {
    const places = arrays.map((array, i) => {
      const size = array.length / rows;
      return i < results
        ? staging.output(array, first * size, held * size, false)
        : staging.input(array, first * size, held * size);
    });
    if (places.includes(0)) return false;
    inRows(exports, name, held, 1, held * n * 4, (row, count) => [
      ...places.map((place, i) => place + (row * arrays[i].byteLength) / rows),
      ...[count, n, temperature],
    ]);
    return true;
  });
}

/** For float32 logits and float64 stats, as `divergenceGrad`. */
export const divergence = (
  loss: FloatArray,
  stats: FloatArray,
  student: FloatArray,
  teacher: FloatArray,
  n: number,
  temperature: number,
  exports = lossExports(),
): boolean => inRowsOf(exports, "divergence", [loss, stats, student, teacher], 2, stats, n, temperature);

export const divergenceGrad = (
  dStudent: FloatArray,
  dLoss: FloatArray,
  stats: FloatArray,
  student: FloatArray,
  teacher: FloatArray,
  n: number,
  temperature: number,
  exports = lossExports(),
): boolean =>
  inRowsOf(exports, "divergenceGrad", [dStudent, dLoss, stats, student, teacher], 1, stats, n, temperature);
