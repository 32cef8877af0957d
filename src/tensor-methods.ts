/**
 * The fluent API: one line an op, each a free function of the same name with the tensor first. `ops/all.ts` installs them:
 * those that `ops/methods.ts` lists, and it compiles only where both lists agree.
 */

import type { ArrayOf, BesideNumber, Counted, DType, Float, Promoted, TypedArray } from "./dtype.ts";
import type { NestedArray } from "./nested.ts";
import type { AttentionOptions } from "./ops/attention.ts";
import type { ConvOptions } from "./ops/conv.ts";
import type { DropoutOptions } from "./ops/create.ts";
import type { MatmulOptions } from "./ops/matmul.ts";
import type { SliceRange } from "./ops/movement.ts";
import type { LayerNormOptions } from "./ops/norm.ts";
import type { AvgPoolOptions, MaxPoolOptions } from "./ops/pool.ts";
import type { NormOptions, ReduceOptions } from "./ops/reduce.ts";
import type { PadOptions } from "./ops/repeat.ts";
import type { RotaryOptions } from "./ops/rotary.ts";
import type { AxisOptions } from "./ops/scan.ts";
import type { QuantileOptions, Ranked, SortOptions, TopKOptions } from "./ops/sort.ts";
import type { VarianceOptions } from "./ops/variance.ts";
import type { Shape } from "./shape.ts";
import type { BackwardOptions } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** What ops accept where a tensor is expected: numbers take the dtype of the tensors beside them. */
export type TensorLike = Tensor | number | boolean | TypedArray | NestedArray;

/** The dtype that `tensor` reads data as. */
export type DTypeOf<T> = NestedArray extends T
  ? DType
  : T extends Tensor<infer D>
    ? D
    : T extends TypedArray
      ? { [D in Exclude<DType, "bool">]: T extends ArrayOf<D> ? D : never }[Exclude<DType, "bool">]
      : T extends readonly (infer E)[]
        ? [E] extends [never]
          ? "float32"
          : [E] extends [boolean]
            ? "bool"
            : [E] extends [number | boolean]
              ? "float32"
              : DTypeOf<E>
        : T extends boolean
          ? "bool"
          : "float32";

type Reduce = Partial<ReduceOptions>;
type ArgReduce = { axis?: number | null; keepDims?: boolean };
type Maybe = Tensor | null;
type Conv1d = Omit<ConvOptions, "padding"> & { padding: number | readonly [number, number] };

/** Arithmetic in the dtype that two operands meet in. Only a plain number that is written out tells whether it is an integer. */
export interface Arithmetic<D extends DType> {
  <N extends number>(other: N): Tensor<BesideNumber<D, N>>;
  <E extends DType>(other: Tensor<E>): Tensor<Promoted<D, E>>;
  (other: TensorLike): Tensor;
}

export type Comparison = (other: TensorLike) => Tensor<"bool">;

export interface TensorMethods<D extends DType = DType> {
  // gradient
  backward(gradient?: Tensor | null | BackwardOptions, options?: BackwardOptions): void;

  // elementwise, one tensor
  neg(): Tensor<D>;
  abs(): Tensor<D>;
  exp(): Tensor<Float<D>>;
  exp2(): Tensor<Float<D>>;
  expm1(): Tensor<Float<D>>;
  log(): Tensor<Float<D>>;
  log2(): Tensor<Float<D>>;
  log10(): Tensor<Float<D>>;
  log1p(): Tensor<Float<D>>;
  sqrt(): Tensor<Float<D>>;
  rsqrt(): Tensor<Float<D>>;
  square(): Tensor<D>;
  reciprocal(): Tensor<Float<D>>;
  sin(): Tensor<Float<D>>;
  cos(): Tensor<Float<D>>;
  tan(): Tensor<Float<D>>;
  asin(): Tensor<Float<D>>;
  acos(): Tensor<Float<D>>;
  atan(): Tensor<Float<D>>;
  sinh(): Tensor<Float<D>>;
  cosh(): Tensor<Float<D>>;
  tanh(): Tensor<Float<D>>;
  erf(): Tensor<Float<D>>;
  erfinv(): Tensor<Float<D>>;
  sinc(): Tensor<Float<D>>;
  sign(): Tensor<D>;
  round(): Tensor<D>;
  floor(): Tensor<D>;
  ceil(): Tensor<D>;
  trunc(): Tensor<D>;
  frac(): Tensor<D>;
  clip(range: { min?: number; max?: number }): Tensor<D>;
  nanToNum(options?: { nan?: number; posinf?: number; neginf?: number }): Tensor<D>;
  isNaN(): Tensor<"bool">;
  isFinite(): Tensor<"bool">;
  isInf(): Tensor<"bool">;
  logicalNot(): Tensor<"bool">;
  bitwiseNot(): Tensor<D>;
  to<E extends DType>(dtype: E): Tensor<E>;

