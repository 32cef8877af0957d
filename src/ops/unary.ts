/** Elementwise functions of one tensor. Each op: the value in plain numbers, the derivative in ops. */

import { tanhSlope } from "../../kernels/elementwise/activation.ts";
import * as plain from "../../kernels/elementwise/arithmetic.ts";
import { erfinv as erfinvOf, erf as erfOf, roundEven } from "../../kernels/elementwise/special.ts";
import { cast as castLoop, unaryGrad as gradLoop, unary as loop, binary as pairLoop } from "../backend.ts";
import { convertArray, type DType, isDType, isFloat, newArray, type TypedArray } from "../dtype.ts";
import { DTypeError, OptionError, show } from "../errors.ts";
import { asTensor, empty, type Tensor, type TensorLike } from "../tensor.ts";
import { defineOp, type Op } from "./op.ts";
import { knownNumbers } from "./shapes-only.ts";

type Value = (x: number) => number;
type Derivative = (grad: Tensor, x: Tensor, y: Tensor) => Tensor;

const floatOf = (x: Tensor): DType => (isFloat(x.dtype) ? x.dtype : "float32");

type Slope = (x: number, y: number) => number;

/** grad · slope(x, y) in one pass, for functions whose derivative takes many ops. */
export const slopeGrad = <O extends object>(name: string, slope: (options: O) => Slope) =>
  defineOp<[grad: Tensor, x: Tensor, y: Tensor], O>(`${name}Grad`, {
    writesAll: true,
    arity: 3,
    shape: ([grad]) => grad,
    dtype: ([grad]) => grad.dtype,
    forward: (out, [grad, x, y], options) => gradLoop(out, grad.data, x.data, y.data, slope(options)),
  });

/** A float function; integers come out as float32. `slope` is its derivative in plain numbers, where that is worth it. */
export const smooth = (
  name: string,
  value: Value,
  derivative: Derivative,
  slope?: Slope,
): Op<[x: Tensor], object, Tensor> => {
  const fused = slope && slopeGrad(name, () => slope);
  return defineOp<[x: Tensor]>(name, {
    writesAll: true,
    arity: 1,
    options: {},
    shape: ([x]) => x,
    dtype: ([x]) => floatOf(x),
    forward: (out, [x]) => loop(out, x.data, value),
    vjp: (grad, { inputs: [x], output }) => [derivative(grad, x, output)],
    ...(fused && { fusedVjp: (grad: Tensor, { inputs: [x], output }) => [fused(grad, x, output)] }),
  });
};

/** A function that keeps the dtype, integers included. */
const same = (name: string, value: Value, derivative: Derivative): Op<[x: Tensor], object, Tensor> =>
  defineOp<[x: Tensor]>(name, {
    writesAll: true,
    arity: 1,
    options: {},
    shape: ([x]) => x,
    forward: (out, [x]) => loop(out, x.data, value),
    vjp: (grad, { inputs: [x], output }) => [derivative(grad, x, output)],
  });

/** A step function: its derivative is zero wherever it has one. */
const step = (name: string, value: Value) => same(name, value, (grad) => zerosLike(grad));

/** The value where `mask` holds, zero elsewhere: a NaN outside the mask stays out. */
export const gate = (mask: Tensor, value: Tensor): Tensor => mask.where(value, 0);

/** a/b, and 0 where b is 0: what has no slope there has this one, in gradients of gradients too. */
export const ratio = (a: Tensor, b: Tensor): Tensor =>
  holds(b, 0) ? gate(b.notEqual(0), a.div(b.equal(0).where(1, b))) : a.div(b);

/** Whether a number is among the elements. */
export const holds = (t: Tensor, value: number): boolean =>
  (knownNumbers(t) as { includes(value: number): boolean }).includes(value);

export const zerosLike = (t: Tensor): Tensor => empty(t.shape, t.dtype);

