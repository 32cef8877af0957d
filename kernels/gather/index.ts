/** gather: the contracts are those of reference.ts, which every build gives to the bit. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import { type GatherArgs, gatherCases, type ScatterArgs, scatterCases } from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

export const gatherRead: Kernel<GatherArgs> = {
  name: "gather.gather",
  reference: reference.gather,
  implementations: simdBuilds(simd.gatherExports, (code, ...args) => simd.gather(...args, code)),
  cases: gatherCases,
  tolerance: () => null,
};

export const gatherScatter: Kernel<ScatterArgs> = {
  name: "gather.scatter",
  reference: reference.scatter,
  implementations: simdBuilds(simd.gatherExports, (code, ...args) => simd.scatter(...args, code)),
  cases: scatterCases,
  tolerance: () => null,
};

export const gatherScatterAdd: Kernel<ScatterArgs> = {
  name: "gather.scatterAdd",
  reference: reference.scatterAdd,
  implementations: simdBuilds(simd.gatherExports, (code, ...args) => simd.scatterAdd(...args, code)),
  cases: scatterCases,
  tolerance: () => null,
};
