/** Reductions over axes. All of them see their input as (outer, n, inner); scattered axes are moved together first. */

import * as plain from "../../kernels/elementwise/arithmetic.ts";
import { isFloatArray } from "../../kernels/floats.ts";
import {
  counted,
  type Folded,
  larger,
  type ReduceSizes,
  smaller,
  squared,
  timesWhole,
} from "../../kernels/reduce/reference.ts";
import { argBest, fold, logSumExp as logSumExpLoop, permute, sum as sumLoop } from "../backend.ts";
import { type DType, exactly, type FloatArray, isFloat, newArray, type TypedArray } from "../dtype.ts";
import { readOptions, ShapeError, show } from "../errors.ts";
import { broadcastsTo, normalizeAxes, reducedShape, type Shape, sizeOf } from "../shape.ts";
import { asTensor, empty, type Tensor, type TensorLike } from "../tensor.ts";
import { defineOp, type Op } from "./op.ts";
import { gate, holds, ratio, zerosLike } from "./unary.ts";

export interface ReduceOptions {
  /** One axis or several, negative from the end; every axis by default. */
  axis: number | readonly number[] | null;
  /** Keep the reduced axes with size 1. */
  keepDims: boolean;
}

const everyAxis: ReduceOptions = { axis: null, keepDims: false };

/** A shape as (outer, n, inner) around axes that follow one another. */
function around(shape: Shape, axes: readonly number[]): ReduceSizes {
  const first = axes[0] ?? shape.length;
  const end = first + axes.length;
  return {
    outer: sizeOf(shape, 0, first),
    n: sizeOf(shape, first, end),
    inner: sizeOf(shape, end),
  };
}

/** Where the last axes that follow one another begin among all. */
function lastRun(axes: readonly number[]): number {
  let first = axes.length - 1;
  while (first > 0 && axes[first - 1] === axes[first] - 1) first--;
  return Math.max(first, 0);
}

/** x with the reduced axes together, as (outer, n, inner). */
function gather(x: Tensor, axes: readonly number[]): [data: TypedArray, sizes: ReduceSizes] {
  const { shape } = x;
  if (lastRun(axes) === 0) return [x.data, around(shape, axes)];
  const order = [...shape.keys()].filter((i) => !axes.includes(i)).concat(axes);
  const moved = newArray(x.dtype, x.size);
  permute(moved, x.data, shape, order);
  const last = order.slice(-axes.length).map((_, i) => order.length - axes.length + i);
  return [
    moved,
    around(
      order.map((i) => shape[i]),
      last,
    ),
  ];
}

type Loop = (out: TypedArray, x: TypedArray, sizes: ReduceSizes) => void;

/** Reduces one run of axes after another, the last first, with doubles between them. */
function nested(out: TypedArray, x: Tensor, axes: readonly number[], loop: Loop): void {
  let { data, shape } = x;
  for (let left = axes; ; ) {
    const first = lastRun(left);
    const run = left.slice(first);
    const sizes = around(shape, run);
    const to = first === 0 ? out : new Float64Array(sizes.outer * sizes.inner);
    loop(to, data, sizes);
    if (first === 0) return;
    data = to;
    shape = shape.map((n, i) => (run.includes(i) ? 1 : n));
    left = left.slice(0, first);
  }
}

/** `grad` with the reduced axes back at size 1, ready to broadcast against x. */
const restore = (grad: Tensor, x: Tensor, axis: ReduceOptions["axis"], op: string): Tensor =>
  grad.reshape(reducedShape(x.shape, normalizeAxes(op, axis, x.rank), true));

type ReduceOp = Op<[x: Tensor], ReduceOptions, Tensor>;

const reduction = (
  name: string,
  loop: Loop,
  rule: ((grad: Tensor, x: Tensor, y: Tensor) => Tensor) | null,
  { dtype = (d: DType): DType => d, allowEmpty = true, nests = true } = {},
): ReduceOp =>
  defineOp<[x: Tensor], ReduceOptions>(name, {
    arity: 1,
    options: everyAxis,
    shape([x], { axis, keepDims }) {
      const axes = normalizeAxes(name, axis, x.rank);
      if (!allowEmpty && axes.some((k) => x.shape[k] === 0)) {
        throw new ShapeError(
          `${name}: nothing to reduce along an empty axis, got ${show(x.shape)} over axes ${show(axes)}`,
        );
      }
      return reducedShape(x.shape, axes, keepDims);
    },
    dtype: ([x]) => dtype(x.dtype),
    forward(out, [x], { axis }, output) {
      const axes = normalizeAxes(name, axis, x.rank);
      exactly(name, out, output.dtype, (to) =>
        nests ? nested(to, x, axes, loop) : loop(to, ...gather(x, axes)),
      );
    },
    ...(rule && {
      vjp: (grad, { inputs: [x], output }, { axis }) => [
        rule(restore(grad, x, axis, name), x, restore(output, x, axis, name)),
      ],
    }),
  });

