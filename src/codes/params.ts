/** chooseParams: scale and zero point from the numbers they are for. */

import { forEachRun, range, rangeSize } from "../../kernels/fake-quantize/reference.ts";
import { nearestBfloat16, nearestHalf, powerBelow } from "../../kernels/formats/half.ts";
import { rangesOfRuns } from "../backend.ts";
import type { FloatArray } from "../dtype.ts";
import { BitgradError } from "../errors.ts";
import { straightThrough } from "../ops/binary.ts";
import { placeholder, visitor } from "../ops/shapes-only.ts";
import { sizeOf } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { floatsOf, notFinite } from "./loops.ts";
import { roundBy } from "./rounding.ts";
import { forRuns, runsOf, scaleOfRun, scaleShape } from "./runs.ts";
import { checkSpec, isSigns, type QuantSpec, type ScaleDtype } from "./spec.ts";

/**
 * x ≈ (code − zeroPoint) · scale. Granularity gives scale and zero point their shape, for x of (o, i): (1) for "tensor", (o)
 * for "channel" of axis 0, (o, 1) for "token", (o, ⌈i / group⌉) for groups of rows, (⌈o / rows⌉, ⌈i / columns⌉) for blocks.
 */
export interface QuantParams {
  readonly scale: Tensor;
  /** Of float32: integers, but for `zeroPoint: "float"`; null means 0. */
  readonly zeroPoint: Tensor | null;
}

export const nonFinite = (x: ArrayLike<number>, at: number): BitgradError =>
  new BitgradError(
    `quantize: every element must be finite, got ${x[at]} at index ${at}; clean the tensor, or for infinities use onNonFinite: "clamp"`,
    "NUMERICS",
  );

/** What scales are found from: least and largest element, and the sum of magnitudes over `count` elements. */
export interface Range {
  min: number;
  max: number;
  sum: number;
  count: number;
}

/**
 * The ranges of all runs of a tensor; those of signs alone have sums, unless told otherwise. Throws where an element is NaN,
 * or infinite and not to be clamped.
 */
export function rangesOf(x: Tensor, spec: QuantSpec, sums = isSigns(spec)): Range[] {
  const count = sizeOf(scaleShape(spec, x.shape));
  const ranges: (Range | undefined)[] = new Array(count);
  const data = floatsOf(x);
  const runs = runsOf(spec, x.shape);
  const place = scaleOfRun(spec, x.shape);
  // Ranges of short runs take more room than the numbers, and longer to be brought from a kernel than to be found.
  const short = runs.step < 4;
  const found = new Float64Array(short ? rangeSize : runs.rows * Math.ceil(runs.n / runs.step) * rangeSize);
  if (!short) rangesOfRuns(found, data, runs, sums);
  forEachRun(runs, (from, to, run) => {
    const at = short ? 0 : run * rangeSize;
    if (short) range(found, at, data, from, to, sums);
    // A sum of magnitudes is finite if all are, unless doubles overflow.
    if (!(found[at + 2] < Infinity)) {
      const odd = notFinite(data, from, to);
      if (odd >= 0 && spec.onNonFinite === "throw") throw nonFinite(data, odd);
      found.set(finiteRange(data, from, to, sums), at);
    }
    const k = place(run);
    const held = ranges[k];
    if (held === undefined) ranges[k] = rangeAt(found, at);
    else widen(held, found, at);
  });
  return ranges as Range[];
}

const rangeAt = (found: Float64Array, at: number): Range => ({
  min: found[at],
  max: found[at + 1],
  sum: found[at + 2],
  count: found[at + 3],
});

function widen(held: Range, found: Float64Array, at: number): void {
  held.min = Math.min(held.min, found[at]);
  held.max = Math.max(held.max, found[at + 1]);
  held.sum += found[at + 2];
  held.count += found[at + 3];
}

/** The range of what is finite. Throws for NaN. */
function finiteRange(x: FloatArray, from: number, to: number, sums: boolean): Float64Array {
  const finite: number[] = [];
  for (let i = from; i < to; i++) {
    if (Number.isNaN(x[i])) throw nonFinite(x, i);
    if (Math.abs(x[i]) < Infinity) finite.push(x[i]);
  }
  const found = new Float64Array(rangeSize);
  const n = finite.length;
  range(found, 0, Float64Array.from(finite), 0, n, sums);
  return found;
}