  // activations
  sigmoid(): Tensor<Float<D>>;
  logSigmoid(): Tensor<Float<D>>;
  relu(): Tensor<Float<D>>;
  relu6(): Tensor<Float<D>>;
  silu(): Tensor<Float<D>>;
  mish(): Tensor<Float<D>>;
  softsign(): Tensor<Float<D>>;
  tanhShrink(): Tensor<Float<D>>;
  hardSigmoid(): Tensor<Float<D>>;
  hardSwish(): Tensor<Float<D>>;
  selu(): Tensor<Float<D>>;
  leakyRelu(options?: { slope?: number }): Tensor<Float<D>>;
  elu(options?: { alpha?: number }): Tensor<Float<D>>;
  celu(options?: { alpha?: number }): Tensor<Float<D>>;
  softplus(options?: { beta?: number; threshold?: number }): Tensor<Float<D>>;
  hardTanh(options?: { min?: number; max?: number }): Tensor<Float<D>>;
  softShrink(options?: { lambda?: number }): Tensor<Float<D>>;
  hardShrink(options?: { lambda?: number }): Tensor<Float<D>>;
  threshold(options: { threshold?: number; value?: number }): Tensor<Float<D>>;
  gelu(options?: { approximate?: "none" | "tanh" }): Tensor<Float<D>>;

  // elementwise, two tensors
  add: Arithmetic<D>;
  sub: Arithmetic<D>;
  mul: Arithmetic<D>;
  div(other: TensorLike): Tensor;
  pow(exponent: TensorLike): Tensor;
  maximum: Arithmetic<D>;
  minimum: Arithmetic<D>;
  atan2(x: TensorLike): Tensor;
  hypot(other: TensorLike): Tensor;
  logAddExp(other: TensorLike): Tensor;
  remainder: Arithmetic<D>;
  fmod: Arithmetic<D>;
  floorDivide: Arithmetic<D>;
  truncDivide: Arithmetic<D>;
  equal: Comparison;
  notEqual: Comparison;
  less: Comparison;
  lessEqual: Comparison;
  greater: Comparison;
  greaterEqual: Comparison;
  logicalAnd: Comparison;
  logicalOr: Comparison;
  logicalXor: Comparison;
  bitwiseAnd(other: TensorLike): Tensor;
  bitwiseOr(other: TensorLike): Tensor;
  bitwiseXor(other: TensorLike): Tensor;
  leftShift(bits: TensorLike): Tensor;
  rightShift(bits: TensorLike): Tensor;
  /** Reads this tensor as the condition. */
  where(a: TensorLike, b: TensorLike): Tensor;
  lerp(end: Tensor, weight: Tensor | number): Tensor;

  // reductions
  sum(options?: Reduce): Tensor<Counted<D>>;
  mean(options?: Reduce): Tensor<Float<D>>;
  variance(options?: Partial<VarianceOptions>): Tensor<Float<D>>;
  std(options?: Partial<VarianceOptions>): Tensor<Float<D>>;
  max(options?: Reduce): Tensor<D>;
  min(options?: Reduce): Tensor<D>;
  prod(options?: Reduce): Tensor<Counted<D>>;
  any(options?: Reduce): Tensor<"bool">;
  all(options?: Reduce): Tensor<"bool">;
  argmax(options?: ArgReduce): Tensor<"int32">;
  argmin(options?: ArgReduce): Tensor<"int32">;
  logSumExp(options?: Reduce): Tensor<Float<D>>;
  norm(options?: Partial<NormOptions>): Tensor<Float<D>>;
  cumsum(options?: Partial<AxisOptions>): Tensor<Counted<D>>;
  cumprod(options?: Partial<AxisOptions>): Tensor<Counted<D>>;
  sumTo(shape: Shape): Tensor<Counted<D>>;

