/** Resizing of images and other grids: nearest and linear interpolation along every spatial axis. */

import { checkChoice, checkInteger, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { around } from "../ops/index-ops.ts";
import { defineOp, type Op } from "../ops/op.ts";
import { floats } from "../ops/softmax.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";

/** Of every output, what it is made of: (1 − share) · x[low] + share · x[high]. */
interface Taps {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly share: Float64Array;
}

interface Along {
  axis: number;
  /** The sizes of the axis before and after. */
  from: number;
  to: number;
  taps: Taps | null;
}

const along: Along = { axis: 0, from: 0, to: 0, taps: null };
const resized = (x: Tensor, axis: number, size: number) => x.shape.map((n, k) => (k === axis ? size : n));

/** Linear along one axis; its gradient is its adjoint, whose gradient it is. */
const resampleOp: Op<[x: Tensor], Along, Tensor> = defineOp<[x: Tensor], Along>("interpolate", {
  options: along,
  arity: 1,
  writesAll: true,
  shape: ([x], { axis, to }) => resized(x, axis, to),
  forward(out, [{ data, shape }], { axis, to, taps }) {
    const { low, high, share } = taps!;
    const [outer, n, inner] = around(shape, axis);
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < to; i++) {
        const at = (o * to + i) * inner;
        const a = (o * n + low[i]) * inner;
        const b = (o * n + high[i]) * inner;
        const part = share[i];
        // What has no share is not read, whatever it holds.
        if (part === 0) for (let j = 0; j < inner; j++) out[at + j] = data[a + j];
        else for (let j = 0; j < inner; j++) out[at + j] = (1 - part) * data[a + j] + part * data[b + j];
      }
  },
  vjp: (grad, _, options) => [spreadOp(grad, options)],
});

const spreadOp: Op<[grad: Tensor], Along, Tensor> = defineOp<[grad: Tensor], Along>("interpolateGrad", {
  options: along,
  arity: 1,
  writesAll: true,
  shape: ([grad], { axis, from }) => resized(grad, axis, from),
  forward(out, [{ data, shape }], { axis, from, taps }) {
    const { low, high, share } = taps!;
    const [outer, m, inner] = around(shape, axis);
    const sums = new Float64Array(from * inner);
    for (let o = 0; o < outer; o++) {
      sums.fill(0);
      for (let i = 0; i < m; i++) {
        const at = (o * m + i) * inner;
        const a = low[i] * inner;
        const b = high[i] * inner;
        const part = share[i];
        for (let j = 0; j < inner; j++) sums[a + j] += (1 - part) * data[at + j];
        if (part > 0) for (let j = 0; j < inner; j++) sums[b + j] += part * data[at + j];
      }
      out.set(sums, o * sums.length);
    }
  },
  vjp: (grad, _, options) => [resampleOp(grad, options)],
});

const ranks = { nearest: null, linear: 3, bilinear: 4, trilinear: 5 } as const;

export interface InterpolateOptions {
  /** The new sizes of the spatial axes, or one for all; or else `scaleFactor`. */
  size: number | readonly number[] | null;
  /** What the sizes are multiplied by, rounded down; one for each spatial axis, or one for all. */
  scaleFactor: number | readonly number[] | null;
  /** "nearest" for any number of spatial axes; "linear" for one, "bilinear" for two, "trilinear" for three. */
  mode: keyof typeof ranks;
  /** Of linear modes: the first and last elements stay where they are, instead of the borders of their areas. */
  alignCorners: boolean;
}

export const interpolateDefaults: InterpolateOptions = {
  size: null,
  scaleFactor: null,
  mode: "nearest",
  alignCorners: false,
};

/** Checks what does not depend on an input. */
export function readInterpolation(
  op: string,
  given: Partial<InterpolateOptions> | undefined,
): InterpolateOptions {
  const options = readOptions<InterpolateOptions>(op, given, interpolateDefaults);
  const { size, scaleFactor, mode, alignCorners } = options;
  checkChoice(op, "mode", mode, Object.keys(ranks));
  if ((size === null) === (scaleFactor === null))
    throw new OptionError(
      `${op}: needs one of size and scaleFactor, got ${show(size)} and ${show(scaleFactor)}`,
    );
  const list = size ?? scaleFactor;
  if (Array.isArray(list) && list.length === 0)
    throw new OptionError(`${op}: needs a number for each spatial axis, got ()`);
  for (const n of [size ?? []].flat()) {
    checkInteger(op, "size", n, 1);
    if (n >= 2 ** 31) throw new OptionError(`${op}: size must be below 2^31, got ${n}`);
  }
  for (const factor of [scaleFactor ?? []].flat()) {
    if (!(typeof factor === "number" && factor > 0 && factor < Infinity))
      throw new OptionError(`${op}: scaleFactor must be finite and above 0, got ${show(factor)}`);
  }
  if (alignCorners && mode === "nearest")
    throw new OptionError(`${op}: alignCorners is of linear modes, got "nearest"`);
  return options;
}

