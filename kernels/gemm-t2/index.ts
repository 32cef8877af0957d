/** gemm-t2: the contracts are those of reference.ts. */

import { type BitArgs, bitCases } from "../gemm-b1/cases.ts";
import type { Kernel } from "../kernel.ts";
import { lookupExports, pairArrays } from "../lookup/simd.ts";
import { simdBuilds } from "../wasm/held.ts";
import * as reference from "./reference.ts";

const bit = { levels: 2, bits: 1 };
const digit = { levels: 3, bits: 2 };

export const gemmTernarySigns: Kernel<BitArgs> = {
  name: "gemm-t2.signs",
  reference: reference.signs,
  implementations: simdBuilds(lookupExports, (code, ...args) => pairArrays("ternarySigns", ...args, code)),
  cases: bitCases(bit, digit),
  tolerance: () => null,
};

export const gemmTernary: Kernel<BitArgs> = {
  name: "gemm-t2.ternary",
  reference: reference.ternary,
  implementations: simdBuilds(lookupExports, (code, ...args) => pairArrays("ternaryTernary", ...args, code)),
  cases: bitCases(digit, digit),
  tolerance: () => null,
};
