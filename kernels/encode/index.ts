/** encode: the contracts are those of reference.ts. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import * as cases from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

const exact = { tolerance: () => null };

export const encodeSigns: Kernel<cases.SignArgs> = {
  name: "pack.signs",
  reference: reference.encodeSigns,
  implementations: simdBuilds(simd.encodeExports, (code, ...args) => simd.encodeSigns(...args, code)),
  cases: cases.signCases,
  ...exact,
};

export const encodeAbove: Kernel<cases.AboveArgs> = {
  name: "pack.above",
  reference: reference.encodeAbove,
  implementations: simdBuilds(simd.encodeExports, (code, ...args) => simd.encodeAbove(...args, code)),
  cases: cases.aboveCases,
  ...exact,
};

export const quantizeRows: Kernel<cases.RowArgs> = {
  name: "pack.rows",
  reference: reference.quantizeRows,
  implementations: simdBuilds(simd.encodeExports, (code, ...args) => simd.quantizeRows(...args, code)),
  cases: cases.rowCases,
  ...exact,
};

export const quantizeBy: Kernel<cases.ByArgs> = {
  name: "pack.by",
  reference: reference.quantizeBy,
  implementations: simdBuilds(simd.encodeExports, (code, ...args) => simd.quantizeBy(...args, code)),
  cases: cases.byCases,
  ...exact,
};
