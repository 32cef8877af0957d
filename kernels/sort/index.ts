/** sort: the contract is that of reference.ts, which every build gives to the bit. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import { type SortArgs, sortCases } from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

export const argsort: Kernel<SortArgs> = {
  name: "sort.argsort",
  reference: reference.argsort,
  implementations: simdBuilds(simd.sortExports, (code, ...args) => simd.argsort(...args, code)),
  cases: sortCases,
  tolerance: () => null,
};
