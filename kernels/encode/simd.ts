/**
 * SIMD encoding of float32 rows. Each function has the contract of reference.ts and returns false, nothing written, where it
 * does not apply; `encodeExports` gives the same on heap addresses.
 */

import type { FloatArray } from "../../src/dtype.ts";
import { addressOf } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { staged } from "../wasm/staging.ts";
import type { Steps } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface EncodeExports {
  packBits(
    to: number,
    x: number,
    rows: number,
    n: number,
    stride: number,
    level: number,
    above: number,
  ): void;
  quantizeRows(
    to: number,
    scales: number,
    x: number,
    rows: number,
    n: number,
    stride: number,
    top: number,
  ): void;
  quantizeBy(
    to: number,
    x: number,
    rows: number,
    n: number,
    stride: number,
    scale: number,
    zero: number,
    least: number,
    most: number,
  ): void;
  anyNonFinite(x: number, n: number): number;
}

export const encodeExports = /* @__PURE__ */ wasmKernel<EncodeExports>(bytes);

type Codes = Int8Array | Uint8Array;

function run(
  out: Codes,
  x: Float32Array,
  stride: number,
  rows: number,
  n: number,
  kernel: Addressed,
): boolean {
  return staged((staging) => {
    const to = staging.output(out, 0, rows * stride, false);
    const from = staging.input(x, 0, rows * n);
    if (to === 0 || from === 0) return false;
    return kernel(to, from, staging);
  });
}

type Addressed = (to: number, from: number, staging: Parameters<Parameters<typeof staged>[0]>[0]) => boolean;

export function encodeSigns(
  out: Uint8Array,
  x: Float32Array,
  rows: number,
  n: number,
  stride = Math.ceil(n / 8),
  code = encodeExports(),
): boolean {
  if (code === null) return false;
  return run(out, x, stride, rows, n, (to, from) => {
    code.packBits(to, from, rows, n, stride, 0, 0);
    return true;
  });
}

export function encodeAbove(
  out: Uint8Array,
  x: Float32Array,
  threshold: number,
  rows: number,
  n: number,
  stride = Math.ceil(n / 8),
  code = encodeExports(),
): boolean {
  if (code === null) return false;
  return run(out, x, stride, rows, n, (to, from) => {
    code.packBits(to, from, rows, n, stride, threshold, 1);
    return true;
  });
}

export function quantizeRows(
  out: Int8Array,
  scales: Float32Array,
  x: Float32Array,
  top: number,
  rows: number,
  n: number,
  stride = n,
  code = encodeExports(),
): boolean {
  if (code === null) return false;
  return run(out, x, stride, rows, n, (to, from, staging) => {
    const scalesAt = staging.output(scales, 0, rows, false);
    if (scalesAt === 0) return false;
    code.quantizeRows(to, scalesAt, from, rows, n, stride, top);
    return true;
  });
}

export function quantizeBy(
  out: Codes,
  x: Float32Array,
  { scale, zero, least, most }: Steps,
  rows: number,
  n: number,
  stride = n,
  code = encodeExports(),
): boolean {
  if (code === null) return false;
  return run(out, x, stride, rows, n, (to, from) => {
    code.quantizeBy(to, from, rows, n, stride, scale, zero, least, most);
    return true;
  });
}

/** Null for float64, and for numbers that do not lie on the heap: copying them takes longer than to look. */
export function anyNonFinite(x: FloatArray, length: number, code = encodeExports()): boolean | null {
  const at = addressOf(x);
  return code === null || at === 0 || x.BYTES_PER_ELEMENT === 8 ? null : code.anyNonFinite(at, length) !== 0;
}
