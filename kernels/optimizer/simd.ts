/** SIMD updates. Each function has the contract of reference.ts and returns false, nothing written, where it does not apply. */

import type { FloatArray } from "../../src/dtype.ts";
import { wasmKernel } from "../wasm/load.ts";
import { pays, staged } from "../wasm/stage.ts";
import type { AdamStep, LionStep, SgdStep, SignStep } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

type Addresses = [weight: number, grad: number, ...state: number[]];

/** What simd.as.ts exports: addresses (0 for an array that is not there), the length, then numbers. */
export interface OptimizerExports {
  adam(...args: number[]): void;
  sgd(...args: number[]): void;
  lion(...args: number[]): void;
  signStep(...args: number[]): void;
}

export const optimizerExports = /* @__PURE__ */ wasmKernel<OptimizerExports>(bytes);

// Plain arrays below this size stay in JavaScript.
const few = 1024;

/** Runs on the addresses of the weight, the gradient and what there is of the state. */
function run(
  weight: FloatArray,
  grad: FloatArray,
  state: readonly (FloatArray | null)[],
  kernel: (addresses: Addresses, n: number) => void,
): boolean {
  const present = [weight, grad, ...state].filter((array) => array !== null);
  const n = weight.length;
  if (!present.every((array) => array instanceof Float32Array) || !pays(n, few, ...present)) return false;
  return staged((stage) => {
    const from = stage.input(grad, 0, n);
    const [to, ...rest] = [weight, ...state].map((array) =>
      array === null ? 0 : stage.output(array, 0, n, true),
    );
    if (from === 0 || to === 0 || rest.some((at, i) => at === 0 && state[i] !== null)) return false;
    kernel([to, from, ...rest], n);
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
): boolean =>
  exports !== null &&
  run(weight, grad, [mean, square, largest], (at, n) =>
    exports.adam(...at, n, decay, coupled, 1 - beta1, 1 - beta2, size, 1 / rootCorrection, eps),
  );

/** The step of gradient descent, with momentum where there is a buffer. */
export const sgd = (
  weight: FloatArray,
  grad: FloatArray,
  buffer: FloatArray | null,
  { lr, direction, weightDecay, momentum, dampening, nesterov, first }: SgdStep,
  exports = optimizerExports(),
): boolean =>
  exports !== null &&
  run(weight, grad, [buffer], (at, n) => {
    const flags = [nesterov ? 1 : 0, first ? 1 : 0];
    exports.sgd(...at, n, direction, weightDecay, momentum, 1 - dampening, ...flags, lr);
  });

/** The step of Lion. */
export const lion = (
  weight: FloatArray,
  grad: FloatArray,
  mean: FloatArray,
  { lr, decay, beta1, beta2 }: LionStep,
  exports = optimizerExports(),
): boolean =>
  exports !== null &&
  run(weight, grad, [mean], (at, n) => exports.lion(...at, n, decay, 1 - beta1, 1 - beta2, lr));

/** The step by signs, of the gradient or of its mean. */
export const signStep = (
  weight: FloatArray,
  grad: FloatArray,
  mean: FloatArray | null,
  { lr, decay, momentum }: SignStep,
  exports = optimizerExports(),
): boolean =>
  exports !== null &&
  run(weight, grad, [mean], (at, n) => exports.signStep(...at, n, decay, 1 - momentum, lr));
