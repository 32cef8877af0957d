/** Batch normalisation, of every channel over samples and positions. */

import * as kernel from "../backend.ts";
import { type FloatArray, promote } from "../dtype.ts";
import { OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { asOptional, asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { type Affine, checkChannels, optional, perChannel } from "./norm.ts";
import { defineMultiOp } from "./op.ts";
import { floats, numbers } from "./softmax.ts";

const channelSizes = ({ shape, size }: Tensor) => {
  const [n, c] = shape;
  return { n, c, pixels: n * c === 0 ? 0 : size / n / c };
};

const batchNormGrad = defineMultiOp<
  [grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, weight?: Tensor | null],
  { eps: number }
>("batchNormGrad", {
  writesAll: true,
  arity: [4, 5],
  shape: ([, x, mean]) => [x, mean, mean],
  dtype: ([, { dtype }]) => [dtype, dtype, dtype],
  forward([dx, dw, db], [grad, x, mean, variance, weight], { eps }) {
    kernel.batchNormGrad(
      dx as FloatArray,
      dw as FloatArray,
      db as FloatArray,
      numbers(grad),
      numbers(x),
      optional(weight),
      mean.data as Float64Array,
      variance.data as Float64Array,
      channelSizes(x),
      eps,
    );
  },
});

const batchNormOp = defineMultiOp<Affine, { eps: number }>("batchNorm", {
  writesAll: true,
  options: { eps: 1e-5 },
  arity: [1, 3],
  shape: ([x]) => [x, [x.shape[1]], [x.shape[1]]],
  dtype: ([x]) => [x.dtype, "float64", "float64"],
  forward([out, mean, variance], [x, weight, bias], { eps }) {
    kernel.batchNorm(
      out as FloatArray,
      mean as Float64Array,
      variance as Float64Array,
      numbers(x),
      optional(weight),
      optional(bias),
      channelSizes(x),
      eps,
    );
  },
  composed([x, weight, bias], { eps }) {
    const axis = x.shape.flatMap((_, k) => (k === 1 ? [] : [k]));
    const statistics = [x.mean({ axis }), x.variance({ axis, correction: 0 })] as const;
    return normalized(x, ...statistics, weight, bias, eps);
  },
  fusedVjp([grad], { inputs: [x, weight, bias], outputs: [, mean, variance] }, options) {
    const [dx, dw, db] = batchNormGrad(grad!, x, mean, variance, weight, options);
    return [dx, weight ? dw : null, bias ? db : null];
  },
});

function normalized(
  x: Tensor,
  mean: Tensor,
  variance: Tensor,
  weight: Tensor | null | undefined,
  bias: Tensor | null | undefined,
  eps: number,
): Tensor {
  const [center, spread, scale, shift] = [mean, variance, weight, bias].map(
    (t) => t && perChannel("batchNorm", t, x),
  );
  const rstd = spread!.add(eps).rsqrt();
  const y = x.sub(center!).mul(scale ? rstd.mul(scale) : rstd);
  return shift ? y.add(shift) : y;
}

/** `batchNorm` by the batch's own statistics, with them: the mean and the biased variance of every channel, as float64. */
export function ownBatchNorm(
  x: Tensor,
  weight: Tensor | null | undefined,
  bias: Tensor | null | undefined,
  eps: number,
): readonly Tensor[] {
  if (x.rank < 2) throw new ShapeError(`batchNorm: needs (N, C, …), got ${show(x.shape)}`);
  const affine = [weight, bias].map((t) => t ?? null);
  for (const t of affine) if (t) checkChannels("batchNorm", t, x);
  const dtype = affine.reduce((d, t) => (t ? promote(d, t.dtype) : d), floats(x).dtype);
  const [scale, shift] = affine.map((t) => t?.to(dtype));
  return batchNormOp(x.to(dtype), scale, shift, { eps });
}

/**
 * (x − mean)/√(variance + eps) · weight + bias for every channel of (N, C, …). Without mean and variance they are the
 * batch's own, and gradients flow through them. Running averages are the layer's business. Ioffe and Szegedy, 2015,
 * arXiv:1502.03167.
 */
export function batchNorm(
  x: TensorLike,
  mean?: Tensor | null,
  variance?: Tensor | null,
  weight?: Tensor | null,
  bias?: Tensor | null,
  options?: { eps?: number },
): Tensor {
  x = asTensor("batchNorm", x);
  const { eps } = readOptions("batchNorm", options, { eps: 1e-5 });
  const w = asOptional("batchNorm", weight);
  const c = asOptional("batchNorm", bias);
  const given = { mean: asOptional("batchNorm", mean), variance: asOptional("batchNorm", variance) };
  if (Boolean(given.mean) !== Boolean(given.variance))
    throw new OptionError(
      `batchNorm: mean and variance go together, got ${show(mean ?? null)} and ${show(variance ?? null)}`,
    );
  if (given.mean && given.variance) return normalized(x, given.mean, given.variance, w, c, eps);
  return ownBatchNorm(x, w, c, eps)[0];
}

export { batchNormOp };
