/** Activation functions. */

import * as plain from "../../kernels/elementwise/activation.ts";
import {
  exponentialLinear,
  held,
  leaky,
  rectified,
  softplusTo,
} from "../../kernels/elementwise/arithmetic.ts";
import {
  logSigmoid as logSigmoidOf,
  sigmoid as sigmoidOf,
  softplus as softplusOf,
} from "../../kernels/elementwise/special.ts";
import { unary as loop, binary as pairs } from "../backend.ts";
import { isFloat } from "../dtype.ts";
import { OptionError, show } from "../errors.ts";
import type { VjpContext } from "../tape.ts";
import type { Tensor } from "../tensor.ts";
import { defineOp, type Op } from "./op.ts";
import { gate, slopeGrad, smooth } from "./unary.ts";

/** A float function with options. `value` refuses those outside of its domain. */
const tuned = <O extends object>(
  name: string,
  options: O,
  value: (options: O) => (x: number) => number,
  derivative: (grad: Tensor, x: Tensor, y: Tensor, options: O) => Tensor,
  slope?: (options: O) => (x: number, y: number) => number,
): Op<[x: Tensor], O, Tensor> => {
  const fused = slope && slopeGrad(name, slope);
  return defineOp<[x: Tensor], O>(name, {
    writesAll: true,
    arity: 1,
    options,
    shape: ([x], given) => {
      value(given);
      return x;
    },
    dtype: ([x]) => (isFloat(x.dtype) ? x.dtype : "float32"),
    forward: (out, [x], given) => loop(out, x.data, value(given)),
    vjp: (grad, { inputs: [x], output }, given) => [derivative(grad, x, output, given)],
    ...(fused && {
      fusedVjp: (grad: Tensor, { inputs: [x], output }: VjpContext<[x: Tensor]>, given: O) => [
        (fused as Op<[Tensor, Tensor, Tensor], O, Tensor>)(grad, x, output, given),
      ],
    }),
  });
};

/** 1 / (1 + exp(−x)). */
export const sigmoid = smooth(
  "sigmoid",
  sigmoidOf,
  (g, _, y) => g.mul(y.mul(y.neg().add(1))),
  plain.sigmoidSlope,
);
/** log σ(x). */
export const logSigmoid = smooth("logSigmoid", logSigmoidOf, (g, x) => g.mul(x.neg().sigmoid()));
/** max(x, 0), derivative 0 at 0. */
export const relu = defineOp<[x: Tensor]>("relu", {
  writesAll: true,
  arity: 1,
  options: {},
  shape: ([x]) => x,
  dtype: ([x]) => (isFloat(x.dtype) ? x.dtype : "float32"),
  forward: (out, [x]) => loop(out, x.data, rectified),
  vjp: (grad, { output }) => [gate(output.greater(0), grad)],
  fusedVjp: (grad, { output }) => [reluGrad(grad, output)],
});

const reluGrad = defineOp<[grad: Tensor, y: Tensor]>("reluGrad", {
  writesAll: true,
  arity: 2,
  options: {},
  shape: ([grad]) => grad,
  forward: (out, [grad, y]) => pairs(out, y.shape, grad.data, grad.shape, y.data, y.shape, plain.gated),
});
/** min(max(x, 0), 6). */
export const relu6 = smooth("relu6", held(0, 6), (g, x) => gate(inside(x, 0, 6), g));
/** x · σ(x), also called swish. */
export const silu = smooth(
  "silu",
  plain.silu,
  (g, x) => {
    const s = x.sigmoid();
    return g.mul(s.mul(x.mul(s.neg().add(1)).add(1)));
  },
  plain.siluSlope,
);
/** x · tanh(softplus(x)). Misra, 2019, arXiv:1908.08681. */
export const mish = smooth(
  "mish",
  (x) => x * Math.tanh(softplusOf(x)),
  (g, x) => {
    const t = x.softplus().tanh();
    return g.mul(t.add(x.mul(x.sigmoid()).mul(t.mul(t).neg().add(1))));
  },
);
/** x / (1 + |x|). */
export const softsign = smooth(
  "softsign",
  (x) => x / (1 + Math.abs(x)),
  (g, x) => g.div(x.abs().add(1).square()),
);
/** x − tanh(x). */
export const tanhShrink = smooth(
  "tanhShrink",
  (x) => x - Math.tanh(x),
  (g, x) => g.mul(x.tanh().square()),
);
/** clip(x/6 + 1/2, 0, 1). */
export const hardSigmoid = smooth("hardSigmoid", plain.hardSigmoid, (g, x) =>
  gate(inside(x, -3, 3), g.div(6)),
);
/** x · hardSigmoid(x). Howard et al., 2019, arXiv:1905.02244. */
export const hardSwish = smooth("hardSwish", plain.hardSwish, (g, x) =>
  x.greaterEqual(3).where(g, gate(x.greater(-3), g.mul(x.div(3).add(0.5)))),
);

const seluAlpha = 1.6732632423543772;
const seluScale = 1.0507009873554805;
/** 1.0507 · (x for x > 0, 1.6733 · (exp(x) − 1) otherwise). Klambauer et al., 2017, arXiv:1706.02515. */
export const selu = smooth(
  "selu",
  (x) => seluScale * (x > 0 ? x : seluAlpha * Math.expm1(x)),
  (g, x, y) => g.mul(x.greater(0).where(seluScale, y.add(seluScale * seluAlpha))),
);

