/**
 * The fluent API: one line an op, each a free function of the same name with the tensor first. `ops/all.ts` installs them
 * and proves that none is missing.
 */

import type { DType } from "./dtype.ts";
import type { AttentionOptions, RotaryOptions } from "./ops/attention.ts";
import type { ConvOptions } from "./ops/conv.ts";
import type { DropoutOptions } from "./ops/create.ts";
import type { MatmulOptions } from "./ops/matmul.ts";
import type { SliceRange } from "./ops/movement.ts";
import type { LayerNormOptions } from "./ops/norm.ts";
import type { AvgPoolOptions, MaxPoolOptions } from "./ops/pool.ts";
import type { NormOptions, ReduceOptions, VarianceOptions } from "./ops/reduce.ts";
import type { PadOptions } from "./ops/repeat.ts";
import type { AxisOptions } from "./ops/scan.ts";
import type { Ranked, SortOptions, TopKOptions } from "./ops/sort.ts";
import type { Shape } from "./shape.ts";
import type { BackwardOptions } from "./tape.ts";
import type { Tensor, TensorLike } from "./tensor.ts";

type Reduce = Partial<ReduceOptions>;
type ArgReduce = { axis?: number | null; keepDims?: boolean };
type Maybe = Tensor | null;
type Conv1d = Omit<ConvOptions, "padding"> & { padding: number | readonly [number, number] };

export interface TensorMethods {
  // gradient
  backward(gradient?: Tensor | null | BackwardOptions, options?: BackwardOptions): void;

  // elementwise, one tensor
  neg(): Tensor;
  abs(): Tensor;
  exp(): Tensor;
  exp2(): Tensor;
  expm1(): Tensor;
  log(): Tensor;
  log2(): Tensor;
  log10(): Tensor;
  log1p(): Tensor;
  sqrt(): Tensor;
  rsqrt(): Tensor;
  square(): Tensor;
  reciprocal(): Tensor;
  sin(): Tensor;
  cos(): Tensor;
  tan(): Tensor;
  asin(): Tensor;
  acos(): Tensor;
  atan(): Tensor;
  sinh(): Tensor;
  cosh(): Tensor;
  tanh(): Tensor;
  erf(): Tensor;
  erfinv(): Tensor;
  sinc(): Tensor;
  sign(): Tensor;
  round(): Tensor;
  floor(): Tensor;
  ceil(): Tensor;
  trunc(): Tensor;
  frac(): Tensor;
  clip(range: { min?: number; max?: number }): Tensor;
  nanToNum(options?: { nan?: number; posinf?: number; neginf?: number }): Tensor;
  isNaN(): Tensor;
  isFinite(): Tensor;
  isInf(): Tensor;
  logicalNot(): Tensor;
  bitwiseNot(): Tensor;
  to<E extends DType>(dtype: E): Tensor<E>;

  // activations
  sigmoid(): Tensor;
  logSigmoid(): Tensor;
  relu(): Tensor;
  relu6(): Tensor;
  silu(): Tensor;
  mish(): Tensor;
  softsign(): Tensor;
  tanhShrink(): Tensor;
  hardSigmoid(): Tensor;
  hardSwish(): Tensor;
  selu(): Tensor;
  leakyRelu(options?: { slope?: number }): Tensor;
  elu(options?: { alpha?: number }): Tensor;
  celu(options?: { alpha?: number }): Tensor;
  softplus(options?: { beta?: number; threshold?: number }): Tensor;
  hardTanh(options?: { min?: number; max?: number }): Tensor;
  softShrink(options?: { lambda?: number }): Tensor;
  hardShrink(options?: { lambda?: number }): Tensor;
  threshold(options: { threshold?: number; value?: number }): Tensor;
  gelu(options?: { approximate?: "none" | "tanh" }): Tensor;

