/**
 * Columns of an image: im2col lays each window out as a column, col2im adds columns back onto the image.
 *
 * Layout: an image is (c, h, w); its columns are (c·kh·kw, oh·ow), both contiguous. The caller allocates everything.
 * Exactness: im2col copies; col2im adds in double.
 */

import type { FloatArray } from "../../src/dtype.ts";
import { endInside, firstInside, type Windows } from "../windows.ts";

/** columns (channels·kh·kw, oh·ow) = the windows of `channels` planes of x from `offset`; padding reads as zero. */
export function im2col(
  columns: FloatArray,
  columnsOffset: number,
  x: FloatArray,
  offset: number,
  channels: number,
  windows: Windows,
): void {
  const { h, w, kh, kw, oh, ow, strideH, strideW, padTop, padLeft, dilationH, dilationW } = windows;
  let to = columnsOffset;
  for (let plane = 0; plane < channels; plane++)
    for (let i = 0; i < kh; i++)
      for (let j = 0; j < kw; j++) {
        const shift = j * dilationW - padLeft;
        const first = firstInside(shift, strideW, ow);
        const end = endInside(shift, strideW, ow, w);
        for (let oy = 0; oy < oh; oy++, to += ow) {
          const iy = oy * strideH - padTop + i * dilationH;
          if (iy < 0 || iy >= h || end <= first) {
            for (let ox = 0; ox < ow; ox++) columns[to + ox] = 0;
            continue;
          }
          for (let ox = 0; ox < first; ox++) columns[to + ox] = 0;
          let at = offset + (plane * h + iy) * w + shift + first * strideW;
          for (let ox = first; ox < end; ox++, at += strideW) columns[to + ox] = x[at];
          for (let ox = end; ox < ow; ox++) columns[to + ox] = 0;
        }
      }
}

/** image (channels, h, w) += the columns; what falls on padding is dropped. */
export function col2im(
  image: Float64Array,
  columns: FloatArray,
  columnsOffset: number,
  channels: number,
  windows: Windows,
): void {
  const { h, w, kh, kw, oh, ow, strideH, strideW, padTop, padLeft, dilationH, dilationW } = windows;
  let from = columnsOffset;
  for (let plane = 0; plane < channels; plane++)
    for (let i = 0; i < kh; i++)
      for (let j = 0; j < kw; j++) {
        const shift = j * dilationW - padLeft;
        const first = firstInside(shift, strideW, ow);
        const end = endInside(shift, strideW, ow, w);
        for (let oy = 0; oy < oh; oy++, from += ow) {
          const iy = oy * strideH - padTop + i * dilationH;
          if (iy < 0 || iy >= h) continue;
          let to = (plane * h + iy) * w + shift + first * strideW;
          for (let ox = first; ox < end; ox++, to += strideW) image[to] += columns[from + ox];
        }
      }
}

/** out (n, c·kh·kw, oh·ow) = the windows of x (n, c, h, w), as torch.nn.functional.unfold. */
export function unfold(out: FloatArray, x: FloatArray, windows: Windows): void {
  const { n, c, h, w, kh, kw, oh, ow } = windows;
  for (let image = 0; image < n; image++)
    im2col(out, image * c * kh * kw * oh * ow, x, image * c * h * w, c, windows);
}

/** out (n, c, h, w) = the sum of the windows x (n, c·kh·kw, oh·ow) that cover each pixel: the adjoint of `unfold`. */
export function fold(out: FloatArray, x: FloatArray, windows: Windows): void {
  const { n, c, h, w, kh, kw, oh, ow } = windows;
  const sums = new Float64Array(c * h * w);
  for (let image = 0; image < n; image++) {
    sums.fill(0);
    col2im(sums, x, image * c * kh * kw * oh * ow, c, windows);
    out.set(sums, image * c * h * w);
  }
}
