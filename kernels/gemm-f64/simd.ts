/** The SIMD product in double precision, of floats and integers: the reference's bits. */

import { type DType, dtypeOfArray, type TypedArray } from "../../src/dtype.ts";
import type { GemmShape } from "../gemm-f32/reference.ts";
import { view } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inTasks } from "../wasm/parallel.ts";
import { staged } from "../wasm/staging.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface Gemm64Exports {
  scratchBytes(): number;
  gemm(
    out: number,
    a: number,
    aKind: number,
    aRow: number,
    aCol: number,
    b: number,
    bKind: number,
    bRow: number,
    bCol: number,
    m: number,
    n: number,
    k: number,
    accumulate: number,
    scratch: number,
  ): void;
}

export const gemm64Exports = /* @__PURE__ */ wasmKernel<Gemm64Exports>(bytes);

// As simd.as.ts numbers them.
const kinds: readonly DType[] = ["float64", "float32", "int8", "uint8", "int32", "uint32"];
/** Rows of a task: whole blocks. */
const taskRows = 60;

/**
 * The contract of gemm-f32/reference.ts for doubles. False, nothing written, where it does not apply: a vector is no gain.
 */
export function gemm(
  out: TypedArray,
  a: TypedArray,
  b: TypedArray,
  shape: GemmShape,
  exports = gemm64Exports(),
): boolean {
  const { m, n, k, transposeA, transposeB, accumulate, bias, aOffset = 0, bOffset = 0 } = shape;
  const [aKind, bKind] = [a, b].map((array) => kinds.indexOf(dtypeOfArray(array)!));
  if (exports === null || !(out instanceof Float64Array) || aKind < 0 || bKind < 0) return false;
  if (m < 2 || n < 2 || k === 0) return false;
  const outOffset = shape.outOffset ?? 0;
  return staged((staging) => {
    const left = staging.input(a, aOffset, m * k);
    const right = staging.input(b, bOffset, k * n);
    const to = staging.output(out, outOffset, m * n, accumulate === true);
    if (left === 0 || right === 0 || to === 0) return false;
    const steps = (transposed: boolean | undefined, rows: number, columns: number): [number, number] =>
      transposed ? [1, rows] : [columns, 1];
    const [aRow, aCol] = steps(transposeA, m, k);
    const [bRow, bCol] = steps(transposeB, k, n);
    if (bias) for (let i = 0; i < m; i++) view("float64", to, m * n).set(bias, i * n);
    const start = accumulate || bias ? 1 : 0;
    return inTasks(m * n * k * 0.08, exports.scratchBytes(), [exports], (job) => {
      const { gemm } = job.of(exports);
      const each = job.recorded ? taskRows : m;
      for (let i = 0; i < m; i += each) {
        const from = left + i * aRow * a.BYTES_PER_ELEMENT;
        const rows = Math.min(each, m - i);
        gemm(to + i * n * 8, from, aKind, aRow, aCol, right, bKind, bRow, bCol, rows, n, k, start, job.local);
        job.next();
      }
    });
  });
}