/** 2^−126: a scale that is a normal number can be divided by without surprises. */
export const leastScale = 2 ** -126;
/** The smallest normal float16. */
const leastHalf = 2 ** -14;

/** A positive scale in the type that it is stored in. */
function roundedTo(scaleDtype: ScaleDtype, size: number): number {
  if (scaleDtype === "bfloat16") return nearestBfloat16(size);
  if (scaleDtype === "float16" && size >= leastHalf) return nearestHalf(size);
  if (scaleDtype !== "e8m0") return Math.fround(size);
  const power = powerBelow(size);
  return Math.fround(size / power < Math.SQRT2 ? power : 2 * power);
}

/** A scale as it is stored. Zero ranges have scale 1; one that float16 would round to few bits or to 0 stays float32. */
function stored(scale: number, { scaleDtype, eps }: Pick<QuantSpec, "scaleDtype" | "eps">): number {
  if (scale === 0) return 1;
  if (scale < 0 && scaleDtype === "e8m0") {
    throw new BitgradError(`quantize: an e8m0 scale must be positive, got ${scale}`, "NUMERICS");
  }
  const rounded = roundedTo(scaleDtype, Math.max(Math.abs(scale), eps, leastScale));
  if (!(rounded < Infinity)) {
    throw new BitgradError(
      `quantize: a scale exceeds ${scaleDtype}, got ${scale}; scale the tensor down`,
      "NUMERICS",
    );
  }
  return scale < 0 ? -rounded : rounded;
}

/**
 * Scales in the type that a spec stores them in, and as large as chosen ones; their gradient passes. Those of signs may be 0, and
 * those below float16's normal numbers stay float32.
 */
export function storedScale(scale: Tensor, spec: QuantSpec): Tensor {
  const given = scale.data as Float32Array;
  const rounded = new Float32Array(given.length);
  let same = scale.dtype === "float32";
  for (let i = 0; i < given.length; i++) {
    rounded[i] = given[i] === 0 ? 0 : stored(given[i], spec);
    if (rounded[i] !== given[i]) same = false;
  }
  if (same) return scale;
  const hard = wrap(rounded, scale.shape, "float32");
  return scale.requiresGrad ? straightThrough(scale.to("float32"), hard) : hard;
}

/** An integer zero point that is learned as the code that it stands for, rounded and clamped; its gradient passes. */
export function roundedZero(
  zeroPoint: Tensor | null,
  { zeroPoint: kind, qmin, qmax }: QuantSpec,
): Tensor | null {
  if (!zeroPoint || kind !== "int") return zeroPoint;
  const given = zeroPoint.data as Float32Array;
  const codes = Float32Array.from(given, (z) => Math.min(qmax, Math.max(qmin, roundBy("half-even", z))) + 0);
  if (zeroPoint.dtype === "float32" && codes.every((z, i) => z === given[i])) return zeroPoint;
  const hard = wrap(codes, zeroPoint.shape, "float32");
  return zeroPoint.requiresGrad ? straightThrough(zeroPoint.to("float32"), hard) : hard;
}

function scaleOf(range: Range, spec: QuantSpec): number {
  const { min, max, sum, count } = range;
  if (count === 0) return isSigns(spec) ? 0 : 1;
  if (isSigns(spec)) return sum === 0 ? 0 : stored(sum / count, spec);
  if (spec.scheme === "absmax-signed") return stored((-min > max ? min : max) / spec.qmin, spec);
  const [width, steps] = widthOf(range, spec);
  if (spec.scaleDtype !== "e8m0") return stored(width / steps, spec);
  return stored(powerOf(width, spec.codebook ? largestOf(spec.codebook) : steps, spec), spec);
}

