/** SIMD updates. Each function has the contract of reference.ts and returns false, nothing written, where it does not apply. */

import type { FloatArray } from "../../src/dtype.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inRows } from "../wasm/parallel.ts";
import { staged } from "../wasm/staging.ts";
import type { AdamStep, LionStep, SgdStep, SignStep } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports: addresses (0 for an array that is not there), the length, then numbers. */
export interface OptimizerExports {
  adam(...args: number[]): void;
  sgd(...args: number[]): void;
  lion(...args: number[]): void;
  signStep(...args: number[]): void;
}

export const optimizerExports = /* @__PURE__ */ wasmKernel<OptimizerExports>(bytes);

// A thread's part begins at whole vectors, and at lines of its own.
const whole = 64;

/** Calls the function on the weight, the gradient and what there is of the state, their length, and the numbers. */
function run(
  exports: OptimizerExports | null,
  name: keyof OptimizerExports,
  weight: FloatArray,
  grad: FloatArray,
  state: readonly (FloatArray | null)[],
  numbers: readonly number[],
): boolean {
  if (exports === null) return false;
  const n = weight.length;
  const isFloat32 = (array: FloatArray | null): boolean => array === null || array instanceof Float32Array;
  if (!isFloat32(weight) || !isFloat32(grad) || !state.every(isFloat32)) return false;
  return staged((staging) => {
    const starts = [staging.output(weight, 0, n, true), staging.input(grad, 0, n)];
    if (starts.includes(0)) return false;
    for (const array of state) {
      const at = array === null ? 0 : staging.output(array, 0, n, true);
      if (array !== null && at === 0) return false;
      starts.push(at);
    }
    inRows(exports, name, n, whole, n, (i, count) => [
      ...starts.map((at) => at && at + i * 4),
      count,
      ...numbers,
    ]);
    return true;
  });
}

/** The step of Adam and AdamW. */
export const adam = (
  weight: FloatArray,
  grad: FloatArray,
  mean: FloatArray,
  square: FloatArray,
  largest: FloatArray | null,
  { decay, coupled, beta1, beta2, size, rootCorrection, eps }: AdamStep,
  exports = optimizerExports(),
): boolean => {
  const numbers = [decay, coupled, 1 - beta1, 1 - beta2, size, 1 / rootCorrection, eps];
  return run(exports, "adam", weight, grad, [mean, square, largest], numbers);
};

/** The step of gradient descent, with momentum where there is a buffer. */
export const sgd = (
  weight: FloatArray,
  grad: FloatArray,
  buffer: FloatArray | null,
  { lr, direction, weightDecay, momentum, dampening, nesterov, first }: SgdStep,
  exports = optimizerExports(),
): boolean => {
  const flags = [nesterov ? 1 : 0, first ? 1 : 0];
  const numbers = [direction, weightDecay, momentum, 1 - dampening, ...flags, lr];
  return run(exports, "sgd", weight, grad, [buffer], numbers);
};

/** The step of Lion. */
export const lion = (
  weight: FloatArray,
  grad: FloatArray,
  mean: FloatArray,
  { lr, decay, beta1, beta2 }: LionStep,
  exports = optimizerExports(),
): boolean => run(exports, "lion", weight, grad, [mean], [decay, 1 - beta1, 1 - beta2, lr]);

/** The step by signs, of the gradient or of its mean. */
export const signStep = (
  weight: FloatArray,
  grad: FloatArray,
  mean: FloatArray | null,
  { lr, decay, momentum }: SignStep,
  exports = optimizerExports(),
): boolean => run(exports, "signStep", weight, grad, [mean], [decay, 1 - momentum, lr]);
