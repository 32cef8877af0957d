/** Which kernels run. What a backend does not serve runs on the reference. */

import * as attentionReference from "../kernels/attention/reference.ts";
import * as attentionSimd from "../kernels/attention/simd.ts";
import * as convReference from "../kernels/conv/reference.ts";
import * as convSimd from "../kernels/conv/simd.ts";
import * as elementwiseReference from "../kernels/elementwise/reference.ts";
import * as elementwiseSimd from "../kernels/elementwise/simd.ts";
import * as encodeReference from "../kernels/encode/reference.ts";
import * as encodeSimd from "../kernels/encode/simd.ts";
import * as fakeReference from "../kernels/fake-quantize/reference.ts";
import * as fakeSimd from "../kernels/fake-quantize/simd.ts";
import * as gatherReference from "../kernels/gather/reference.ts";
import * as gatherSimd from "../kernels/gather/simd.ts";
import * as gemmReference from "../kernels/gemm-f32/reference.ts";
import * as gemmSimd from "../kernels/gemm-f32/simd.ts";
import * as gemm64Simd from "../kernels/gemm-f64/simd.ts";
import * as lossReference from "../kernels/loss/reference.ts";
import * as lossSimd from "../kernels/loss/simd.ts";
import * as mixedSimd from "../kernels/mixed/simd.ts";
import * as movementReference from "../kernels/movement/reference.ts";
import * as movementSimd from "../kernels/movement/simd.ts";
import * as normReference from "../kernels/norm/reference.ts";
import * as normSimd from "../kernels/norm/simd.ts";
import * as optimizerReference from "../kernels/optimizer/reference.ts";
import * as optimizerSimd from "../kernels/optimizer/simd.ts";
import * as poolReference from "../kernels/pool/reference.ts";
import * as poolSimd from "../kernels/pool/simd.ts";
import * as randomReference from "../kernels/random/reference.ts";
import * as randomSimd from "../kernels/random/simd.ts";
import * as reduceReference from "../kernels/reduce/reference.ts";
import * as reduceSimd from "../kernels/reduce/simd.ts";
import * as softmaxReference from "../kernels/softmax/reference.ts";
import * as softmaxSimd from "../kernels/softmax/simd.ts";
import * as sortReference from "../kernels/sort/reference.ts";
import * as sortSimd from "../kernels/sort/simd.ts";
import { heapUse, setHeapBudget as setBudget } from "../kernels/wasm/heap.ts";
import { useRelaxedSimd, wasmSupport } from "../kernels/wasm/load.ts";
import { shortage } from "../kernels/wasm/shortage.ts";
import { changePool, pool } from "../kernels/wasm/threads.ts";
import type { FloatArray, TypedArray } from "./dtype.ts";
import { BackendError, OptionError, readOptions, show } from "./errors.ts";
import {
  active,
  allFinite,
  type BackendInfo,
  type BackendName,
  choices,
  current,
  fastest,
  summing,
} from "./pairing.ts";
import { spawn } from "./workers/spawn.node.ts";

export { anyNonFinite, type BackendInfo, type BackendName, choices, usesSimd } from "./pairing.ts";

const part = (x: TypedArray, from = 0, length: number): FloatArray =>
  (from === 0 && length === x.length ? x : x.subarray(from, from + length)) as FloatArray;

/** A product, mended likewise in its own part of the arrays, but where it is added to what `out` held. */
export function gemm(out: TypedArray, a: TypedArray, b: TypedArray, shape: gemmReference.GemmShape): void {
  if (active() === "simd" && gemmSimd.gemm(out, a, b, shape)) {
    const { m, n, k, bias = null, accumulate = false } = shape;
    if (accumulate || allFinite([part(out, shape.outOffset, m * n)], [0, 1])) return;
    if (!allFinite([part(a, shape.aOffset, m * k), part(b, shape.bOffset, k * n), bias], [0, 3])) return;
  } else if (active() === "simd" && gemm64Simd.gemm(out, a, b, shape)) return;
  gemmReference.gemm(out, a, b, shape);
}

// Numbers below which plain loops give the same bits sooner, on the heap too: to call a kernel takes as long as so many
// sums, codes of a quantizer, or normal draws. Of other things it is about 64.
const fewSums = 192;
const fewCodes = 112;
const fewDraws = 24;

