/**
 * conv-i8: cross-correlation of images of codes with filters of codes, and the output transform of its exact sums, as plain
 * loops.
 *
 * Layout: x (n, c, h, w), int8 or uint8; filters (o, c/groups, kh, kw); out (n, o, oh, ow); all contiguous. A sum is
 * Σ (x − zeroX) · w over the taps inside of the image, so padding counts as 0, which is the code zeroX. Every size but those of
 * the taps may be zero. The caller keeps |x − zeroX| · |w| · c/groups · kh · kw below 2³¹.
 */

import type { ConvGeometry } from "../conv/reference.ts";
import type { Activations } from "../gemm-i8/reference.ts";
import { type Output, type OutputArray, writeOutput } from "../output.ts";

/** Codes of 1 to 8 bits, as those of IntWeights: int8 with their sign, or uint8 from 0 up. */
export interface Filters {
  readonly codes: Int8Array | Uint8Array;
  readonly bits: number;
  /** Of uint8 codes, one a filter (o); `halves`: half a code above, and a weight is twice its code less that. */
  readonly zeros?: Uint8Array;
  readonly halves?: boolean;
}

/** What a weight of filter f is, by its code. */
export function filterValue({ zeros, halves }: Filters, f: number, code: number): number {
  if (zeros === undefined) return code;
  return halves ? 2 * (code - zeros[f]) - 1 : code - zeros[f];
}

/** One zeroX for all of x; scaleX one, or one an image (n); scaleW one or (o), bias (o). */
export interface ConvOutput extends Output {
  readonly to: Exclude<Output["to"], "bits">;
}

export function conv2d(
  out: OutputArray,
  x: Activations,
  filters: Filters,
  g: ConvGeometry,
  output: ConvOutput,
): void {
  const { n, c, h, w, o, groups, kh, kw, oh, ow } = g;
  const { zeroX = 0, scaleW, scaleX, bias } = output;
  const row = c === 0 ? 0 : (c / groups) * kh * kw;
  const weights = Int16Array.from(filters.codes, (code, at) =>
    filterValue(filters, Math.floor(at / row), code),
  );
  const channels = c / groups;
  const cell = out.slice(0, 1);
  for (let f = 0; f < o; f++) {
    const one = {
      ...output,
      scaleW: scaleW && scaleW.length > 1 ? scaleW.subarray(f, f + 1) : scaleW,
      bias: bias?.subarray(f, f + 1),
    };
    const first = Math.floor(f / (o / groups)) * channels;
    for (let i = 0; i < n; i++) {
      const image = scaleX && scaleX.length > 1 ? { ...one, scaleX: scaleX.subarray(i, i + 1) } : one;
      for (let y = 0; y < oh; y++)
        for (let z = 0; z < ow; z++) {
          const top = y * g.strideH - g.padTop;
          const left = z * g.strideW - g.padLeft;
          let sum = 0;
          for (let q = 0; q < channels; q++)
            for (let ty = 0; ty < kh; ty++)
              for (let tx = 0; tx < kw; tx++) {
                const row = top + ty * g.dilationH;
                const column = left + tx * g.dilationW;
                if (row < 0 || row >= h || column < 0 || column >= w) continue;
                const pixel = ((i * c + first + q) * h + row) * w + column;
                sum += (x[pixel] - zeroX) * weights[((f * channels + q) * kh + ty) * kw + tx];
              }
          writeOutput(cell, 0, 0, 1, [sum], image);
          out[((i * o + f) * oh + y) * ow + z] = cell[0];
        }
    }
  }
}
