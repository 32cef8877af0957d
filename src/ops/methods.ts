/**
 * The ops that are methods of Tensor, each by its name: the public list, installed by `all.ts`. A name here and its line in
 * `tensor-methods.ts` belong together; neither compiles without the other.
 */

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
} from "./activation.ts";
export { groupedQuery, scaledDotProductAttention } from "./attention.ts";
export { batchNorm } from "./batch-norm.ts";
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
  sub,
  truncDivide,
  where,
} from "./binary.ts";
export { conv1d, conv2d, conv2dTranspose, unfold } from "./conv.ts";
export { dropout } from "./create.ts";
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
} from "./index-ops.ts";
export { chunk, split } from "./join.ts";
export { dot, linear, matmul, outer } from "./matmul.ts";
export {
  broadcastTo,
  diagonal,
  flatten,
  flip,
  permute,
  reshape,
  select,
  slice,
  squeeze,
  transpose,
  unfoldDim,
  unsqueeze,
} from "./movement.ts";
export { groupNorm, instanceNorm, layerNorm, rmsNorm } from "./norm.ts";
export { adaptiveAvgPool2d, avgPool1d, avgPool2d, maxPool1d, maxPool2d } from "./pool.ts";
export {
  all,
  any,
  argmax,
  argmin,
  logSumExp,
  max,
  mean,
  min,
  norm,
  prod,
  sum,
} from "./reduce.ts";
export { pad, repeatInterleave, roll, tile } from "./repeat.ts";
export { rotary } from "./rotary.ts";
export { cumprod, cumsum } from "./scan.ts";
export { logSoftmax, softmax, softmin } from "./softmax.ts";
export { argsort, kthValue, median, quantile, sort, topK } from "./sort.ts";
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
} from "./unary.ts";
export { std, variance } from "./variance.ts";
