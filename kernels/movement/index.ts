/** movement: the contracts are those of reference.ts, for elements of four bytes. */

import type { ArrayOf, DType, TypedArray } from "../../src/dtype.ts";
import { dtypeOfArray } from "../../src/dtype.ts";
import type { Kernel, KernelArgs } from "../kernel.ts";
import { alloc, free, view } from "../wasm/heap.ts";
import { wasmSupport } from "../wasm/load.ts";
import {
  addRowsCases,
  clearCases,
  type RowArgs,
  type ScatterArgs,
  type StridedArgs,
  scatterCases,
  stridedCases,
  takeRowsCases,
} from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

/** Runs a kernel on copies that lie on the heap, since small arrays are not staged. */
function placed<Args extends KernelArgs>(args: Args, run: (...args: Args) => boolean): void {
  const blocks: number[] = [];
  const copies = args.map((arg) => {
    if (!ArrayBuffer.isView(arg)) return arg;
    const array = arg as TypedArray;
    const address = alloc(array.byteLength);
    blocks.push(address);
    const copy: ArrayOf<DType> = view(dtypeOfArray(array)!, address, array.length);
    copy.set(array);
    return copy;
  }) as unknown as Args;
  if (!run(...copies)) throw new Error("movement: the heap is exhausted");
  args[0].set(copies[0]);
  for (const address of blocks) free(address);
}

const builds = <Args extends KernelArgs>(fast: (...args: [...Args, simd.MovementExports]) => boolean) => {
  const build = (name: "plain" | "relaxed") => () => {
    const exports = simd.movementExports(name);
    if (exports === null) return wasmSupport().reason ?? `the ${name} build does not run here`;
    return (...args: Args) => placed(args, (...copies) => fast(...copies, exports));
  };
  return { "simd, plain": build("plain"), "simd, relaxed": build("relaxed") };
};

export const movementStrided: Kernel<StridedArgs> = {
  name: "movement.strided",
  reference: reference.strided,
  implementations: builds<StridedArgs>(simd.strided),
  cases: stridedCases,
  tolerance: () => null,
};

/** Both add floats in the same order and round each sum, so even these are equal. */
export const movementScatter: Kernel<ScatterArgs> = {
  name: "movement.scatterStrided",
  reference: reference.scatterStrided,
  implementations: builds<ScatterArgs>(simd.scatterStrided),
  cases: scatterCases,
  tolerance: () => null,
};

export const movementClear: Kernel<[array: TypedArray]> = {
  name: "movement.clear",
  reference: reference.clear,
  implementations: builds<[array: TypedArray]>(simd.clear),
  cases: clearCases,
  tolerance: () => null,
};

export const movementTakeRows: Kernel<RowArgs> = {
  name: "movement.takeRows",
  reference: reference.takeRows,
  implementations: builds<RowArgs>(simd.takeRows),
  cases: takeRowsCases,
  tolerance: () => null,
};

/** Rows named twice are added in their order, so even these are equal. */
export const movementAddRows: Kernel<RowArgs> = {
  name: "movement.addRows",
  reference: reference.addRows,
  implementations: builds<RowArgs>(simd.addRows),
  cases: addRowsCases,
  tolerance: () => null,
};
