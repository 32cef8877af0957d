/** layerNorm, rmsNorm and batchNorm: the contracts are those of reference.ts, for float32 with statistics in double. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import * as cases from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

export const layerNorm: Kernel<cases.ForwardArgs> = {
  name: "norm.layerNorm",
  reference: cases.layerNorm(reference.layerNorm),
  implementations: simdBuilds(simd.normExports, (code, ...args) =>
    cases.layerNorm((...all) => simd.layerNorm(...all, code))(...args),
  ),
  cases: cases.forwardCases,
  tolerance: cases.forwardTolerance,
};

export const rmsNorm: Kernel<cases.ForwardArgs> = {
  name: "norm.rmsNorm",
  reference: cases.rmsNorm(reference.rmsNorm),
  implementations: simdBuilds(simd.normExports, (code, ...args) =>
    cases.rmsNorm((...all) => simd.rmsNorm(...all, code))(...args),
  ),
  cases: cases.forwardCases,
  tolerance: cases.forwardTolerance,
};

export const layerNormGrad: Kernel<cases.BackwardArgs> = {
  name: "norm.layerNormGrad",
  reference: cases.layerNormGrad(reference.layerNormGrad),
  implementations: simdBuilds(simd.normExports, (code, ...args) =>
    cases.layerNormGrad((...all) => simd.layerNormGrad(...all, code))(...args),
  ),
  cases: cases.backwardCases,
  tolerance: cases.backwardTolerance,
};

export const rmsNormGrad: Kernel<cases.BackwardArgs> = {
  name: "norm.rmsNormGrad",
  reference: cases.rmsNormGrad(reference.rmsNormGrad),
  implementations: simdBuilds(simd.normExports, (code, ...args) =>
    cases.rmsNormGrad((...all) => simd.rmsNormGrad(...all, code))(...args),
  ),
  cases: () => cases.backwardCases(true),
  tolerance: cases.backwardTolerance,
};

export const batchNorm: Kernel<cases.BatchArgs> = {
  name: "norm.batchNorm",
  reference: cases.batchNorm(reference.batchNorm),
  implementations: simdBuilds(simd.normExports, (code, ...args) =>
    cases.batchNorm((...all) => simd.batchNorm(...all, code))(...args),
  ),
  cases: cases.batchCases,
  tolerance: cases.batchTolerance,
};

export const batchNormGrad: Kernel<cases.BatchGradArgs> = {
  name: "norm.batchNormGrad",
  reference: cases.batchNormGrad(reference.batchNormGrad),
  implementations: simdBuilds(simd.normExports, (code, ...args) =>
    cases.batchNormGrad((...all) => simd.batchNormGrad(...all, code))(...args),
  ),
  cases: cases.batchGradCases,
  tolerance: cases.batchGradTolerance,
};