/** Throws OptionError for what cannot be divided by. */
function checkFactor(op: string, name: string, value: number): void {
  if (value === 0 || !Number.isFinite(value))
    throw new OptionError(`${op}: ${name} must be finite and not 0, got ${value}`);
}

function checkMargin(op: string, lambda: number): void {
  if (lambda < 0) throw new OptionError(`${op}: lambda must not be negative, got ${lambda}`);
}

const inside = (x: Tensor, low: number, high: number): Tensor => x.greater(low).logicalAnd(x.less(high));

/** x for x > 0, slope · x otherwise; default slope 0.01. */
export const leakyRelu = tuned(
  "leakyRelu",
  { slope: 0.01 },
  ({ slope }) => leaky(slope),
  (g, x, _, { slope }) => x.greater(0).where(g, g.mul(slope)),
);
/** x for x > 0, alpha · (exp(x) − 1) otherwise. Clevert et al., 2016, arXiv:1511.07289. */
export const elu = tuned(
  "elu",
  { alpha: 1 },
  ({ alpha }) => exponentialLinear(alpha),
  (g, x, y, { alpha }) => x.greater(0).where(g, g.mul(y.add(alpha))),
);
/**
 * max(0, x) + min(0, alpha · (exp(x/alpha) − 1)). Throws OptionError where alpha is 0 or infinite. Barron, 2017,
 * arXiv:1704.07483.
 */
export const celu = tuned(
  "celu",
  { alpha: 1 },
  ({ alpha }) => {
    checkFactor("celu", "alpha", alpha);
    return (x) => (x > 0 ? x : alpha * Math.expm1(x / alpha));
  },
  (g, x, y, { alpha }) => x.greater(0).where(g, g.mul(y.div(alpha).add(1))),
);
/** log(1 + exp(beta · x)) / beta; x itself where beta · x > threshold. Throws OptionError where beta is 0 or infinite. */
export const softplus = tuned(
  "softplus",
  { beta: 1, threshold: 20 },
  ({ beta, threshold }) => {
    checkFactor("softplus", "beta", beta);
    return beta === 1
      ? softplusTo(threshold)
      : (x) => (x * beta > threshold ? x : softplusOf(x * beta) / beta);
  },
  (g, x, _, { beta, threshold }) =>
    x
      .mul(beta)
      .greater(threshold)
      .where(g, g.mul(x.mul(beta).sigmoid())),
);
/**
 * x held within [min, max]; the gradient passes strictly inside, as torch.nn.functional.hardtanh. Throws OptionError where
 * min is above max.
 */
export const hardTanh = tuned(
  "hardTanh",
  { min: -1, max: 1 },
  ({ min, max }) => {
    if (min > max) throw new OptionError(`hardTanh: min must not be above max, got ${min} and ${max}`);
    return held(min, max);
  },
  (g, x, _, { min, max }) => gate(inside(x, min, max), g),
);
/** x moved towards 0 by lambda, 0 within. Throws OptionError for a negative lambda. */
export const softShrink = tuned(
  "softShrink",
  { lambda: 0.5 },
  ({ lambda }) => {
    checkMargin("softShrink", lambda);
    return (x) => (x > lambda ? x - lambda : x < -lambda ? x + lambda : x * 0);
  },
  (g, x, _, { lambda }) => gate(x.abs().greater(lambda), g),
);
/** x where |x| > lambda, else 0. Throws OptionError for a negative lambda. */
export const hardShrink = tuned(
  "hardShrink",
  { lambda: 0.5 },
  ({ lambda }) => {
    checkMargin("hardShrink", lambda);
    return (x) => (x >= -lambda && x <= lambda ? 0 : x);
  },
  (g, x, _, { lambda }) => gate(x.abs().greater(lambda), g),
);
/** x where x > threshold, else value. */
export const threshold = tuned(
  "threshold",
  { threshold: 0, value: 0 },
  ({ threshold, value }) =>
    (x) =>
      x <= threshold ? value : x,
  (g, x, _, { threshold }) => gate(x.greater(threshold), g),
);

const invSqrt2 = Math.SQRT1_2;
const tanhScale = Math.sqrt(2 / Math.PI);
const cube = 0.044715;

/** x · Φ(x), by erf ('none') or by tanh ('tanh'). Hendrycks and Gimpel, 2016, arXiv:1606.08415. */
export const gelu = tuned<{ approximate: "none" | "tanh" }>(
  "gelu",
  { approximate: "none" },
  ({ approximate }) => {
    if (approximate === "none") return plain.gelu;
    if (approximate === "tanh") return plain.geluTanh;
    throw new OptionError(`gelu: unknown approximation, got ${show(approximate)}; use "none" or "tanh"`);
  },
  (g, value, _, { approximate }) => {
    // Beyond, the slope no longer changes, and an infinite x would meet a factor of 0.
    const x = value.clip({ min: -40, max: 40 });
    const squared = x.mul(x);
    if (approximate === "none") {
      const density = squared
        .mul(-0.5)
        .exp()
        .mul(invSqrt2 / Math.sqrt(Math.PI));
      return g.mul(x.mul(invSqrt2).erf().add(1).mul(0.5).add(x.mul(density)));
    }
    const t = x.mul(squared.mul(cube).add(1)).mul(tanhScale).tanh();
    const slope = squared
      .mul(3 * cube)
      .add(1)
      .mul(tanhScale);
    return g.mul(
      t
        .add(1)
        .add(x.mul(t.mul(t).neg().add(1)).mul(slope))
        .mul(0.5),
    );
  },
  ({ approximate }) => (approximate === "none" ? plain.geluSlope : plain.geluTanhSlope),
);
