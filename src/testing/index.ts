/** The public list of `bitgrad/testing`: checks of gradients, values and memory, and arbitraries for fast-check. */

import "../ops/all.ts";

export { arb, type ShapeLimits, type TensorLimits } from "./arbitraries.ts";
export { type CloseOptions, expectClose } from "./close.ts";
export { type Checked, type GradcheckOptions, gradcheck, gradgradcheck } from "./gradcheck.ts";
export { leakCheck } from "./leak.ts";
