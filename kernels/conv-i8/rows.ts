/** Convolution of images of codes by products of rows: windows are laid out as rows, some at once. */

import type { ConvGeometry } from "../conv/reference.ts";
import type { Activations } from "../gemm-i8/reference.ts";

/**
 * out (n, o, oh, ow) of what `multiply` makes of rows of windows, as many at once as `rows` holds: sums (count, filters) of the
 * filters of a group of channels. Codes of padding are `zero`.
 */
export function convByRows(
  out: Float32Array,
  x: Activations,
  g: ConvGeometry,
  zero: number,
  rows: Activations,
  sums: Float32Array,
  multiply: (sums: Float32Array, rows: Activations, count: number, image: number, group: number) => void,
): void {
  const windows = g.oh * g.ow;
  const filters = g.o / g.groups;
  const most = Math.floor(sums.length / filters);
  for (let group = 0; group < g.groups; group++)
    for (let image = 0; image < g.n; image++)
      for (let first = 0; first < windows; first += most) {
        const count = Math.min(most, windows - first);
        layWindows(rows, x, g, image, group, first, count, zero);
        multiply(sums.subarray(0, count * filters), rows, count, image, group);
        const plane = (image * g.o + group * filters) * windows + first;
        for (let f = 0; f < filters; f++)
          for (let i = 0; i < count; i++) out[plane + f * windows + i] = sums[i * filters + f];
      }
}

/** Windows first … first + count − 1 of an image as rows of codes. */
function layWindows(
  rows: Activations,
  x: Activations,
  g: ConvGeometry,
  image: number,
  group: number,
  first: number,
  count: number,
  zero: number,
): void {
  const { c, h, w, kh, kw, ow, groups } = g;
  const channels = c / groups;
  let to = 0;
  for (let i = first; i < first + count; i++) {
    const top = Math.floor(i / ow) * g.strideH - g.padTop;
    const left = (i % ow) * g.strideW - g.padLeft;
    for (let q = 0; q < channels; q++) {
      const plane = (image * c + group * channels + q) * h;
      for (let ty = 0; ty < kh; ty++) {
        const row = top + ty * g.dilationH;
        for (let tx = 0; tx < kw; tx++, to++) {
          const column = left + tx * g.dilationW;
          const inside = row >= 0 && row < h && column >= 0 && column < w;
          rows[to] = inside ? x[(plane + row) * w + column] : zero;
        }
      }
    }
  }
}
