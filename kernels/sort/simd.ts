/** The order of rows by radix: the contract of reference.ts, bit for bit, for every type and size. */

import { dtypeOfArray, type TypedArray } from "../../src/dtype.ts";
import type { ReduceSizes } from "../reduce/reference.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inTasks } from "../wasm/parallel.ts";
import { staged } from "../wasm/staging.ts";
import type { Places } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface SortExports {
  order(...addressesAndSizes: number[]): void;
}

export const sortExports = /* @__PURE__ */ wasmKernel<SortExports>(bytes);

const kinds = ["float32", "float64", "int32", "uint32", "int8", "uint8"];

/** False, with nothing written, where the heap has no room. */
export function argsort(
  out: TypedArray,
  x: TypedArray,
  { outer, n, inner }: ReduceSizes,
  { descending, first, last }: Places,
  exports = sortExports(),
): boolean {
  if (exports === null) return false;
  const rows = outer * inner;
  if (rows * (last - first) === 0) return true;
  const kind = kinds.indexOf(dtypeOfArray(x)!);
  return staged((staging) => {
    const to = staging.output(out, 0, out.length, false);
    const from = staging.input(x, 0, x.length);
    if (to === 0 || from === 0) return false;
    const each = Math.ceil(rows / 16);
    return inTasks(rows * n * 20, 32768 + 24 * n, [exports], (job) => {
      for (let row = 0; row < rows; row += each) {
        const count = Math.min(each, rows - row);
        job
          .of(exports)
          .order(to, from, kind, n, inner, Number(descending), first, last, row, count, job.local);
        job.next();
      }
    });
  });
}