const countType = (d: DType): DType => (isFloat(d) || d === "uint32" ? d : "int32");
const floatType = (d: DType): DType => (isFloat(d) ? d : "float32");

/**
 * The sum; uint32 sums to itself, other integers and bool to int32; 0 for an empty axis. Throws DTypeError where integers sum
 * to what their dtype cannot hold; sum them as float64 then.
 */
export const sum = reduction("sum", sumLoop, (g, x) => g.broadcastTo(x.shape), { dtype: countType });

/** The arithmetic mean; NaN for an empty axis. */
export const mean = reduction(
  "mean",
  (out, x, sizes) => sumLoop(out, x, sizes, 1 / sizes.n),
  (g, x) => g.mul(g.size / x.size).broadcastTo(x.shape),
  { dtype: floatType },
);

/**
 * The product, in the dtypes of `sum`; 1 for an empty axis. The gradient is exact also where x holds zeros. Throws DTypeError
 * for integers whose product their dtype cannot hold.
 */
export const prod = reduction(
  "prod",
  (out, x, sizes) => fold(out, x, sizes, 1, isFloatArray(x) ? plain.times : timesWhole),
  (g, x, y) => {
    if (!holds(x, 0)) return g.mul(y).div(x);
    const axes = x.shape.flatMap((n, i) => (y.shape[i] === n ? [] : [i]));
    const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
    const order = [...kept, ...axes];
    const rows = x.permute(order).reshape([...kept.map((i) => x.shape[i]), -1]);
    const others = withoutEach(rows).prod({ axis: -1 });
    const inverse = order.map((_, k) => order.indexOf(k));
    return g.mul(others.reshape(order.map((i) => x.shape[i])).permute(inverse));
  },
  { dtype: countType, nests: false },
);

/** (…, n) -> (…, n, n): row k is x with element k replaced by 1. */
function withoutEach(x: Tensor): Tensor {
  const n = x.shape[x.rank - 1];
  const diagonal = empty([n, n], "bool");
  for (let k = 0; k < n; k++) diagonal.data[k * (n + 1)] = 1;
  return diagonal.where(1, x.unsqueeze(-2));
}

const extreme = (name: string, better: (a: number, b: number) => number, initial: number) =>
  reduction(
    name,
    (out, x, sizes) => fold(out, x, sizes, initial, better),
    (g, x, y) => {
      const best = x.equal(y);
      const axes = x.shape.flatMap((n, i) => (y.shape[i] === n ? [] : [i]));
      return gate(best, g.div(best.sum({ axis: axes, keepDims: true })));
    },
    { allowEmpty: false },
  );

/** The largest element; NaN wins. Ties share the gradient evenly, as torch.amax. */
export const max = extreme("max", larger, Number.NEGATIVE_INFINITY);
/** The smallest element; NaN wins. Ties share the gradient evenly, as torch.amin. */
export const min = extreme("min", smaller, Number.POSITIVE_INFINITY);

/** Whether of n elements so many are other than zero as `holds` says. */
const test = (name: string, holds: (count: number, n: number) => boolean) =>
  reduction(
    name,
    (out, x, sizes) => {
      const counts = new Float64Array(out.length);
      fold(counts, x, sizes, 0, counted);
      for (let i = 0; i < out.length; i++) out[i] = Number(holds(counts[i], sizes.n));
    },
    null,
    { dtype: () => "bool" },
  );

/** Whether any element is not zero. */
export const any = test("any", (count) => count > 0);
/** Whether every element is not zero. */
export const all = test("all", (count, n) => count === n);

const argExtreme = (name: string, f: Folded) =>
  defineOp<[x: Tensor], { axis: number | null; keepDims: boolean }>(name, {
    arity: 1,
    options: { axis: null, keepDims: false },
    shape([x], { axis, keepDims }) {
      const axes = normalizeAxes(name, axis, x.rank);
      if (x.size === 0 && axes.some((k) => x.shape[k] === 0)) {
        throw new ShapeError(`${name}: nothing to choose from along an empty axis, got ${show(x.shape)}`);
      }
      return reducedShape(x.shape, axes, keepDims);
    },
    dtype: () => "int32",
    forward(out, [x], { axis }) {
      const [data, sizes] = gather(x, normalizeAxes(name, axis, x.rank));
      argBest(out, data, sizes, f);
    },
  });

