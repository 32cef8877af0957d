/** Updates of parameters: the contracts are those of reference.ts, for float32. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import * as cases from "./cases.ts";
import type { AdamStep, LionStep, SgdStep, SignStep } from "./reference.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

export const adam: Kernel<cases.UpdateArgs<AdamStep>> = {
  name: "optimizer.adam",
  reference: cases.adam(reference.adam),
  implementations: simdBuilds(simd.optimizerExports, (code, ...args) =>
    cases.adam((...all) => simd.adam(...all, code))(...args),
  ),
  cases: cases.adamCases,
  tolerance: cases.updateTolerance,
};

export const sgd: Kernel<cases.UpdateArgs<SgdStep>> = {
  name: "optimizer.sgd",
  reference: cases.sgd(reference.sgd),
  implementations: simdBuilds(simd.optimizerExports, (code, ...args) =>
    cases.sgd((...all) => simd.sgd(...all, code))(...args),
  ),
  cases: cases.sgdCases,
  tolerance: cases.updateTolerance,
};

export const lion: Kernel<cases.UpdateArgs<LionStep>> = {
  name: "optimizer.lion",
  reference: cases.lion(reference.lion),
  implementations: simdBuilds(simd.optimizerExports, (code, ...args) =>
    cases.lion((...all) => simd.lion(...all, code))(...args),
  ),
  cases: cases.lionCases,
  tolerance: cases.updateTolerance,
};

export const signStep: Kernel<cases.UpdateArgs<SignStep>> = {
  name: "optimizer.signStep",
  reference: cases.signStep(reference.signStep),
  implementations: simdBuilds(simd.optimizerExports, (code, ...args) =>
    cases.signStep((...all) => simd.signStep(...all, code))(...args),
  ),
  cases: cases.signCases,
  tolerance: cases.updateTolerance,
};
