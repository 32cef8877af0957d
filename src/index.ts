/** The public list of `bitgrad`: tensors, ops and gradients. */

import "./ops/all.ts";

export {
  checkpoint,
  type GradOf,
  type GradOptions,
  type GradsOf,
  grad,
  hvp,
  valueAndGrad,
  vjp,
} from "./autograd.ts";
export {
  type BackendInfo,
  type BackendName,
  backendInfo,
  setHeapBudget,
  setThreads,
  useBackend,
} from "./backend.ts";
export type { ArrayOf, DType, FloatArray, TypedArray } from "./dtype.ts";
export { promote } from "./dtype.ts";
export {
  BackendError,
  BitgradError,
  DTypeError,
  FormatError,
  GradError,
  OptionError,
  ShapeError,
  StageError,
} from "./errors.ts";
export type { NestedArray } from "./nested.ts";
export {
  celu,
  elu,
  gelu,
  hardShrink,
  hardSigmoid,
  hardSwish,
  hardTanh,
  leakyRelu,
  logSigmoid,
  mish,
  relu,
  relu6,
  selu,
  sigmoid,
  silu,
  softplus,
  softShrink,
  softsign,
  tanhShrink,
  threshold,
} from "./ops/activation.ts";
export {
  type AttentionOptions,
  groupedQuery,
  type RotaryOptions,
  rotary,
  scaledDotProductAttention,
} from "./ops/attention.ts";
export {
  add,
  atan2,
  bitwiseAnd,
  bitwiseOr,
  bitwiseXor,
  div,
  equal,
  floorDivide,
  fmod,
  greater,
  greaterEqual,
  hypot,
  leftShift,
  lerp,
  less,
  lessEqual,
  logAddExp,
  logicalAnd,
  logicalOr,
  logicalXor,
  maximum,
  minimum,
  mul,
  notEqual,
  pow,
  remainder,
  rightShift,
  straightThrough,
  sub,
  truncDivide,
  where,
} from "./ops/binary.ts";
export { type ConvOptions, conv1d, conv2d, conv2dTranspose, unfold } from "./ops/conv.ts";
export {
  arange,
  bernoulli,
  type CreateOptions,
  type DrawOptions,
  type DropoutOptions,
  dropout,
  eye,
  full,
  linspace,
  ones,
  rand,
  randint,
  randn,
  sinusoidalPositions,
  zeros,
} from "./ops/create.ts";
export { einsum } from "./ops/einsum.ts";
export {
  embedding,
  gather,
  indexAdd,
  indexSelect,
  maskedFill,
  maskedSelect,
  oneHot,
  scatter,
  scatterAdd,
  tril,
  triu,
} from "./ops/index-ops.ts";
export { chunk, concat, split, stack } from "./ops/join.ts";
export { addmm, dot, linear, type MatmulOptions, matmul, outer } from "./ops/matmul.ts";
export {
  broadcastTo,
  diagonal,
  flatten,
  flip,
  permute,
  reshape,
  type SliceRange,
  select,
  slice,
  squeeze,
  transpose,
  unfoldDim,
  unsqueeze,
} from "./ops/movement.ts";
export { batchNorm, groupNorm, instanceNorm, type LayerNormOptions, layerNorm, rmsNorm } from "./ops/norm.ts";
export {
  checkNumerics,
  defineMultiOp,
  defineOp,
  type MultiOpDefinition,
  type Op,
  type OpDefinition,
} from "./ops/op.ts";
export {
  type AvgPoolOptions,
  adaptiveAvgPool2d,
  avgPool1d,
  avgPool2d,
  type MaxPoolOptions,
  maxPool1d,
  maxPool2d,
  maxPool2dWithIndices,
  type PoolOptions,
} from "./ops/pool.ts";
export {
  all,
  any,
  argmax,
  argmin,
  logSumExp,
  max,
  mean,
  min,
  type NormOptions,
  norm,
  prod,
  type ReduceOptions,
  std,
  sum,
  type VarianceOptions,
  variance,
} from "./ops/reduce.ts";
export { type PadOptions, pad, repeatInterleave, roll, tile } from "./ops/repeat.ts";
export { type AxisOptions, cumprod, cumsum } from "./ops/scan.ts";
export { logSoftmax, softmax, softmin } from "./ops/softmax.ts";
export {
  argsort,
  kthValue,
  median,
  type Ranked,
  type SortOptions,
  sort,
  type TopKOptions,
  topK,
} from "./ops/sort.ts";
export {
  abs,
  acos,
  asin,
  atan,
  bitwiseNot,
  ceil,
  clip,
  cos,
  cosh,
  erf,
  erfinv,
  exp,
  exp2,
  expm1,
  floor,
  frac,
  isFinite,
  isInf,
  isNaN,
  log,
  log1p,
  log2,
  log10,
  logicalNot,
  nanToNum,
  neg,
  reciprocal,
  round,
  rsqrt,
  sign,
  sin,
  sinc,
  sinh,
  sqrt,
  square,
  tan,
  tanh,
  to,
  trunc,
} from "./ops/unary.ts";
export type { Padding } from "./ops/windows.ts";
export { manualSeed } from "./random/default.ts";
export { Rng, type RngState } from "./random/rng.ts";
export type { Shape } from "./shape.ts";
export { keep, memory, type Scope, scope } from "./storage.ts";
export { type BackwardOptions, backward, noGrad, type VjpContext } from "./tape.ts";
export { isTensor, Tensor, type TensorLike, type TensorOptions, tensor } from "./tensor.ts";