// What SIMD serves; ops import these. All else runs on the reference, which its op imports.
export const unary = /* @__PURE__ */ fastest(
  elementwiseReference.unary,
  (...args: Parameters<typeof elementwiseReference.unary>) =>
    mixedSimd.unary(...args) || elementwiseSimd.unary(...args),
  0,
);
export const unaryGrad = /* @__PURE__ */ fastest(
  elementwiseReference.unaryGrad,
  elementwiseSimd.unaryGrad,
  0,
);
export const binary = /* @__PURE__ */ fastest(
  elementwiseReference.binary,
  (...args: Parameters<typeof elementwiseReference.binary>) =>
    elementwiseSimd.binary(...args) || mixedSimd.binary(...args),
  0,
  fewSums,
);
/** Whether it has written x into the integers of `out`; else these may not hold every number. */
export const cast = (out: TypedArray, x: TypedArray): boolean =>
  active() === "simd" && mixedSimd.cast(out, x);
export const select = /* @__PURE__ */ fastest(
  elementwiseReference.select,
  elementwiseSimd.select,
  0,
  fewSums,
);
export const sum = /* @__PURE__ */ fastest(reduceReference.sum, reduceSimd.sum, 1);
export const fold = /* @__PURE__ */ fastest(reduceReference.fold, reduceSimd.fold);
export const deviations = /* @__PURE__ */ fastest(reduceReference.deviations, reduceSimd.deviations);
export const argBest = /* @__PURE__ */ fastest(reduceReference.argBest, reduceSimd.argBest);
export const scan = /* @__PURE__ */ fastest(reduceReference.scan, reduceSimd.scan);
export const softmax = /* @__PURE__ */ fastest(softmaxReference.softmax, softmaxSimd.softmax, 0);
export const softmaxGrad = /* @__PURE__ */ summing(
  [0, 1],
  [1, 3],
  softmaxReference.softmaxGrad,
  softmaxSimd.softmaxGrad,
  0,
);
export const logSoftmax = /* @__PURE__ */ fastest(softmaxReference.logSoftmax, softmaxSimd.logSoftmax, 0);
export const logSoftmaxGrad = /* @__PURE__ */ summing(
  [0, 1],
  [1, 3],
  softmaxReference.logSoftmaxGrad,
  softmaxSimd.logSoftmaxGrad,
  0,
);
export const logSumExp = /* @__PURE__ */ fastest(softmaxReference.logSumExpOver, softmaxSimd.logSumExp, 1);
export const crossEntropy = /* @__PURE__ */ fastest(lossReference.crossEntropy, lossSimd.crossEntropy, 2);
export const crossEntropyGrad = /* @__PURE__ */ fastest(
  lossReference.crossEntropyGrad,
  lossSimd.crossEntropyGrad,
  0,
);
export const divergence = /* @__PURE__ */ summing(
  [0, 2],
  [2, 4],
  lossReference.divergence,
  lossSimd.divergence,
  2,
);
export const divergenceGrad = /* @__PURE__ */ fastest(
  lossReference.divergenceGrad,
  lossSimd.divergenceGrad,
  0,
);
export const layerNorm = /* @__PURE__ */ fastest(normReference.layerNorm, normSimd.layerNorm, 0, 512);
export const layerNormGrad = /* @__PURE__ */ summing(
  [0, 3],
  [3, 8],
  normReference.layerNormGrad,
  normSimd.layerNormGrad,
  4,
  512,
);
export const rmsNorm = /* @__PURE__ */ fastest(normReference.rmsNorm, normSimd.rmsNorm, 0, 512);
export const rmsNormGrad = /* @__PURE__ */ summing(
  [0, 2],
  [2, 6],
  normReference.rmsNormGrad,
  normSimd.rmsNormGrad,
  3,
  512,
);
export const batchNorm = /* @__PURE__ */ fastest(normReference.batchNorm, normSimd.batchNorm, 0, 512);
export const batchNormGrad = /* @__PURE__ */ summing(
  [0, 3],
  [3, 8],
  normReference.batchNormGrad,
  normSimd.batchNormGrad,
  4,
  512,
);
export const strided = /* @__PURE__ */ fastest(movementReference.strided, movementSimd.strided, 0);
export const scatterStrided = /* @__PURE__ */ fastest(
  movementReference.scatterStrided,
  movementSimd.scatterStrided,
  1,
);
export const clear = /* @__PURE__ */ fastest(movementReference.clear, movementSimd.clear);
export const takeRows = /* @__PURE__ */ fastest(movementReference.takeRows, movementSimd.takeRows);
export const addRows = /* @__PURE__ */ fastest(movementReference.addRows, movementSimd.addRows);
export const gather = /* @__PURE__ */ fastest(gatherReference.gather, gatherSimd.gather, 2, fewSums);
export const scatter = /* @__PURE__ */ fastest(gatherReference.scatter, gatherSimd.scatter, 2, fewSums);
export const scatterAdd = /* @__PURE__ */ fastest(
  gatherReference.scatterAdd,
  gatherSimd.scatterAdd,
  2,
  fewSums,
);
export const firstOutside = (index: TypedArray, n: number): number =>
  active() === "simd" && index.length >= fewSums && gatherSimd.isWithin(index, n)
    ? -1
    : gatherReference.firstOutside(index, n);
