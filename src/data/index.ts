/**
 * Batches, tokenizers and named data sets.
 *
 * @module bitgrad/data
 */

import "../ops/all.ts";

export {
  type EncodeBatchOptions,
  type EncodedBatch,
  encodeBatch,
  type LengthBatchesOptions,
  lengthBatches,
} from "./batches.ts";
export { type CsvOptions, csv, parseCsv, text } from "./csv.ts";
export { glyphs } from "./glyphs.ts";
export { idx } from "./idx.ts";
export {
  type NormalizeImagesOptions,
  normalizeImages,
  type RandomCropOptions,
  type RandomFlipOptions,
  randomCrop,
  randomFlip,
} from "./images.ts";
export { type Batch, type Loader, type LoaderOptions, type LoaderState, loader } from "./loader.ts";
export type { FetchOptions } from "./sets/fetch-file.ts";
export {
  cifar10Classes,
  cifar10Subset,
  digits8x8,
  fashionMnist,
  fashionMnistClasses,
  type ImageOptions,
  type ImageSet,
  mnist,
} from "./sets/images.ts";
export {
  agNews,
  agNewsClasses,
  names,
  rtPolarity,
  sst2,
  subj,
  type TextSet,
  tinyShakespeare,
  tinyStories,
  trec,
  trecClasses,
  wikitext2,
} from "./sets/texts.ts";
export type { Column, Dataset, IndexedDataset } from "./sources.ts";
export { type BpeOptions, type BpeTokenizer, bpe } from "./tokenizers/bpe.ts";
export {
  llama2cTokenizer,
  type SentencePieceTokenizer,
  sentencePieceBpe,
} from "./tokenizers/sentence-piece.ts";
export {
  byteTokenizer,
  type CharTokenizer,
  charTokenizer,
  type TokenDecoder,
  type Tokenizer,
} from "./tokenizers/tokenizer.ts";
export { type TrainBpeOptions, trainBpe } from "./tokenizers/train-bpe.ts";
export { type WordPieceTokenizer, wordPiece } from "./tokenizers/word-piece.ts";