/** −x. Throws DTypeError for bool. */
export const neg = defineOp<[x: Tensor]>("neg", {
  writesAll: true,
  arity: 1,
  options: {},
  shape: ([x]) => x,
  dtype([x]) {
    if (x.dtype === "bool") throw new DTypeError("neg: bool has no negative, got bool; use logicalNot");
    return x.dtype;
  },
  forward: (out, [x]) => loop(out, x.data, plain.negative),
  vjp: (grad) => [grad.neg()],
});
/** |x|, with derivative 0 at 0. */
export const abs = same("abs", Math.abs, (g, x) => g.mul(x.sign()));
/** eˣ. */
export const exp = smooth("exp", Math.exp, (g, _, y) => g.mul(y));
/** 2ˣ. */
export const exp2 = smooth(
  "exp2",
  (x) => 2 ** x,
  (g, _, y) => g.mul(y).mul(Math.LN2),
);
/** eˣ − 1, exact near 0. */
export const expm1 = smooth("expm1", Math.expm1, (g, _, y) => g.mul(y.add(1)));
/** The natural logarithm; −Infinity at 0, NaN below. */
export const log = smooth("log", Math.log, (g, x) => g.div(x));
/** The logarithm to base 2. */
export const log2 = smooth("log2", Math.log2, (g, x) => g.div(x).mul(Math.LOG2E));
/** The logarithm to base 10. */
export const log10 = smooth("log10", Math.log10, (g, x) => g.div(x).mul(Math.LOG10E));
/** log(1 + x), exact near 0. */
export const log1p = smooth("log1p", Math.log1p, (g, x) => g.div(x.add(1)));
/** √x; NaN below 0. */
export const sqrt = smooth("sqrt", Math.sqrt, (g, _, y) => g.div(y.mul(2)));
/** 1/√x. */
export const rsqrt = smooth("rsqrt", plain.reciprocalSqrt, (g, _, y) => g.mul(y.mul(y).mul(y)).mul(-0.5));
/** x². */
export const square = same("square", plain.square, (g, x) => g.mul(x).mul(2));
/** 1/x. */
export const reciprocal = smooth("reciprocal", plain.reciprocal, (g, _, y) => g.mul(y.mul(y)).neg());
/** sin(x), of radians. */
export const sin = smooth("sin", Math.sin, (g, x) => g.mul(x.cos()));
/** cos(x), of radians. */
export const cos = smooth("cos", Math.cos, (g, x) => g.mul(x.sin()).neg());
/** tan(x), of radians; derivative 1 + tan². */
export const tan = smooth("tan", Math.tan, (g, _, y) => g.mul(y.mul(y).add(1)));
/** The angle in [−π/2, π/2] whose sine is x, in radians. */
export const asin = smooth("asin", Math.asin, (g, x) => g.mul(x.mul(x).neg().add(1).rsqrt()));
/** The angle in [0, π] whose cosine is x, in radians. */
export const acos = smooth("acos", Math.acos, (g, x) => g.mul(x.mul(x).neg().add(1).rsqrt()).neg());
/** The angle in (−π/2, π/2) whose tangent is x, in radians. */
export const atan = smooth("atan", Math.atan, (g, x) => g.div(x.mul(x).add(1)));
/** (eˣ − e⁻ˣ)/2. */
export const sinh = smooth("sinh", Math.sinh, (g, x) => g.mul(x.cosh()));
/** (eˣ + e⁻ˣ)/2. */
export const cosh = smooth("cosh", Math.cosh, (g, x) => g.mul(x.sinh()));
/** The hyperbolic tangent; derivative 1 − tanh². */
export const tanh = smooth("tanh", Math.tanh, (g, _, y) => g.mul(y.mul(y).neg().add(1)), tanhSlope);
/** The error function; derivative 2/√π · exp(−x²). */
export const erf = smooth("erf", erfOf, (g, x) => g.mul(x.mul(x).neg().exp()).mul(2 / Math.sqrt(Math.PI)));
/** The inverse of erf on (−1, 1); derivative √π/2 · exp(y²). */
export const erfinv = smooth("erfinv", erfinvOf, (g, _, y) =>
  g.mul(y.mul(y).exp()).mul(Math.sqrt(Math.PI) / 2),
);
/** The slope of sinc by its series: (−1)ⁿ · 2n · π²ⁿ/(2n + 1)! · x²ⁿ⁻¹ from n = 1 on, the last term first. */
const sincSlopes = [8, 7, 6, 5, 4, 3, 2, 1].map((n) => {
  let factor = (-1) ** n * 2 * n;
  for (let i = 1; i <= 2 * n + 1; i++) factor /= i;
  return factor * Math.PI ** (2 * n);
});
/** sin(πx)/(πx), 1 at 0. */
export const sinc = smooth(
  "sinc",
  (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)),
  (g, x, y) => {
    // cos(πx) − y cancels near 0: there the series is taken.
    const near = x.abs().less(0.15);
    const small = gate(near, x);
    const square = small.square();
    const series = sincSlopes.reduce((sum, c) => sum.mul(square).add(c), zerosLike(x)).mul(small);
    const far = near.where(1, x);
    return g.mul(near.where(series, far.mul(Math.PI).cos().sub(near.where(1, y)).div(far)));
  },
);

/** −1, 0 or 1; 0 at 0 and for NaN, as in PyTorch. */
export const sign = step("sign", plain.signOf);
/** Rounds half to even. */
export const round = step("round", roundEven);
/** The greatest integer that is not above x, in the dtype of x. */
export const floor = step("floor", Math.floor);
/** The least integer that is not below x, in the dtype of x. */
export const ceil = step("ceil", Math.ceil);
/** x without its fraction, in the dtype of x. */
export const trunc = step("trunc", Math.trunc);
/** x − trunc(x). */
export const frac = same("frac", plain.fraction, (g) => g);

/**
 * x held within [min, max]; either may be left out. The gradient passes on [min, max], ends included, as torch.clamp.
 */
