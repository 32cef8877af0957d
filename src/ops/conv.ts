/**
 * Convolution, NCHW with OIHW kernels. It is bilinear: each of the three ops below is the gradient of the other two, so
 * gradients of any order are fast.
 */

import { fold as foldLoop, unfold as unfoldLoop } from "../../kernels/conv/reference.ts";
import * as kernel from "../backend.ts";
import type { FloatArray } from "../dtype.ts";
import { isPlainObject, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { type Shape, sameShape } from "../shape.ts";
import { asOptional, asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { defineOp, type Grads } from "./op.ts";
import { floats, numbers } from "./softmax.ts";
import {
  type Padding,
  type Pair,
  readPadding,
  readPair,
  type WindowOptions,
  windowsOver,
} from "./windows.ts";

type Geometry = Omit<WindowOptions, "kernel"> & { groups: number };

/** Of a gradient `grad` there are as many windows as it has: those of a padded transpose leave pixels that more would reach. */
const geometryOf = (x: Shape, w: Shape, { groups, ...options }: Geometry, grad?: Shape) => ({
  ...windowsOver("conv2d", x, { ...options, kernel: [w[2], w[3]] }),
  ...(grad && { oh: grad[2], ow: grad[3] }),
  o: w[0],
  groups,
});

/** `convOp` for the gradient of what has the shape of `grad`. */
const convLike = (x: Tensor, w: Tensor, options: Geometry, { shape }: Tensor): Tensor => {
  const y = convOp(x, w, options);
  return sameShape(y.shape, shape) ? y : y.slice([null, null, [0, shape[2]], [0, shape[3]]]);
};

export const convOp = defineOp<[x: Tensor, w: Tensor], Geometry>("conv2d", {
  writesAll: true,
  arity: 2,
  shape([x, w], options) {
    const { n, o, oh, ow } = geometryOf(x.shape, w.shape, options);
    return [n, o, oh, ow];
  },
  forward: (out, [x, w], options) =>
    kernel.conv2d(out as FloatArray, numbers(x), numbers(w), geometryOf(x.shape, w.shape, options)),
  vjp: (grad, { inputs: [x, w], needs }, options): Grads => [
    needs[0] ? inputGradOp(grad, w, { ...options, size: [x.shape[2], x.shape[3]] }) : null,
    needs[1] ? weightGradOp(x, grad, { ...options, kernel: [w.shape[2], w.shape[3]] }) : null,
  ],
});

export const inputGradOp = defineOp<[grad: Tensor, w: Tensor], Geometry & { size: Pair }>("conv2dInputGrad", {
  writesAll: true,
  arity: 2,
  shape: ([grad, w], { groups, size }) => [grad.shape[0], w.shape[1] * groups, ...size],
  forward(out, [grad, w], { size, ...options }) {
    const x = [grad.shape[0], w.shape[1] * options.groups, ...size];
    kernel.conv2dInputGrad(
      out as FloatArray,
      numbers(grad),
      numbers(w),
      geometryOf(x, w.shape, options, grad.shape),
    );
  },
  vjp: (outer, { inputs: [grad, w], needs }, { size: _, ...options }): Grads => [
    needs[0] ? convLike(outer, w, options, grad) : null,
    needs[1] ? weightGradOp(outer, grad, { ...options, kernel: [w.shape[2], w.shape[3]] }) : null,
  ],
});

export const weightGradOp = defineOp<[x: Tensor, grad: Tensor], Geometry & { kernel: Pair }>(
  "conv2dWeightGrad",
  {
    writesAll: true,
    arity: 2,
    shape: ([x, grad], { groups, kernel: size }) => [grad.shape[1], x.shape[1] / groups, ...size],
    forward(out, [x, grad], { kernel: size, ...options }, output) {
      kernel.conv2dWeightGrad(
        out as FloatArray,
        numbers(x),
        numbers(grad),
        geometryOf(x.shape, output.shape, options, grad.shape),
      );
    },
    vjp: (outer, { inputs: [x, grad], needs }, { kernel: _, ...options }): Grads => [
      needs[0] ? inputGradOp(grad, outer, { ...options, size: [x.shape[2], x.shape[3]] }) : null,
      needs[1] ? convLike(x, outer, options, grad) : null,
    ],
  },
);

export interface ConvOptions {
  stride: number | readonly number[];
  /** A number, [height, width], or [[top, bottom], [left, right]]. */
  padding: Padding;
  dilation: number | readonly number[];
  groups: number;
}

/** Pairs, since an option whose default is a number takes nothing but numbers. */
const defaults: ConvOptions = { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 };

function readGeometry(op: string, { stride, padding, dilation, groups }: ConvOptions): Geometry {
  if (!Number.isInteger(groups) || groups < 1)
    throw new OptionError(`${op}: groups must be a positive integer, got ${show(groups)}`);
  return {
    stride: readPair(op, "stride", stride),
    pads: readPadding(op, padding),
    dilation: readPair(op, "dilation", dilation),
    groups,
  };
}

function addBias(op: string, y: Tensor, given: TensorLike | null | undefined): Tensor {
  const bias = asOptional(op, given);
  if (!bias) return y;
  if (bias.rank !== 1 || bias.size !== y.shape[1]) {
    throw new ShapeError(
      `${op}: the bias must have one value a filter, got ${show(bias.shape)} for ${y.shape[1]} filters`,
    );
  }
  return y.add(bias.reshape([bias.size, 1, 1]));
}

/** Options may stand in the place of a bias that is left out. */
function biasAndOptions<O extends object>(
  bias: TensorLike | null | undefined | O,
  options: O | undefined,
): [bias: TensorLike | null | undefined, options: O | undefined] {
  const isOptions = options === undefined && isPlainObject(bias);
  return isOptions ? [null, bias as O] : [bias as TensorLike | null | undefined, options];
}

/** Cross-correlation of x (N, C, H, W) with weight (O, C/groups, Kh, Kw), plus bias (O) -> (N, O, Oh, Ow). */
export function conv2d(
  x: TensorLike,
  weight: TensorLike,
  bias?: TensorLike | null | Partial<ConvOptions>,
  options?: Partial<ConvOptions>,
): Tensor {
  x = asTensor("conv2d", x);
  weight = asTensor("conv2d", weight);
  const [added, given] = biasAndOptions(bias, options);
  const geometry = readGeometry("conv2d", readOptions("conv2d", given, defaults));
  const { groups } = geometry;
  if (x.rank !== 4 || weight.rank !== 4) {
    throw new ShapeError(
      `conv2d: needs (N, C, H, W) and (O, C/groups, Kh, Kw), got ${show(x.shape)} and ${show(weight.shape)}`,
    );
  }
  if (x.shape[1] !== weight.shape[1] * groups || weight.shape[0] % groups !== 0) {
    throw new ShapeError(
      `conv2d: channels do not fit, got ${x.shape[1]} channels and a weight of ${show(weight.shape)} in ${groups} groups`,
    );
  }
  return addBias("conv2d", convOp(floats(x), floats(weight), geometry), added);
}

type Conv1dOptions = Omit<ConvOptions, "padding"> & { padding: number | Pair };

/** conv2d with one axis of positions: x (N, C, L), weight (O, C/groups, K) -> (N, O, Ol). Padding: a number or [before, after]. */
export function conv1d(
  x: TensorLike,
  weight: TensorLike,
  bias?: TensorLike | null | Partial<Conv1dOptions>,
  options?: Partial<Conv1dOptions>,
): Tensor {
  x = asTensor("conv1d", x);
  weight = asTensor("conv1d", weight);
  const [added, given] = biasAndOptions(bias, options);
  const { stride, padding, dilation, groups } = readOptions<Conv1dOptions>("conv1d", given, {
    stride: [1],
    padding: [0, 0],
    dilation: [1],
    groups: 1,
  });
  if (x.rank !== 3 || weight.rank !== 3) {
    throw new ShapeError(
      `conv1d: needs (N, C, L) and (O, C/groups, K), got ${show(x.shape)} and ${show(weight.shape)}`,
    );
  }
  const side: Pair = typeof padding === "number" ? [padding, padding] : padding;
  return conv2d(x.unsqueeze(2), weight.unsqueeze(2), added, {
    stride: [1, line("conv1d", stride)],
    padding: [[0, 0], side],
    dilation: [1, line("conv1d", dilation)],
    groups,
  }).squeeze(2);
}

/** The single number of a one-dimensional option. */
function line(op: string, value: number | readonly number[]): number {
  if (typeof value === "number") return value;
  if (Array.isArray(value) && value.length === 1) return value[0];
  throw new OptionError(`${op}: stride and dilation must be numbers, got ${show(value)}`);
}

type TransposeOptions = ConvOptions & { outputPadding: number | readonly number[] };

/**
 * The transpose of conv2d (its gradient): x (N, I, H, W), weight (I, O/groups, Kh, Kw) -> (N, O, Oh, Ow) with
 * Oh = (H − 1)·stride − padding + dilation·(Kh − 1) + outputPadding + 1.
 */
export function conv2dTranspose(
  x: TensorLike,
  weight: TensorLike,
  bias?: TensorLike | null | Partial<TransposeOptions>,
  options?: Partial<TransposeOptions>,
): Tensor {
  x = asTensor("conv2dTranspose", x);
  weight = asTensor("conv2dTranspose", weight);
  const [added, given] = biasAndOptions(bias, options);
  const op = "conv2dTranspose";
  const { outputPadding, ...rest } = readOptions(op, given, {
    ...defaults,
    outputPadding: [0, 0] as number | readonly number[],
  });
  const geometry = readGeometry(op, rest);
  const extra = readPair(op, "outputPadding", outputPadding, 0);
  const { stride, pads, dilation, groups } = geometry;
  if (x.rank !== 4 || weight.rank !== 4 || x.shape[1] !== weight.shape[0] || x.shape[1] % groups !== 0) {
    throw new ShapeError(
      `${op}: needs (N, I, H, W) and (I, O/groups, Kh, Kw), got ${show(x.shape)} and ${show(weight.shape)} in ${groups} groups`,
    );
  }
  for (const i of [0, 1]) {
    if (extra[i] >= Math.max(stride[i], dilation[i])) {
      throw new OptionError(
        `${op}: outputPadding must be smaller than stride or dilation, got ${show(outputPadding)}`,
      );
    }
  }
  const size = [0, 1].map((i) => {
    const padded = pads[2 * i] + pads[2 * i + 1];
    return (x.shape[2 + i] - 1) * stride[i] - padded + dilation[i] * (weight.shape[2 + i] - 1) + extra[i] + 1;
  });
  if (size.some((n) => n < 1))
    throw new ShapeError(`${op}: nothing is left, got an output of ${show(size)} for ${show(x.shape)}`);
  return addBias(
    op,
    inputGradOp(floats(x), floats(weight), { ...geometry, size: [size[0], size[1]] }),
    added,
  );
}

const unfoldOp = defineOp<[x: Tensor], WindowOptions>("unfold", {
  arity: 1,
  shape([x], options) {
    const { n, c, kh, kw, oh, ow } = windowsOver("unfold", x.shape, options);
    return [n, c * kh * kw, oh * ow];
  },
  forward: (out, [x], options) =>
    unfoldLoop(out as FloatArray, numbers(x), windowsOver("unfold", x.shape, options)),
  vjp: (grad, { inputs: [x] }, options): Grads => [foldOp(grad, { ...options, shape: x.shape })],
});

const foldOp = defineOp<[x: Tensor], WindowOptions & { shape: Shape }>("fold", {
  arity: 1,
  shape: (_, { shape }) => shape,
  forward: (out, [x], { shape, ...options }) =>
    foldLoop(out as FloatArray, numbers(x), windowsOver("fold", shape, options)),
  vjp: (grad, _, { shape: _shape, ...options }): Grads => [unfoldOp(grad, options)],
});

/** Every window as a column, im2col: (N, C, H, W) -> (N, C·Kh·Kw, windows). torch.nn.functional.unfold. */
export function unfold(
  x: TensorLike,
  options: { kernelSize: number | readonly number[] } & Partial<Omit<ConvOptions, "groups">>,
): Tensor {
  x = asTensor("unfold", x);
  const { kernelSize, stride, padding, dilation } = readOptions("unfold", options, {
    kernelSize: null,
    stride: [1, 1],
    padding: [0, 0],
    dilation: [1, 1],
  } as unknown as Required<typeof options>);
  if (x.rank !== 4) throw new ShapeError(`unfold: needs (N, C, H, W), got ${show(x.shape)}`);
  return unfoldOp(floats(x), {
    kernel: readPair("unfold", "kernelSize", kernelSize),
    stride: readPair("unfold", "stride", stride),
    pads: readPadding("unfold", padding),
    dilation: readPair("unfold", "dilation", dilation),
  });
}

export { foldOp, unfoldOp };
