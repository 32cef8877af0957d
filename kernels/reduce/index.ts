/** reduce: the contracts are those of reference.ts. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import * as cases from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

export const reduceSum: Kernel<cases.SumArgs> = {
  name: "reduce.sum",
  reference: reference.sum,
  implementations: simdBuilds(simd.reduceExports, (code, ...args) => simd.sum(...args, code)),
  cases: cases.sumCases,
  tolerance: cases.sumTolerance,
};

export const reduceFold: Kernel<cases.FoldArgs> = {
  name: "reduce.fold",
  reference: reference.fold,
  implementations: simdBuilds(simd.reduceExports, (code, ...args) => simd.fold(...args, code)),
  cases: cases.foldCases,
  tolerance: () => null,
};

export const reduceAny: Kernel<cases.FoldArgs> = {
  ...reduceFold,
  name: "reduce.fold of any type",
  cases: cases.anyFoldCases,
};

export const reduceDeviations: Kernel<cases.DeviationArgs> = {
  name: "reduce.deviations",
  reference: reference.deviations,
  implementations: simdBuilds(simd.reduceExports, (code, ...args) => simd.deviations(...args, code)),
  cases: cases.deviationCases,
  tolerance: () => null,
};

export const reduceArg: Kernel<cases.ArgArgs> = {
  name: "reduce.argBest",
  reference: reference.argBest,
  implementations: simdBuilds(simd.reduceExports, (code, ...args) => simd.argBest(...args, code)),
  cases: cases.argCases,
  tolerance: () => null,
};

export const reduceScan: Kernel<cases.FoldArgs> = {
  name: "reduce.scan",
  reference: reference.scan,
  implementations: simdBuilds(simd.reduceExports, (code, ...args) => simd.scan(...args, code)),
  cases: cases.scanCases,
  tolerance: () => null,
};
