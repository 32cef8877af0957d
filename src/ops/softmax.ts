/** Softmax and what is built on it. */

import type { ReduceSizes } from "../../kernels/reduce/reference.ts";
import * as kernel from "../backend.ts";
import { type FloatArray, isFloat } from "../dtype.ts";
import { ShapeError, show } from "../errors.ts";
import { normalizeAxis, type Shape, sameShape, sizeOf } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { defineMultiOp, defineOp } from "./op.ts";
import { isPlaceholder, placeholder } from "./shapes-only.ts";
import { gate, neg } from "./unary.ts";

/** x as a float tensor: integers become float32. */
export const floats = (x: Tensor): Tensor => (isFloat(x.dtype) ? x : x.to("float32"));

/** The elements of a float tensor. */
export const numbers = (x: Tensor): FloatArray => x.data as FloatArray;

export function around(shape: Shape, axis: number): ReduceSizes {
  return { outer: sizeOf(shape, 0, axis), n: shape[axis], inner: sizeOf(shape, axis + 1) };
}

export interface Axis {
  axis: number;
}

type GradLoop = (dx: FloatArray, dOut: FloatArray, out: FloatArray, sizes: ReduceSizes) => void;

const fusedGrad = (name: string, loop: GradLoop) =>
  defineOp<[grad: Tensor, y: Tensor], Axis>(name, {
    writesAll: true,
    options: { axis: 0 },
    arity: 2,
    shape: ([grad]) => grad,
    forward: (out, [grad, y], { axis }) =>
      loop(out as FloatArray, numbers(grad), numbers(y), around(y.shape, axis)),
  });

const softmaxGrad = fusedGrad("softmaxGrad", kernel.softmaxGrad);
const logSoftmaxGrad = fusedGrad("logSoftmaxGrad", kernel.logSoftmaxGrad);

export const softmaxOp = defineOp<[x: Tensor], Axis>("softmax", {
  writesAll: true,
  arity: 1,
  options: { axis: -1 },
  shape: ([x]) => x,
  forward: (out, [x], { axis }) => kernel.softmax(out as FloatArray, numbers(x), around(x.shape, axis)),
  composed([x], { axis }) {
    if (x.size === 0) return x;
    const e = x.sub(x.detach().max({ axis, keepDims: true })).exp();
    return e.div(e.sum({ axis, keepDims: true }));
  },
  fusedVjp: (grad, { output }, { axis }) => [softmaxGrad(grad, output, { axis })],
});

export const logSoftmaxOp = defineOp<[x: Tensor], Axis>("logSoftmax", {
  writesAll: true,
  arity: 1,
  options: { axis: -1 },
  shape: ([x]) => x,
  forward: (out, [x], { axis }) => kernel.logSoftmax(out as FloatArray, numbers(x), around(x.shape, axis)),
  composed: ([x], { axis }) => x.sub(x.logSumExp({ axis, keepDims: true })),
  vjp: (grad, { output }, { axis }) => [grad.sub(output.exp().mul(grad.sum({ axis, keepDims: true })))],
  fusedVjp: (grad, { output }, { axis }) => [logSoftmaxGrad(grad, output, { axis })],
});

/** exp(x) / Σ exp(x) along an axis, without overflow. A row of −Infinity gives NaN, as in PyTorch. */
export function softmax(x: TensorLike, axis = -1): Tensor {
  x = asTensor("softmax", x);
  return x.rank === 0
    ? floats(x).mul(0).add(1)
    : softmaxOp(floats(x), { axis: normalizeAxis("softmax", axis, x.rank) });
}

/** log softmax(x) along an axis, without overflow. */
export function logSoftmax(x: TensorLike, axis = -1): Tensor {
  x = asTensor("logSoftmax", x);
  return x.rank === 0
    ? floats(x).mul(0)
    : logSoftmaxOp(floats(x), { axis: normalizeAxis("logSoftmax", axis, x.rank) });
}

