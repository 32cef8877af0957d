import {
  adaptiveAvgPool2d,
  addmm,
  avgPool1d,
  avgPool2d,
  conv1d,
  conv2d,
  conv2dTranspose,
  einsum,
  groupedQuery,
  groupNorm,
  instanceNorm,
  layerNorm,
  linear,
  matmul,
  maxPool1d,
  maxPool2dWithIndices,
  outer,
  rmsNorm,
  rotary,
  scaledDotProductAttention,
  sinusoidalPositions,
  unfold,
} from "bitgrad";
import { BatchNorm1d, BatchNorm2d, loadStateDict } from "bitgrad/nn";
import { row, type Suite } from "./case.ts";

type Pair = [number, number];
type Size = number | Pair;

export const algebra: Suite = {
  matmul: row("matmul(a, b)", ({ input, other }) => matmul(input, other)),
  linear: row("linear(x, weight, bias)", ({ input, weight, bias }) => linear(input, weight, bias), {
    note: "weight (out, in)",
  }),
  addmm: row<{ beta: number; alpha: number }>(
    "addmm(input, a, b, { beta, alpha })",
    ({ input, mat1, mat2 }, { beta, alpha }) => addmm(input, mat1, mat2, { beta, alpha }),
    { note: "what has the factor 0 is not read" },
  ),
  outer: row("outer(a, b)", ({ a, b }) => outer(a, b)),
  einsum2: row<{ equation: string }>(
    "einsum(equation, ...operands)",
    ({ a, b }, { equation }) => einsum(equation, a, b),
    { torch: "einsum" },
  ),
  einsum1: row<{ equation: string }>("einsum(equation, x)", ({ a }, { equation }) => einsum(equation, a), {
    torch: null,
  }),
};

interface Windows<S> {
  readonly stride: S;
  readonly padding: S;
  readonly dilation: S;
}
interface Geometry<S> extends Windows<S> {
  readonly groups: number;
}

export const conv: Suite = {
  conv1d: row<Geometry<number>>(
    "conv1d(x, weight, bias, { stride, padding, dilation, groups })",
    ({ input, weight, bias }, { stride, padding, dilation, groups }) =>
      conv1d(input, weight, bias, { stride, padding, dilation, groups }),
  ),
  conv2d: row<Geometry<Pair>>(
    "conv2d(x, weight, bias, { stride, padding, dilation, groups })",
    ({ input, weight, bias }, { stride, padding, dilation, groups }) =>
      conv2d(input, weight, bias, { stride, padding, dilation, groups }),
  ),
  conv_transpose2d: row<Geometry<Pair> & { output_padding: Pair }>(
    "conv2dTranspose(x, weight, bias, { stride, padding, dilation, groups, outputPadding })",
    ({ input, weight, bias }, { stride, padding, dilation, groups, output_padding: outputPadding }) =>
      conv2dTranspose(input, weight, bias, { stride, padding, dilation, groups, outputPadding }),
    { note: "weight (in, out/groups, Kh, Kw)" },
  ),
  unfold: row<Windows<Pair> & { kernel_size: Pair }>(
    "unfold(x, { kernelSize, stride, padding, dilation })",
    ({ input }, { kernel_size: kernelSize, stride, padding, dilation }) =>
      unfold(input, { kernelSize, stride, padding, dilation }),
    { note: "im2col" },
  ),
};

interface Pooling<S> {
  readonly kernel_size: S;
  readonly stride: S;
  readonly padding: S;
}

