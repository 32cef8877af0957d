/**
 * Depthwise convolution: each channel has its own filters, so a product has only kh·kw terms and columns would cost more
 * than they save. Direct loops over the taps instead, one plane at a time, summed in double.
 *
 * Layout and names as in reference.ts with groups = c: x (n, c, h, w), w (o, 1, kh, kw), filter f reads channel f / (o/c).
 */

import type { FloatArray } from "../../src/dtype.ts";
import { endInside, firstInside } from "../windows.ts";
import type { ConvGeometry } from "./reference.ts";

export function depthwiseConv2d(out: FloatArray, x: FloatArray, w: FloatArray, g: ConvGeometry): void {
  const sums = new Float64Array(g.oh * g.ow);
  const filtersPerChannel = g.o / g.c;
  for (let image = 0; image < g.n; image++)
    for (let filter = 0; filter < g.o; filter++) {
      const plane = (image * g.c + Math.floor(filter / filtersPerChannel)) * g.h * g.w;
      sums.fill(0);
      for (let i = 0; i < g.kh; i++)
        for (let j = 0; j < g.kw; j++) {
          const weight = w[(filter * g.kh + i) * g.kw + j];
          const shift = j * g.dilationW - g.padLeft;
          const first = firstInside(shift, g.strideW, g.ow);
          const end = endInside(shift, g.strideW, g.ow, g.w);
          for (let oy = 0; oy < g.oh; oy++) {
            const iy = oy * g.strideH - g.padTop + i * g.dilationH;
            if (iy < 0 || iy >= g.h) continue;
            const to = oy * g.ow;
            let at = plane + iy * g.w + shift + first * g.strideW;
            for (let ox = first; ox < end; ox++, at += g.strideW) sums[to + ox] += weight * x[at];
          }
        }
      out.set(sums, (image * g.o + filter) * g.oh * g.ow);
    }
}

export function depthwiseConv2dInputGrad(
  dx: FloatArray,
  dOut: FloatArray,
  w: FloatArray,
  g: ConvGeometry,
): void {
  const sums = new Float64Array(g.h * g.w);
  const filtersPerChannel = g.o / g.c;
  for (let image = 0; image < g.n; image++)
    for (let channel = 0; channel < g.c; channel++) {
      sums.fill(0);
      for (let filter = channel * filtersPerChannel; filter < (channel + 1) * filtersPerChannel; filter++) {
        const plane = (image * g.o + filter) * g.oh * g.ow;
        for (let i = 0; i < g.kh; i++)
          for (let j = 0; j < g.kw; j++) {
            const weight = w[(filter * g.kh + i) * g.kw + j];
            const shift = j * g.dilationW - g.padLeft;
            const first = firstInside(shift, g.strideW, g.ow);
            const end = endInside(shift, g.strideW, g.ow, g.w);
            for (let oy = 0; oy < g.oh; oy++) {
              const iy = oy * g.strideH - g.padTop + i * g.dilationH;
              if (iy < 0 || iy >= g.h) continue;
              const at = plane + oy * g.ow;
              let to = iy * g.w + shift + first * g.strideW;
              for (let ox = first; ox < end; ox++, to += g.strideW) sums[to] += weight * dOut[at + ox];
            }
          }
      }
      dx.set(sums, (image * g.c + channel) * g.h * g.w);
    }
}

export function depthwiseConv2dWeightGrad(
  dw: FloatArray,
  x: FloatArray,
  dOut: FloatArray,
  g: ConvGeometry,
): void {
  const filtersPerChannel = g.o / g.c;
  for (let filter = 0; filter < g.o; filter++)
    for (let i = 0; i < g.kh; i++)
      for (let j = 0; j < g.kw; j++) {
        const shift = j * g.dilationW - g.padLeft;
        const first = firstInside(shift, g.strideW, g.ow);
        const end = endInside(shift, g.strideW, g.ow, g.w);
        let sum = 0;
        for (let image = 0; image < g.n; image++) {
          const plane = (image * g.c + Math.floor(filter / filtersPerChannel)) * g.h * g.w;
          for (let oy = 0; oy < g.oh; oy++) {
            const iy = oy * g.strideH - g.padTop + i * g.dilationH;
            if (iy < 0 || iy >= g.h) continue;
            const from = ((image * g.o + filter) * g.oh + oy) * g.ow;
            let at = plane + iy * g.w + shift + first * g.strideW;
            for (let ox = first; ox < end; ox++, at += g.strideW) sum += dOut[from + ox] * x[at];
          }
        }
        dw[(filter * g.kh + i) * g.kw + j] = sum;
      }
}
