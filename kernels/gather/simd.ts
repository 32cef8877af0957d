/**
 * The contracts of reference.ts, bit for bit, for elements of four bytes and an int32 index that has the shape of x but for
 * the axis. Each function returns false, with nothing written, where it does not apply.
 */

import type { TypedArray } from "../../src/dtype.ts";
import { sizeOf } from "../../src/shape.ts";
import { free, view, work } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { pays, staged } from "../wasm/staging.ts";
import type { IndexSizes } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface GatherExports {
  isWithin(index: number, count: number, n: number): number;
  places(to: number, mask: number, count: number): number;
  gather(...addressesAndSizes: number[]): void;
  scatter(...addressesAndSizes: number[]): void;
  scatterAdd(...addressesAndSizes: number[]): void;
}

export const gatherExports = /* @__PURE__ */ wasmKernel<GatherExports>(bytes);

// Below, staging plain arrays costs more than it saves.
const fewElements = 4096;

/** Whether an index surely lies within 0 … n − 1. */
export function isWithin(index: TypedArray, n: number, exports = gatherExports()): boolean {
  if (exports === null || !(index instanceof Int32Array)) return false;
  if (!pays(index.length, fewElements, index)) return false;
  return staged((staging) => {
    const at = staging.input(index, 0, index.length);
    return at !== 0 && exports.isWithin(at, index.length, n) !== 0;
  });
}

/** The places of what is not 0 among bytes, or null. */
export function places(mask: TypedArray, exports = gatherExports()): Int32Array | null {
  if (exports === null || mask.BYTES_PER_ELEMENT !== 1 || !pays(mask.length, fewElements, mask)) return null;
  let found: Int32Array | null = null;
  staged((staging) => {
    const [from, to] = [staging.input(mask, 0, mask.length), work(4 * mask.length + 4)];
    if (from !== 0 && to !== 0) found = view("int32", to, exports.places(to, from, mask.length)).slice();
    if (to !== 0) free(to);
    return true;
  });
  return found;
}

/** Calls run with the addresses of out, of `arrays` and of the index, and (outer, n, m, inner). */
function indexed(
  exports: GatherExports | null,
  out: TypedArray,
  arrays: readonly TypedArray[],
  index: TypedArray,
  { within, shape, axis }: IndexSizes,
  run: (
    addresses: number[],
    sizes: [outer: number, n: number, m: number, inner: number],
  ) => boolean | undefined,
): boolean {
  if (exports === null || !(index instanceof Int32Array) || out.BYTES_PER_ELEMENT !== 4) return false;
  if (arrays.some((array) => array.constructor !== out.constructor)) return false;
  if (shape.some((n, k) => k !== axis && n !== within[k])) return false;
  if (!pays(index.length, fewElements, out, index, ...arrays)) return false;
  const [n, inner] = [within[axis], sizeOf(within.slice(axis + 1))];
  return staged((staging) => {
    const to = staging.output(out, 0, out.length, false);
    const addresses = [to, ...[...arrays, index].map((array) => staging.input(array, 0, array.length))];
    // A program may have written to the index since its op checked it, and wasm would write anywhere on the heap.
    if (addresses.includes(0) || !exports.isWithin(addresses.at(-1)!, index.length, n)) return false;
    return run(addresses, [sizeOf(within.slice(0, axis)), n, shape[axis], inner]) ?? true;
  });
}

export const gather = (
  out: TypedArray,
  x: TypedArray,
  index: TypedArray,
  sizes: IndexSizes,
  exports = gatherExports(),
): boolean => indexed(exports, out, [x], index, sizes, (at, walk) => void exports!.gather(...at, ...walk));

export const scatter = (
  out: TypedArray,
  x: TypedArray,
  index: TypedArray,
  source: TypedArray,
  sizes: IndexSizes,
  exports = gatherExports(),
): boolean =>
  indexed(exports, out, [x, source], index, sizes, (at, walk) => void exports!.scatter(...at, ...walk));

// Doubles of sums that are made at once, where a row of the inner elements has fewer: they stay in the cache.
const panel = 8192;

/** For float32. */
export const scatterAdd = (
  out: TypedArray,
  x: TypedArray,
  index: TypedArray,
  source: TypedArray,
  sizes: IndexSizes,
  exports = gatherExports(),
): boolean =>
  out instanceof Float32Array &&
  indexed(exports, out, [x, source], index, sizes, (at, [outer, n, m, inner]) => {
    const width = Math.min(inner, Math.max(16, Math.floor(panel / n)));
    const sums = work(n * width * 8);
    if (sums === 0) return false;
    exports!.scatterAdd(...at, outer, n, m, inner, sums, width);
    free(sums);
  });
