/** Models to files and back. */

import { isPlainObject, OptionError, readOptions, show } from "../errors.ts";
import { loadStateDict, stateDict } from "../nn/state.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import type { Conversions } from "./formats.ts";
import { type Rename, renameTensors } from "./names.ts";
import { readSource } from "./read.ts";
import {
  checkConversions,
  joinDraft,
  layOut,
  type ReadOptions,
  readDefaults,
  type TensorFile,
  type WriteOptions,
  writeDefaults,
} from "./safetensors.ts";
import { type Sink, type Source, writeSink } from "./source.ts";

/**
 * Writes a model (its parameters and buffers, tied ones once), tensors by name, or a packed model, which `loadPacked` of
 * bitgrad/packed reads and which takes no options, as safetensors. A path is replaced whole or
 * not at all; with null for the sink the bytes are returned. Throws DTypeError where narrowing would make infinity.
 */
export async function save(sink: Sink, model: object, options?: WriteOptions): Promise<void>;
export async function save(sink: null, model: object, options?: WriteOptions): Promise<Uint8Array>;
export async function save(sink: Sink | null, model: object, options?: WriteOptions): Promise<unknown> {
  const checked = readOptions("save", options, writeDefaults);
  if (isPacked(model)) {
    if (Object.keys(options ?? {}).length > 0) {
      throw new OptionError(`save: a packed model takes no options, got ${show(Object.keys(options!))}`);
    }
    const bytes = model.toBytes();
    if (sink === null) return bytes;
    return writeSink("save", sink, [bytes]);
  }
  const draft = layOut("save", tensorsOf(model), checked);
  if (sink === null) return joinDraft(draft);
  await writeSink("save", sink, draft.chunks());
}

/** By its method, so that who saves tensors need not load the packed layers. */
const isPacked = (model: object): model is { toBytes(): Uint8Array } =>
  typeof (model as { toBytes?: unknown } | null)?.toBytes === "function";

/** The tensors of a record as they are, and of a model by name, buffers too. */
export const tensorsOf = (model: object): Readonly<Record<string, Tensor>> =>
  isPlainObject(model) && Object.values(model).every(isTensor)
    ? (model as Record<string, Tensor>)
    : stateDict(model);

export interface LoadOptions<M extends object = object> extends ReadOptions {
  /** The model to load into; without it the tensors are returned. */
  into?: M;
  /** Whether names that the file or the model lacks are errors; on unless told otherwise. */
  strict?: boolean;
  /** The model's names for the file's, such as `gpt2Names`. */
  rename?: Rename;
  /** Where the parts of a sharded file are, by their names in its index; beside the index unless told otherwise. */
  shard?: (file: string) => Source;
}

/**
 * Reads a safetensors file, or a sharded one by its `….safetensors.index.json`, tensor by tensor, so that a large file is not
 * in memory beside its tensors. With `into` it fills the model and returns it, else it returns tensors and metadata. Throws
 * FormatError for a file that breaks its format, and what `loadStateDict` throws where file and model differ.
 */
export async function load<M extends object>(
  source: Source,
  options: LoadOptions<M> & { into: M },
): Promise<M>;
export async function load(source: Source, options?: LoadOptions<never>): Promise<TensorFile>;
export async function load(source: Source, options?: LoadOptions): Promise<TensorFile | object> {
  const { into, strict, rename, shard, ...rest } = readOptions<LoadOptions>("load", options, {
    ...readDefaults,
    into: undefined,
    strict: true,
    rename: undefined,
    shard: undefined,
  });
  const conversions = checkConversions("load", rest as Conversions);
  const file = await readSource(source, conversions, shard);
  const tensors = rename === undefined ? file.tensors : renameTensors(file.tensors, rename);
  if (into === undefined) return { tensors, metadata: file.metadata };
  loadStateDict(into, tensors, { strict });
  return into;
}
