/** Models to files and back. */

import { isBuiltIn, isPlainObject, OptionError, readOptions, show } from "../errors.ts";
import { isLayer } from "../nn/layer.ts";
import { loadStateDict, stateDict } from "../nn/state.ts";
import { walk } from "../nn/tree.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import type { Conversions } from "./formats.ts";
import { checkClasses, type ModelClass, modelOf, noteModel } from "./model.ts";
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
 * bitgrad/packed reads and which takes no options, as safetensors. The file also tells the class of a model that has a
 * static `kind` and its `config`, so that `load` with `models` builds it anew. A path is replaced whole or not at all; with
 * null for the sink the bytes are returned. Throws DTypeError where narrowing would make infinity, and OptionError where
 * plain objects, lists or maps hold anything but tensors, models and functions: nothing is left out unsaid. Values are read
 * while the file is written: StageError is thrown where a tensor or parameter changes before the promise has settled, as by
 * a step of training, and writes to `data` must wait for it too.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { load, save } from "bitgrad/io";
 * import { Linear } from "bitgrad/nn";
 *
 * await save("model.safetensors", new Linear(4, 2));
 * const bytes = await save(null, { scores: tensor([1, 2, 3]) });
 * console.log((await load(bytes)).tensors.scores.toArray()); // [1, 2, 3]
 * ```
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
  const tensors = tensorsOf("save", model);
  const draft = layOut("save", tensors, noteModel("save", model, checked));
  if (sink === null) return joinDraft(draft);
  await writeSink("save", sink, draft.chunks());
}

/** By its method, so that who saves tensors need not load the packed layers. */
const isPacked = (model: object): model is { toBytes(): Uint8Array } =>
  typeof (model as { toBytes?: unknown } | null)?.toBytes === "function";

/** The tensors of a record as they are, and of a model by name, buffers too. Throws OptionError if anything would be lost. */
export function tensorsOf(op: string, model: object): Readonly<Record<string, Tensor>> {
  const plain = isPlainObject(model);
  if (plain && Object.values(model).every(isTensor)) return model as Record<string, Tensor>;
  if (!plain && !holdsTensors(model)) {
    throw new OptionError(`${op}: expected a model or tensors by name, got ${show(model)}`);
  }
  const lost = unsaved(model);
  if (lost.length > 0) {
    throw new OptionError(
      `${op}: only tensors can be saved, got ${show(lost)}; make tensors or metadata of the rest, or save stateDict(model)`,
    );
  }
  return stateDict(model);
}

/** A layer need not have any. */
const holdsTensors = (item: unknown): boolean =>
  isLayer(item) || (isObject(item) && Object.keys(stateDict(item)).length > 0);

const isObject = (item: unknown): item is object =>
  typeof item === "object" && item !== null && !ArrayBuffer.isView(item);

/** Where plain objects, lists and maps hold what no file of tensors can. What objects of classes hold is theirs. */
function unsaved(model: object): string[] {
  const lost: string[] = [];
  walk(model, (item, path) => {
    const isMap = isBuiltIn("Map", item);
    if (!isMap && !Array.isArray(item) && !isPlainObject(item)) return false;
    for (const [key, child] of isMap ? item : Object.entries(item)) {
      const container = Array.isArray(child) || isPlainObject(child) || isBuiltIn("Map", child);
      const skipped = !isMap && String(key).startsWith("_");
      if (child === null || child === undefined || typeof child === "function") continue;
      if (skipped || !(container || holdsTensors(child)))
        lost.push(path === "" ? String(key) : `${path}.${key}`);
    }
    return true;
  });
  return lost;
}

export interface LoadOptions<M extends object = object> extends ReadOptions {
  /** The model to load into; without it the tensors are returned. */
  into?: M;
  /** The classes of which the file may hold a model: that which it names is built and filled. */
  models?: readonly ModelClass[];
  /** Whether names that the file or the model lacks are errors; on unless told otherwise. */
  strict?: boolean;
  /** The model's names for the file's, such as `gpt2Names`. */
  rename?: Rename;
  /** Where the parts of a sharded file are, by their names in its index; beside the index unless told otherwise. */
  shard?: (file: string) => Source;
}

/**
 * Reads a safetensors file, or a sharded one by its `….safetensors.index.json`, tensor by tensor, so that a large file is
 * not in memory beside its tensors. With `into` it fills the model and returns it; with `models` it builds the model that
 * was saved, of the class among them that the file names; else it returns tensors and metadata. Throws FormatError for a
 * file that breaks its format, and for one that names no class or another, whose config builds no model or one of other
 * tensors; StageError where the saved model was prepared, had other transforms, or shared other parameters than its config
 * does; and what `loadStateDict` throws where file and model differ.
 *
 * @example
 * ```ts
 * import { load, save } from "bitgrad/io";
 * import { Bert, Gpt } from "bitgrad/models";
 *
 * const file = await save(null, new Gpt({ vocabulary: 9, context: 4, dim: 8, layers: 1, heads: 2 }));
 * const model = await load(file, { models: [Gpt, Bert] });
 * console.log(model.config.dim); // 8
 * ```
 */
export async function load<M extends object>(
  source: Source,
  options: LoadOptions<M> & { into: M },
): Promise<M>;
export async function load<C extends ModelClass>(
  source: Source,
  options: LoadOptions<never> & { models: readonly C[] },
): Promise<InstanceType<C>>;
export async function load(source: Source, options?: LoadOptions<never>): Promise<TensorFile>;
export async function load(source: Source, options?: LoadOptions): Promise<TensorFile | object> {
  const { into, models, strict, rename, shard, ...rest } = readOptions<LoadOptions>("load", options, {
    ...readDefaults,
    into: undefined,
    models: undefined,
    strict: true,
    rename: undefined,
    shard: undefined,
  });
  const conversions = checkConversions("load", rest as Conversions);
  if (models !== undefined) {
    checkClasses(models);
    if (into !== undefined || !strict)
      throw new OptionError(
        `load: models goes with neither into nor strict: false, got ${show(into ?? strict)}`,
      );
  }
  const file = await readSource(source, conversions, shard);
  const tensors = rename === undefined ? file.tensors : renameTensors(file.tensors, rename);
  if (models !== undefined) return modelOf({ tensors, metadata: file.metadata }, models);
  if (into === undefined) return { tensors, metadata: file.metadata };
  loadStateDict(into, tensors, { strict });
  return into;
}
