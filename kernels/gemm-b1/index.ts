/** gemm-b1: the contracts are those of reference.ts. */

import type { Kernel } from "../kernel.ts";
import { lookupExports, pairArrays } from "../lookup/simd.ts";
import { simdBuilds } from "../wasm/held.ts";
import { type BitArgs, bitCases } from "./cases.ts";
import * as reference from "./reference.ts";

const bit = { levels: 2, bits: 1 };

export const gemmSigns: Kernel<BitArgs> = {
  name: "gemm-b1.signs",
  reference: reference.signs,
  implementations: simdBuilds(lookupExports, (code, ...args) => pairArrays("differ", ...args, code)),
  cases: bitCases(bit, bit),
  tolerance: () => null,
};

export const gemmOnes: Kernel<BitArgs> = {
  name: "gemm-b1.ones",
  reference: reference.ones,
  implementations: simdBuilds(lookupExports, (code, ...args) => pairArrays("both", ...args, code)),
  cases: bitCases(bit, bit),
  tolerance: () => null,
};
