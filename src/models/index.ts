/**
 * Transformers, language models and small networks of images.
 *
 * @module bitgrad/models
 */

import "../ops/all.ts";

export { type SampleOptions, sampleToken } from "../generation/sample.ts";
export { Bert, type BertCall, type BertConfig, MaskedLmHead } from "./bert.ts";
export { type CausalModel, type GenerateOptions, generate, type StreamOptions, stream } from "./generate.ts";
export { Gpt, type GptConfig } from "./gpt.ts";
export { gptNames } from "./gpt2-names.ts";
export type { CausalCall, EmbedCall, LanguageCall } from "./language.ts";
export { Llama, type LlamaConfig } from "./llama.ts";
export { readLlama2c } from "./llama2c.ts";
export { ResNet, ResNet8, type ResNet8Config, ResNetBlock, type ResNetConfig } from "./resnet.ts";
export { type MlpOptions, MnistCnn, type MnistCnnConfig, mlp } from "./small.ts";
export {
  type DecodeCall,
  type StackCall,
  Transformer,
  type TransformerCall,
  type TransformerConfig,
} from "./transformer.ts";
