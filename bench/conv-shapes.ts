/** The convolutions that the benchmarks time. */

import { convGeometry } from "../kernels/conv/cases.ts";
import type { ConvGeometry } from "../kernels/conv/reference.ts";

/** n images (c, size, size) and o filters of kernel · kernel taps, padded so that at stride 1 sizes stay. */
export const square = (
  n: number,
  c: number,
  size: number,
  o: number,
  kernel: number,
  stride = 1,
  groups = 1,
): ConvGeometry => {
  const pad = kernel >> 1;
  const sizes = { n, c, h: size, w: size, o, groups, kh: kernel, kw: kernel };
  const steps = { strideH: stride, strideW: stride, dilationH: 1, dilationW: 1 };
  return convGeometry({ ...sizes, ...steps }, [pad, pad, pad, pad]);
};

export const convolutions: readonly ConvGeometry[] = [
  square(4, 64, 32, 64, 3),
  square(4, 128, 16, 128, 3),
  square(4, 64, 32, 128, 3, 2),
  square(4, 3, 64, 32, 3),
  square(4, 64, 32, 128, 1),
  square(4, 64, 32, 64, 3, 1, 64),
  square(4, 128, 16, 128, 3, 1, 128),
  square(4, 64, 32, 64, 3, 2, 64),
];

export const showConvolution = ({ n, c, h, w, o, groups, kh, kw, strideH }: ConvGeometry): string => {
  const kind = groups > 1 ? "depthwise" : `${o} filters`;
  return `${kh} x ${kw}, ${n} x ${c} x ${h} x ${w}, ${kind}${strideH > 1 ? `, stride ${strideH}` : ""}`;
};

/** Multiplications and additions. */
export const operations = ({ n, c, o, groups, kh, kw, oh, ow }: ConvGeometry): number =>
  2 * n * o * oh * ow * (c / groups) * kh * kw;

/** Numbers of the images, the filters and the results. */
export const sizesOf = ({ n, c, h, w, o, groups, kh, kw, oh, ow }: ConvGeometry) => ({
  images: n * c * h * w,
  filters: o * (c / groups) * kh * kw,
  results: n * o * oh * ow,
});
