/**
 * Pooling over windows of images: the maximum and its place, the average, and the adjoints of both.
 *
 * Layout: x and dx (n, c, h, w); indices, values, out and dOut (n, c, oh, ow); contiguous. Maxima may be dilated, averages
 * not.
 * Exactness: averages are summed in double and rounded once.
 * Memory: the caller allocates the results, which are overwritten.
 */

import type { FloatArray, TypedArray } from "../../src/dtype.ts";
import type { Windows } from "../windows.ts";

export interface AverageWindows extends Windows {
  /** Padding below and to the right: a window that reaches further (ceil mode) is not divided by what lies beyond. */
  padBottom: number;
  padRight: number;
  /** Divide by the padded part of the window, as PyTorch does unless told otherwise; else by its pixels. */
  countIncludePad: boolean;
}

/**
 * indices = where each window has its maximum, flat within the image plane (h·w). Padding is never chosen, the first of
 * equals wins, NaN beats every number and the last NaN wins, as in PyTorch. −1 marks a window that meets no pixel. values,
 * where there are any, = the maxima.
 */
export function maxPool2dIndices(
  indices: Int32Array,
  values: TypedArray | null,
  x: TypedArray,
  windows: Windows,
): void {
  const { n, c, h, w, kh, kw, oh, ow, strideH, strideW, padTop, padLeft, dilationH, dilationW } = windows;
  let at = 0;
  for (let plane = 0; plane < n * c; plane++) {
    const base = plane * h * w;
    for (let oy = 0; oy < oh; oy++)
      for (let ox = 0; ox < ow; ox++, at++) {
        let best = -1;
        let max = Number.NEGATIVE_INFINITY;
        for (let i = 0, iy = oy * strideH - padTop; i < kh; i++, iy += dilationH) {
          if (iy < 0 || iy >= h) continue;
          for (let j = 0, ix = ox * strideW - padLeft; j < kw; j++, ix += dilationW) {
            if (ix < 0 || ix >= w) continue;
            const value = x[base + iy * w + ix];
            if (best < 0 || value > max || Number.isNaN(value)) {
              best = iy * w + ix;
              max = value;
            }
          }
        }
        indices[at] = best;
        if (values !== null) values[at] = max;
      }
  }
}

/** dx = at each pixel what dOut holds of the windows whose maximum it is: the adjoint of picking by `indices`. */
export function maxPool2dGrad(
  dx: FloatArray,
  dOut: FloatArray,
  indices: Int32Array,
  { n, c, h, w, oh, ow }: Pick<Windows, "n" | "c" | "h" | "w" | "oh" | "ow">,
): void {
  const sums = new Float64Array(h * w);
  for (let plane = 0, at = 0; plane < n * c; plane++) {
    sums.fill(0);
    for (const end = at + oh * ow; at < end; at++) sums[indices[at]] += dOut[at];
    dx.set(sums, plane * h * w);
  }
}

/** The part of a window along one axis: its first pixel, one past its last, and the length it is divided by. */
interface Span {
  start: number;
  end: number;
  length: number;
}

const spans = (
  windows: number,
  stride: number,
  size: number,
  kernel: number,
  before: number,
  after: number,
  countPad: boolean,
): Span[] =>
  Array.from({ length: windows }, (_, i) => {
    const from = i * stride - before;
    const padded = Math.min(from + kernel, size + after);
    const start = Math.max(from, 0);
    const end = Math.max(start, Math.min(padded, size));
    return { start, end, length: countPad ? padded - from : end - start };
  });

const rowSpans = (g: AverageWindows): Span[] =>
  spans(g.oh, g.strideH, g.h, g.kh, g.padTop, g.padBottom, g.countIncludePad);

const columnSpans = (g: AverageWindows): Span[] =>
  spans(g.ow, g.strideW, g.w, g.kw, g.padLeft, g.padRight, g.countIncludePad);

/** out = the mean of each window; padding counts as zeros. A window that meets no pixel gives 0. */
export function avgPool2d(out: FloatArray, x: FloatArray, windows: AverageWindows): void {
  const { n, c, h, w } = windows;
  const rows = rowSpans(windows);
  const columns = columnSpans(windows);
  let at = 0;
  for (let plane = 0; plane < n * c; plane++)
    for (const row of rows)
      for (const column of columns) {
        let sum = 0;
        for (let iy = row.start; iy < row.end; iy++) {
          const line = (plane * h + iy) * w;
          for (let ix = column.start; ix < column.end; ix++) sum += x[line + ix];
        }
        out[at++] = sum === 0 ? sum : sum / (row.length * column.length);
      }
}

/** dx from dOut: the adjoint of `avgPool2d`. */
export function avgPool2dGrad(dx: FloatArray, dOut: FloatArray, windows: AverageWindows): void {
  const { n, c, h, w } = windows;
  const rows = rowSpans(windows);
  const columns = columnSpans(windows);
  const sums = new Float64Array(h * w);
  let at = 0;
  for (let plane = 0; plane < n * c; plane++) {
    sums.fill(0);
    for (const row of rows)
      for (const column of columns) {
        const share = dOut[at++] / (row.length * column.length);
        for (let iy = row.start; iy < row.end; iy++)
          for (let ix = column.start; ix < column.end; ix++) sums[iy * w + ix] += share;
      }
    dx.set(sums, plane * h * w);
  }
}