export const clip = defineOp<[x: Tensor], { min: number; max: number }>("clip", {
  writesAll: true,
  arity: 1,
  options: { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY },
  shape: ([x]) => x,
  forward(out, [x], { min, max }) {
    for (const bound of [min, max]) if (Number.isFinite(bound)) convertArray("clip", [bound], x.dtype);
    loop(out, x.data, plain.held(min, max));
  },
  vjp: (grad, { inputs: [x] }, { min, max }) => [
    gate(x.greaterEqual(min).logicalAnd(x.lessEqual(max)), grad),
  ],
});

/** NaN and the infinities replaced by finite numbers (default: 0 and the dtype's extremes). */
export const nanToNum = defineOp<[x: Tensor], { nan: number; posinf: number | null; neginf: number | null }>(
  "nanToNum",
  {
    arity: 1,
    options: { nan: 0, posinf: null, neginf: null },
    shape: ([x], { posinf, neginf }) => {
      for (const value of [posinf, neginf]) {
        if (value !== null && typeof value !== "number") {
          throw new OptionError(`nanToNum: posinf and neginf must be numbers or null, got ${show(value)}`);
        }
      }
      return x;
    },
    forward(out, [x], { nan, posinf, neginf }) {
      const largest = x.dtype === "float64" ? Number.MAX_VALUE : 3.4028234663852886e38;
      const high = posinf ?? largest;
      const low = neginf ?? -largest;
      loop(out, x.data, (v) =>
        Number.isNaN(v)
          ? nan
          : v === Number.POSITIVE_INFINITY
            ? high
            : v === Number.NEGATIVE_INFINITY
              ? low
              : v,
      );
    },
    vjp: (grad, { inputs: [x] }) => [gate(x.isFinite(), grad)],
  },
);

/** Whether f holds of x and `beside`, or x itself. */
const test = (name: string, f: plain.Binary, beside?: number) =>
  defineOp<[x: Tensor]>(name, {
    writesAll: true,
    arity: 1,
    options: {},
    shape: ([x]) => x,
    dtype: () => "bool",
    forward: (out, [x]) => testLoop(out, x, f, beside),
  });

function testLoop(out: TypedArray, { data, shape, dtype }: Tensor, f: plain.Binary, beside?: number): void {
  if (beside === undefined) pairLoop(out, shape, data, shape, data, shape, f);
  // Zero as a number of its own type, so that bytes meet bytes.
  else pairLoop(out, shape, data, shape, beside === 0 ? newArray(dtype, 1) : Float32Array.of(beside), [], f);
}

/** Whether x is NaN, as bool. */
export const isNaN = test("isNaN", plain.differs);
/** Whether x is neither infinite nor NaN, as bool. */
export const isFinite = test("isFinite", plain.sizeBelow, Number.POSITIVE_INFINITY);
/** Whether x is infinite, of either sign, as bool. */
export const isInf = test("isInf", plain.sizeEquals, Number.POSITIVE_INFINITY);
/** Whether x is 0, as bool. */
export const logicalNot = test("logicalNot", plain.equals, 0);

/** Bits flipped: ~x for integers, not x for bool. */
export const bitwiseNot = defineOp<[x: Tensor]>("bitwiseNot", {
  writesAll: true,
  arity: 1,
  options: {},
  shape: ([x]) => x,
  dtype([x]) {
    if (isFloat(x.dtype)) throw new DTypeError(`bitwiseNot: needs integers or bool, got ${x.dtype}`);
    return x.dtype;
  },
  forward: (out, [{ data, shape, dtype }]) =>
    pairLoop(out, shape, data, shape, Int32Array.of(dtype === "bool" ? 1 : -1), [], plain.bitXor),
});

export const cast = defineOp<[x: Tensor], { dtype: DType }>("to", {
  writesAll: true,
  arity: 1,
  options: { dtype: "float32" },
  shape: ([x]) => x,
  dtype: (_, { dtype }) => dtype,
  forward(out, [x], { dtype }) {
    if (dtype === "bool") testLoop(out, x, plain.differs, 0);
    else if (isFloat(dtype)) out.set(x.data);
    else if (castLoop(out, x.data)) return;
    else out.set(convertArray("to", isFloat(x.dtype) ? truncated(x) : x.data, dtype));
  },
  vjp: (grad, { inputs: [x] }) => [grad.to(x.dtype)],
});

const truncated = (x: Tensor): Float64Array => Float64Array.from(x.data as ArrayLike<number>, Math.trunc);

/**
 * The same values as another dtype. A float becomes an integer by dropping its fraction, anything becomes bool by "is not
 * zero"; a value outside the integer's range is a DTypeError. Returns x itself where the dtype is already right.
 */
export function to<D extends DType>(x: TensorLike, dtype: D): Tensor<D> {
  x = asTensor("to", x);
  if (!isDType(dtype)) throw new DTypeError(`to: unknown dtype, got ${show(dtype)}`);
  return (x.dtype === dtype ? x : cast(x, { dtype })) as Tensor<D>;
}
