/** The ops of random programs: each makes its result from up to three tensors of any shapes, or says that it does not apply. */

import { concat, einsum, stack, type Tensor } from "bitgrad";
import { broadcastsTo } from "../../src/shape.ts";

export type Step = (x: Tensor, y: Tensor, z: Tensor, n: number) => Tensor | null;

/** y where it broadcasts with x into x's shape, else x itself: f(x, x) is among the cases. */
const beside = (x: Tensor, y: Tensor): Tensor => (broadcastsTo(y.shape, x.shape) ? y : x);
const isFloat = (x: Tensor): boolean => x.dtype === "float32" || x.dtype === "float64";

/** As rows of `least` to 40 elements that divide x, or null. */
function rowsOf(x: Tensor, least = 1): Tensor | null {
  if (!isFloat(x)) return null;
  for (const n of [x.shape.at(-1) ?? 1, 40, 24, 17, 8, 5, 3, 2, 1])
    if (n >= least && n <= 40 && x.size % n === 0 && x.size > 0) return x.reshape([x.size / n, n]);
  return null;
}

/** Elements as a (1, c, h, w) picture with sides of 4 or more, or null. */
function picture(x: Tensor): Tensor | null {
  if (!isFloat(x)) return null;
  for (const [c, h] of [
    [4, 8],
    [4, 4],
    [2, 5],
    [1, 4],
  ])
    if (x.size % (c * h) === 0 && x.size / (c * h) >= 4 && x.size / (c * h) <= 64)
      return x.reshape([1, c, h, x.size / (c * h)]);
  return null;
}

const floats =
  (f: (x: Tensor) => Tensor): Step =>
  (x) =>
    isFloat(x) ? f(x) : null;
const pairs =
  (f: (x: Tensor, y: Tensor) => Tensor): Step =>
  (x, y) =>
    isFloat(x) ? f(x, beside(x, y)) : null;
const last =
  (f: (x: Tensor, n: number) => Tensor): Step =>
  (x, _y, _z, n) =>
    x.rank > 0 && x.size > 0 && isFloat(x) ? f(x, n) : null;
const rows =
  (f: (x: Tensor, y: Tensor) => Tensor, least = 1): Step =>
  (x, y) => {
    const a = rowsOf(x, least);
    const b = rowsOf(y, least);
    return a && f(a, b && b.shape[1] === a.shape[1] ? b : a);
  };
/** Small pieces, so that the reference is quick. */
const first = (x: Tensor, count: number): Tensor => (x.shape[0] <= count ? x : x.slice([[0, count]]));
const classes = (x: Tensor): Tensor => x.argmin({ axis: -1 });

