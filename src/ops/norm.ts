/** Normalisation. */

import * as kernel from "../backend.ts";
import type { FloatArray } from "../dtype.ts";
import { OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { checkShape, type Shape, sameShape, sizeOf, sizesAt } from "../shape.ts";
import { asOptional, asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { defineMultiOp } from "./op.ts";
import { floats, numbers } from "./softmax.ts";

export interface Rows {
  /** Axes, from the end, that are normalised together. */
  axes: number;
  eps: number;
}

export type Affine = [x: Tensor, weight?: Tensor | null, bias?: Tensor | null];

const rowSizes = (shape: Shape, axes: number) => {
  const n = sizeOf(shape, shape.length - axes);
  return { rows: n === 0 ? 0 : sizeOf(shape) / n, n };
};
const lastAxes = (axes: number): number[] => Array.from({ length: axes }, (_, i) => i - axes);
export const optional = (t: Tensor | null | undefined): FloatArray | null => (t ? numbers(t) : null);

/** Results only where they are wanted. */
const wanted = (out: unknown, present: unknown): FloatArray | null => (present ? (out as FloatArray) : null);

const layerNormGrad = defineMultiOp<
  [grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight?: Tensor | null],
  Rows & { affine: boolean }
>("layerNormGrad", {
  writesAll: true,
  arity: [4, 5],
  shape: ([, x], { axes, affine }) => {
    const row = affine ? sizesAt(x.shape, x.rank - axes) : [0];
    return [x, row, row];
  },
  dtype: ([, x]) => [x.dtype, x.dtype, x.dtype],
  forward([dx, dw, db], [grad, x, mean, rstd, weight], { axes, affine }) {
    kernel.layerNormGrad(
      dx as FloatArray,
      wanted(dw, affine),
      wanted(db, affine),
      numbers(grad),
      numbers(x),
      optional(weight),
      numbers(mean),
      numbers(rstd),
      rowSizes(x.shape, axes),
    );
  },
});

const layerNormOp = defineMultiOp<Affine, Rows>("layerNorm", {
  writesAll: true,
  options: { axes: 1, eps: 1e-5 },
  arity: [1, 3],
  shape: ([x], { axes }) => {
    const outer = sizesAt(x.shape, 0, x.rank - axes);
    return [x, outer, outer];
  },
  dtype: ([x]) => [x.dtype, "float64", "float64"],
  forward([out, mean, rstd], [x, weight, bias], { axes, eps }) {
    kernel.layerNorm(
      out as FloatArray,
      mean as FloatArray,
      rstd as FloatArray,
      numbers(x),
      optional(weight),
      optional(bias),
      rowSizes(x.shape, axes),
      eps,
    );
  },
  composed([x, weight, bias], { axes, eps }) {
    const axis = lastAxes(axes);
    const centered = x.sub(x.mean({ axis, keepDims: true }));
    const y = centered.mul(centered.square().mean({ axis, keepDims: true }).add(eps).rsqrt());
    return affine(y, weight, bias);
  },
  fusedVjp([grad], { inputs: [x, weight, bias], outputs: [, mean, rstd] }, { axes, eps }) {
    const [dx, dw, db] = layerNormGrad(grad!, x, mean, rstd, weight, {
      axes,
      eps,
      affine: Boolean(weight || bias),
    });
    return [dx, weight ? dw : null, bias ? db : null];
  },
});

const affine = (y: Tensor, weight?: Tensor | null, bias?: Tensor | null): Tensor => {
  const scaled = weight ? y.mul(weight) : y;
  return bias ? scaled.add(bias) : scaled;
};

function normalisedAxes(
  op: string,
  x: Tensor,
  given: readonly (Tensor | null | undefined)[],
  normalizedShape: Shape | null,
): number {
  const own = given.map((t) => asOptional(op, t)?.shape);
  const shapes = [normalizedShape && checkShape(op, normalizedShape), ...own].filter(
    (s) => s !== null && s !== undefined,
  );
  const shape = shapes[0] ?? sizesAt(x.shape, Math.max(x.rank - 1, 0));
  if (x.rank === 0 || shape.length === 0)
    throw new ShapeError(
      `${op}: needs at least one axis to normalise, got ${show(shape)} for ${show(x.shape)}`,
    );
  for (const s of [shape, ...shapes]) {
    if (!sameShape(s, sizesAt(x.shape, x.rank - shape.length))) {
      throw new ShapeError(
        `${op}: weight, bias and normalizedShape must be the last axes of the input, got ${show(s)} for ${show(x.shape)}`,
      );
    }
  }
  return shape.length;
}

export interface LayerNormOptions {
  eps: number;
  /** The last axes to normalise over; default: those of the weight, else the last one. */
  normalizedShape: Shape | null;
}

/** (x − mean)/√(variance + eps) · weight + bias over the last axes. Ba et al., 2016, arXiv:1607.06450. */
export function layerNorm(
  x: TensorLike,
  weight?: Tensor | null,
  bias?: Tensor | null,
  options?: Partial<LayerNormOptions>,
): Tensor {
  x = asTensor("layerNorm", x);
  const { eps, normalizedShape } = readOptions<LayerNormOptions>("layerNorm", options, {
    eps: 1e-5,
    normalizedShape: null,
  });
  const axes = normalisedAxes("layerNorm", x, [weight, bias], normalizedShape);
  return layerNormOp(floats(x), weight, bias, { axes, eps })[0];
}

const rmsNormGrad = defineMultiOp<[grad: Tensor, x: Tensor, rstd: Tensor, weight?: Tensor | null], Rows>(
  "rmsNormGrad",
  {
    writesAll: true,
    arity: [3, 4],
    shape: ([, x, , weight], { axes }) => [x, weight ? sizesAt(x.shape, x.rank - axes) : [0]],
    dtype: ([, x]) => [x.dtype, x.dtype],
    forward([dx, dw], [grad, x, rstd, weight], { axes }) {
      kernel.rmsNormGrad(
        dx as FloatArray,
        wanted(dw, weight),
        numbers(grad),
        numbers(x),
        optional(weight),
        numbers(rstd),
        rowSizes(x.shape, axes),
      );
    },
  },
);

const rmsNormOp = defineMultiOp<[x: Tensor, weight?: Tensor | null], Rows>("rmsNorm", {
  writesAll: true,
  options: { axes: 1, eps: 1e-6 },
  arity: [1, 2],
  shape: ([x], { axes }) => [x, sizesAt(x.shape, 0, x.rank - axes)],
  dtype: ([x]) => [x.dtype, "float64"],
  forward([out, rstd], [x, weight], { axes, eps }) {
    kernel.rmsNorm(
      out as FloatArray,
      rstd as FloatArray,
      numbers(x),
      optional(weight),
      rowSizes(x.shape, axes),
      eps,
    );
  },
  composed: ([x, weight], { axes, eps }) =>
    affine(
      x.mul(
        x
          .square()
          .mean({ axis: lastAxes(axes), keepDims: true })
          .add(eps)
          .rsqrt(),
      ),
      weight,
    ),
  fusedVjp([grad], { inputs: [x, weight], outputs: [, rstd] }, options) {
    const [dx, dw] = rmsNormGrad(grad!, x, rstd, weight, options);
    return [dx, weight ? dw : null];
  },
});

/** x/√(mean(x²) + eps) · weight over the last axes. Zhang and Sennrich, 2019, arXiv:1910.07467. */
export function rmsNorm(x: TensorLike, weight?: Tensor | null, options?: Partial<LayerNormOptions>): Tensor {
  x = asTensor("rmsNorm", x);
  const { eps, normalizedShape } = readOptions<LayerNormOptions>("rmsNorm", options, {
    eps: 1e-6,
    normalizedShape: null,
  });
  const axes = normalisedAxes("rmsNorm", x, [weight], normalizedShape);
  return rmsNormOp(floats(x), weight, { axes, eps })[0];
}

export function checkChannels(op: string, t: Tensor, x: Tensor): void {
  if (t.rank !== 1 || t.size !== x.shape[1]) {
    throw new ShapeError(`${op}: needs one value a channel, got ${show(t.shape)} for ${show(x.shape)}`);
  }
}

/** A per-channel vector (C) shaped to broadcast over x (N, C, …). */
export function perChannel(op: string, t: Tensor, x: Tensor): Tensor {
  checkChannels(op, t, x);
  return t.reshape([t.size, ...Array<number>(x.rank - 2).fill(1)]);
}

function channelAffine(op: string, y: Tensor, weight?: Tensor | null, bias?: Tensor | null): Tensor {
  const [w, b] = [asOptional(op, weight), asOptional(op, bias)];
  return affine(y, w && perChannel(op, w, y), b && perChannel(op, b, y));
}

/** Normalises (N, C, …) over groups of channels together with all positions. Wu and He, 2018, arXiv:1803.08494. */
export function groupNorm(
  x: TensorLike,
  weight?: Tensor | null,
  bias?: Tensor | null,
  options?: { groups?: number; eps?: number },
): Tensor {
  const { groups, eps } = readOptions("groupNorm", options, { groups: 1, eps: 1e-5 });
  return byGroups("groupNorm", asTensor("groupNorm", x), weight, bias, groups, eps);
}

function byGroups(
  op: string,
  x: Tensor,
  weight: Tensor | null | undefined,
  bias: Tensor | null | undefined,
  groups: number,
  eps: number,
): Tensor {
  if (x.rank < 2) throw new ShapeError(`${op}: needs (N, C, …), got ${show(x.shape)}`);
  if (!Number.isInteger(groups) || groups < 1 || x.shape[1] % groups !== 0) {
    throw new OptionError(
      `${op}: groups must divide the channels, got ${show(groups)} for ${x.shape[1]} channels`,
    );
  }
  const rows = floats(x).reshape([x.shape[0] * groups, x.size / Math.max(1, x.shape[0] * groups)]);
  return channelAffine(op, layerNorm(rows, null, null, { eps }).reshape(x.shape), weight, bias);
}

/** Normalises every channel of every sample of (N, C, …) over its positions. Ulyanov et al., 2016, arXiv:1607.08022. */
export function instanceNorm(
  x: TensorLike,
  weight?: Tensor | null,
  bias?: Tensor | null,
  options?: { eps?: number },
): Tensor {
  x = asTensor("instanceNorm", x);
  if (x.rank < 3) throw new ShapeError(`instanceNorm: needs (N, C, …) with positions, got ${show(x.shape)}`);
  const { eps } = readOptions("instanceNorm", options, { eps: 1e-5 });
  return byGroups("instanceNorm", x, weight, bias, x.shape[1], eps);
}

export { layerNormOp, rmsNormOp };