export const pool: Suite = {
  max_pool2d: row<Pooling<Size> & { dilation: Size; ceil_mode: boolean }>(
    "maxPool2dWithIndices(x, { kernelSize, stride, padding, dilation, ceilMode })",
    ({ input }, { kernel_size: kernelSize, stride, padding, dilation, ceil_mode: ceilMode }) => ({
      ...maxPool2dWithIndices(input, { kernelSize, stride, padding, dilation, ceilMode }),
    }),
    { note: "indices are flat within each image plane; maxPool2d(x, options) gives the values alone" },
  ),
  avg_pool2d: row<Pooling<Size> & { ceil_mode: boolean; count_include_pad: boolean }>(
    "avgPool2d(x, { kernelSize, stride, padding, ceilMode, countIncludePad })",
    (
      { input },
      { kernel_size: kernelSize, stride, padding, ceil_mode: ceilMode, count_include_pad: countIncludePad },
    ) => avgPool2d(input, { kernelSize, stride, padding, ceilMode, countIncludePad }),
  ),
  max_pool1d: row<Pooling<number>>(
    "maxPool1d(x, { kernelSize, stride, padding })",
    ({ input }, { kernel_size: kernelSize, stride, padding }) =>
      maxPool1d(input, { kernelSize, stride, padding }),
  ),
  avg_pool1d: row<Pooling<number>>(
    "avgPool1d(x, { kernelSize, stride, padding })",
    ({ input }, { kernel_size: kernelSize, stride, padding }) =>
      avgPool1d(input, { kernelSize, stride, padding }),
  ),
  adaptive_avg_pool2d: row<{ output_size: Pair }>(
    "adaptiveAvgPool2d(x, outputSize)",
    ({ input }, { output_size: outputSize }) => adaptiveAvgPool2d(input, outputSize),
  ),
};

export const attention: Suite = {
  scaled_dot_product: row<{ causal: boolean }>(
    "scaledDotProductAttention(q, k, v, { causal, mask })",
    ({ query, key, value, mask }, { causal }) =>
      scaledDotProductAttention(query, key, value, { causal, mask }),
    {
      torch: "scaled_dot_product_attention",
      note: "a bool mask is true where a key may be attended to, a float one is added; a query with every key hidden gives 0, as later releases of PyTorch",
    },
  ),
  grouped_query: row("groupedQuery(q, k, v)", ({ query, key, value }) => groupedQuery(query, key, value), {
    torch: "scaled_dot_product_attention(enable_gqa=True)",
    note: "fewer key heads than query heads are shared",
  }),
  rotary: row<{ style: "interleaved" | "half"; base: number; offset: number }>(
    "rotary(x, { style, base, offset })",
    ({ input }, { style, base, offset }) => rotary(input, { style, base, offset }),
    { torch: "rotary positions", note: "pairs (2j, 2j + 1), or (j, j + D/2) in style half" },
  ),
  sinusoidal_positions: row<{ t: number; d: number }>(
    "sinusoidalPositions(length, size)",
    (_, { t, d }) => sinusoidalPositions(t, d),
    { torch: "sinusoidal positions" },
  ),
};

interface Eps {
  readonly eps: number;
}

export const norm: Suite = {
  layer_norm: row<Eps & { normalized_shape: number[] }>(
    "layerNorm(x, weight, bias, { eps, normalizedShape })",
    ({ input, weight, bias }, { eps, normalized_shape: normalizedShape }) =>
      layerNorm(input, weight, bias, { eps, normalizedShape }),
  ),
  rms_norm: row<Eps>("rmsNorm(x, weight, { eps })", ({ input, weight }, { eps }) =>
    rmsNorm(input, weight, { eps }),
  ),
  group_norm: row<Eps & { num_groups: number }>(
    "groupNorm(x, weight, bias, { groups, eps })",
    ({ input, weight, bias }, { num_groups: groups, eps }) => groupNorm(input, weight, bias, { groups, eps }),
  ),
  instance_norm: row<Eps>("instanceNorm(x, weight, bias, { eps })", ({ input, weight, bias }, { eps }) =>
    instanceNorm(input, weight, bias, { eps }),
  ),
  batch_norm: {
    call: "new BatchNorm2d(channels, { eps, momentum })",
    note: "in bitgrad/nn, with BatchNorm1d; batchNorm(x, mean, variance, weight, bias, { eps }) is the stateless part",
    run({ input, weight, bias, running_mean, running_var }, given) {
      const { eps, momentum, training } = given as Eps & { training: boolean; momentum: number };
      const Layer = input.rank === 4 ? BatchNorm2d : BatchNorm1d;
      const layer = new Layer(input.shape[1], { eps, momentum });
      loadStateDict(layer, { weight, bias, running_mean, running_var }, { strict: false });
      layer.training = training;
      return {
        outputs: {
          out: layer.forward(input),
          running_mean_after: layer.runningMean,
          running_var_after: layer.runningVar,
        },
        gradOf: (name) => ({ weight: layer.weight, bias: layer.bias })[name]?.grad ?? null,
      };
    },
  },
};
