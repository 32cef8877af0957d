/**
 * conv-b1: cross-correlation of images of ±1 with filters of ±1, channels last, and the output transform of its exact sums.
 *
 * Layout: a pixel's channels are packed group by group as kernels/bits.ts says, each group beginning on a byte; so is a tap of
 * a filter, whose row is its taps in order. x (n, h, w, groups, bytes of c/groups); w (o, kh, kw, bytes of c/groups); out
 * (n, oh, ow, o), and with an output of bits (n, oh, ow, groups, bytes of o/groups), so that it is the next layer's x.
 * Padding counts as −1, as +1 or, with 0, not at all.
 */

import { packedBytes, unpackSigns } from "../bits.ts";
import type { ConvGeometry } from "../conv/reference.ts";
import { type Output, type OutputArray, writeOutput } from "../output.ts";

export type Padding = -1 | 0 | 1;

export function conv2d(
  out: OutputArray,
  x: Uint8Array,
  w: Uint8Array,
  g: ConvGeometry,
  padding: Padding,
  output: Output = { to: "int32" },
): void {
  const channels = g.c / g.groups;
  const filters = g.o / g.groups;
  const bytes = packedBytes(channels, 1);
  const pixels = unpackSigns(
    x.subarray(0, g.n * g.h * g.w * g.groups * bytes),
    g.n * g.h * g.w * g.groups,
    channels,
  );
  const taps = unpackSigns(w.subarray(0, g.o * g.kh * g.kw * bytes), g.o * g.kh * g.kw, channels);
  for (let at = 0, i = 0; i < g.n; i++)
    for (let oy = 0; oy < g.oh; oy++)
      for (let ox = 0; ox < g.ow; ox++, at++)
        for (let f = 0; f < g.o; f++) {
          const group = Math.floor(f / filters);
          let sum = 0;
          for (let ty = 0; ty < g.kh; ty++)
            for (let tx = 0; tx < g.kw; tx++) {
              const y = oy * g.strideH - g.padTop + ty * g.dilationH;
              const xx = ox * g.strideW - g.padLeft + tx * g.dilationW;
              const inside = y >= 0 && y < g.h && xx >= 0 && xx < g.w;
              const pixel = (((i * g.h + y) * g.w + xx) * g.groups + group) * channels;
              const tap = ((f * g.kh + ty) * g.kw + tx) * channels;
              for (let c = 0; c < channels; c++)
                sum += (inside ? pixels[pixel + c] : padding) * taps[tap + c];
            }
          put(out, at, f, g, sum, output);
        }
}

/** Writes filter f of window `at`. */
function put(out: OutputArray, at: number, f: number, g: ConvGeometry, sum: number, output: Output): void {
  const filters = g.o / g.groups;
  if (output.to !== "bits" || g.groups === 1) {
    writeOutput(out, at, f, g.o, [sum], output);
    return;
  }
  // Every group's bits begin on a byte.
  const one = { ...output, ...columnsOf(output, f, 1), scaleX: part(output.scaleX, at, 1) };
  const bit = new Uint8Array(1);
  writeOutput(bit, 0, 0, 1, [sum], one);
  const group = Math.floor(f / filters);
  const byte = (at * g.groups + group) * packedBytes(filters, 1) + ((f % filters) >> 3);
  const mask = 1 << ((f % filters) & 7);
  out[byte] = bit[0] === 1 ? out[byte] | mask : out[byte] & ~mask;
}

const part = <T extends Float32Array | Int32Array | Int8Array>(
  values: T | undefined,
  from: number,
  count: number,
): T | undefined =>
  values === undefined || values.length === 1 ? values : (values.subarray(from, from + count) as T);

/** The transform of `count` columns from `from` on. */
export const columnsOf = (output: Output, from: number, count: number): Partial<Output> => ({
  scaleW: part(output.scaleW, from, count),
  bias: part(output.bias, from, count),
  thresholds: part(output.thresholds, from, count),
  directions: part(output.directions, from, count),
});