  // elementwise, two tensors
  add(other: TensorLike): Tensor;
  sub(other: TensorLike): Tensor;
  mul(other: TensorLike): Tensor;
  div(other: TensorLike): Tensor;
  pow(exponent: TensorLike): Tensor;
  maximum(other: TensorLike): Tensor;
  minimum(other: TensorLike): Tensor;
  atan2(x: TensorLike): Tensor;
  hypot(other: TensorLike): Tensor;
  logAddExp(other: TensorLike): Tensor;
  remainder(divisor: TensorLike): Tensor;
  fmod(divisor: TensorLike): Tensor;
  floorDivide(divisor: TensorLike): Tensor;
  truncDivide(divisor: TensorLike): Tensor;
  equal(other: TensorLike): Tensor;
  notEqual(other: TensorLike): Tensor;
  less(other: TensorLike): Tensor;
  lessEqual(other: TensorLike): Tensor;
  greater(other: TensorLike): Tensor;
  greaterEqual(other: TensorLike): Tensor;
  logicalAnd(other: TensorLike): Tensor;
  logicalOr(other: TensorLike): Tensor;
  logicalXor(other: TensorLike): Tensor;
  bitwiseAnd(other: TensorLike): Tensor;
  bitwiseOr(other: TensorLike): Tensor;
  bitwiseXor(other: TensorLike): Tensor;
  leftShift(bits: TensorLike): Tensor;
  rightShift(bits: TensorLike): Tensor;
  /** Reads this tensor as the condition. */
  where(a: TensorLike, b: TensorLike): Tensor;
  lerp(end: Tensor, weight: Tensor | number): Tensor;

  // reductions
  sum(options?: Reduce): Tensor;
  mean(options?: Reduce): Tensor;
  variance(options?: Partial<VarianceOptions>): Tensor;
  std(options?: Partial<VarianceOptions>): Tensor;
  max(options?: Reduce): Tensor;
  min(options?: Reduce): Tensor;
  prod(options?: Reduce): Tensor;
  any(options?: Reduce): Tensor;
  all(options?: Reduce): Tensor;
  argmax(options?: ArgReduce): Tensor;
  argmin(options?: ArgReduce): Tensor;
  logSumExp(options?: Reduce): Tensor;
  norm(options?: Partial<NormOptions>): Tensor;
  cumsum(options?: Partial<AxisOptions>): Tensor;
  cumprod(options?: Partial<AxisOptions>): Tensor;
  sumTo(shape: Shape): Tensor;

  // shape
  reshape(shape: readonly number[]): Tensor;
  flatten(options?: { start?: number; end?: number }): Tensor;
  squeeze(axis?: number | readonly number[]): Tensor;
  unsqueeze(axis: number): Tensor;
  transpose(a?: number, b?: number): Tensor;
  permute(order: readonly number[]): Tensor;
  broadcastTo(shape: readonly number[]): Tensor;
  slice(ranges: readonly SliceRange[]): Tensor;
  select(index: number, options?: { axis?: number }): Tensor;
  split(size: number | readonly number[], options?: { axis?: number }): Tensor[];
  chunk(count: number, options?: { axis?: number }): Tensor[];
  flip(axis: number | readonly number[]): Tensor;
  diagonal(options?: { offset?: number }): Tensor;
  unfoldDim(options: { axis: number; size: number; step: number }): Tensor;
  pad(pads: readonly (readonly [number, number])[], options?: Partial<PadOptions>): Tensor;
  roll(shift: number | readonly number[], options?: { axis?: number | readonly number[] }): Tensor;
  tile(repeats: readonly number[]): Tensor;
  repeatInterleave(times: number, options?: { axis?: number }): Tensor;

