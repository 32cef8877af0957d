/** reduce: the contracts are those of reference.ts, for float32. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import { type FoldArgs, foldCases, type SumArgs, sumCases, sumTolerance } from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

export const reduceSum: Kernel<SumArgs> = {
  name: "reduce.sum",
  reference: reference.sum,
  implementations: simdBuilds(simd.reduceExports, (code, ...args) => simd.sum(...args, code)),
  cases: sumCases,
  tolerance: sumTolerance,
};

export const reduceFold: Kernel<FoldArgs> = {
  name: "reduce.fold",
  reference: reference.fold,
  implementations: simdBuilds(simd.reduceExports, (code, ...args) => simd.fold(...args, code)),
  cases: foldCases,
  tolerance: () => null,
};
