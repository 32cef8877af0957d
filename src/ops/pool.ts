/** Pooling over (N, C, H, W), and (N, C, L) by way of it. */

import {
  avgPool2dGrad as avgGradLoop,
  avgPool2d as avgLoop,
  maxPool2dGrad as maxGradLoop,
  maxPool2dIndices as maxLoop,
} from "../backend.ts";
import type { FloatArray } from "../dtype.ts";
import { isPlainObject, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { checkShape, type Shape } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { defineMultiOp, defineOp, type Grads } from "./op.ts";
import { floats, numbers } from "./softmax.ts";
import {
  type Padding,
  type Pair,
  readPadding,
  readPair,
  type WindowOptions,
  windowsOver,
} from "./windows.ts";

type Sizes = number | readonly number[];

export interface PoolOptions {
  kernelSize: Sizes;
  /** Default: the kernel size. */
  stride: Sizes | null;
  padding: Padding;
  /** Let a last window reach beyond the image. */
  ceilMode: boolean;
}

export interface MaxPoolOptions extends PoolOptions {
  dilation: Sizes;
}

export interface AvgPoolOptions extends PoolOptions {
  /** Divide by the whole window, padding included; default true. */
  countIncludePad: boolean;
}

type Given<O> = number | Pair | (Partial<O> & { kernelSize: Sizes });

/** Pairs, since an option whose default is a number takes nothing but numbers. */
export const poolDefaults: PoolOptions = {
  kernelSize: [1, 1],
  stride: null,
  padding: [0, 0],
  ceilMode: false,
};

function read<O extends PoolOptions>(op: string, x: Tensor, given: Given<O>, defaults: O) {
  if (x.rank !== 4) throw new ShapeError(`${op}: needs (N, C, H, W), got ${show(x.shape)}`);
  return readPool(op, given, defaults);
}

/** The windows that options tell. Throws OptionError. */
export function readPool<O extends PoolOptions>(
  op: string,
  given: Given<O>,
  defaults: O,
): O & { windows: WindowOptions } {
  const asked =
    typeof given === "number" || Array.isArray(given)
      ? ({ kernelSize: given } as unknown as Partial<O>)
      : (given as Partial<O>);
  if (asked?.kernelSize === undefined) throw new OptionError(`${op}: needs a kernelSize, got ${show(given)}`);
  const options = readOptions(op, asked, defaults);
  const kernel = readPair(op, "kernelSize", options.kernelSize);
  const pads = readPadding(op, options.padding);
  if (Math.max(pads[0], pads[1]) * 2 > kernel[0] || Math.max(pads[2], pads[3]) * 2 > kernel[1]) {
    throw new OptionError(
      `${op}: padding must be at most half the kernel, got ${show(options.padding)} for ${show([...kernel])}`,
    );
  }
  const dilation = readPair(op, "dilation", "dilation" in options ? (options.dilation as Sizes) : 1);
  return {
    ...options,
    windows: {
      kernel,
      pads,
      dilation,
      stride: options.stride === null ? kernel : readPair(op, "stride", options.stride),
    },
  };
}

type MaxWindows = { windows: WindowOptions; ceilMode: boolean };

const maxOp = defineMultiOp<[x: Tensor], MaxWindows>("maxPool2d", {
  writesAll: true,
  arity: 1,
  shape([x], { windows, ceilMode }) {
    const { n, c, oh, ow } = windowsOver("maxPool2d", x.shape, windows, ceilMode);
    return [
      [n, c, oh, ow],
      [n, c, oh, ow],
    ];
  },
  dtype: ([x]) => [x.dtype, "int32"],
  forward([values, indices], [x], { windows, ceilMode }) {
    const places = indices as Int32Array;
    maxLoop(places, values, x.data, windowsOver("maxPool2d", x.shape, windows, ceilMode));
    // Only padding and what lies beyond the image can fill a window.
    if ((ceilMode || windows.pads.some((pad) => pad > 0)) && places.includes(-1))
      throw new ShapeError(`maxPool2d: every window must meet a pixel, got ${show(x.shape)}; pad less`);
  },
  vjp: ([grad], { inputs: [x], outputs: [, indices] }) => [maxGradOp(grad!, indices, { shape: x.shape })],
});

const maxGradOp = defineOp<[grad: Tensor, indices: Tensor], { shape: Shape }>("maxPool2dGrad", {
  writesAll: true,
  arity: 2,
  shape: (_, { shape }) => shape,
  dtype: ([grad]) => grad.dtype,
  forward(out, [grad, indices], { shape: [n, c, h, w] }) {
    const [, , oh, ow] = grad.shape;
    const sizes = { n, c, h, w, oh, ow };
    maxGradLoop(out as FloatArray, numbers(grad), indices.data as Int32Array, sizes);
  },
  vjp(outer, { inputs: [, indices] }, { shape: [n, c, h, w] }): Grads {
    const places = indices.reshape([n, c, indices.size / Math.max(1, n * c)]);
    const picked = outer.reshape([n, c, h * w]).gather(places, { axis: 2 });
    return [picked.reshape(indices.shape), null];
  },
});

/**
 * Maxima of windows with their places, flat within each image plane. Padding is never chosen.
 *
 * @example
 * ```ts
 * import { maxPool2dWithIndices, tensor } from "bitgrad";
 *
 * const { values, indices } = maxPool2dWithIndices(tensor([[[[1, 4], [3, 2]]]]), { kernelSize: 2 });
 * console.log(values.toArray(), indices.toArray()); // [[[[4]]]] [[[[1]]]]
 * ```
 */
export function maxPool2dWithIndices(
  x: TensorLike,
  options: Given<MaxPoolOptions>,
): { values: Tensor; indices: Tensor } {
  x = asTensor("maxPool2d", x);
  const { windows, ceilMode } = read("maxPool2d", x, options, { ...poolDefaults, dilation: [1, 1] });
  const [values, indices] = maxOp(x, { windows, ceilMode });
  return { values, indices };
}

/** The largest element of every window. `maxPool2d(x, 2)` is short for `maxPool2d(x, { kernelSize: 2 })`. */
export const maxPool2d = (x: TensorLike, options: Given<MaxPoolOptions>): Tensor =>
  maxPool2dWithIndices(x, options).values;

export interface Averages {
  windows: WindowOptions;
  ceilMode: boolean;
  countIncludePad: boolean;
}

const avgWindows = (shape: Shape, { windows, ceilMode, countIncludePad }: Averages) => ({
  ...windowsOver("avgPool2d", shape, windows, ceilMode),
  padBottom: windows.pads[1],
  padRight: windows.pads[3],
  countIncludePad,
});

const avgOp = defineOp<[x: Tensor], Averages>("avgPool2d", {
  writesAll: true,
  arity: 1,
  shape([x], options) {
    const { n, c, oh, ow } = avgWindows(x.shape, options);
    return [n, c, oh, ow];
  },
  forward: (out, [x], options) => avgLoop(out as FloatArray, numbers(x), avgWindows(x.shape, options)),
  vjp: (grad, { inputs: [x] }, options): Grads => [avgGradOp(grad, { ...options, shape: x.shape })],
});

const avgGradOp = defineOp<[grad: Tensor], Averages & { shape: Shape }>("avgPool2dGrad", {
  arity: 1,
  shape: (_, { shape }) => shape,
  forward: (out, [grad], { shape, ...options }) =>
    avgGradLoop(out as FloatArray, numbers(grad), avgWindows(shape, options)),
  vjp: (outer, _, { shape: _shape, ...options }): Grads => [avgOp(outer, options)],
});

/** The mean of every window. */
export function avgPool2d(x: TensorLike, options: Given<AvgPoolOptions>): Tensor {
  x = asTensor("avgPool2d", x);
  const { windows, ceilMode, countIncludePad } = read("avgPool2d", x, options, {
    ...poolDefaults,
    countIncludePad: true,
  });
  return avgOp(floats(x), { windows, ceilMode, countIncludePad });
}

type Line<O> = number | (Partial<O> & { kernelSize: Sizes });

/** Options along a line as options on images of height 1. */
function widen<O extends PoolOptions>(op: string, x: Tensor, given: Line<O>): Given<O> {
  if (x.rank !== 3) throw new ShapeError(`${op}: needs (N, C, L), got ${show(x.shape)}`);
  if (typeof given !== "number" && !isPlainObject(given))
    throw new OptionError(`${op}: needs a kernelSize, got ${show(given)}`);
  const { kernelSize, stride, padding, dilation, ...rest } = (typeof given === "number"
    ? { kernelSize: given }
    : given) as unknown as Partial<MaxPoolOptions>;
  const along = (v: Sizes | null | undefined): Sizes | undefined =>
    v === undefined || v === null
      ? (v as undefined)
      : [1, Array.isArray(v) && v.length === 1 ? v[0] : (v as number)];
  const side = (p: Padding): Padding => [[0, 0], typeof p === "number" ? [p, p] : (p as Pair)];
  return {
    ...rest,
    kernelSize: along(kernelSize),
    ...(stride !== undefined && { stride: along(stride) }),
    ...(padding !== undefined && { padding: side(padding) }),
    ...(dilation !== undefined && { dilation: along(dilation) }),
  } as unknown as Given<O>;
}

/** maxPool2d along one axis: (N, C, L) -> (N, C, Ol). */
export function maxPool1d(x: TensorLike, options: Line<MaxPoolOptions>): Tensor {
  x = asTensor("maxPool1d", x);
  const wide = widen<MaxPoolOptions>("maxPool1d", x, options);
  return maxPool2d(x.unsqueeze(2), wide).squeeze(2);
}

/** avgPool2d along one axis: (N, C, L) -> (N, C, Ol). */
export function avgPool1d(x: TensorLike, options: Line<AvgPoolOptions>): Tensor {
  x = asTensor("avgPool1d", x);
  const wide = widen<AvgPoolOptions>("avgPool1d", x, options);
  return avgPool2d(x.unsqueeze(2), wide).squeeze(2);
}

/** (size, out): column i averages the pixels of output i. */
function averages(size: number, out: number, like: Tensor): Tensor {
  const weights = new Float64Array(size * out);
  for (let i = 0; i < out; i++) {
    const from = Math.floor((i * size) / out);
    const to = Math.ceil(((i + 1) * size) / out);
    for (let p = from; p < to; p++) weights[p * out + i] = 1 / (to - from);
  }
  return wrap(weights, [size, out], "float64").to(like.dtype);
}

/** Means over a grid of `outputSize` cells, whatever the image's size; a null keeps an axis as it is. */
export function adaptiveAvgPool2d(x: TensorLike, outputSize: number | readonly (number | null)[]): Tensor {
  x = asTensor("adaptiveAvgPool2d", x);
  if (x.rank < 2) throw new ShapeError(`adaptiveAvgPool2d: needs (…, H, W), got ${show(x.shape)}`);
  const [h, w] = x.shape.slice(-2);
  const given = typeof outputSize === "number" ? [outputSize, outputSize] : outputSize;
  if (!Array.isArray(given) || given.length !== 2)
    throw new OptionError(`adaptiveAvgPool2d: needs a size or a pair, got ${show(outputSize)}`);
  const [oh, ow] = readPair("adaptiveAvgPool2d", "outputSize", [given[0] ?? h, given[1] ?? w]);
  checkShape("adaptiveAvgPool2d", [...x.shape.slice(0, -2), oh, ow]);
  const y = floats(x);
  if (oh === 1 && ow === 1) return y.mean({ axis: [-2, -1], keepDims: true });
  const rows = oh === h ? y : averages(h, oh, y).matmul(y, { transposeA: true });
  return ow === w ? rows : rows.matmul(averages(w, ow, y));
}

export { avgGradOp, avgOp };
