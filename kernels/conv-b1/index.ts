/** conv-b1: the contract is that of reference.ts. */

import type { Kernel } from "../kernel.ts";
import { lookupExports } from "../lookup/simd.ts";
import { simdBuilds } from "../wasm/held.ts";
import { type BitConvArgs, bitConvCases } from "./cases.ts";
import { conv2d as reference } from "./reference.ts";
import { conv2d } from "./simd.ts";

export const convBits: Kernel<BitConvArgs> = {
  name: "conv-b1",
  reference,
  implementations: simdBuilds(lookupExports, (code, ...args) => conv2d(...args, code)),
  cases: bitConvCases,
  tolerance: () => null,
};