export const places = (mask: TypedArray): Int32Array =>
  (active() === "simd" ? gatherSimd.places(mask) : null) ?? gatherReference.places(mask);
export const permute = /* @__PURE__ */ fastest(movementReference.permute, movementSimd.permute, 0);
export const attention = /* @__PURE__ */ summing(
  [0, 1],
  [2, 5],
  attentionReference.attention,
  attentionSimd.attention,
);
// The forward pass takes infinite keys to the reference, and so does this.
export const attentionGrad = /* @__PURE__ */ summing(
  [0, 3],
  [3, 3],
  attentionReference.attentionGrad,
  attentionSimd.attentionGrad,
);
export const conv2d = /* @__PURE__ */ summing([0, 1], [1, 3], convReference.conv2d, convSimd.conv2d);
export const conv2dInputGrad = /* @__PURE__ */ summing(
  [0, 1],
  [1, 3],
  convReference.conv2dInputGrad,
  convSimd.conv2dInputGrad,
);
export const conv2dWeightGrad = /* @__PURE__ */ summing(
  [0, 1],
  [1, 3],
  convReference.conv2dWeightGrad,
  convSimd.conv2dWeightGrad,
);
export const maxPool2dIndices = /* @__PURE__ */ fastest(
  poolReference.maxPool2dIndices,
  poolSimd.maxPool2dIndices,
);
export const maxPool2dGrad = /* @__PURE__ */ fastest(poolReference.maxPool2dGrad, poolSimd.maxPool2dGrad);
export const avgPool2d = /* @__PURE__ */ summing([0, 1], [1, 2], poolReference.avgPool2d, poolSimd.avgPool2d);
export const avgPool2dGrad = /* @__PURE__ */ summing(
  [0, 1],
  [1, 2],
  poolReference.avgPool2dGrad,
  poolSimd.avgPool2dGrad,
);
export const argsort = /* @__PURE__ */ fastest(sortReference.argsort, sortSimd.argsort, 1);
export const words = /* @__PURE__ */ fastest(randomReference.words, randomSimd.words, 0);
export const normals = /* @__PURE__ */ fastest(randomReference.normals, randomSimd.normals, 0, fewDraws);
export const bernoulli = /* @__PURE__ */ fastest(randomReference.bernoulli, randomSimd.bernoulli, 0);
export const encodeSigns = /* @__PURE__ */ fastest(encodeReference.encodeSigns, encodeSimd.encodeSigns);
export const quantizeRows = /* @__PURE__ */ fastest(encodeReference.quantizeRows, encodeSimd.quantizeRows);
export const quantizeBy = /* @__PURE__ */ fastest(encodeReference.quantizeBy, encodeSimd.quantizeBy);
export const rangesOfRuns = /* @__PURE__ */ fastest(fakeReference.ranges, fakeSimd.ranges, 1, fewSums);
export const uniformRuns = /* @__PURE__ */ fastest(fakeReference.uniform, fakeSimd.uniform, 1, fewCodes);
export const levelRuns = /* @__PURE__ */ fastest(fakeReference.levels, fakeSimd.levels, 1, fewCodes);
export const signRuns = /* @__PURE__ */ fastest(fakeReference.signs, fakeSimd.signs, 1, fewSums);
export const uniformRows = /* @__PURE__ */ fastest(fakeReference.rows, fakeSimd.rows, 1, fewCodes);
export const adam = /* @__PURE__ */ fastest(optimizerReference.adam, optimizerSimd.adam, 0);
export const sgd = /* @__PURE__ */ fastest(optimizerReference.sgd, optimizerSimd.sgd, 0);
export const lion = /* @__PURE__ */ fastest(optimizerReference.lion, optimizerSimd.lion, 0);
export const signStep = /* @__PURE__ */ fastest(optimizerReference.signStep, optimizerSimd.signStep, 0);

