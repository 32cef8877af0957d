/** gemm-f32: the contract is that of reference.ts, for float32 operands. */

import type { Kernel } from "../kernel.ts";
import { wasmSupport } from "../wasm/load.ts";
import { gemmCases, gemmTolerance } from "./cases.ts";
import { type GemmShape, gemm as reference } from "./reference.ts";
import { gemmExports, gemm as simd } from "./simd.ts";

type Args = [out: Float32Array, a: Float32Array, b: Float32Array, shape: GemmShape];

const build = (name: "plain" | "relaxed") => () => {
  const exports = gemmExports(name);
  if (exports === null) return wasmSupport().reason ?? `the ${name} build does not run here`;
  return (...args: Args) => {
    if (!simd(...args, exports)) throw new Error("gemm-f32: the heap is exhausted");
  };
};

export const gemmF32: Kernel<Args> = {
  name: "gemm-f32",
  reference,
  implementations: { "simd, plain": build("plain"), "simd, relaxed": build("relaxed") },
  cases: gemmCases,
  tolerance: gemmTolerance,
};