/** softmax(−x) along an axis. */
export function softmin(x: TensorLike, axis = -1): Tensor {
  x = floats(asTensor("softmin", x));
  if (x.rank > 0) normalizeAxis("softmin", axis, x.rank);
  return softmax(neg(x), axis);
}

export interface CrossEntropySettings {
  axis: number;
  ignoreIndex: number;
  labelSmoothing: number;
}

const settings = (
  { ignoreIndex, labelSmoothing }: CrossEntropySettings,
  weight: Tensor | null | undefined,
) => ({
  ignoreIndex,
  labelSmoothing,
  weight: weight ? numbers(weight) : null,
});

const crossEntropyGrad = defineOp<
  [grad: Tensor, lse: Tensor, logits: Tensor, target: Tensor, weight?: Tensor | null],
  CrossEntropySettings
>("crossEntropyGrad", {
  writesAll: true,
  arity: [4, 5],
  shape: ([, , logits]) => logits,
  dtype: ([, , logits]) => logits.dtype,
  forward: (out, [grad, lse, logits, target, weight], options) =>
    kernel.crossEntropyGrad(
      out as FloatArray,
      numbers(grad),
      numbers(lse),
      numbers(logits),
      target.data,
      around(logits.shape, options.axis),
      settings(options, weight),
    ),
});

/**
 * The cross entropy of every position: logits with classes on `axis`, targets of the shape without it -> losses of that
 * shape. Targets have been checked to be class indices or ignoreIndex, which gives 0.
 */
export const crossEntropyOp = defineMultiOp<
  [logits: Tensor, target: Tensor, weight?: Tensor | null],
  CrossEntropySettings
>("crossEntropy", {
  writesAll: true,
  options: { axis: -1, ignoreIndex: -100, labelSmoothing: 0 },
  arity: [2, 3],
  shape([logits, target], { axis }) {
    const rest = logits.shape.filter((_, k) => k !== axis);
    if (!sameShape(rest, target.shape)) {
      throw new ShapeError(
        `crossEntropy: targets must have the logits' shape without the class axis, got ${show(target.shape)} for ${show(logits.shape)}`,
      );
    }
    return [rest, rest];
  },
  dtype: ([logits]) => [logits.dtype, "float64"],
  forward([loss, lse], [logits, target, weight], options) {
    kernel.crossEntropy(
      loss as FloatArray,
      lse as FloatArray,
      numbers(logits),
      target.data,
      around(logits.shape, options.axis),
      settings(options, weight),
    );
  },
  composed([logits, target, weight], { axis, ignoreIndex, labelSmoothing }) {
    const valid = target.notEqual(ignoreIndex);
    const index = valid.where(target, 0);
    // What does not count is kept out: positions that are ignored, and classes of weight 0.
    const own = weight?.indexSelect(index);
    const counts = own && labelSmoothing === 0 ? valid.logicalAnd(own.notEqual(0)) : valid;
    const logP = logSoftmax(counts.unsqueeze(axis).where(logits, 0), axis);
    const hit = logP.gather(index.unsqueeze(axis), { axis }).squeeze(axis);
    const times = (x: Tensor, w: Tensor) => gate(w.notEqual(0), x.mul(w));
    const hard = (own ? times(hit, own) : hit).mul(labelSmoothing - 1);
    if (labelSmoothing === 0) return gate(valid, hard);
    const shape = logits.shape.map((n, k) => (k === axis ? n : 1));
    const spread = weight ? times(logP, weight.reshape(shape)) : logP;
    return gate(valid, hard.sub(spread.sum({ axis }).mul(labelSmoothing / logits.shape[axis])));
  },
  fusedVjp: ([grad], { inputs: [logits, target, weight], outputs: [, lse] }, options) => [
    crossEntropyGrad(grad!, lse, logits, target, weight, options),
    null,
    null,
  ],
});

/** Checked integer targets as the op takes them. */
export const asTargets = (target: Tensor): Tensor =>
  target.dtype === "int32"
    ? target
    : isPlaceholder(target)
      ? placeholder(target.shape, "int32")
      : wrap(Int32Array.from(target.data as ArrayLike<number>), target.shape, "int32");
