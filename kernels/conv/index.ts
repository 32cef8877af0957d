/** conv: the contracts are those of reference.ts, for float32. */

import type { Kernel } from "../kernel.ts";
import { wasmSupport } from "../wasm/load.ts";
import { type ConvArgs, convCases, type convRoles, convTolerance } from "./cases.ts";
import * as reference from "./reference.ts";
import * as simd from "./simd.ts";

function kernel(
  direction: keyof typeof convRoles,
  definition: typeof reference.conv2d,
  fast: typeof simd.conv2d,
): Kernel<ConvArgs> {
  const build = (name: "plain" | "relaxed") => () => {
    const code = simd.convCode(name);
    if (code === null) return wasmSupport().reason ?? `the ${name} build does not run here`;
    return (...args: ConvArgs) => {
      if (!fast(...args, code)) throw new Error("conv: the heap is exhausted");
    };
  };
  return {
    name: `conv.${direction}`,
    reference: definition,
    implementations: { "simd, plain": build("plain"), "simd, relaxed": build("relaxed") },
    cases: convCases(direction),
    tolerance: convTolerance(definition, direction),
  };
}

export const convForward = /* @__PURE__ */ kernel("forward", reference.conv2d, simd.conv2d);
export const convInputGrad = /* @__PURE__ */ kernel("input", reference.conv2dInputGrad, simd.conv2dInputGrad);
export const convWeightGrad = /* @__PURE__ */ kernel(
  "weight",
  reference.conv2dWeightGrad,
  simd.conv2dWeightGrad,
);
