/**
 * SIMD convolution on float32: windows of framed images as the panels of gemm-f32, and direct loops where each channel has
 * its own filters. An infinite weight over padding gives NaN in every case.
 */

import type { FloatArray } from "../../src/dtype.ts";
import { gemmHeap } from "../gemm-f32/simd.ts";
import { pool } from "../wasm/threads.ts";
import {
  type ConvCode,
  chunk,
  columnsOf,
  convCode,
  fewTasks,
  framed,
  onHeap,
  type Plan,
  planOf,
  sizesOf,
  type Work,
} from "./plan.ts";
import type { ConvGeometry } from "./reference.ts";

export { convCode, convExports } from "./plan.ts";
export { conv2dWeightGrad } from "./weight-grad.ts";

// Few images are shared out by chunks of so many windows, or more.
const leastChunk = 64;

/**
 * The convolution that gives the gradient of the input, of the images dOut and mirrored filters; null for steps, and where
 * so many more windows than dOut has numbers cost more than adding columns.
 */
function mirrored(g: ConvGeometry): ConvGeometry | null {
  const { c, o, h, w, kh, kw, oh, ow, strideH, strideW, dilationH, dilationW } = g;
  if (strideH > 1 || strideW > 1 || h * w > 1.25 * oh * ow) return null;
  const padTop = (kh - 1) * dilationH - g.padTop;
  const padLeft = (kw - 1) * dilationW - g.padLeft;
  return { ...g, c: o, o: c, h: oh, w: ow, oh: h, ow: w, padTop, padLeft };
}

/** The contract of reference.ts for float32 arrays. False, with nothing written, where it does not apply. */
export function conv2d(
  out: FloatArray,
  x: FloatArray,
  w: FloatArray,
  geometry: ConvGeometry,
  code = convCode(),
): boolean {
  if (code === null) return false;
  const p = planOf(geometry);
  const sizes = sizesOf(geometry);
  return correlation(code, p, [out, x, w], [sizes.out, sizes.image, sizes.weight], false);
}

/** The convolution `p` of images with filters, or with filters that are to be mirrored. */
function correlation(
  code: ConvCode,
  p: Plan,
  arrays: readonly FloatArray[],
  lengths: readonly number[],
  mirrors: boolean,
): boolean {
  const { conv } = code;
  const { groups, filters, taps, channels } = p;
  const packed = p.direct ? conv.paddedRows(filters) * taps : 0;
  const floats = groups * packed + (mirrors ? lengths[2] : 0);
  const lay = (to: number, given: number): number => {
    const from = mirrors ? to + groups * packed * 4 : given;
    if (mirrors) conv.mirror(from, given, groups, channels, filters, p.kh * p.kw);
    if (!p.direct) return from;
    for (let g = 0; g < groups; g++)
      conv.packFilters(to + g * packed * 4, from + g * filters * taps * 4, filters, taps);
    return to;
  };
  const tasks = (work: Work, addresses: readonly number[]) => correlate(work, p, addresses, packed);
  return onHeap(code, p, arrays, lengths, p.direct ? 0 : columnsOf(p), tasks, { floats, lay });
}

