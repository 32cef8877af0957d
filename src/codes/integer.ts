/**
 * Layers computed the integer way, in ops: codes, exact integer sums, then the scales in the order of the packed kernels. What
 * packed inference gives is equal to this, bit for bit.
 */

import type { BilinearProduct, WeightedLayer } from "../nn/packing.ts";
import { ones } from "../ops/create.ts";
import { type Shape, sizeOf } from "../shape.ts";
import { pin } from "../storage.ts";
import { type Tensor, wrap } from "../tensor.ts";
import type { QTensor } from "./contract.ts";
import { forRuns } from "./runs.ts";
import { groupOf, isSigns } from "./spec.ts";
import { withGroups, withZeros, zerosOf } from "./whole.ts";

/** Below it every integer is a float32 number: sums that stay below are exact in whatever order. */
const exact = 2 ** 24;

/** In how many digits of which base integers are taken, the cheapest first. */
const ways = [
  [1, 1],
  [2, 16],
  [4, 4],
] as const;

/** The integers of a weight in digits of a base, lowest first, each as float32 holds it. */
interface Digits {
  readonly base: number;
  readonly digits: readonly Tensor[];
}

/** By codes, which do not change, and by the largest integer that they are multiplied by. */
const known = new WeakMap<object, Map<number, Digits | null>>();

/** An input as integers, code − zero point, which float32 holds, and what they are to be scaled by. */
export interface Integers extends Omit<QTensor, "codes"> {
  readonly ints: Tensor;
}

/** The integers behind codes. */
export function integersOf({ codes, ...rest }: QTensor): Integers {
  const wide = (codes as Tensor).to("float32");
  return { ...rest, ints: rest.zeroPoint ? wide.sub(rest.zeroPoint) : wide };
}

/** The integers of a weight: code − zero point, twice that where zero points lie between codes. */
function weightIntegers(weight: QTensor): Float32Array {
  const { codes, zeroPoint, spec, shape } = weight;
  const ints = Float32Array.from(codes.data);
  if (!zeroPoint) return ints;
  const factor = zerosOf(weight) === "half" ? 2 : 1;
  forRuns(spec, shape, (from, to, k) => {
    for (let i = from; i < to; i++) ints[i] = (ints[i] - zeroPoint.data[k]) * factor;
  });
  return ints;
}

/** What the integers are scaled by. */
const integerScale = (weight: QTensor): Tensor =>
  zerosOf(weight) === "half" ? weight.scale.mul(0.5) : weight.scale;

/** The largest magnitude of code − zero point. */
function largestOf({ spec: { qmin, qmax }, zeroPoint }: Integers): number {
  const zeros = (zeroPoint?.data ?? [0]) as ArrayLike<number>;
  return Array.from(zeros).reduce((most, z) => Math.max(most, qmax - z, z - qmin), 0);
}

/** The largest sum of magnitudes of a row, or of a group of a row. */
function heaviest(ints: Float32Array, { shape, spec }: QTensor): number {
  const row = ints.length / (shape[0] || 1);
  const group = groupOf(spec) ?? row;
  let most = 0;
  for (let from = 0; from < ints.length; from += row) {
    for (let at = from; at < from + row; at += group) {
      let sum = 0;
      for (let i = at; i < Math.min(at + group, from + row); i++) sum += Math.abs(ints[i]);
      most = Math.max(most, sum);
    }
  }
  return most;
}

/** `count` digits of a base, lowest first: from −base/2 to base/2 − 1, the highest as large as need be. */
function inDigits(ints: Float32Array, count: number, base: number): Float32Array[] {
  if (count === 1) return [ints];
  const rest = ints.map((x) => Math.floor(x / base + 0.5));
  return [ints.map((x, i) => x - base * rest[i]), ...inDigits(rest, count - 1, base)];
}

/** The fewest digits whose products with integers up to `largest` have exact sums in float32; null where none have. */
function digitsOf(weight: QTensor, largest: number): Digits | null {
  const held = known.get(weight.codes) ?? new Map<number, Digits | null>();
  known.set(weight.codes, held);
  const before = held.get(largest);
  if (before !== undefined) return before;
  const ints = weightIntegers(weight);
  let found: Digits | null = null;
  for (const [count, base] of ways) {
    const digits = inDigits(ints, count, base);
    if (digits.some((each) => heaviest(each, weight) * largest >= exact)) continue;
    found = { base, digits: digits.map((each) => pin(wrap(each, weight.shape, "float32"))) };
    break;
  }
  held.set(largest, found);
  return found;
}

