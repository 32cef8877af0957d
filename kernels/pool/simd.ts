/** SIMD pooling on float32: four windows at a time, averages summed in float. */

import type { FloatArray, TypedArray } from "../../src/dtype.ts";
import { wasmKernel } from "../wasm/load.ts";
import { staged } from "../wasm/staging.ts";
import type { Windows } from "../windows.ts";
import type { AverageWindows } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

type Run = (...numbers: number[]) => void;

/** What simd.as.ts exports. */
export interface PoolExports {
  maxIndices: Run;
  average: Run;
  averageGrad: Run;
}

export const poolExports = /* @__PURE__ */ wasmKernel<PoolExports>(bytes);

const sizesOf = ({ n, c, h, w, oh, ow }: Windows): { image: number; pooled: number } => ({
  image: n * c * h * w,
  pooled: n * c * oh * ow,
});

const shared = ({ n, c, h, w, kh, kw, oh, ow, strideH, strideW, padTop, padLeft }: Windows): number[] => [
  n * c,
  h,
  w,
  kh,
  kw,
  oh,
  ow,
  strideH,
  strideW,
  padTop,
  padLeft,
];

const averageNumbers = (g: AverageWindows): number[] => [
  ...shared(g),
  g.padBottom,
  g.padRight,
  g.countIncludePad ? 1 : 0,
];

/** The contract of reference.ts for float32 images. False, with nothing written, where it does not apply. */
export function maxPool2dIndices(
  indices: Int32Array,
  x: TypedArray,
  windows: Windows,
  exports = poolExports(),
): boolean {
  if (exports === null || !(x instanceof Float32Array)) return false;
  const { image, pooled } = sizesOf(windows);
  const { dilationH, dilationW } = windows;
  return staged((staging) => {
    const from = staging.input(x, 0, image);
    const to = staging.output(indices, 0, pooled, false);
    if (from === 0 || to === 0) return false;
    exports.maxIndices(to, from, ...shared(windows), dilationH, dilationW);
    return true;
  });
}

/** The contract of reference.ts for float32 arrays. False, with nothing written, where it does not apply. */
export function avgPool2d(
  out: FloatArray,
  x: FloatArray,
  windows: AverageWindows,
  exports = poolExports(),
): boolean {
  if (exports === null || !(out instanceof Float32Array && x instanceof Float32Array)) return false;
  const { image, pooled } = sizesOf(windows);
  return staged((staging) => {
    const from = staging.input(x, 0, image);
    const to = staging.output(out, 0, pooled, false);
    if (from === 0 || to === 0) return false;
    exports.average(to, from, ...averageNumbers(windows));
    return true;
  });
}

/** The contract of reference.ts for float32 arrays. False, with nothing written, where it does not apply. */
export function avgPool2dGrad(
  dx: FloatArray,
  dOut: FloatArray,
  windows: AverageWindows,
  exports = poolExports(),
): boolean {
  if (exports === null || !(dx instanceof Float32Array && dOut instanceof Float32Array)) return false;
  const { image, pooled } = sizesOf(windows);
  return staged((staging) => {
    const from = staging.input(dOut, 0, pooled);
    const to = staging.output(dx, 0, image, false);
    if (from === 0 || to === 0) return false;
    exports.averageGrad(to, from, ...averageNumbers(windows));
    return true;
  });
}
