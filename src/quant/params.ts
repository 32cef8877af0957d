/** chooseParams: scale and zero point from the numbers they are for. */

import { toFloat16, widenFloat16 } from "../../kernels/formats/half.ts";
import { BitgradError, show } from "../errors.ts";
import { asTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { roundBy } from "./rounding.ts";
import { forRuns, scaleShape } from "./runs.ts";
import { isSigns, type QuantSpec } from "./spec.ts";

/** x ≈ (code − zeroPoint) · scale, each in the shape that the granularity gives it. */
export interface QuantParams {
  readonly scale: Tensor;
  /** Of float32: integers, but for `zeroPoint: "float"`; null means 0. */
  readonly zeroPoint: Tensor | null;
}

/** What scales are found from. */
export interface Range {
  min: number;
  max: number;
  /** Sum of magnitudes, over `count` elements. */
  sum: number;
  count: number;
}

export const nonFinite = (x: number): BitgradError =>
  new BitgradError(
    `quantize: every element must be finite, got ${show(x)}; clean the tensor, or for infinities use onNonFinite: "clamp"`,
    "NUMERICS",
  );

/** The ranges of all runs of a tensor. Throws where an element is NaN, or infinite and not to be clamped. */
export function rangesOf(x: Tensor, spec: QuantSpec): Range[] {
  const count = scaleShape(spec, x.shape).reduce((a, b) => a * b, 1);
  const ranges = Array.from(
    { length: count },
    (): Range => ({ min: Infinity, max: -Infinity, sum: 0, count: 0 }),
  );
  const data = x.data;
  const strict = spec.onNonFinite === "throw";
  forRuns(spec, x.shape, (from, to, k) => {
    const range = ranges[k];
    let { min, max, sum, count } = range;
    for (let i = from; i < to; i++) {
      const v = data[i];
      if (!(Math.abs(v) < Infinity)) {
        if (strict || Number.isNaN(v)) throw nonFinite(v);
        continue;
      }
      if (v < min) min = v;
      if (v > max) max = v;
      sum += Math.abs(v);
      count++;
    }
    ranges[k] = { min, max, sum, count };
  });
  return ranges;
}

/** 2^−126: a scale that is a normal number can be divided by without surprises. */
const leastScale = 2 ** -126;
const leastHalf = 2 ** -24;

/** A scale as it is stored. Zero ranges have scale 1. */
function stored(scale: number, { scaleDtype }: Pick<QuantSpec, "scaleDtype">): number {
  if (scale === 0) return 1;
  const least = scaleDtype === "float16" ? leastHalf : leastScale;
  const size = Math.max(Math.abs(scale), least);
  const rounded = scaleDtype === "float16" ? widenFloat16(toFloat16([size]))[0] : Math.fround(size);
  if (!(rounded < Infinity)) {
    throw new BitgradError(
      `quantize: a scale exceeds ${scaleDtype}, got ${scale}; scale the tensor down`,
      "NUMERICS",
    );
  }
  return scale < 0 ? -rounded : rounded;
}

/** mean|x| of a run, over its true length; 1 for zeros, so that it can be divided by. */
export const meanMagnitude = ({ sum, count }: Range): number => (count === 0 ? 0 : sum / count);

function scaleAndZero(range: Range, spec: QuantSpec): [scale: number, zero: number] {
  const { scheme, bits, qmin, qmax } = spec;
  const min = range.count === 0 ? 0 : range.min;
  const max = range.count === 0 ? 0 : range.max;
  const magnitude = Math.max(-min, max);
  if (isSigns(spec)) return [range.sum === 0 ? 0 : stored(meanMagnitude(range), spec), 0];
  if (scheme === "symmetric") {
    return [stored(magnitude / (spec.range === "narrow" ? qmax : (2 ** bits - 1) / 2), spec), 0];
  }
  if (scheme === "absmax-signed") return [stored((-min > max ? min : max) / qmin, spec), 0];
  if (scheme === "codebook") return [stored(magnitude, spec), 0];
  const exact = spec.zeroPoint === "int";
  const low = exact ? Math.min(min, 0) : min;
  const high = exact ? Math.max(max, 0) : max;
  // PyTorch rounds the width to float32 before it divides; where that overflows, the quotient need not.
  const width = Math.fround(high - low) < Infinity ? Math.fround(high - low) : high - low;
  const scale = stored(width / (qmax - qmin), spec);
  const steps = Math.fround(low / scale);
  if (!exact) return [scale, Math.fround(qmin - steps)];
  return [scale, Math.min(qmax, Math.max(qmin, qmin - roundBy("half-even", steps)))];
}

/** Scales and zero points for ranges in the order of the runs of a tensor of `shape`. */
export function paramsOf(ranges: readonly Range[], shape: readonly number[], spec: QuantSpec): QuantParams {
  const pairs = ranges.map((range) => scaleAndZero(range, spec));
  const of = scaleShape(spec, shape);
  return {
    scale: wrap(
      Float32Array.from(pairs, ([scale]) => scale),
      of,
      "float32",
    ),
    zeroPoint:
      spec.zeroPoint === "none"
        ? null
        : wrap(
            Float32Array.from(pairs, ([, zero]) => zero),
            of,
            "float32",
          ),
  };
}

/**
 * The scale and zero point that fit x: found in float32, one a run, constants to the gradient. A run of zeros has scale 1 (as
 * one of signs 0, since its codes cannot be 0). Throws for NaN, for infinity unless it is clamped, and for scales that the
 * spec's type cannot hold; too small ones become its smallest.
 */
export function chooseParams(x: TensorLike, spec: QuantSpec): QuantParams {
  const given = asTensor("chooseParams", x);
  return paramsOf(rangesOf(given, spec), given.shape, spec);
}

/** Scales mean|x|, for the quantizers that take those. */
export function meanParams(x: Tensor, spec: QuantSpec): QuantParams {
  const scales = rangesOf(x, spec).map((range) => stored(meanMagnitude(range), spec));
  return { scale: wrap(Float32Array.from(scales), scaleShape(spec, x.shape), "float32"), zeroPoint: null };
}
