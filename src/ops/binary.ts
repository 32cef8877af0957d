/** Elementwise functions of two tensors, with broadcasting. The tape sums broadcast gradients back. */

import * as plain from "../../kernels/elementwise/arithmetic.ts";
import { power, softplus } from "../../kernels/elementwise/special.ts";
import { binary as loop, select } from "../backend.ts";
import { type DType, isFloat, promote, type TypedArray } from "../dtype.ts";
import { BitgradError, DTypeError } from "../errors.ts";
import { broadcastShapes } from "../shape.ts";
import { asLike, isTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { defineOp, type Op } from "./op.ts";
import { holds, ratio, zerosLike } from "./unary.ts";

type Pair = [a: Tensor, b: Tensor];
type Value = (a: number, b: number) => number;
type Part = (grad: Tensor, a: Tensor, b: Tensor, y: Tensor) => Tensor;
/** The gradient for a and the one for b. */
type Rule = readonly [Part, Part];
export type BinaryOp = Op<Pair, object, Tensor>;

const run = (out: TypedArray, [a, b]: Pair, { shape }: Tensor, f: Value) =>
  loop(out, shape, a.data, a.shape, b.data, b.shape, f);

const binary = (
  name: string,
  value: Value,
  rule: Rule | null,
  dtype?: ((a: DType, b: DType) => DType) | null,
  check?: (inputs: Pair, output: Tensor) => void,
): BinaryOp =>
  defineOp<Pair>(name, {
    writesAll: true,
    options: {},
    arity: 2,
    shape: ([a, b]) => broadcastShapes(name, a.shape, b.shape),
    dtype: ([a, b]) => (dtype ?? promote)(a.dtype, b.dtype),
    forward(out, inputs, _, output) {
      check?.(inputs, output);
      run(out, inputs, output, value);
    },
    ...(rule && {
      vjp: (grad, { inputs: [a, b], output, needs }) => [
        needs[0] ? rule[0](grad, a, b, output) : null,
        needs[1] ? rule[1](grad, a, b, output) : null,
      ],
    }),
  });

/** Bool arithmetic counts: True + True is 2. */
export const counting = (a: DType, b: DType): DType =>
  a === "bool" && b === "bool" ? "int32" : promote(a, b);
const floating = (a: DType, b: DType): DType => (isFloat(promote(a, b)) ? promote(a, b) : "float32");

/** a + b, broadcast, in the promoted dtype; two bools count, in int32. */
export const add = binary("add", plain.plus, [(g) => g, (g) => g], counting);
/** a − b, broadcast; dtypes as for add. */
export const sub = binary("sub", plain.minus, [(g) => g, (g) => g.neg()], counting);

/** The product; int32 and uint32 wrap around exactly. */
export const mul = defineOp<Pair>("mul", {
  writesAll: true,
  options: {},
  arity: 2,
  shape: ([a, b]) => broadcastShapes("mul", a.shape, b.shape),
  dtype: ([a, b]) => counting(a.dtype, b.dtype),
  forward: (out, inputs, _, output) =>
    run(out, inputs, output, isFloat(output.dtype) ? plain.times : Math.imul),
  vjp: (grad, { inputs: [a, b], needs }) => [needs[0] ? grad.mul(b) : null, needs[1] ? grad.mul(a) : null],
});

/** The quotient, a float also for integers. */
export const div = defineOp<Pair>("div", {
  writesAll: true,
  options: {},
  arity: 2,
  shape: ([a, b]) => broadcastShapes("div", a.shape, b.shape),
  dtype: ([a, b]) => floating(a.dtype, b.dtype),
  forward: (out, inputs, _, output) => run(out, inputs, output, plain.over),
  vjp: (grad, { inputs: [, b], output, needs }) => [
    needs[0] ? grad.div(b) : null,
    needs[1] ? grad.mul(output).div(b).neg() : null,
  ],
});

/** aᵇ. The gradient is 0 with respect to a where b = 0, and with respect to b where a = 0 and b ≥ 0. */
export const pow = binary("pow", power, [
  (g, a, b) => {
    if (!holds(b, 0)) return g.mul(b).mul(a.pow(b.sub(1)));
    // 0 · a⁻¹ is 0 by itself but for an a of 0 or NaN, which is kept out of gradients of this gradient too.
    const flat = b.equal(0).logicalAnd(a.abs().greater(0).logicalNot());
    return flat.where(0, g.mul(b).mul(flat.where(1, a).pow(b.sub(1))));
  },
  (g, a, b, y) => {
    if (!holds(a, 0)) return g.mul(y).mul(a.log());
    const flat = a.equal(0).logicalAnd(b.greaterEqual(0));
    const base = flat.where(1, a);
    return flat.where(0, g.mul(base.pow(b)).mul(base.log()));
  },
]);

const picks = (name: string, value: Value, prefers: "greater" | "less") => {
  const half = (g: Tensor, a: Tensor, b: Tensor) => a[prefers](b).where(g, a.equal(b).where(g.mul(0.5), 0));
  return binary(name, value, [half, (g, a, b) => half(g, b, a)]);
};

/** The larger; NaN wins. Ties share the gradient. */
export const maximum = picks("maximum", Math.max, "greater");
/** The smaller; NaN wins. Ties share the gradient. */
export const minimum = picks("minimum", Math.min, "less");

/** The angle of (b, a): atan2(y = a, x = b). The gradient at (0, 0) is 0. */
export const atan2 = binary(
  "atan2",
  Math.atan2,
  [
    (g, a, b) => ratio(g.mul(b), a.mul(a).add(b.mul(b))),
    (g, a, b) => ratio(g.mul(a), a.mul(a).add(b.mul(b))).neg(),
  ],
  floating,
);
/** √(a² + b²) without overflow. The gradient at (0, 0) is 0. */
export const hypot = binary(
  "hypot",
  (a, b) => Math.hypot(a, b),
  [(g, a, _, y) => ratio(g.mul(a), y), (g, _, b, y) => ratio(g.mul(b), y)],
  floating,
);

/** exp(a)/(exp(a) + exp(b)): one half for equal infinities as for equal numbers. */
function share(a: Tensor, b: Tensor, y: Tensor): Tensor {
  if (!holds(y, Number.POSITIVE_INFINITY) && !holds(y, Number.NEGATIVE_INFINITY)) return a.sub(b).sigmoid();
  const even = a.equal(b).logicalAnd(y.isInf());
  return even.where(0, a).sub(even.where(0, b)).sigmoid();
}

/** log(exp(a) + exp(b)) without overflow. */
export const logAddExp = binary(
  "logAddExp",
  (a, b) => (a === b ? a + Math.LN2 : Math.max(a, b) + softplus(-Math.abs(a - b))),
  [(g, a, b, y) => g.mul(share(a, b, y)), (g, a, b, y) => g.mul(share(b, a, y))],
  floating,
);
/** Division that stays in the dtype of its operands: integers by zero are an error, where floats give NaN and infinities. */
const division = (name: string, value: Value, rule: Rule) =>
  binary(name, value, rule, null, ([, b], { dtype, size }) => {
    if (isFloat(dtype) || size === 0) return;
    const at = b.data.indexOf(0);
    if (at < 0) return;
    throw new BitgradError(
      `${name}: integers cannot be divided by zero, got 0 at element ${at} of the divisor; divide floats, for example after to("float32")`,
      "DIVISION_BY_ZERO",
    );
  });

/** a − b · floor(a/b): the remainder with the sign of b. Throws BitgradError for an integer divided by zero. */
export const remainder = division("remainder", plain.modFloored, [
  (g) => g,
  (g, a, b) => g.mul(a.div(b).floor()).neg(),
]);
/** a − b · trunc(a/b): the remainder with the sign of a. Throws BitgradError for an integer divided by zero. */
export const fmod = division("fmod", plain.modulo, [(g) => g, (g, a, b) => g.mul(a.div(b).trunc()).neg()]);
const flat: Rule = [zerosLike, zerosLike];
/**
 * floor(a/b) in the promoted dtype; integers divide exactly. Its gradients are 0, as those of floor. Throws BitgradError for
 * an integer divided by zero.
 */
export const floorDivide = division("floorDivide", plain.floored, flat);
/** trunc(a/b) in the promoted dtype, with gradients of 0. Throws BitgradError for an integer divided by zero. */
export const truncDivide = division("truncDivide", plain.truncated, flat);

const compare = (name: string, value: Value) => binary(name, value, null, () => "bool");

/** Whether a equals b, element by element, as bool. */
export const equal = compare("equal", plain.equals);
/** Whether a differs from b, element by element, as bool; NaN differs from all. */
export const notEqual = compare("notEqual", plain.differs);
/** a < b, element by element, as bool. */
export const less = compare("less", plain.below);
/** a ≤ b, element by element, as bool. */
export const lessEqual = compare("lessEqual", plain.atMost);
/** a > b, element by element, as bool. */
export const greater = compare("greater", plain.above);
/** a ≥ b, element by element, as bool. */
export const greaterEqual = compare("greaterEqual", plain.atLeast);
/** Whether both are other than 0, as bool. */
export const logicalAnd = compare("logicalAnd", plain.both);
/** Whether one or both are other than 0, as bool. */
export const logicalOr = compare("logicalOr", plain.either);
/** Whether just one is other than 0, as bool. */
export const logicalXor = compare("logicalXor", plain.one);

const bitwise = (name: string, value: Value, flags = true) =>
  binary(name, value, null, (a, b) => {
    const dtype = promote(a, b);
    if (isFloat(dtype) || (dtype === "bool" && !flags))
      throw new DTypeError(`${name}: needs integers${flags ? " or bool" : ""}, got ${a} and ${b}`);
    return dtype;
  });

/** a & b of integers or bool. Throws DTypeError for floats. */
export const bitwiseAnd = bitwise("bitwiseAnd", plain.bitAnd);
/** a | b of integers or bool. Throws DTypeError for floats. */
export const bitwiseOr = bitwise("bitwiseOr", plain.bitOr);
/** a ^ b of integers or bool. Throws DTypeError for floats. */
export const bitwiseXor = bitwise("bitwiseXor", plain.bitXor);
/** a · 2^b of integers; bits beyond the dtype are lost. Throws DTypeError for floats and bool. */
export const leftShift = bitwise("leftShift", (a, b) => (b >= 32 ? 0 : a << b), false);
/** a / 2^b of integers, rounded down: it keeps the sign of signed integers. */
export const rightShift = bitwise(
  "rightShift",
  (a, b) => (b >= 32 ? (a < 0 ? -1 : 0) : Math.floor(a / 2 ** b)),
  false,
);

const whereOp = defineOp<[condition: Tensor, a: Tensor, b: Tensor]>("where", {
  writesAll: true,
  options: {},
  arity: 3,
  shape: ([c, a, b]) => broadcastShapes("where", c.shape, broadcastShapes("where", a.shape, b.shape)),
  dtype: ([, a, b]) => promote(a.dtype, b.dtype),
  forward: (out, [c, a, b], _, { shape }) =>
    select(out, shape, c.data, c.shape, a.data, a.shape, b.data, b.shape),
  vjp: (grad, { inputs: [c], needs }) => [
    null,
    needs[1] ? c.where(grad, 0) : null,
    needs[2] ? c.where(0, grad) : null,
  ],
});

/** a where the condition is not zero, else b; all three broadcast. The result's dtype is what a and b promote to. */
export const where: typeof whereOp = Object.assign(
  (...[condition, ...rest]: Parameters<typeof whereOp>) =>
    // Only a bool beside them leaves the dtype of plain numbers to a and b.
    whereOp(isTensor(condition) && condition.dtype !== "bool" ? condition.notEqual(0) : condition, ...rest),
  { rules: whereOp.rules },
);

/** start + weight · (end − start). */
export function lerp(start: TensorLike, end: TensorLike, weight: TensorLike): Tensor {
  const [from, to, share] = [start, end, weight].map((value) => asLike("lerp", value));
  return add(from, sub(to, from).mul(share));
}

/**
 * The value of `hard` with the gradient of `soft`: the straight-through estimator. Exact, unlike
 * soft + stopGradient(hard − soft). Bengio et al., 2013, arXiv:1308.3432.
 *
 * @example
 * ```ts
 * import { straightThrough, tensor } from "bitgrad";
 *
 * const x = tensor([0.2, 1.7], { requiresGrad: true });
 * const y = straightThrough(x, x.round());
 * y.sum().backward();
 * console.log(y.toArray(), x.grad!.toArray()); // [0, 2] [1, 1]
 * ```
 */
export const straightThrough = defineOp<[soft: Tensor, hard: Tensor]>("straightThrough", {
  writesAll: true,
  options: {},
  arity: 2,
  shape: ([soft, hard]) => broadcastShapes("straightThrough", soft.shape, hard.shape),
  dtype: ([soft]) => soft.dtype,
  forward(out, [soft, hard], _, output) {
    if (hard.size === out.length) out.set(hard.data);
    else run(out, [soft, hard], output, (_soft, h) => h);
  },
  vjp: (grad) => [grad, null],
});