/**
 * (N, C, …) with its spatial axes resized, as PyTorch does: each output is the nearest element, or weighs the two beside its
 * place on every axis. Without `alignCorners` a place is the middle of an area.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { interpolate } from "bitgrad/nn";
 *
 * console.log(interpolate(tensor([[[0, 1]]]), { size: 4, mode: "linear" }).toArray()); // [[[0, 0.25, 0.75, 1]]]
 * ```
 */
export function interpolate(x: TensorLike, options: Partial<InterpolateOptions>): Tensor {
  const op = "interpolate";
  const { size, scaleFactor, mode, alignCorners } = readInterpolation(op, options);
  const images = floats(asTensor(op, x));
  const { shape, rank } = images;
  const wanted = ranks[mode];
  if (rank < 3 || rank > 5 || (wanted !== null && rank !== wanted)) {
    const want = wanted === null ? "1 to 3 spatial axes" : `${wanted - 2} of them`;
    throw new ShapeError(`${op}: needs (N, C, …) with ${want} for "${mode}", got ${show(shape)}`);
  }
  const each = (list: number | readonly number[], axis: number): number => {
    if (typeof list === "number") return list;
    if (list.length === rank - 2) return list[axis - 2];
    throw new OptionError(`${op}: needs one number for each of ${rank - 2} spatial axes, got ${show(list)}`);
  };
  let y = images;
  for (let axis = 2; axis < rank; axis++) {
    const from = shape[axis];
    const factor = scaleFactor === null ? null : each(scaleFactor, axis);
    const to = factor === null ? each(size!, axis) : Math.floor(from * factor);
    if (from === 0 || to === 0)
      throw new ShapeError(
        `${op}: an axis would be empty, got ${show(shape)} and ${show(size ?? scaleFactor)}`,
      );
    if (to >= 2 ** 31) throw new ShapeError(`${op}: an axis must be below 2^31, got ${to}`);
    const step = alignCorners
      ? to > 1
        ? (from - 1) / (to - 1)
        : 0
      : factor === null
        ? from / to
        : 1 / factor;
    const taps = mode === "nearest" ? nearest(from, to, step) : linear(from, to, step, alignCorners);
    if (from !== to || taps.share.some((part) => part > 0)) y = resampleOp(y, { axis, from, to, taps });
  }
  return y;
}

/** In single precision, as PyTorch finds them. */
function nearest(from: number, to: number, step: number): Taps {
  const scale = Math.fround(step);
  const low = Int32Array.from({ length: to }, (_, i) => {
    if (to === from) return i;
    return to === 2 * from ? i >> 1 : Math.min(Math.floor(Math.fround(i * scale)), from - 1);
  });
  return { low, high: low, share: new Float64Array(to) };
}

function linear(from: number, to: number, step: number, alignCorners: boolean): Taps {
  const places = Float64Array.from({ length: to }, (_, i) =>
    alignCorners ? step * i : Math.max(step * (i + 0.5) - 0.5, 0),
  );
  const low = Int32Array.from(places, (place) => Math.min(Math.floor(place), from - 1));
  return {
    low,
    high: low.map((i) => Math.min(i + 1, from - 1)),
    share: places.map((place, i) => Math.min(place - low[i], 1)),
  };
}

/**
 * `interpolate` as a layer: (N, C, …) -> (N, C, …) of other sizes.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { Upsample } from "bitgrad/nn";
 *
 * console.log(new Upsample({ scaleFactor: 2 }).forward(zeros([1, 3, 8, 8])).shape); // [1, 3, 16, 16]
 * ```
 */
export class Upsample {
  readonly size: number | readonly number[] | null;
  readonly scaleFactor: number | readonly number[] | null;
  readonly mode: InterpolateOptions["mode"];
  readonly alignCorners: boolean;

  constructor(options: Partial<InterpolateOptions>) {
    const { size, scaleFactor, mode, alignCorners } = readInterpolation("Upsample", options);
    this.size = size;
    this.scaleFactor = scaleFactor;
    this.mode = mode;
    this.alignCorners = alignCorners;
  }

  forward(x: TensorLike): Tensor {
    const { size, scaleFactor, mode, alignCorners } = this;
    return interpolate(x, { size, scaleFactor, mode, alignCorners });
  }
}
