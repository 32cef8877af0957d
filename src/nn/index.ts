/**
 * Layers, losses, parameters and what walks a model.
 *
 * @module bitgrad/nn
 */

import "../ops/all.ts";

export { type MultinomialOptions, multinomial } from "../ops/multinomial.ts";

export {
  type AttentionCall,
  type AttentionOptions,
  type Capture,
  MultiHeadAttention,
  type SelfAttentionCall,
} from "./attention.ts";
export { BatchNorm1d, BatchNorm2d, type BatchNormOptions } from "./batch-norm.ts";
export { blank, hasData, withoutData, withoutDraws } from "./blank.ts";
export { type KeyValueCache, KVCache } from "./cache.ts";
export { clone } from "./clone.ts";
export { Conv1d, type Conv1dOptions, Conv2d, type Conv2dOptions } from "./conv.ts";
export { ConvTranspose2d, type ConvTranspose2dOptions } from "./conv-transpose.ts";
export { CopyFeatures } from "./copy-features.ts";
export {
  type CrossEntropyOptions,
  crossEntropy,
  type MultiMarginOptions,
  multiMarginLoss,
  type NllOptions,
  nllLoss,
} from "./cross-entropy.ts";
export { Dropout } from "./dropout.ts";
export { Embedding, type EmbeddingOptions } from "./embedding.ts";
export { EmbeddingBag, type EmbeddingBagCall, type EmbeddingBagOptions } from "./embedding-bag.ts";
export { type Activation, FeedForward, type FeedForwardOptions } from "./feed-forward.ts";
export { cosineSimilarity, glu, type NormalizeOptions, normalize } from "./functional.ts";
export { Hadamard, type HadamardOptions } from "./hadamard.ts";
export * as init from "./init.ts";
export { type InterpolateOptions, interpolate, Upsample } from "./interpolate.ts";
export { isLayer, type Layer } from "./layer.ts";
export { type Correction, type InputStep, Linear, type LinearOptions } from "./linear.ts";
export {
  bceLoss,
  bceWithLogits,
  gaussianNllLoss,
  huberLoss,
  type KlDivOptions,
  klDiv,
  l1Loss,
  mseLoss,
  smoothL1Loss,
} from "./losses.ts";
export { LowRank } from "./low-rank.ts";
export {
  cosineEmbedding,
  hingeEmbeddingLoss,
  marginRankingLoss,
  softMarginLoss,
  type TripletMarginOptions,
  tripletMarginLoss,
} from "./margin-losses.ts";
export { evaluate, setTrainable, train, whileEvaluating, whileFloat } from "./modes.ts";
export { GroupNorm, InstanceNorm2d, LayerNorm, type NormOptions, RMSNorm } from "./norm.ts";
export type {
  BilinearProduct,
  InputQuantizer,
  PackedFields,
  Packer,
  WeightedLayer,
} from "./packing.ts";
export { isParameter, Parameter, type ParameterOptions, type Transform } from "./parameter.ts";
export { parametrize, removeParametrization, type TransformFactory } from "./parametrize.ts";
export { matchPath, type PathPattern } from "./pattern.ts";
export { AvgPool2d, GlobalAvgPool2d, MaxPool2d } from "./pool.ts";
export { PReLU, prelu } from "./prelu.ts";
export {
  GRU,
  LSTM,
  type LstmCall,
  type LstmResult,
  type RecurrentCall,
  type RecurrentOptions,
  type RecurrentResult,
  RNN,
  type RnnOptions,
} from "./recurrent.ts";
export {
  type CellOptions,
  GRUCell,
  LSTMCell,
  RNNCell,
  type RnnCellOptions,
} from "./recurrent-cells.ts";
export type { Reduction, ReductionOption } from "./reduction.ts";
export {
  Flatten,
  type FlattenOptions,
  Residual,
  type ResidualOptions,
  Subsample,
  type SubsampleOptions,
} from "./residual.ts";
export { Sequential, type Step } from "./sequential.ts";
export { SqueezeExcite, type SqueezeExciteOptions } from "./squeeze-excite.ts";
export {
  type LoadReport,
  type LoadStateOptions,
  loadStateDict,
  parameterCount,
  type StateDict,
  stateDict,
} from "./state.ts";
export { type InputStatistics, type Statistic, type StatisticsOptions, statistics } from "./statistics.ts";
export { type Store, signs } from "./store.ts";
export type { ResidualStream } from "./stream.ts";
export { type Tapped, type TappedCall, type Taps, taps } from "./taps.ts";
export {
  type DecoderCall,
  type DecoderLayerOptions,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
  type TransformerLayerOptions,
} from "./transformer.ts";
export {
  type Found,
  findParameters,
  namedBuffers,
  namedLayers,
  namedParameters,
  parameters,
} from "./tree.ts";
export { type Place, placeIndices, type ScalePair, type Units } from "./units.ts";
