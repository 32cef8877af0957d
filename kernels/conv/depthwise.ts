/**
 * Depthwise convolution: each channel has its own filters, so a product has only kh·kw terms and columns would cost more
 * than they save. Direct loops over the taps instead, one plane at a time, summed in double.
 *
 * Layout and names as in reference.ts with groups = c: x (n, c, h, w), w (o, 1, kh, kw), filter f reads channel f / (o/c).
 */

import type { FloatArray } from "../../src/dtype.ts";
import { endInside, firstInside } from "../windows.ts";
import type { ConvGeometry } from "./geometry.ts";

export function depthwiseConv2d(out: FloatArray, x: FloatArray, w: FloatArray, g: ConvGeometry): void {
  const { n, c, h, w: width, o, kh, kw, oh, ow, strideH, strideW, padTop, padLeft, dilationH, dilationW } = g;
  const sums = new Float64Array(oh * ow);
  const filtersPerChannel = o / c;
  for (let image = 0; image < n; image++)
    for (let filter = 0; filter < o; filter++) {
      const plane = (image * c + Math.floor(filter / filtersPerChannel)) * h * width;
      sums.fill(0);
      for (let i = 0; i < kh; i++)
        for (let j = 0; j < kw; j++) {
          const weight = w[(filter * kh + i) * kw + j];
          const shift = j * dilationW - padLeft;
          const first = firstInside(shift, strideW, ow);
          const end = endInside(shift, strideW, ow, width);
          for (let oy = 0; oy < oh; oy++) {
            const iy = oy * strideH - padTop + i * dilationH;
            if (iy < 0 || iy >= h) continue;
            const to = oy * ow;
            let at = plane + iy * width + shift + first * strideW;
            for (let ox = first; ox < end; ox++, at += strideW) sums[to + ox] += weight * x[at];
          }
        }
      out.set(sums, (image * o + filter) * oh * ow);
    }
}

export function depthwiseConv2dInputGrad(
  dx: FloatArray,
  dOut: FloatArray,
  w: FloatArray,
  g: ConvGeometry,
): void {
  const { n, c, h, w: width, o, kh, kw, oh, ow, strideH, strideW, padTop, padLeft, dilationH, dilationW } = g;
  const sums = new Float64Array(h * width);
  const filtersPerChannel = o / c;
  for (let image = 0; image < n; image++)
    for (let channel = 0; channel < c; channel++) {
      sums.fill(0);
      for (let filter = channel * filtersPerChannel; filter < (channel + 1) * filtersPerChannel; filter++) {
        const plane = (image * o + filter) * oh * ow;
        for (let i = 0; i < kh; i++)
          for (let j = 0; j < kw; j++) {
            const weight = w[(filter * kh + i) * kw + j];
            const shift = j * dilationW - padLeft;
            const first = firstInside(shift, strideW, ow);
            const end = endInside(shift, strideW, ow, width);
            for (let oy = 0; oy < oh; oy++) {
              const iy = oy * strideH - padTop + i * dilationH;
              if (iy < 0 || iy >= h) continue;
              const at = plane + oy * ow;
              let to = iy * width + shift + first * strideW;
              for (let ox = first; ox < end; ox++, to += strideW) sums[to] += weight * dOut[at + ox];
            }
          }
      }
      dx.set(sums, (image * c + channel) * h * width);
    }
}

export function depthwiseConv2dWeightGrad(
  dw: FloatArray,
  x: FloatArray,
  dOut: FloatArray,
  g: ConvGeometry,
): void {
  const { n, c, h, w: width, o, kh, kw, oh, ow, strideH, strideW, padTop, padLeft, dilationH, dilationW } = g;
  const filtersPerChannel = o / c;
  for (let filter = 0; filter < o; filter++)
    for (let i = 0; i < kh; i++)
      for (let j = 0; j < kw; j++) {
        const shift = j * dilationW - padLeft;
        const first = firstInside(shift, strideW, ow);
        const end = endInside(shift, strideW, ow, width);
        let sum = 0;
        for (let image = 0; image < n; image++) {
          const plane = (image * c + Math.floor(filter / filtersPerChannel)) * h * width;
          for (let oy = 0; oy < oh; oy++) {
            const iy = oy * strideH - padTop + i * dilationH;
            if (iy < 0 || iy >= h) continue;
            const from = ((image * o + filter) * oh + oy) * ow;
            let at = plane + iy * width + shift + first * strideW;
            for (let ox = first; ox < end; ox++, at += strideW) sum += dOut[from + ox] * x[at];
          }
        }
        dw[(filter * kh + i) * kw + j] = sum;
      }
}
