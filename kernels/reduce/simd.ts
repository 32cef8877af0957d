/**
 * SIMD reductions. Each function has the contract of reference.ts and returns false, nothing written, where it does not
 * apply.
 */

import type { TypedArray } from "../../src/dtype.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inRows } from "../wasm/parallel.ts";
import { pays, staged } from "../wasm/staging.ts";
import { larger, type ReduceSizes, smaller } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

type Rows = (out: number, x: number, rows: number, n: number) => void;

/** What simd.as.ts exports. */
export interface ReduceExports {
  sumRows(out: number, x: number, rows: number, n: number, scale: number): void;
  sumColumns(out: number, x: number, outer: number, n: number, inner: number, scale: number): void;
  readonly maxRows: Rows;
  readonly minRows: Rows;
}

export const reduceExports = /* @__PURE__ */ wasmKernel<ReduceExports>(bytes);

// Plain arrays below this size stay in JavaScript.
const few = 1024;

/** Runs on the addresses of out and x. */
function run(
  out: TypedArray,
  x: TypedArray,
  { outer, n, inner }: ReduceSizes,
  kernel: (to: number, from: number) => void,
): boolean {
  if (!(out instanceof Float32Array && x instanceof Float32Array)) return false;
  return staged((staging) => {
    const from = staging.input(x, 0, outer * n * inner);
    const to = staging.output(out, 0, outer * inner, false);
    if (from === 0 || to === 0) return false;
    kernel(to, from);
    return true;
  });
}

/** out = scale · sum over n. */
export function sum(
  out: TypedArray,
  x: TypedArray,
  sizes: ReduceSizes,
  scale = 1,
  exports = reduceExports(),
): boolean {
  const { outer, n, inner } = sizes;
  if (exports === null) return false;
  const nanoseconds = outer * n * inner * 0.2;
  return run(out, x, sizes, (to, from) => {
    if (inner === 1)
      inRows(exports, "sumRows", outer, 1, nanoseconds, (row, count) => [
        to + row * 4,
        from + row * n * 4,
        count,
        n,
        scale,
      ]);
    else
      inRows(exports, "sumColumns", outer, 1, nanoseconds, (row, count) => [
        to + row * inner * 4,
        from + row * n * inner * 4,
        count,
        n,
        inner,
        scale,
      ]);
  });
}

/** out = f(… f(f(initial, x₀), x₁) …) over the last axis, for `larger` and `smaller` from the value that loses to all. */
export function fold(
  out: TypedArray,
  x: TypedArray,
  sizes: ReduceSizes,
  initial: number,
  f: (accumulated: number, x: number) => number,
  exports = reduceExports(),
): boolean {
  const kind = f === larger ? "maxRows" : f === smaller ? "minRows" : null;
  const loser = f === larger ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (exports === null || kind === null || initial !== loser || sizes.inner !== 1) return false;
  if (!pays(x.length, few, out, x)) return false;
  const { outer, n } = sizes;
  return run(out, x, sizes, (to, from) =>
    inRows(exports, kind, outer, 1, outer * n * 0.2, (row, count) => [
      to + row * 4,
      from + row * n * 4,
      count,
      n,
    ]),
  );
}
