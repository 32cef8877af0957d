/** The SIMD float32 product: on heap addresses, and on typed arrays that lie on the heap or are staged. */

import type { TypedArray } from "../../src/dtype.ts";
import { scratch } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { staged } from "../wasm/staging.ts";
import type { GemmShape } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";
import { callGemm, type FullShape, type GemmExports, type HeapGemm, splitGemm } from "./split.ts";
import { gemmTiles } from "./tiles.ts";

export const gemmExports = /* @__PURE__ */ wasmKernel<GemmExports>(bytes);

/** Named one by one: spreading the shape would take longer than a small product. */
const fullShape = ({
  m,
  n,
  k,
  transposeA = false,
  transposeB = false,
  lda = transposeA ? m : k,
  ldb = transposeB ? k : n,
  ldOut = n,
  accumulate = false,
  bias = 0,
  packed = false,
  batch = 1,
  batchA = m * k,
  batchB = k * n,
  batchOut = m * n,
}: HeapGemm): FullShape => ({
  m,
  n,
  k,
  transposeA,
  transposeB,
  lda,
  ldb,
  ldOut,
  accumulate,
  bias,
  packed,
  batch,
  batchA,
  batchB,
  batchOut,
});

/**
 * out (m, n) = op(a) (m, k) · op(b) (k, n) at heap addresses, which may be any multiple of 4; out overlaps nothing. Each
 * sum runs in one fixed order. With `space`, the scratch of a task, it is one call. Returns false, with nothing done, where
 * SIMD cannot run or the heap is exhausted.
 */
export function gemmHeap(
  out: number,
  a: number,
  b: number,
  shape: HeapGemm,
  exports = gemmExports(),
  space = 0,
): boolean {
  if (exports === null) return false;
  const full = fullShape(shape);
  if (space === 0 && splitGemm(exports, out, a, b, full)) return true;
  const at = space || scratch(exports.scratchBytes());
  if (at === 0) return false;
  callGemm(exports, out, a, b, full, at);
  return true;
}

/** Bytes that the panels of a (k, n) operand take. */
export const packedBytes = (n: number, k: number): number => Math.ceil(n / 8) * 8 * k * 4;

/** Writes the panels of op(b) (k, n), for products with `packed`. False where SIMD cannot run. */
export function packB(
  to: number,
  b: number,
  { n, k, transposeB = false, ldb = transposeB ? k : n }: Pick<HeapGemm, "n" | "k" | "transposeB" | "ldb">,
  exports = gemmExports(),
): boolean {
  exports?.packB(to, b, n, k, ldb, transposeB ? 1 : 0);
  return exports !== null;
}

/** The contract of reference.ts for float32 arrays. Returns false, with nothing written, where it does not apply. */
export function gemm(
  out: TypedArray,
  a: TypedArray,
  b: TypedArray,
  shape: GemmShape,
  exports = gemmExports(),
): boolean {
  if (!(out instanceof Float32Array && a instanceof Float32Array && b instanceof Float32Array)) return false;
  const { m, n, k, transposeA, transposeB, accumulate = false, bias = null } = shape;
  if (exports === null || bias instanceof Float64Array) return false;
  if (m === 0 || n === 0) return true;
  return staged((staging) => {
    const start = bias === null ? 0 : staging.input(bias, 0, n);
    if (bias !== null && start === 0) return false;
    const whole = staged((staging) => {
      const left = staging.input(a, shape.aOffset ?? 0, m * k);
      const right = staging.input(b, shape.bOffset ?? 0, k * n);
      const to = staging.output(out, shape.outOffset ?? 0, m * n, accumulate);
      if (left === 0 || right === 0 || to === 0) return false;
      const sizes = { m, n, k, transposeA, transposeB, accumulate, bias: start };
      return gemmHeap(to, left, right, sizes, exports);
    });
    const run = (to: number, left: number, right: number, sizes: HeapGemm) =>
      gemmHeap(to, left, right, sizes, exports);
    // Scratch first: no tile may lack it when others have been added.
    if (whole || scratch(exports.scratchBytes()) === 0) return whole;
    return gemmTiles(out, a, b, { ...shape, bias: start }, run);
  });
}