/** Index of the largest element along `axis` (of all elements in row-major order without one); the first among equals. */
export const argmax = argExtreme("argmax", larger);
/** Index of the smallest element along `axis`; the first among equals. */
export const argmin = argExtreme("argmin", smaller);

/** The sum of x to a shape that broadcasts to x's: what undoes broadcasting. Throws DTypeError as `sum`. */
export const sumTo = defineOp<[x: Tensor], { shape: Shape }>("sumTo", {
  writesAll: true,
  arity: 1,
  options: { shape: null as unknown as Shape },
  shape([x], { shape }) {
    if (!Array.isArray(shape) || !broadcastsTo(shape, x.shape))
      throw new ShapeError(
        `sumTo: the shape must broadcast to the tensor's, got ${show(shape)} for ${show(x.shape)}`,
      );
    return shape;
  },
  dtype: ([x]) => countType(x.dtype),
  forward(out, [x], { shape }, { dtype }) {
    exactly("sumTo", out, dtype, (to) => nested(to, x, repeatedAxes(x.shape, shape), sumLoop));
  },
  vjp: (grad, { inputs: [x] }) => [grad.broadcastTo(x.shape)],
});

function repeatedAxes(from: Shape, to: Shape): number[] {
  const lead = from.length - to.length;
  const axes: number[] = [];
  for (let i = 0; i < from.length; i++) if (i < lead || (to[i - lead] === 1 && from[i] !== 1)) axes.push(i);
  return axes;
}

/** f where t is not 0, and 0 with no slope where it is: zeros take another way, past f. */
export const apart = (t: Tensor, f: (t: Tensor) => Tensor): Tensor =>
  gate(t.notEqual(0), f(t.equal(0).where(1, t)));

/** log Σ exp(x) without overflow. Infinities that make the result share its gradient, as torch.amax does among equals. */
export const logSumExp = reduction(
  "logSumExp",
  (out, x, sizes) => logSumExpLoop(out as FloatArray, isFloatArray(x) ? x : new Float32Array(x), sizes),
  (g, x, y) => {
    const endless = y.isInf();
    if (!holds(endless, 1)) return g.mul(x.sub(y).exp());
    const best = x.equal(y).logicalAnd(endless);
    const axes = x.shape.flatMap((n, i) => (y.shape[i] === n ? [] : [i]));
    const count = best.sum({ axis: axes, keepDims: true }).maximum(1);
    // Rows with an infinite sum stay out of the exponential, and of gradients of this gradient.
    const rest = gate(endless.logicalNot(), endless.where(0, x).sub(endless.where(0, y)).exp());
    return g.mul(best.to(x.dtype).div(count).add(rest));
  },
  { dtype: floatType, nests: false },
);

export interface NormOptions extends ReduceOptions {
  /** The order: any number, infinities too; default 2. */
  p: number;
}

/** The p-norm (Σ|x|ᵖ)^(1/p); p = 0 counts the non-zeros. Derivative 0 at 0. */
export function norm(x: TensorLike, options: Partial<NormOptions> = {}): Tensor {
  const { p, ...rest } = readOptions<NormOptions>("norm", options, { ...everyAxis, p: 2 });
  const given = asTensor("norm", x);
  const y = isFloat(given.dtype) ? given : given.to("float32");
  if (p === 2) return euclidean(y, rest);
  if (p === 0) return nonZeros(y, rest);
  const size = y.abs();
  if (p === 1) return size.sum(rest);
  if (p === Number.POSITIVE_INFINITY) return size.max(rest);
  if (p === Number.NEGATIVE_INFINITY) return size.min(rest);
  // Roots have no slope at 0.
  if (p > 0) return apart(apart(size, (t) => t.pow(p)).sum(rest), (t) => t.pow(1 / p));
  const mean = (t: Tensor) =>
    t
      .pow(p)
      .sum(rest)
      .pow(1 / p);
  if (!holds(size, 0)) return mean(size);
  // One 0 makes the whole norm 0, whatever is beside it.
  const none = size.equal(0).any({ ...rest, keepDims: true });
  const z = mean(none.where(1, size));
  return none.reshape(z.shape).where(0, z);
}

const nonZeros = reduction(
  "norm",
  (out, x, sizes) => fold(out, x, sizes, 0, counted),
  (_, x) => zerosLike(x),
  { nests: false },
);

const euclidean = reduction(
  "norm",
  (out, x, sizes) => {
    // Squares of float32 numbers overflow float32, not float64.
    const squares = new Float64Array(out.length);
    fold(squares, x, sizes, 0, squared);
    for (let i = 0; i < out.length; i++) out[i] = Math.sqrt(squares[i]);
  },
  (g, x, y) => ratio(g.mul(x), y),
  { dtype: floatType },
);

export { countType, euclidean, floatType, gather, restore, withoutEach };