/** Differentiable in x, and finite for finite numbers of modest size. */
export const smooth: Readonly<Record<string, Step>> = {
  neg: floats((x) => x.neg()),
  square: floats((x) => x.square()),
  tanh: floats((x) => x.tanh()),
  sigmoid: floats((x) => x.sigmoid()),
  erf: floats((x) => x.erf()),
  gelu: floats((x) => x.gelu()),
  geluTanh: floats((x) => x.gelu({ approximate: "tanh" })),
  silu: floats((x) => x.silu()),
  relu: floats((x) => x.relu()),
  sin: floats((x) => x.sin()),
  abs: floats((x) => x.abs()),
  add: pairs((x, y) => x.add(y)),
  sub: pairs((x, y) => y.sub(x)),
  mul: pairs((x, y) => x.mul(y)),
  affine: floats((x) => x.mul(0.5).add(1)),
  div: pairs((x, y) => x.div(y.abs().add(1))),
  maximum: pairs((x, y) => x.maximum(y)),
  where: pairs((x, y) => x.greater(0).where(x, y)),
  lerp: pairs((x, y) => x.lerp(y, 0.3)),
  sum: last((x) => x.sum({ axis: -1, keepDims: true })),
  mean: last((x) => x.mean({ axis: 0 })),
  max: last((x) => x.max({ axis: -1 })),
  variance: last((x) => x.variance({ axis: -1, correction: 0 })),
  logSumExp: last((x) => x.logSumExp({ axis: -1 })),
  cumsum: last((x) => x.cumsum({ axis: -1 })),
  transpose: (x) => (x.rank > 1 ? x.transpose(0, -1) : null),
  permute: (x) =>
    x.rank > 2 ? x.permute([1, 2, 0, ...Array.from({ length: x.rank - 3 }, (_, i) => i + 3)]) : null,
  slice: last((x, n) => x.slice([[n % x.shape[0], null]])),
  strided: last((x) => x.slice([...Array.from({ length: x.rank - 1 }, () => null), [null, null, -2]])),
  pad: (x) =>
    x.rank > 0 && x.size < 2000 ? x.pad(x.shape.map((_, i) => (i === 0 ? [1, 2] : [0, 1]))) : null,
  flip: last((x) => x.flip(0)),
  concat: (x, y) =>
    x.rank > 0 && x.size < 2000
      ? concat([
          x,
          y.shape.slice(1).join() === x.shape.slice(1).join() && y.rank === x.rank && y.dtype === x.dtype
            ? y
            : x,
        ])
      : null,
  stack: (x) => (x.size < 2000 && x.rank < 4 ? stack([x, x]) : null),
  tile: (x) => (x.rank > 0 && x.size < 1000 ? x.tile([2, ...x.shape.slice(1).map(() => 1)]) : null),
  roll: last((x, n) => x.roll(n % 7, { axis: 0 })),
  select: last((x, n) => x.select(n % x.shape[0])),
  indexSelect: last((x, n) => x.indexSelect([0, n % x.shape[0], 0], { axis: 0 })),
  matmul: rows((x, y) => first(x, 40).matmul(first(y, 64), { transposeB: true })),
  gram: rows((x, y) => x.matmul(y.shape[0] === x.shape[0] ? y : x, { transposeA: true })),
  vector: rows((x) => x.matmul(x.select(0))),
  batched: rows((x) => stack([first(x, 9), first(x, 9)]).matmul(first(x, 9).transpose(0, 1))),
  linear: rows((x, y) =>
    first(x, 40).linear(
      first(y, 20),
      x
        .select(0)
        .sum()
        .broadcastTo([first(y, 20).shape[0]]),
    ),
  ),
  einsum: rows((x, y) => einsum("ij,kj->ki", first(x, 20), first(y, 20))),
  softmax: rows((x) => x.softmax(-1)),
  softmaxColumns: rows((x) => x.softmax(0)),
  logSoftmax: rows((x) => x.logSoftmax(-1)),
  layerNorm: rows((x, y) => x.layerNorm(y.select(0).tanh(), x.select(0).tanh()), 2),
  rmsNorm: rows((x, y) => x.rmsNorm(y.select(0).tanh()), 2),
  batchNorm: rows((x) => {
    const means = x.mean({ axis: 1 }).tanh();
    return x.unsqueeze(0).batchNorm(null, null, means, means).squeeze(0);
  }, 2),
  attention: rows((x, y) =>
    first(x, 9).scaledDotProductAttention(first(y, 12), first(y, 12), { causal: true }),
  ),
  heads: rows((x) => {
    const [t, d] = first(x, 6).shape;
    return x.shape[1] % 2 === 0
      ? first(x, 6)
          .reshape([1, t, 2, d / 2])
          .permute([0, 2, 1, 3])
          .scaledDotProductAttention(
            ...(Array(2).fill(
              first(x, 6)
                .reshape([1, t, 2, d / 2])
                .permute([0, 2, 1, 3]),
            ) as [Tensor, Tensor]),
          )
      : x;
  }),
  headsBeside: rows((x) => {
    const queries = first(x, 6).unsqueeze(0);
    return x.shape[1] % 2 === 0
      ? queries.scaledDotProductAttention(queries, queries, { heads: 2, causal: true }).squeeze(0)
      : x;
  }),
  conv2d: (x, y, _z, n) => {
    const [image, weight] = [picture(x), picture(y)];
    if (!image) return null;
    const c = image.shape[1];
    const from = n % 2 === 1 && weight && weight.size >= c * 9 ? weight : image;
    const kernel = from
      .reshape([from.size])
      .slice([[0, c * 9]])
      .tanh();
    return n % 2 === 0
      ? image.conv2d(kernel.reshape([1, c, 3, 3]), null, { padding: 1, stride: 1 + ((n >> 1) % 2) })
      : image.conv2d(kernel.reshape([c, 1, 3, 3]), null, { groups: c });
  },
  maxPool2d: (x) => picture(x)?.maxPool2d(2) ?? null,
  topK: rows((x) => x.topK(Math.min(2, x.shape[1])).values),
  gather: rows((x) => x.gather(classes(x).unsqueeze(-1), { axis: -1 })),
  scatter: rows((x) => x.scatter(classes(x).unsqueeze(-1), x.slice([null, [0, 1]]), { axis: -1 })),
  scatterAdd: rows((x) =>
    x.mul(0).scatterAdd(classes(x).unsqueeze(-1), x.slice([null, [0, 1]]), { axis: -1 }),
  ),
  avgPool2d: (x) => picture(x)?.avgPool2d({ kernelSize: 3, stride: 2, padding: 1 }) ?? null,
};

const kinks = [
  "abs",
  "relu",
  "maximum",
  "where",
  "max",
  "maxPool2d",
  "topK",
  "gather",
  "scatter",
  "scatterAdd",
];
/** What chains are made of. At a kink the last bit of a number decides its gradient, so those stand first in one alone. */
export const differentiable: readonly string[] = Object.keys(smooth);
export const kinkless: readonly string[] = differentiable.filter((name) => !kinks.includes(name));

/** With infinities, jumps, integers. */
export const rough: Readonly<Record<string, Step>> = {
  exp: floats((x) => x.exp()),
  log: floats((x) => x.log()),
  sqrt: floats((x) => x.sqrt()),
  reciprocal: floats((x) => x.reciprocal()),
  quotient: pairs((x, y) => x.div(y)),
  round: floats((x) => x.round()),
  sign: floats((x) => x.sign()),
  less: pairs((x, y) => x.less(y)),
  argmax: last((x) => x.argmax({ axis: -1 })),
  sort: last((x) => x.sort({ axis: -1 }).values),
  quantile: last((x) => x.quantile(0.4, { axis: -1 })),
  min: last((x) => x.min({ axis: 0 })),
  toInt: floats((x) => x.nanToNum().clip({ min: -9, max: 9 }).to("int32")),
  toDouble: floats((x) => x.to("float64")),
  toSingle: (x) => x.to("float32"),
  maskedFill: floats((x) => x.maskedFill(x.less(0), Number.NEGATIVE_INFINITY)),
};
