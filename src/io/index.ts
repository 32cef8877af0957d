/**
 * Models and tensors in safetensors files.
 *
 * @module bitgrad/io
 */

import "../ops/all.ts";

export type { StoredFloat } from "./formats.ts";
export { mergeImportance, readImatrix, writeImatrix } from "./imatrix.ts";
export type { ColumnImportance, Imatrix, ImatrixOptions } from "./imatrix-files.ts";
export { type LoadOptions, load, save } from "./load.ts";
export type { ModelClass } from "./model.ts";
export { composeNames, gpt2Names, type NameMap, nameTable, type Rename, type Renamed } from "./names.ts";
export {
  type ReadOptions,
  readSafetensors,
  type TensorFile,
  type WriteOptions,
  writeSafetensors,
} from "./safetensors.ts";
export { type ShardOptions, saveSharded } from "./shards.ts";
export type { BrowserFileHandle, FileHandleLike, Sink, Source } from "./source.ts";