/**
 * What gives sums of products of the integers behind the codes of an input and of a weight: exact, then rounded to float32. The
 * product is linear in both. It is made in float32, of one digit of the weight after the other where only so its sums stay exact,
 * and in double precision where not even so.
 */
function exactSums(x: Integers, weight: QTensor): (product: (x: Tensor, w: Tensor) => Tensor) => Tensor {
  const { ints } = x;
  const split = digitsOf(weight, largestOf(x));
  if (!split) {
    const wide = wrap(Float64Array.from(weightIntegers(weight)), weight.shape, "float64");
    return (product) => product(ints.to("float64"), wide).to("float32");
  }
  const { base, digits } = split;
  if (digits.length === 1) return (product) => product(ints, digits[0]);
  // Sums stay far below 2^53.
  return (product) =>
    digits
      .map((digit) => product(ints, digit).to("float64"))
      .reduceRight((high, low) => high.mul(base).add(low))
      .to("float32");
}

/** Numbers of outputs in a shape that spreads them along an axis of `sums`. */
export function alongAxis(numbers: Tensor, { shape: { length } }: Tensor, axis: number): Tensor {
  const shape = Array<number>(length).fill(1);
  shape[axis < 0 ? axis + length : axis] = numbers.size;
  return numbers.reshape(shape);
}

/** Times the scales of the input, one a row, or one for each sample; signs have none, nor have rows of nothing. */
function inputScaled(f: Tensor, { scale, spec, shape }: Integers): Tensor {
  if (isSigns(spec) || f.size === 0 || sizeOf(shape) === 0) return f;
  return f.mul(spec.granularity === "channel" ? alongAxis(scale, f, 0) : scale);
}

/** Some columns of the operands: slices of a matrix, else the whole with 0 in all others. */
function columnsOf(x: Tensor, weight: Tensor, shape: Shape, axis: number, from: number, to: number) {
  const k = sizeOf(shape.slice(1));
  if (to - from === k) return [x, weight.reshape(shape)] as const;
  if (shape.length === 2) {
    const at = axis < 0 ? axis + x.shape.length : axis;
    return [x.slice([...Array<null>(at).fill(null), [from, to]]), weight.slice([null, [from, to]])] as const;
  }
  const taken = Float32Array.from({ length: k }, (_, i) => (i >= from && i < to ? 1 : 0));
  return [x, weight.mul(wrap(taken, [k], "float32")).reshape(shape)] as const;
}

/**
 * The layer that `run` of an InputQuantizer describes, of codes: the sums over the groups of a row, each times its scales,
 * added in order. Padding counts as 0.
 */
export function integerProduct(
  x: Integers,
  codes: QTensor,
  { weight: { shape }, bias }: WeightedLayer,
  product: BilinearProduct,
  axis: number,
): Tensor {
  const weight = withZeros(withGroups(codes));
  const k = sizeOf(shape.slice(1));
  const group = groupOf(weight.spec) ?? Math.max(1, k);
  const groups = Math.max(1, Math.ceil(k / group));
  // A weight of nothing has no scale: its sums are 0 by any.
  const all = sizeOf(shape) === 0 ? ones([1]) : integerScale(weight);
  const scales = group < k && all.size > 1 ? all.reshape([shape[0], groups]) : null;
  const sums = exactSums(x, weight);
  let f: Tensor | null = null;
  for (let from = 0, g = 0; g < groups; from += group, g++) {
    const sum = sums((a, b) => product(...columnsOf(a, b, shape, axis, from, Math.min(k, from + group))));
    const scaled = sum.mul(alongAxis(scales?.slice([null, [g, g + 1]]) ?? all, sum, axis));
    f = f === null ? scaled : f.add(scaled);
  }
  const y = inputScaled(f!, x);
  // Adding 0 where there is no bias turns −0 into 0, as the packed kernels do.
  return y.add(bias ? alongAxis(bias.effective(), y, axis) : 0);
}
