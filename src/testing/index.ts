/**
 * Checks of gradients, values and memory, laws, and arbitraries for fast-check.
 *
 * @module bitgrad/testing
 */

import "../ops/all.ts";

export { arb, type ShapeLimits, type TensorLimits } from "./arbitraries.ts";
export { type CloseOptions, expectClose } from "./close.ts";
export { type Checked, type GradcheckOptions, gradcheck, gradgradcheck } from "./gradcheck.ts";
export { laws } from "./laws.ts";
export { leakCheck } from "./leak.ts";
export type { Law, OptimizerLawOptions, Says } from "./optimizer-laws.ts";
export type { MakeQuantizer, QuantizerLawOptions } from "./quantizer-laws.ts";
