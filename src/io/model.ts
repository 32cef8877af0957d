/** What a file says of the model in it, its class and configuration, and the way from there to a model. */

import { FormatError, isPlainObject, OptionError, StageError, show } from "../errors.ts";
import { withoutDataUpTo, withoutDraws } from "../nn/blank.ts";
import { loadStateDict, stateDict } from "../nn/state.ts";
import { stored } from "../nn/store.ts";
import { findParameters, namedLayers } from "../nn/tree.ts";
import { readJsonObject } from "../safetensors/json.ts";
import { sameShape } from "../shape.ts";
import type { TensorFile, WriteOptions } from "./safetensors.ts";

/**
 * Metadata key of the JSON {"class", "config"}, with {"prepared": true} where parameters were read through transforms, and
 * {"tied": [["a", "b"], …]}: the names of parameters that have several.
 */
export const MODEL = "bitgrad.model";

/**
 * A class whose models files keep whole. `kind` is its name in files, its own and not inherited; its models have a `config`
 * of plain JSON, of which `new` makes a model of the same parameters.
 */
export interface ModelClass<M extends object = object> {
  readonly kind: string;
  new (config: never): M;
}

const ownKind = (made: unknown): string | null => {
  const isClass = typeof made === "function" && Object.hasOwn(made, "kind");
  const kind: unknown = isClass ? (made as unknown as { kind: unknown }).kind : null;
  return typeof kind === "string" && kind !== "" ? kind : null;
};

/** Notes the class and the configuration of `model` in the metadata, where it has both. */
export function noteModel(op: string, model: object, options: WriteOptions): WriteOptions {
  const { metadata = {} } = options;
  const kind = ownKind(model.constructor);
  const { config } = model as { config?: unknown };
  if (kind === null || !isPlainObject(config) || !isPlainObject(metadata)) return options;
  if (Object.hasOwn(metadata, MODEL)) {
    throw new OptionError(`${op}: a reserved name in the metadata, got ${show(MODEL)}`);
  }
  checkJson(op, config, "config", 0);
  const note = {
    ...{ class: kind, config },
    ...(isPrepared(model) ? { prepared: true } : {}),
    tied: tiesOf(model),
  };
  return { ...options, metadata: { ...metadata, [MODEL]: JSON.stringify(note) } };
}

function checkJson(op: string, value: unknown, path: string, depth: number): void {
  const isPlain = value === null || typeof value === "string" || typeof value === "boolean";
  if (isPlain || (Number.isFinite(value) && !Object.is(value, -0))) return;
  if (depth > 32 || !(Array.isArray(value) || isPlainObject(value))) {
    throw new OptionError(`${op}: a config must be plain JSON, got ${show(value)} for ${path}`);
  }
  // A list with holes has undefined in them.
  const items = Array.isArray(value) ? Array.from(value as unknown[]) : value;
  for (const [key, item] of Object.entries(items)) checkJson(op, item, `${path}.${key}`, depth + 1);
}

const isPrepared = (model: object): boolean =>
  findParameters(model).some(({ item }) => item.transforms.length > 0) ||
  namedLayers(model).some(([, layer]) => (layer as { inputQuantizer?: unknown }).inputQuantizer);

const sorted = (ties: readonly (readonly string[])[]): string =>
  JSON.stringify(ties.map((names) => names.toSorted()).toSorted());

/** The names of each parameter that has several. */
function tiesOf(model: object): string[][] {
  const names = new Map<object, string[]>();
  for (const { path, item } of findParameters(model)) names.set(item, [...(names.get(item) ?? []), path]);
  return [...names.values()].filter(({ length }) => length > 1);
}

/** Throws OptionError unless `models` is a list of classes, each of another name. */
export function checkClasses(models: unknown): asserts models is readonly ModelClass[] {
  if (!Array.isArray(models)) throw new OptionError(`load: models must be a list, got ${show(models)}`);
  const known = new Set<string>();
  for (const Class of models) {
    const kind = ownKind(Class);
    if (kind === null)
      throw new OptionError(`load: a class of models needs a static kind of its own, got ${show(Class)}`);
    if (known.has(kind))
      throw new OptionError(`load: two classes have one kind, got ${show(kind)}; give one of them another`);
    known.add(kind);
  }
}

/** A new model of the class that the file names, with its tensors. Nothing that they lack is asked memory for. */
export function modelOf({ tensors, metadata }: TensorFile, models: readonly ModelClass[]): object {
  const { Class, config, tied } = readNote(metadata[MODEL], models);
  const build = () => new Class(structuredClone(config) as never);
  // Besides what the file holds, such as the weight of a head before it is tied.
  const limit = 2 * Object.keys(tensors).length + 16;
  const shapes = Object.entries(refusing(Class.kind, () => stateDict(withoutDataUpTo(limit, build))));
  for (const [name, { shape }] of shapes) {
    const given = Object.hasOwn(tensors, name) ? tensors[name].shape : null;
    if (given && sameShape(given, shape)) continue;
    throw new FormatError(
      `load: tensors and config of the file differ, got ${given ? show(given) : "none"} for ${show(name)} of ${show(shape)}`,
    );
  }
  const model = refusing(Class.kind, () => withoutDraws(build));
  const ties = tiesOf(model);
  if (tied && sorted(tied) !== sorted(ties)) {
    throw new StageError(
      `load: the model in the file shares other parameters than its config does, got ${show(tied)} for ${show(ties)}; ` +
        "build it, share them, and pass { into: model }",
    );
  }
  for (const { path, item } of findParameters(model)) {
    const store = stored(tensors[path])?.store;
    if (store && !item.store) item.replace(tensors[path], { store });
  }
  loadStateDict(model, tensors);
  return model;
}

function readNote(text: string | undefined, models: readonly ModelClass[]) {
  if (text === undefined) {
    throw new FormatError(
      "load: the file names no class, got none in its metadata; build the model and pass { into: model }",
    );
  }
  const note = readJsonObject("load", new TextEncoder().encode(text));
  const { class: kind, config, prepared = false, tied = null } = note;
  if (typeof kind !== "string" || !isPlainObject(config) || typeof prepared !== "boolean" || !areTies(tied)) {
    throw new FormatError(
      `load: a model's note must be { class, config, prepared, tied }, got ${[kind, config, prepared, tied].map(show).join(", ")}`,
    );
  }
  const Class = models.find((known) => known.kind === kind);
  if (!Class) {
    const known = models.map((given) => given.kind).join(", ") || "none";
    throw new FormatError(
      `load: the file's class is not among the models, got ${show(kind)}; known are ${known}`,
    );
  }
  if (prepared) {
    throw new StageError(
      `load: the file holds a prepared model, got ${show(kind)}; ` +
        "build one from the config in its metadata, prepare it as before, and pass { into: model }",
    );
  }
  return { Class, config, tied };
}

/** Lists of names, or null in a file that tells of none. */
const areTies = (tied: unknown): tied is string[][] | null =>
  tied === null ||
  (Array.isArray(tied) &&
    tied.every((names) => Array.isArray(names) && names.every((name) => typeof name === "string")));

function refusing<T>(kind: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    const reason = (error as Error | null)?.message ?? show(error);
    throw new FormatError(`load: the file's config builds no ${kind}, got ${reason}`, { cause: error });
  }
}
