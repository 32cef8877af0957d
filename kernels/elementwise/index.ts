/** elementwise: the contracts are those of reference.ts, for float32 and the functions that have a loop. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import * as cases from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

export const elementwiseUnary: Kernel<cases.UnaryArgs> = {
  name: "elementwise.unary",
  reference: reference.unary,
  implementations: simdBuilds(simd.elementwiseExports, (code, ...args) => simd.unary(...args, code)),
  cases: cases.unaryCases,
  tolerance: cases.unaryTolerance,
};

export const elementwiseGrad: Kernel<cases.GradArgs> = {
  name: "elementwise.unaryGrad",
  reference: reference.unaryGrad,
  implementations: simdBuilds(simd.elementwiseExports, (code, ...args) => simd.unaryGrad(...args, code)),
  cases: cases.gradCases,
  tolerance: cases.gradTolerance,
};

export const elementwiseBinary: Kernel<cases.BinaryArgs> = {
  name: "elementwise.binary",
  reference: reference.binary,
  implementations: simdBuilds(simd.elementwiseExports, (code, ...args) => simd.binary(...args, code)),
  cases: cases.binaryCases,
  tolerance: () => null,
};

export const elementwiseSelect: Kernel<cases.SelectArgs> = {
  name: "elementwise.select",
  reference: reference.select,
  implementations: simdBuilds(simd.elementwiseExports, (code, ...args) => simd.select(...args, code)),
  cases: cases.selectCases,
  tolerance: () => null,
};