/** The convolution `p` from images and filters, of which those of a group take `packed` floats where it is direct. */
function correlate(work: Work, p: Plan, [to, from, weights]: readonly number[], packed: number): void {
  const { n, c, o, groups, oh, ow, windows, taps, channels, filters, rowStep, colStep } = p;
  const plane = p.h * p.w * 4;
  const { conv, gemm, products } = work;
  if (p.pointwise) {
    const step = { batch: n, batchA: 0, batchB: c * windows, batchOut: o * windows };
    for (let g = 0; g < groups; g++)
      gemmHeap(
        to + g * filters * windows * 4,
        weights + g * filters * taps * 4,
        from + g * channels * plane,
        { m: filters, n: windows, k: taps, ...step },
        gemm,
        products,
      );
    return;
  }
  const images = n * groups;
  // Few images are shared out by their windows, and then framed for each share.
  const few = work.recorded && images < fewTasks;
  const part = Math.ceil((windows * images) / pool.active / 16) * 8;
  const across = few ? Math.min(chunk, Math.max(leastChunk, part)) : chunk;
  const share = few ? across * Math.ceil((windows * images) / across / fewTasks) : Number.POSITIVE_INFINITY;
  const together = p.depthwise ? Math.ceil(images / fewTasks) : 1;
  for (let i = 0; i < images; i++) {
    const image = from + i * channels * plane;
    const filter = weights + (i % groups) * (p.direct ? packed : filters * taps) * 4;
    const results = to + i * filters * windows * 4;
    if (p.direct) {
      const part = few ? Math.ceil((oh * images) / fewTasks) : oh;
      for (let y = 0; y < oh; y += part) {
        work.next();
        const start = framed(work, p, image, channels) + y * rowStep;
        const sizes = [filters, taps, Math.min(part, oh - y), ow, rowStep];
        conv.direct(results + y * ow * 4, windows * 4, start, work.taps, filter, ...sizes, products);
      }
      continue;
    }
    if (p.depthwise) {
      const start = framed(work, p, image, channels);
      for (let f = 0; f < filters; f++) {
        const at = results + f * windows * 4;
        conv.depthwise(at, start, filter + f * taps * 4, work.taps, taps, oh, ow, rowStep, colStep);
      }
      if ((i + 1) % together === 0 || i + 1 === images) work.next();
      continue;
    }
    let start = 0;
    for (let first = 0; first < windows; first += across) {
      if (first === 0 || first % share === 0) {
        work.next();
        start = framed(work, p, image, channels);
      }
      const count = Math.min(across, windows - first);
      conv.panels(work.columns, start, work.taps, taps, first, count, ow, rowStep, colStep);
      const shape = { m: filters, n: count, k: taps, ldOut: windows, packed: true };
      gemmHeap(results + first * 4, filter, work.columns, shape, gemm, products);
    }
  }
  work.next();
}

/** The contract of reference.ts for float32 arrays. False, with nothing written, where it does not apply. */
export function conv2dInputGrad(
  dx: FloatArray,
  dOut: FloatArray,
  w: FloatArray,
  geometry: ConvGeometry,
  code = convCode(),
): boolean {
  if (code === null) return false;
  const p = planOf(geometry);
  const sizes = sizesOf(geometry);
  const { n, c, o, h, groups, oh, ow, windows, taps, channels, filters, rowStep, colStep } = p;
  const plane = h * p.w * 4;
  const lengths = [sizes.image, sizes.out, sizes.weight];
  const direct = p.depthwise || p.pointwise ? null : mirrored(geometry);
  if (direct !== null) return correlation(code, planOf(direct), [dx, dOut, w], lengths, true);
  return onHeap(code, p, [dx, dOut, w], lengths, columnsOf(p), (work, [to, from, weights]) => {
    const { conv, gemm, products, frame } = work;
    if (p.pointwise) {
      const step = { batch: n, batchA: 0, batchB: o * windows, batchOut: c * windows };
      for (let g = 0; g < groups; g++)
        gemmHeap(
          to + g * channels * plane,
          weights + g * filters * taps * 4,
          from + g * filters * windows * 4,
          { m: taps, n: windows, k: filters, transposeA: true, ...step },
          gemm,
          products,
        );
      return;
    }
    const together = Math.ceil((n * groups) / (2 * fewTasks));
    for (let i = 0; i < n * groups; i++) {
      const filter = weights + (i % groups) * filters * taps * 4;
      const grads = from + i * filters * windows * 4;
      // The frame of an image without pixels: zeros.
      conv.frame(frame, p.frameH, p.frameW, frame, 0, 0, channels, 0, 0, 1);
      if (p.depthwise)
        for (let f = 0; f < filters; f++) {
          const at = grads + f * windows * 4;
          conv.depthwiseInput(frame, at, filter + f * taps * 4, work.taps, taps, oh, ow, rowStep, colStep);
        }
      else
        for (let y = 0; y < oh; y += p.rows) {
          const rows = Math.min(p.rows, oh - y);
          const shape = { m: taps, n: rows * ow, k: filters, transposeA: true, ldb: windows };
          gemmHeap(work.columns, filter, grads + y * ow * 4, shape, gemm, products);
          conv.addColumns(frame + y * rowStep, work.columns, work.taps, taps, rows, ow, rowStep, colStep);
        }
      const image = to + i * channels * plane;
      conv.unframe(image, h, p.w, frame, p.frameH, p.frameW, channels, p.padTop, p.padLeft, p.phases);
      if ((i + 1) % together === 0 || i + 1 === n * groups) work.next();
    }
  });
}
