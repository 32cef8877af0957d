/** gemm-i4: the contract is that of reference.ts. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import { floatCases, floatTolerance } from "./cases.ts";
import { type FloatShape, type FloatWeights, gemmFloat as reference } from "./reference.ts";
import { floatExports, gemmFloat as simd } from "./simd.ts";

type Args = [out: Float32Array, x: Float32Array, weights: FloatWeights, shape: FloatShape];

export const gemmI4: Kernel<Args> = {
  name: "gemm-i4",
  reference,
  implementations: simdBuilds(floatExports, (exports, ...args: Args) => simd(...args, exports)),
  cases: floatCases,
  tolerance: floatTolerance,
};
