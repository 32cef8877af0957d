/**
 * SIMD softmax, logSoftmax and logSumExp. Each function has the contract of reference.ts and returns false, nothing
 * written, where it does not apply.
 */

import type { FloatArray } from "../../src/dtype.ts";
import type { ReduceSizes } from "../reduce/reference.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inRows, type Run } from "../wasm/parallel.ts";
import { stagedRows } from "../wasm/staging.ts";
import { bytes } from "./simd.wasm.ts";

type Names = "softmax" | "logSoftmax" | "softmaxGrad" | "logSoftmaxGrad" | "logSumExp";

/** What simd.as.ts exports: for rows and for columns. */
export type SoftmaxExports = { readonly [name in Names | `${Names}Columns`]: Run };

export const softmaxExports = /* @__PURE__ */ wasmKernel<SoftmaxExports>(bytes);

// Of columns.as.ts: the columns of a block, and its scratch.
const width = 128;
const scratch = width * 16;

/** Calls the function on the addresses of the output and the inputs, which are of one size. */
function run(
  exports: SoftmaxExports | null,
  name: Names,
  arrays: readonly [out: FloatArray, ...inputs: FloatArray[]],
  { outer, n, inner }: ReduceSizes,
): boolean {
  if (exports === null || !arrays.every((array) => array instanceof Float32Array)) return false;
  const results = outer === 0 ? 0 : arrays[0].length / outer;
  return stagedRows(outer, (staging, first, rows) => {
    const inputs = arrays.slice(1).map((array) => staging.input(array, first * n * inner, rows * n * inner));
    const to = staging.output(arrays[0], first * results, rows * results, false);
    if (to === 0 || inputs.includes(0)) return false;
    if (inner === 1)
      return inRows(exports, name, rows, 1, rows * n, (row, count) => {
        const shift = row * n * 4;
        const out = to + (name === "logSumExp" ? row * 4 : shift);
        return [out, ...inputs.map((at) => at + shift), count, n];
      });
    return inRows(
      exports,
      `${name}Columns`,
      rows * Math.ceil(inner / width),
      1,
      rows * n * inner,
      (block, count, local) => [to, ...inputs, block, count, n, inner, local],
      scratch,
    );
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

/** out = log Σ exp(x) over n. */
export const logSumExp = (out: FloatArray, x: FloatArray, sizes: ReduceSizes, exports = softmaxExports()) =>
  run(exports, "logSumExp", [out, x], sizes);
