/** softmax and logSoftmax: the contracts are those of reference.ts, for float32. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import * as cases from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

export const softmax: Kernel<cases.ForwardArgs> = {
  name: "softmax",
  reference: reference.softmax,
  implementations: simdBuilds(simd.softmaxExports, (code, ...args) => simd.softmax(...args, code)),
  cases: cases.forwardCases,
  tolerance: cases.softmaxTolerance,
};

export const logSoftmax: Kernel<cases.ForwardArgs> = {
  name: "softmax.log",
  reference: reference.logSoftmax,
  implementations: simdBuilds(simd.softmaxExports, (code, ...args) => simd.logSoftmax(...args, code)),
  cases: cases.forwardCases,
  tolerance: cases.logSoftmaxTolerance,
};

export const softmaxGrad: Kernel<cases.BackwardArgs> = {
  name: "softmax.grad",
  reference: reference.softmaxGrad,
  implementations: simdBuilds(simd.softmaxExports, (code, ...args) => simd.softmaxGrad(...args, code)),
  cases: cases.softmaxGradCases,
  tolerance: cases.softmaxGradTolerance,
};

export const logSoftmaxGrad: Kernel<cases.BackwardArgs> = {
  name: "softmax.logGrad",
  reference: reference.logSoftmaxGrad,
  implementations: simdBuilds(simd.softmaxExports, (code, ...args) => simd.logSoftmaxGrad(...args, code)),
  cases: cases.logSoftmaxGradCases,
  tolerance: cases.logSoftmaxGradTolerance,
};

export const logSumExp: Kernel<cases.ForwardArgs> = {
  name: "softmax.logSum",
  reference: reference.logSumExpOver,
  implementations: simdBuilds(simd.softmaxExports, (code, ...args) => simd.logSumExp(...args, code)),
  cases: cases.sumCases,
  tolerance: cases.sumTolerance,
};
