/** The public list of `bitgrad/packed`. */

export type { GenerateOptions, StreamOptions } from "../generation.ts";
export { PackedAttention, type PackedAttentionCall, PackedCache } from "./attention.ts";
export { PackedConv1d, PackedConv2d } from "./conv.ts";
export { PackedBatchNorm, type PackedBranch, type PackedPReLU, type PackedSubsample } from "./images.ts";
export type { PackedInput } from "./input.ts";
export {
  PackedLanguage,
  type PackedLanguageCall,
  PackedSeq2Seq,
  type PackedSeq2SeqCall,
} from "./language.ts";
export type { PackedLayer, PackedStep } from "./layer.ts";
export { PackedEmbedding, PackedLinear } from "./linear.ts";
export { loadPacked, type PackedBudget, type PackedCall, PackedModel, type PackedSource } from "./model.ts";
export { PackedNorm } from "./norm.ts";
export { PackedFunction, PackedSequential } from "./sequential.ts";
export { PackedBlock, type PackedBlockCall, PackedFeedForward } from "./transformer.ts";
export type { Ids, Values } from "./values.ts";
export { type CodedWeight, PackedWeight } from "./weight.ts";
