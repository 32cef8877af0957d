/** mixed: elementwise functions of any types, by the contracts of kernels/elementwise/reference.ts, and casts. */

import * as elementwise from "../elementwise/reference.ts";
import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import * as cases from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

export const mixedBinary: Kernel<cases.BinaryArgs> = {
  name: "mixed.binary",
  reference: elementwise.binary,
  implementations: simdBuilds(simd.mixedExports, (code, ...args) => simd.binary(...args, code)),
  cases: cases.binaryCases,
  tolerance: () => null,
};

export const mixedUnary: Kernel<cases.UnaryArgs> = {
  name: "mixed.unary",
  reference: elementwise.unary,
  implementations: simdBuilds(simd.mixedExports, (code, ...args) => simd.unary(...args, code)),
  cases: cases.unaryCases,
  tolerance: () => null,
};

export const mixedCast: Kernel<cases.CastArgs> = {
  name: "mixed.cast",
  reference: reference.cast,
  implementations: simdBuilds(simd.mixedExports, (code, ...args) => simd.cast(...args, code)),
  cases: cases.castCases,
  tolerance: () => null,
};