  // index
  gather(index: TensorLike, options?: { axis?: number }): Tensor;
  indexSelect(index: TensorLike, options?: { axis?: number }): Tensor;
  indexAdd(index: TensorLike, source: Tensor, options?: { axis?: number; alpha?: number }): Tensor;
  scatter(index: TensorLike, source: TensorLike, options?: { axis?: number }): Tensor;
  scatterAdd(index: TensorLike, source: TensorLike, options?: { axis?: number }): Tensor;
  maskedFill(mask: TensorLike, value: number | Tensor): Tensor;
  maskedSelect(mask: TensorLike): Tensor;
  oneHot(options?: { classes?: number }): Tensor;
  /** Reads this tensor as the table. */
  embedding(ids: TensorLike, options?: { paddingIndex?: number }): Tensor;
  tril(options?: { offset?: number }): Tensor;
  triu(options?: { offset?: number }): Tensor;
  argsort(options?: Partial<SortOptions>): Tensor;
  sort(options?: Partial<SortOptions>): Ranked;
  topK(k: number, options?: Partial<TopKOptions>): Ranked;
  kthValue(k: number, options?: { axis?: number; keepDims?: boolean }): Ranked;
  median(options?: { axis?: number; keepDims?: boolean }): Ranked;

  // algebra
  matmul(other: TensorLike, options?: Partial<MatmulOptions>): Tensor;
  linear(weight: Tensor, bias?: Maybe): Tensor;
  dot(other: TensorLike): Tensor;
  outer(other: TensorLike): Tensor;

  // networks
  softmax(axis?: number): Tensor;
  logSoftmax(axis?: number): Tensor;
  softmin(axis?: number): Tensor;
  layerNorm(weight?: Maybe, bias?: Maybe, options?: Partial<LayerNormOptions>): Tensor;
  rmsNorm(weight?: Maybe, options?: Partial<LayerNormOptions>): Tensor;
  batchNorm(mean?: Maybe, variance?: Maybe, weight?: Maybe, bias?: Maybe, options?: { eps?: number }): Tensor;
  groupNorm(weight?: Maybe, bias?: Maybe, options?: { groups?: number; eps?: number }): Tensor;
  instanceNorm(weight?: Maybe, bias?: Maybe, options?: { eps?: number }): Tensor;
  conv1d(weight: Tensor, bias?: Maybe | Partial<Conv1d>, options?: Partial<Conv1d>): Tensor;
  conv2d(weight: Tensor, bias?: Maybe | Partial<ConvOptions>, options?: Partial<ConvOptions>): Tensor;
  conv2dTranspose(
    weight: Tensor,
    bias?: Maybe | Partial<ConvOptions & { outputPadding: number | readonly number[] }>,
    options?: Partial<ConvOptions & { outputPadding: number | readonly number[] }>,
  ): Tensor;
  unfold(options: { kernelSize: number | readonly number[] } & Partial<Omit<ConvOptions, "groups">>): Tensor;
  maxPool2d(
    options:
      | number
      | readonly [number, number]
      | (Partial<MaxPoolOptions> & Pick<MaxPoolOptions, "kernelSize">),
  ): Tensor;
  avgPool2d(
    options:
      | number
      | readonly [number, number]
      | (Partial<AvgPoolOptions> & Pick<AvgPoolOptions, "kernelSize">),
  ): Tensor;
  maxPool1d(options: number | (Partial<MaxPoolOptions> & Pick<MaxPoolOptions, "kernelSize">)): Tensor;
  avgPool1d(options: number | (Partial<AvgPoolOptions> & Pick<AvgPoolOptions, "kernelSize">)): Tensor;
  adaptiveAvgPool2d(outputSize: number | readonly (number | null)[]): Tensor;
  dropout(options?: Partial<DropoutOptions>): Tensor;
  /** Reads this tensor as the queries. */
  scaledDotProductAttention(k: Tensor, v: Tensor, options?: Partial<AttentionOptions>): Tensor;
  /** Reads this tensor as the queries. */
  groupedQuery(k: Tensor, v: Tensor, options?: Partial<AttentionOptions>): Tensor;
  rotary(options?: Partial<RotaryOptions>): Tensor;
}
