/**
 * Packed models, which run without autograd: their files, layers and what they may take.
 *
 * @module bitgrad/packed
 */

export type { GenerateOptions, StreamOptions } from "../generation/loop.ts";
export { PackedCache } from "./cpu/cache.ts";
export type { KeyValueCache } from "./executor.ts";
export {
  FieldReader,
  type Fields,
  type PackedKind,
  type PackedLayer,
  type PackedStep,
} from "./file/layer.ts";
export { type CodedWeight, PackedWeight } from "./file/weight.ts";
export { PackedAttention, type PackedAttentionCall } from "./layers/attention.ts";
export { PackedConv1d, PackedConv2d } from "./layers/conv.ts";
export { PackedConvTranspose2d } from "./layers/conv-transpose.ts";
export { PackedCopyFeatures } from "./layers/copy-features.ts";
export { PackedHadamard } from "./layers/hadamard.ts";
export { PackedBatchNorm, PackedBranch, PackedPReLU, PackedSubsample } from "./layers/images.ts";
export {
  PackedLanguage,
  type PackedLanguageCall,
  PackedSeq2Seq,
  type PackedSeq2SeqCall,
} from "./layers/language.ts";
export { PackedEmbedding, PackedLinear } from "./layers/linear.ts";
export { PackedNorm } from "./layers/norm.ts";
export { PackedFlatten, PackedPool } from "./layers/pool.ts";
export { PackedFunction, PackedSequential } from "./layers/sequential.ts";
export { PackedBlock, type PackedBlockCall, PackedFeedForward } from "./layers/transformer.ts";
export {
  loadPacked,
  type PackedCall,
  PackedModel,
  type PackedOptions,
} from "./model.ts";
export type { PackedInput } from "./products/input.ts";
export type { PackedBudget, PackedSource } from "./run.ts";
export type { Ids, Values } from "./values.ts";
