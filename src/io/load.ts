/** Models to files and back. */

import type { ByteSource } from "../data/platform.ts";
import { FormatError, isPlainObject, OptionError, readOptions, show } from "../errors.ts";
import { loadStateDict, stateDict } from "../nn/tree.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import { type Conversions, formats } from "./formats.ts";
import { headerLength, readHeader } from "./header.ts";
import { readJsonObject } from "./json.ts";
import { type Rename, renameTensors } from "./names.ts";
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
import { openSource, type Sink, type Source, writeSink } from "./source.ts";

/**
 * Writes a model (its parameters and buffers, tied ones once) or tensors by name as safetensors. A path is replaced whole or
 * not at all; with null for the sink the bytes are returned. Throws DTypeError where narrowing would make infinity.
 */
export async function save(sink: Sink, model: object, options?: WriteOptions): Promise<void>;
export async function save(sink: null, model: object, options?: WriteOptions): Promise<Uint8Array>;
export async function save(sink: Sink | null, model: object, options?: WriteOptions): Promise<unknown> {
  const checked = readOptions("save", options, writeDefaults);
  const draft = layOut("save", isRecord(model) ? model : stateDict(model), checked);
  if (sink === null) return joinDraft(draft);
  await writeSink("save", sink, draft.chunks());
}

const isRecord = (value: object): value is Record<string, Tensor> =>
  isPlainObject(value) && Object.values(value).every(isTensor);

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
  const file = await readAny(source, conversions, shard);
  const tensors = rename === undefined ? file.tensors : renameTensors(file.tensors, rename);
  if (into === undefined) return { tensors, metadata: file.metadata };
  loadStateDict(into, tensors, { strict });
  return into;
}

/** Header lengths leave the eighth byte 0, which JSON never holds. */
const isIndex = (head: Uint8Array): boolean => head[0] === 0x7b && head.length === 8 && head[7] !== 0;

async function readAny(
  source: Source,
  conversions: Conversions,
  shard: LoadOptions["shard"],
): Promise<TensorFile> {
  const bytes = await openSource("load", source);
  try {
    const head = await bytes.read(0, Math.min(8, bytes.size));
    if (!isIndex(head)) return await readFile(bytes, conversions);
    return await readSharded(await bytes.read(0, bytes.size), shard ?? besides(source), conversions);
  } finally {
    await bytes.close();
  }
}

async function readFile(bytes: ByteSource, conversions: Conversions): Promise<TensorFile> {
  const length = headerLength(await bytes.read(0, Math.min(8, bytes.size)), bytes.size);
  const { entries, tied, metadata } = readHeader(await bytes.read(8, length), bytes.size - 8 - length);
  const tensors: Record<string, Tensor> = Object.create(null);
  for (const [name, { format, shape, from, to }] of entries) {
    const raw = await bytes.read(8 + length + from, to - from);
    tensors[name] = formats[format].decode(raw, shape, name, conversions);
  }
  for (const [name, target] of tied) tensors[name] = tensors[target];
  return { tensors, metadata };
}

function besides(source: Source): (file: string) => Source {
  if (source instanceof URL) return (file) => new URL(encodeURIComponent(file), source);
  if (typeof source === "string") return (file) => source.replace(/[^/\\]*$/, "") + file;
  throw new OptionError(`load: the parts of a sharded file are unknown, got ${show(source)}; pass shard`);
}

/** {"weight_map": {name: file}}, as Hugging Face writes it. */
async function readSharded(
  json: Uint8Array,
  shard: (file: string) => Source,
  conversions: Conversions,
): Promise<TensorFile> {
  const { weight_map: map } = readJsonObject("load", json);
  if (!isPlainObject(map)) throw new FormatError(`load: an index needs a weight_map, got ${show(map)}`);
  const byFile = new Map<string, string[]>();
  for (const [name, file] of Object.entries(map)) {
    // A file name alone: an index must not reach into other folders.
    if (typeof file !== "string" || !/^[^/\\:]+\.safetensors$/.test(file)) {
      throw new FormatError(
        `load: an index must name safetensors files beside it, got ${show(file)} for ${show(name)}`,
      );
    }
    byFile.set(file, [...(byFile.get(file) ?? []), name]);
  }
  const tensors: Record<string, Tensor> = Object.create(null);
  const metadata: Record<string, string> = Object.create(null);
  for (const [file, names] of byFile) {
    const bytes = await openSource("load", shard(file));
    const part = await readFile(bytes, conversions).finally(() => bytes.close());
    for (const name of names) {
      if (!(name in part.tensors))
        throw new FormatError(`load: a part lacks a tensor of the index, got ${show(name)} of ${show(file)}`);
      tensors[name] = part.tensors[name];
    }
    Object.assign(metadata, part.metadata);
  }
  return { tensors, metadata };
}
