/** gemm-i8: the contract is that of reference.ts; integers and what follows from them are equal in every build. */

import type { Kernel } from "../kernel.ts";
import type { Output, OutputArray } from "../output.ts";
import { simdBuilds } from "../wasm/held.ts";
import { intCases } from "./cases.ts";
import { type Activations, type IntShape, type IntWeights, gemmInt as reference } from "./reference.ts";
import { intExports, gemmInt as simd } from "./simd.ts";

type Args = [out: OutputArray, x: Activations, weights: IntWeights, shape: IntShape, output: Output];

export const gemmI8: Kernel<Args> = {
  name: "gemm-i8",
  reference,
  implementations: simdBuilds(intExports, (exports, ...args: Args) => simd(...args, exports)),
  cases: intCases,
  tolerance: () => null,
};
