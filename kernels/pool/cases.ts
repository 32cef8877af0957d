/** What every pooling is tried on: rows around the vector, strides, dilation, uneven padding, ceil mode, NaN and ties. */

import type { Windows } from "../windows.ts";
import { type AverageWindows, avgPool2d, avgPool2dGrad, maxPool2dIndices } from "./reference.ts";

export type MaxArgs = [indices: Int32Array, values: Float32Array, x: Float32Array, windows: Windows];
export type MaxGradArgs = [dx: Float32Array, dOut: Float32Array, indices: Int32Array, windows: Windows];
export type AverageArgs = [out: Float32Array, x: Float32Array, windows: AverageWindows];

const wave = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed));

export function poolWindows(
  sizes: Omit<Windows, "oh" | "ow" | "padTop" | "padLeft">,
  [padTop, padLeft, padBottom, padRight]: readonly [number, number, number, number],
  countIncludePad: boolean,
  ceil: boolean,
): AverageWindows {
  const { h, w, kh, kw, strideH, strideW, dilationH, dilationW } = sizes;
  const count = (size: number, reach: number, stride: number): number =>
    Math.max(0, (ceil ? Math.ceil : Math.floor)((size - reach) / stride) + 1);
  const oh = count(h + padTop + padBottom, (kh - 1) * dilationH + 1, strideH);
  const ow = count(w + padLeft + padRight, (kw - 1) * dilationW + 1, strideW);
  return { ...sizes, padTop, padLeft, padBottom, padRight, countIncludePad, oh, ow };
}

function* windowCases(dilations: readonly number[]): Generator<AverageWindows> {
  let turn = 0;
  for (const w of [1, 2, 4, 5, 8, 9, 15, 18, 33])
    for (const kernel of [1, 2, 3])
      for (const stride of [1, 2, 3])
        for (const dilation of dilations) {
          const sizes = { n: 2, c: 2, h: 7, w, kh: kernel, kw: kernel === 2 ? 3 : kernel };
          const steps = { strideH: stride, strideW: stride, dilationH: dilation, dilationW: dilation };
          const pad =
            turn % 3 === 0
              ? ([0, 0, 0, 0] as const)
              : turn % 3 === 1
                ? ([1, 1, 1, 1] as const)
                : ([1, 0, 0, 1] as const);
          yield poolWindows({ ...sizes, ...steps }, pad, turn % 2 === 0, turn % 4 < 2);
          turn++;
        }
  for (const w of [8, 9, 15, 18, 33])
    for (const left of [0, 1]) {
      const sizes = { n: 2, c: 2, h: 7, w, kh: 3, kw: 2, strideH: 2, strideW: 2, dilationH: 1, dilationW: 1 };
      yield poolWindows(sizes, [1, left, 1, left], left === 0, w % 2 === 0);
    }
}

/** Rounded values tie, and some are NaN or −Infinity. */
export function maxArgs(windows: Windows): MaxArgs {
  const { n, c, h, w, oh, ow } = windows;
  const special = [Number.NaN, Number.NEGATIVE_INFINITY, -0];
  const x = wave(n * c * h * w, 1).map((value, i) =>
    i % 11 < 3 && i % 7 < 3 ? special[i % 3] : Math.floor(value * 3),
  );
  return [new Int32Array(n * c * oh * ow), new Float32Array(n * c * oh * ow), x, windows];
}

export function* maxCases(): Generator<MaxArgs> {
  for (const windows of windowCases([1, 2])) yield maxArgs(windows);
}

/** Windows that meet no pixel have no place in training. */
export function* maxGradCases(): Generator<MaxGradArgs> {
  for (const windows of windowCases([1, 2])) {
    const [indices, values, x] = maxArgs(windows);
    maxPool2dIndices(indices, values, x, windows);
    if (!indices.includes(-1)) yield [new Float32Array(x.length), wave(indices.length, 2), indices, windows];
  }
}

export function averageArgs(windows: AverageWindows): AverageArgs {
  const { n, c, h, w, oh, ow } = windows;
  return [wave(n * c * oh * ow, 2), wave(n * c * h * w, 1), windows];
}

export function* averageCases(): Generator<AverageArgs> {
  for (const windows of windowCases([1])) yield averageArgs(windows);
}

export function* averageGradCases(): Generator<AverageArgs> {
  for (const [out, x, windows] of averageCases()) yield [x, out, windows];
}

/** terms · 2⁻²⁴ · Σ|x| / area, and what underflow may add. */
export function averageTolerance(...[out, x, windows]: AverageArgs): Float64Array {
  const bound = new Float64Array(out.length);
  avgPool2d(bound, Float64Array.from(x, Math.abs), windows);
  return bound.map((value) => (windows.kh * windows.kw + 2) * (value * 2 ** -24 + 2 ** -149));
}

/** The same with as many terms as windows that cover a pixel. */
export function averageGradTolerance(...[dx, dOut, windows]: AverageArgs): Float64Array {
  const bound = new Float64Array(dx.length);
  avgPool2dGrad(bound, Float64Array.from(dOut, Math.abs), windows);
  return bound.map((value) => (windows.kh * windows.kw + 2) * (value * 2 ** -24 + 2 ** -149));
}