  // shape
  reshape(shape: readonly number[]): Tensor<D>;
  flatten(options?: { start?: number; end?: number }): Tensor<D>;
  squeeze(axis?: number | readonly number[]): Tensor<D>;
  unsqueeze(axis: number): Tensor<D>;
  transpose(a?: number, b?: number): Tensor<D>;
  permute(order: readonly number[]): Tensor<D>;
  broadcastTo(shape: readonly number[]): Tensor<D>;
  slice(ranges: readonly SliceRange[]): Tensor<D>;
  select(index: number, options?: { axis?: number }): Tensor<D>;
  split(size: number | readonly number[], options?: { axis?: number }): Tensor<D>[];
  chunk(count: number, options?: { axis?: number }): Tensor<D>[];
  flip(axis: number | readonly number[]): Tensor<D>;
  diagonal(options?: { offset?: number }): Tensor<D>;
  unfoldDim(options: { axis: number; size: number; step: number }): Tensor<D>;
  pad(pads: readonly (readonly [number, number])[], options?: Partial<PadOptions>): Tensor;
  roll(shift: number | readonly number[], options?: { axis?: number | readonly number[] }): Tensor<D>;
  tile(repeats: readonly number[]): Tensor<D>;
  repeatInterleave(times: number, options?: { axis?: number }): Tensor<D>;

  // index
  gather(index: TensorLike, options?: { axis?: number }): Tensor<D>;
  indexSelect(index: TensorLike, options?: { axis?: number }): Tensor<D>;
  indexAdd(index: TensorLike, source: Tensor, options?: { axis?: number; alpha?: number }): Tensor;
  scatter(index: TensorLike, source: TensorLike, options?: { axis?: number }): Tensor;
  scatterAdd(index: TensorLike, source: TensorLike, options?: { axis?: number }): Tensor;
  maskedFill(mask: TensorLike, value: number | Tensor): Tensor;
  maskedSelect(mask: TensorLike): Tensor<D>;
  oneHot(options?: { classes?: number }): Tensor;
  /** Reads this tensor as the table. */
  embedding(ids: TensorLike, options?: { paddingIndex?: number }): Tensor;
  tril(options?: { offset?: number }): Tensor<D>;
  triu(options?: { offset?: number }): Tensor<D>;
  argsort(options?: Partial<SortOptions>): Tensor<"int32">;
  sort(options?: Partial<SortOptions>): Ranked<D>;
  topK(k: number, options?: Partial<TopKOptions>): Ranked<D>;
  kthValue(k: number, options?: { axis?: number; keepDims?: boolean }): Ranked<D>;
  median(options?: { axis?: number; keepDims?: boolean }): Ranked<D>;
  quantile(q: TensorLike, options?: Partial<QuantileOptions>): Tensor<Float<D>>;

  // algebra
  matmul(other: TensorLike, options?: Partial<MatmulOptions>): Tensor;
  linear(weight: Tensor, bias?: Maybe): Tensor;
  dot(other: TensorLike): Tensor;
  outer(other: TensorLike): Tensor;

  // networks
  softmax(axis?: number): Tensor<Float<D>>;
  logSoftmax(axis?: number): Tensor<Float<D>>;
  softmin(axis?: number): Tensor<Float<D>>;
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
  ): Tensor<Float<D>>;
  avgPool2d(
    options:
      | number
      | readonly [number, number]
      | (Partial<AvgPoolOptions> & Pick<AvgPoolOptions, "kernelSize">),
  ): Tensor<Float<D>>;
  maxPool1d(
    options: number | (Partial<MaxPoolOptions> & Pick<MaxPoolOptions, "kernelSize">),
  ): Tensor<Float<D>>;
  avgPool1d(
    options: number | (Partial<AvgPoolOptions> & Pick<AvgPoolOptions, "kernelSize">),
  ): Tensor<Float<D>>;
  adaptiveAvgPool2d(outputSize: number | readonly (number | null)[]): Tensor<Float<D>>;
  dropout(options?: Partial<DropoutOptions>): Tensor;
  /** Reads this tensor as the queries. */
  scaledDotProductAttention(k: Tensor, v: Tensor, options?: Partial<AttentionOptions>): Tensor;
  /** Reads this tensor as the queries. */
  groupedQuery(k: Tensor, v: Tensor, options?: Partial<AttentionOptions>): Tensor;
  rotary(options?: Partial<RotaryOptions>): Tensor<Float<D>>;
}
