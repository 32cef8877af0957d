/** Losses: the contracts are those of reference.ts, for float32 over the last axis and without class weights. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import * as cases from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

export const crossEntropy: Kernel<cases.ForwardArgs> = {
  name: "loss.crossEntropy",
  reference: reference.crossEntropy,
  implementations: simdBuilds(simd.lossExports, (code, ...args) => simd.crossEntropy(...args, code)),
  cases: cases.forwardCases,
  tolerance: cases.forwardTolerance,
};

export const crossEntropyGrad: Kernel<cases.BackwardArgs> = {
  name: "loss.crossEntropyGrad",
  reference: reference.crossEntropyGrad,
  implementations: simdBuilds(simd.lossExports, (code, ...args) => simd.crossEntropyGrad(...args, code)),
  cases: cases.backwardCases,
  tolerance: cases.backwardTolerance,
};

export const divergence: Kernel<cases.DivergenceArgs> = {
  name: "loss.divergence",
  reference: reference.divergence,
  implementations: simdBuilds(simd.lossExports, (code, ...args) => simd.divergence(...args, code)),
  cases: cases.divergenceCases,
  tolerance: cases.divergenceTolerance,
};

export const divergenceGrad: Kernel<cases.DivergenceGradArgs> = {
  name: "loss.divergenceGrad",
  reference: reference.divergenceGrad,
  implementations: simdBuilds(simd.lossExports, (code, ...args) => simd.divergenceGrad(...args, code)),
  cases: cases.divergenceGradCases,
  tolerance: cases.divergenceGradTolerance,
};
