/** pack: the contracts are those of reference.ts. */

import type { Kernel } from "../kernel.ts";
import { simdBuilds } from "../wasm/held.ts";
import * as cases from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

const exact = { tolerance: () => null };

export const packSigns: Kernel<cases.SignArgs> = {
  name: "pack.signs",
  reference: reference.packSigns,
  implementations: simdBuilds(simd.packExports, (code, ...args) => simd.packSigns(...args, code)),
  cases: cases.signCases,
  ...exact,
};

export const packAbove: Kernel<cases.AboveArgs> = {
  name: "pack.above",
  reference: reference.packAbove,
  implementations: simdBuilds(simd.packExports, (code, ...args) => simd.packAbove(...args, code)),
  cases: cases.aboveCases,
  ...exact,
};

export const quantizeRows: Kernel<cases.RowArgs> = {
  name: "pack.rows",
  reference: reference.quantizeRows,
  implementations: simdBuilds(simd.packExports, (code, ...args) => simd.quantizeRows(...args, code)),
  cases: cases.rowCases,
  ...exact,
};

export const quantizeBy: Kernel<cases.ByArgs> = {
  name: "pack.by",
  reference: reference.quantizeBy,
  implementations: simdBuilds(simd.packExports, (code, ...args) => simd.quantizeBy(...args, code)),
  cases: cases.byCases,
  ...exact,
};
