/** Weights as integers times scales, where they are: what products with the codes of an input are summed from. */

import { type ZeroKind, zeroKind } from "../../kernels/zeros.ts";
import { wrap } from "../tensor.ts";
import type { QTensor } from "./contract.ts";
import { type QuantSpec, respec } from "./spec.ts";

/** Of a codebook whose levels are (code − zero) · step, exactly, with a zero that is a code, or 1/2 more; null for any other. */
export function evenLevels({ codebook, bits }: QuantSpec): { step: number; zero: number } | null {
  if (codebook === null) return null;
  const step = codebook[1] - codebook[0];
  const zero = -codebook[0] / step;
  const even =
    Number.isInteger(Math.log2(step)) &&
    Number.isInteger(zero * 2) &&
    zero >= 0 &&
    zero < 2 ** bits &&
    codebook.every((level, code) => level === (code - zero) * step);
  return even ? { step, zero } : null;
}

/** The same numbers with zero points in the place of a codebook, where its levels are even. */
export function withZeros(q: QTensor): QTensor {
  const levels = evenLevels(q.spec);
  if (levels === null) return q;
  const { step, zero } = levels;
  const scales = Float32Array.from(q.scale.data, (s) => s * step);
  // A scale among the smallest floats loses bits.
  if (scales.some((s, i) => s / step !== q.scale.data[i])) return q;
  return {
    ...q,
    scale: wrap(scales, q.scale.shape, "float32"),
    zeroPoint: wrap(new Float32Array(scales.length).fill(zero), q.scale.shape, "float32"),
    spec: respec(q.spec, { scheme: "affine", codebook: null, zeroPoint: "float" }),
  };
}

/** What the zero points are, "integer" where there are none. */
export const zerosOf = ({ zeroPoint, spec: { bits, qmin } }: QTensor): ZeroKind =>
  zeroPoint ? zeroKind(Float32Array.from(zeroPoint.data), bits, qmin) : "integer";