/**
 * The backend in use.
 *
 * @example
 * ```ts
 * import { backendInfo } from "bitgrad";
 *
 * console.log(backendInfo().name, backendInfo().threads); // simd 1
 * ```
 */
export function backendInfo(): BackendInfo {
  const name = active();
  const { build, reason } = wasmSupport();
  const { bytes, reserved, budget, wanted } = heapUse();
  const chosen = name === "reference" && build !== null;
  const reasons = [chosen ? "the reference was chosen by useBackend" : reason, pool.reason, shortage()];
  return {
    name,
    threads: name === "simd" ? pool.threads.length + 1 : 1,
    relaxed: name === "simd" && build === "relaxed",
    reason: reasons.filter((text) => text !== null).join("; ") || null,
    choices: Array.from(choices, ([product, way]) => `${product}: ${way}`),
    heap: { bytes, reserved, budget, wanted },
  };
}

/**
 * Chooses the kernels: "simd" (the default where WebAssembly SIMD runs) or "reference", plain typed arrays with sums in
 * double. `relaxed: false` turns relaxed SIMD off. Throws BackendError where SIMD cannot run.
 *
 * @example
 * ```ts
 * import { backendInfo, useBackend } from "bitgrad";
 *
 * useBackend("reference");
 * console.log(backendInfo().name); // reference
 * useBackend("simd");
 * ```
 */
export function useBackend(name: BackendName, options?: { relaxed?: boolean }): void {
  const { relaxed } = readOptions("useBackend", options, { relaxed: true });
  if (name !== "simd" && name !== "reference") {
    throw new BackendError(`useBackend: no such backend, got ${show(name)}; use "simd" or "reference"`);
  }
  useRelaxedSimd(relaxed);
  const { build, reason } = wasmSupport();
  if (name === "simd" && build === null)
    throw new BackendError(`useBackend: SIMD cannot run here, got ${show(reason)}`);
  current.name = name;
}

const mostThreads = 64;

/**
 * Has large kernels run on `n` threads: the caller and n − 1 workers, which sleep between kernels, do not keep a process
 * alive, and end with `setThreads(1)`. Results are the same bits for every n, whatever the heap's budget. Where workers or
 * shared memory are missing (a page that is not cross-origin isolated, a policy without `worker-src blob:`) one thread runs,
 * and `backendInfo()` says why. Throws OptionError for n other than 1 to 64. A worker that dies makes the next kernel throw
 * BackendError; one thread runs from then on.
 *
 * @example
 * ```ts
 * import { randn, setThreads } from "bitgrad";
 *
 * const [a, b] = [randn([256, 256]), randn([256, 256])];
 * const one = a.matmul(b);
 * await setThreads(2);
 * console.log(a.matmul(b).equal(one).all().toArray()); // true
 * await setThreads(1);
 * ```
 */
export async function setThreads(n: number): Promise<void> {
  if (!Number.isInteger(n) || n < 1 || n > mostThreads)
    throw new OptionError(`setThreads: needs an integer from 1 to ${mostThreads}, got ${show(n)}`);
  const { build, reason } = wasmSupport();
  if (build !== null) await changePool(n, spawn);
  else if (n > 1) pool.reason = `threads need the SIMD kernels, which do not run: ${reason}`;
}

/**
 * The most bytes that the SIMD heap may span for tensors. Unless set, half of the memory that the machine has or gives
 * the process, 4 GiB at most; 1 GiB where a browser does not say. Beyond it they are ordinary arrays, which every kernel
 * copies in and out: slower, and the same bits, while the platform gives what one kernel call needs. That may pass the
 * budget. What the heap spans already stays. The first scope that ends when the budget was exhausted warns, once in a
 * process, by `process.emitWarning` or `console.warn`, and `backendInfo()` says what budget would have done.
 *
 * @example
 * ```ts
 * import { backendInfo, setHeapBudget } from "bitgrad";
 *
 * setHeapBudget(2 ** 30);
 * console.log(backendInfo().heap.budget); // 1073741824
 * ```
 */
export function setHeapBudget(bytes: number): void {
  if (!(typeof bytes === "number" && bytes >= 0))
    throw new OptionError(`setHeapBudget: needs a number of bytes, got ${show(bytes)}`);
  setBudget(bytes);
}
