/** Weights as integers times scales, where they are: what products with the codes of an input are summed from. */

import { type ZeroKind, zeroKind } from "../../kernels/zeros.ts";
import { type Tensor, wrap } from "../tensor.ts";
import type { QTensor } from "./contract.ts";
import { perRun } from "./runs.ts";
import { blockOf, type QuantSpec, respec } from "./spec.ts";

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

/** The same numbers with groups in the place of blocks, whose scales are repeated for each of their rows. */
export function withGroups(q: QTensor): QTensor {
  const block = blockOf(q.spec);
  if (block === null) return q;
  const columns = q.shape[q.shape.length - 1];
  const shape = q.scale.size === 0 ? [0] : [...q.shape.slice(0, -1), Math.ceil(columns / block[1])];
  const spread = ({ data }: Tensor): Tensor =>
    wrap(perRun(Float32Array.from(data as ArrayLike<number>), q.spec, q.shape), shape, "float32");
  return {
    ...q,
    scale: spread(q.scale),
    zeroPoint: q.zeroPoint && spread(q.zeroPoint),
    spec: respec(q.spec, { granularity: { group: block[1] }, axis: -1 }),
  };
}

/**
 * The same numbers with zero points in the place of a codebook, where its levels are even, and of the codes −1 and 0 of one
 * bit: without zero points one bit with a sign is −1 and +1.
 */
export function withZeros(q: QTensor): QTensor {
  const { scale, spec: how } = q;
  if (how.scheme === "absmax-signed" && how.bits === 1) {
    const zeroPoint = wrap(new Float32Array(scale.size), scale.shape, "float32");
    return { ...q, zeroPoint, spec: respec(how, { scheme: "affine", signed: true, zeroPoint: "int" }) };
  }
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
