/** What every convolution is tried on: sizes around the vector, strides, dilation, groups, depthwise, uneven padding. */

import type { FloatArray } from "../../src/dtype.ts";
import type { ConvGeometry } from "./reference.ts";

/** The result and the two operands in the order of the reference. */
export type ConvArgs = [out: Float32Array, a: Float32Array, b: Float32Array, geometry: ConvGeometry];
type Reference = (out: FloatArray, a: FloatArray, b: FloatArray, geometry: ConvGeometry) => void;

const wave = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed));

/** Adds the windows that fit with padding on the four sides: top, left, bottom, right. */
export function convGeometry(
  sizes: Omit<ConvGeometry, "oh" | "ow" | "padTop" | "padLeft">,
  [padTop, padLeft, bottom, right]: readonly [number, number, number, number],
): ConvGeometry {
  const count = (size: number, pad: number, taps: number, dilation: number, stride: number): number =>
    Math.max(0, Math.floor((size + pad - dilation * (taps - 1) - 1) / stride) + 1);
  const { h, w, kh, kw, strideH, strideW, dilationH, dilationW } = sizes;
  const oh = count(h, padTop + bottom, kh, dilationH, strideH);
  return { ...sizes, padTop, padLeft, oh, ow: count(w, padLeft + right, kw, dilationW, strideW) };
}

/** Sizes of images, weights and results, in this order. */
const sizesOf = ({ n, c, h, w, o, groups, kh, kw, oh, ow }: ConvGeometry): [number, number, number] => [
  n * c * h * w,
  o * (c / groups) * kh * kw,
  n * o * oh * ow,
];

/** Which of image, weight and result each argument of the three kernels is. */
export const convRoles = {
  forward: [2, 0, 1],
  input: [0, 2, 1],
  weight: [1, 0, 2],
} as const;

export function convArgs(geometry: ConvGeometry, direction: keyof typeof convRoles): ConvArgs {
  const sizes = sizesOf(geometry);
  const [out, a, b] = convRoles[direction].map((role) => wave(sizes[role], role + 1));
  return [out, a, b, geometry];
}

const base = { n: 2, c: 1, h: 9, w: 9, o: 1, groups: 1, kh: 3, kw: 3 };
const steps = { strideH: 1, strideW: 1, dilationH: 1, dilationW: 1 };

export const convCases = (direction: keyof typeof convRoles) =>
  function* (): Generator<ConvArgs> {
    const at = (
      sizes: Partial<ConvGeometry>,
      pad: readonly [number, number, number, number] = [0, 0, 0, 0],
    ): ConvArgs => convArgs(convGeometry({ ...base, ...steps, ...sizes }, pad), direction);
    for (const w of [1, 2, 3, 4, 5, 7, 8, 9, 11, 16, 17])
      for (const [c, o, groups] of [
        [1, 1, 1],
        [3, 5, 1],
        [4, 6, 2],
        [5, 5, 5],
        [3, 6, 3],
      ]) {
        yield at({ c, o, groups, w, h: 5 }, [1, 1, 1, 1]);
        yield at({ c, o, groups, w, h: 6, kh: 2, kw: 1, strideH: 2 }, [0, 0, 1, 0]);
        yield at({ c, o, groups, w, h: 4, kh: 1, kw: 1 });
        yield at({ c, o, groups, w: w + 3, h: 7, strideW: 2, dilationH: 2 }, [2, 0, 1, 3]);
        yield at({ c, o, groups, w, h: 7, kw: 4, strideH: 3, strideW: 3, dilationW: 2 }, [0, 5, 2, 4]);
        yield at({ c, o, groups, w: w + 1, h: 3, kh: 1, kw: 1, strideH: 2, strideW: 2 });
      }
    yield at({ n: 0 });
    yield at({ c: 0 });
    yield at({ o: 0 });
    yield at({ h: 1, w: 1 });
    yield at({ n: 1, c: 33, o: 9, h: 26, w: 23 }, [1, 1, 1, 1]);
    for (const o of [1, 4, 7, 16, 20]) yield at({ c: 40, o, h: 5, w: 16 }, [1, 1, 1, 1]);
    for (const w of [15, 16, 29, 32])
      for (const left of [0, 1, 2])
        yield at({ c: 4, o: 6, h: 9, w, strideH: 2, strideW: 2 }, [1, left, 1, 1]);
    yield at({ n: 9, c: 8, o: 9, h: 20, w: 19 }, [1, 1, 1, 1]);
    yield at({ c: 6, o: 26, groups: 2, h: 9, w: 15, strideH: 2, dilationW: 2 }, [1, 1, 2, 2]);
    yield at({ n: 1, c: 2, o: 3, h: 3, w: 1100 }, [1, 1, 1, 1]);
    yield at({ n: 1, c: 2, o: 3, h: 2, w: 2 }, [5, 6, 7, 5]);
    yield at({ n: 1, c: 64, o: 16, h: 16, w: 16, kh: 5, kw: 5, strideH: 2, strideW: 2 }, [2, 2, 2, 2]);
  };

/** The dot-product bound terms · 2⁻²⁴ · Σ|a||b| of each element of `reference`, and what underflow of products may add. */
export const convTolerance =
  (reference: Reference, direction: keyof typeof convRoles) =>
  (out: Float32Array, a: Float32Array, b: Float32Array, geometry: ConvGeometry): Float64Array => {
    const bound = new Float64Array(out.length);
    reference(bound, Float64Array.from(a, Math.abs), Float64Array.from(b, Math.abs), geometry);
    const { n, c, o, groups, kh, kw, oh, ow } = geometry;
    const count = { forward: c / groups, input: o / groups, weight: (n * oh * ow) / kh / kw }[direction];
    return bound.map((value) => (count * kh * kw + 1) * (value * 2 ** -24 + 2 ** -149));
  };
