/**
 * conv2d: cross-correlation of images with filters, its two gradients, and unfolding.
 *
 * Layout: x and dx (n, c, h, w); w and dw (o, c/groups, kh, kw); out and dOut (n, o, oh, ow); all contiguous. groups divides
 * c and o; group q maps channels q·c/groups … to filters q·o/groups …. Every size may be zero. No bias.
 * Exactness: each element is a double-precision sum rounded once to the type of the result. Padding enters as zeros, so
 * an infinite weight over padding gives NaN where columns are used (groups < c or one channel) and nothing where not.
 * Memory: the caller allocates the results, which are overwritten. Scratch is the columns of one group of one image,
 * (c/groups·kh·kw, oh·ow); 1 x 1 filters at stride 1 without padding need none.
 */

import type { FloatArray } from "../../src/dtype.ts";
import { gemm } from "../gemm-f32/reference.ts";
import { col2im, im2col } from "./columns.ts";
import { depthwiseConv2d, depthwiseConv2dInputGrad, depthwiseConv2dWeightGrad } from "./depthwise.ts";
import type { ConvGeometry } from "./geometry.ts";

export { col2im, fold, im2col, unfold } from "./columns.ts";
export type { ConvGeometry } from "./geometry.ts";

const isDepthwise = (g: ConvGeometry): boolean => g.groups > 1 && g.groups === g.c;

/** Whether an image is its own column matrix. */
const isPointwise = (g: ConvGeometry): boolean =>
  g.kh === 1 &&
  g.kw === 1 &&
  g.strideH === 1 &&
  g.strideW === 1 &&
  g.padTop === 0 &&
  g.padLeft === 0 &&
  g.oh === g.h &&
  g.ow === g.w;

const arrayLike = (x: FloatArray, size: number): FloatArray =>
  x instanceof Float32Array ? new Float32Array(size) : new Float64Array(size);

/** out (n, o, oh, ow) = x (n, c, h, w) correlated with w (o, c/groups, kh, kw). */
export function conv2d(out: FloatArray, x: FloatArray, w: FloatArray, geometry: ConvGeometry): void {
  if (isDepthwise(geometry)) {
    depthwiseConv2d(out, x, w, geometry);
    return;
  }
  const { n, c, o, groups, kh, kw, oh, ow } = geometry;
  const channels = c / groups;
  const m = o / groups;
  const k = channels * kh * kw;
  const pixels = oh * ow;
  const image = channels * geometry.h * geometry.w;
  const pointwise = isPointwise(geometry);
  const columns = pointwise ? x : arrayLike(x, k * pixels);
  for (let i = 0; i < n * groups; i++) {
    if (!pointwise) im2col(columns, 0, x, i * image, channels, geometry);
    gemm(out, w, columns, {
      m,
      n: pixels,
      k,
      aOffset: (i % groups) * m * k,
      bOffset: pointwise ? i * image : 0,
      outOffset: i * m * pixels,
    });
  }
}

/** dx (n, c, h, w) from dOut (n, o, oh, ow) and w (o, c/groups, kh, kw): the adjoint of `conv2d` in x. */
export function conv2dInputGrad(
  dx: FloatArray,
  dOut: FloatArray,
  w: FloatArray,
  geometry: ConvGeometry,
): void {
  if (isDepthwise(geometry)) {
    depthwiseConv2dInputGrad(dx, dOut, w, geometry);
    return;
  }
  const { n, c, o, groups, kh, kw, oh, ow } = geometry;
  const channels = c / groups;
  const filters = o / groups;
  const m = channels * kh * kw;
  const pixels = oh * ow;
  const image = channels * geometry.h * geometry.w;
  const pointwise = isPointwise(geometry);
  const columns = pointwise ? dx : new Float64Array(m * pixels);
  const sums = new Float64Array(pointwise ? 0 : image);
  for (let i = 0; i < n * groups; i++) {
    gemm(columns, w, dOut, {
      m,
      n: pixels,
      k: filters,
      transposeA: true,
      aOffset: (i % groups) * filters * m,
      bOffset: i * filters * pixels,
      outOffset: pointwise ? i * image : 0,
    });
    if (pointwise) continue;
    sums.fill(0);
    col2im(sums, columns, 0, channels, geometry);
    dx.set(sums, i * image);
  }
}

/** dw (o, c/groups, kh, kw) from x (n, c, h, w) and dOut (n, o, oh, ow): the adjoint of `conv2d` in w. */
export function conv2dWeightGrad(
  dw: FloatArray,
  x: FloatArray,
  dOut: FloatArray,
  geometry: ConvGeometry,
): void {
  if (isDepthwise(geometry)) {
    depthwiseConv2dWeightGrad(dw, x, dOut, geometry);
    return;
  }
  const { n, c, o, groups, kh, kw, oh, ow } = geometry;
  const channels = c / groups;
  const m = o / groups;
  const size = channels * kh * kw;
  const pixels = oh * ow;
  const image = channels * geometry.h * geometry.w;
  const pointwise = isPointwise(geometry);
  const columns = pointwise ? x : arrayLike(x, size * pixels);
  const sums = new Float64Array(o * size);
  for (let i = 0; i < n * groups; i++) {
    if (!pointwise) im2col(columns, 0, x, i * image, channels, geometry);
    gemm(sums, dOut, columns, {
      m,
      n: size,
      k: pixels,
      transposeB: true,
      accumulate: true,
      aOffset: i * m * pixels,
      bOffset: pointwise ? i * image : 0,
      outOffset: (i % groups) * m * size,
    });
  }
  dw.set(sums);
}
