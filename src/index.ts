/**
 * Tensors, ops and gradients.
 *
 * @module bitgrad
 */

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
export type { AttentionOptions } from "./ops/attention.ts";
export { straightThrough } from "./ops/binary.ts";
export type { ConvOptions } from "./ops/conv.ts";
export {
  arange,
  bernoulli,
  type CreateOptions,
  type DrawOptions,
  type DropoutOptions,
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
export { bincount, nonzero, searchsorted, type Unique, unique } from "./ops/distinct.ts";
export { type ContractedAxes, einsum, tensordot } from "./ops/einsum.ts";
export { concat, meshgrid, stack } from "./ops/join.ts";
export { addmm, type MatmulOptions } from "./ops/matmul.ts";
export * from "./ops/methods.ts";
export type { SliceRange } from "./ops/movement.ts";
export type { LayerNormOptions } from "./ops/norm.ts";
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
  type MaxPoolOptions,
  maxPool2dWithIndices,
  type PoolOptions,
} from "./ops/pool.ts";
export type { NormOptions, ReduceOptions } from "./ops/reduce.ts";
export type { PadOptions } from "./ops/repeat.ts";
export type { RotaryOptions } from "./ops/rotary.ts";
export { type AxisOptions, cummax, cummin, type DiffOptions, diff } from "./ops/scan.ts";
export { type OpVisitor, shapesOnly } from "./ops/shapes-only.ts";
export type { QuantileOptions, Ranked, SortOptions, TopKOptions } from "./ops/sort.ts";
export type { VarianceOptions } from "./ops/variance.ts";
export type { Padding } from "./ops/windows.ts";
export { manualSeed } from "./random/default.ts";
export { Rng, type RngState } from "./random/rng.ts";
export type { Shape } from "./shape.ts";
export { keep, memory, type Scope, scope } from "./storage.ts";
export { type BackwardOptions, backward, noGrad, type VjpContext } from "./tape.ts";
export { isTensor, Tensor, type TensorLike, type TensorOptions, tensor } from "./tensor.ts";