/** What is to be covered, by how many steps. */
function widthOf({ min, max }: Range, spec: QuantSpec): [width: number, steps: number] {
  const { scheme, range, bits, qmin, qmax, includeZero } = spec;
  const magnitude = Math.max(-min, max);
  if (scheme === "codebook") return [magnitude, 1];
  if (scheme === "symmetric") {
    if (range === "narrow") return [magnitude, qmax];
    if (range === "full") return [magnitude, (2 ** bits - 1) / 2];
    return min / qmin > max / qmax ? [-min, -qmin] : [max, qmax];
  }
  const low = lowOf(min, spec);
  const high = includeZero ? Math.max(max, 0) : max;
  // PyTorch rounds the width to float32 before it divides; where that overflows, the quotient need not.
  const width = Math.fround(high - low) < Infinity ? Math.fround(high - low) : high - low;
  return [width, qmax - qmin];
}

const largestOf = (codebook: readonly number[]): number =>
  Math.max(-codebook[0], codebook[codebook.length - 1]);

/** The power of two OCP takes for numbers up to `width` and codes up to `top`; the next one where nothing is clipped. */
function powerOf(width: number, top: number, { scheme, range }: QuantSpec): number {
  if (scheme !== "symmetric" || range !== "noClip") return powerBelow(width) / powerBelow(top);
  const power = powerBelow(width / top);
  return power * top < width ? 2 * power : power;
}

/** Where an affine range begins. */
const lowOf = (min: number, { includeZero }: QuantSpec): number => (includeZero ? Math.min(min, 0) : min);

function zeroOf({ min, count }: Range, scale: number, spec: QuantSpec): number {
  const { qmin, qmax } = spec;
  const steps = count === 0 ? 0 : Math.fround(lowOf(min, spec) / scale);
  if (spec.zeroPoint === "float") return qmin - steps;
  return Math.min(qmax, Math.max(qmin, qmin - roundBy("half-even", steps)));
}

/** Scales and zero points for ranges in the order of the runs of a tensor of `shape`. */
export function paramsOf(ranges: readonly Range[], shape: readonly number[], spec: QuantSpec): QuantParams {
  const of = scaleShape(spec, shape);
  const scales = new Float32Array(ranges.length);
  for (let k = 0; k < ranges.length; k++) scales[k] = scaleOf(ranges[k], spec);
  const scale = wrap(scales, of, "float32");
  if (spec.zeroPoint === "none") return { scale, zeroPoint: null };
  const zeros = new Float32Array(ranges.length);
  for (let k = 0; k < ranges.length; k++) zeros[k] = zeroOf(ranges[k], scales[k], spec);
  return { scale, zeroPoint: wrap(zeros, of, "float32") };
}

/**
 * The scale and zero point that fit x: found in float32, one a run, constants to the gradient. A run of zeros has scale 1 (as
 * one of signs 0, since its codes cannot be 0). Throws for NaN, for infinity unless it is clamped, and for scales that the
 * spec's type cannot hold; those below the smallest normal float16 stay float32.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { chooseParams, spec } from "bitgrad/quant";
 *
 * const { scale } = chooseParams(tensor([[1.27, -0.5], [0.254, 0]]), spec({ bits: 8, granularity: "channel" }));
 * console.log(scale.data); // Float32Array(2) [0.01, 0.002]
 * ```
 */
export function chooseParams(x: TensorLike, spec: QuantSpec): QuantParams {
  const given = asTensor("chooseParams", x);
  checkSpec("chooseParams", spec);
  if (visitor()) {
    const of = (): Tensor => placeholder(scaleShape(spec, given.shape), "float32");
    return { scale: of(), zeroPoint: spec.zeroPoint === "none" ? null : of() };
  }
  return paramsOf(rangesOf(given, spec), given.shape, spec);
}

/** Scales mean|x| of what a mask leaves, for the quantizers that take those. */
export function meanParams(x: Tensor, spec: QuantSpec, mask?: Tensor | null): QuantParams {
  const ranges = rangesOf(x, spec, true);
  if (mask) {
    for (const range of ranges) range.count = 0;
    forRuns(spec, x.shape, (from, to, k) => {
      for (let i = from; i < to; i++) ranges[k].count += mask.data[i];
    });
  }
  const scales = ranges.map(({ sum, count }) => stored(count === 0 ? 0 : sum / count, spec));
  return { scale: wrap(Float32Array.from(scales), scaleShape(spec, x.shape), "float32"), zeroPoint: null };
}
