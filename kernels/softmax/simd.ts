/**
 * SIMD softmax and logSoftmax over the last axis. Each function has the contract of reference.ts and returns false, nothing
 * written, where it does not apply.
 */

import type { FloatArray } from "../../src/dtype.ts";
import type { ReduceSizes } from "../reduce/reference.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inRows } from "../wasm/parallel.ts";
import { staged } from "../wasm/staging.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface SoftmaxExports {
  softmax(out: number, x: number, rows: number, n: number): void;
  logSoftmax(out: number, x: number, rows: number, n: number): void;
  softmaxGrad(dx: number, dOut: number, out: number, rows: number, n: number): void;
  logSoftmaxGrad(dx: number, dOut: number, out: number, rows: number, n: number): void;
}

export const softmaxExports = /* @__PURE__ */ wasmKernel<SoftmaxExports>(bytes);

/** Calls the function on the addresses of the output and the inputs, all of one size. */
function run(
  exports: SoftmaxExports | null,
  name: keyof SoftmaxExports,
  arrays: readonly [out: FloatArray, ...inputs: FloatArray[]],
  { outer, n, inner }: ReduceSizes,
): boolean {
  const size = outer * n;
  if (exports === null || inner !== 1) return false;
  if (!arrays.every((array) => array instanceof Float32Array)) return false;
  return staged((staging) => {
    const inputs = arrays.slice(1).map((array) => staging.input(array, 0, size));
    const to = staging.output(arrays[0], 0, size, false);
    if (to === 0 || inputs.includes(0)) return false;
    inRows(exports, name, outer, 1, size, (row, count) => {
      const shift = row * n * 4;
      return [to + shift, ...inputs.map((at) => at + shift), count, n];
    });
    return true;
  });
}

/** out = exp(x) / Σ exp(x) over n. */
export const softmax = (out: FloatArray, x: FloatArray, sizes: ReduceSizes, exports = softmaxExports()) =>
  run(exports, "softmax", [out, x], sizes);

/** out = x − log Σ exp(x) over n. */
export const logSoftmax = (out: FloatArray, x: FloatArray, sizes: ReduceSizes, exports = softmaxExports()) =>
  run(exports, "logSoftmax", [out, x], sizes);

/** dx = out · (dOut − Σ dOut·out over n). */
export const softmaxGrad = (
  dx: FloatArray,
  dOut: FloatArray,
  out: FloatArray,
  sizes: ReduceSizes,
  exports = softmaxExports(),
): boolean => run(exports, "softmaxGrad", [dx, dOut, out], sizes);

/** dx = dOut − exp(out) · Σ dOut over n. */
export const logSoftmaxGrad = (
  dx: FloatArray,
  dOut: FloatArray,
  out: FloatArray,
  sizes: ReduceSizes,
  exports = softmaxExports(),
): boolean => run(exports, "logSoftmaxGrad", [dx, dOut, out], sizes);
