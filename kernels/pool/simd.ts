/** SIMD pooling on float32: four windows at a time, averages summed in float. */

import type { FloatArray, TypedArray } from "../../src/dtype.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inRows } from "../wasm/parallel.ts";
import { staged } from "../wasm/staging.ts";
import type { Windows } from "../windows.ts";
import type * as reference from "./reference.ts";
import type { AverageWindows } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

type Run = (...numbers: number[]) => void;

/** What simd.as.ts exports. */
export interface PoolExports {
  maxIndices: Run;
  maxGrad: Run;
  average: Run;
  averageGrad: Run;
}

export const poolExports = /* @__PURE__ */ wasmKernel<PoolExports>(bytes);

const sizesOf = ({ n, c, h, w, oh, ow }: Windows): { image: number; pooled: number } => ({
  image: n * c * h * w,
  pooled: n * c * oh * ow,
});

const shared = ({ h, w, kh, kw, oh, ow, strideH, strideW, padTop, padLeft }: Windows): number[] => [
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

/** Calls exports[name] with args(bytes of images, bytes of results, count) over ranges of the planes. */
function inPlanes(
  exports: PoolExports,
  name: keyof PoolExports,
  { n, c, h, w, kh, kw, oh, ow }: Windows,
  args: (images: number, results: number, count: number) => number[],
): boolean {
  const cost = n * c * (h * w + oh * ow * kh * kw) * 0.3;
  return inRows(exports, name, n * c, 1, cost, (first, count) =>
    args(first * h * w * 4, first * oh * ow * 4, count),
  );
}

/** The contract of reference.ts for float32 images. False, with nothing written, where it does not apply. */
export function maxPool2dIndices(
  indices: Int32Array,
  values: TypedArray | null,
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
    const most = values === null ? 0 : staging.output(values, 0, pooled, false);
    if (from === 0 || to === 0 || (values !== null && most === 0)) return false;
    const numbers = [...shared(windows), dilationH, dilationW];
    return inPlanes(exports, "maxIndices", windows, (images, results, count) => [
      to + results,
      most && most + results,
      from + images,
      count,
      ...numbers,
    ]);
  });
}

/** The contract of reference.ts for float32 arrays. False, with nothing written, where it does not apply. */
export function maxPool2dGrad(
  dx: FloatArray,
  dOut: FloatArray,
  indices: Int32Array,
  { n, c, h, w, oh, ow }: Parameters<typeof reference.maxPool2dGrad>[3],
  exports = poolExports(),
): boolean {
  if (exports === null || !(dx instanceof Float32Array && dOut instanceof Float32Array)) return false;
  const [planes, size, pooled] = [n * c, h * w, oh * ow];
  return staged((staging) => {
    const from = staging.input(dOut, 0, planes * pooled);
    const places = staging.input(indices, 0, planes * pooled);
    const to = staging.output(dx, 0, planes * size, false);
    if (from === 0 || places === 0 || to === 0) return false;
    const cost = planes * (size + 2 * pooled);
    return inRows(
      exports,
      "maxGrad",
      planes,
      1,
      cost,
      (first, count, local) => {
        const at = first * pooled * 4;
        return [to + first * size * 4, from + at, places + at, count, size, pooled, local];
      },
      size * 8,
    );
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
    const numbers = averageNumbers(windows);
    return inPlanes(exports, "average", windows, (images, results, count) => [
      to + results,
      from + images,
      count,
      ...numbers,
    ]);
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
    const numbers = averageNumbers(windows);
    return inPlanes(exports, "averageGrad", windows, (images, results, count) => [
      to + images,
      from + results,
      count,
      ...numbers,
    ]);
  });
}
