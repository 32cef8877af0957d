/** Models in several files, with an index of which tensor is where. */

import { OptionError, readOptions, show } from "../errors.ts";
import { widths } from "../safetensors/formats.ts";
import { sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { storedShape } from "./formats.ts";
import { tensorsOf } from "./load.ts";
import { noteModel } from "./model.ts";
import { layOut, type WriteOptions, writeDefaults } from "./safetensors.ts";
import { writeSink } from "./source.ts";

export interface ShardOptions extends WriteOptions {
  /** The most bytes of tensors in one part; a tensor that is larger has a part of its own. 5 GB unless told otherwise. */
  shardBytes?: number;
}

const INDEX = ".safetensors.index.json";

/**
 * As `save`, in parts: a `path` of "model.safetensors.index.json" is the index of model-00001-of-0000N.safetensors and so on
 * beside it, as other libraries lay them out. The index is written last. Throws OptionError for a path of another ending,
 * StageError as `save` does: parts that are new may then lie beside an old index.
 *
 * @example
 * ```ts
 * import { randn } from "bitgrad";
 * import { load, saveSharded } from "bitgrad/io";
 *
 * const parts = { a: randn([100]), b: randn([100]) };
 * await saveSharded("parts.safetensors.index.json", parts, { shardBytes: 500 });
 * console.log(Object.keys((await load("parts.safetensors.index.json")).tensors)); // ["a", "b"]
 * ```
 */
export async function saveSharded(path: string, model: object, options?: ShardOptions): Promise<void> {
  const { shardBytes, ...rest } = readOptions<ShardOptions & { shardBytes: number }>(
    "saveSharded",
    options as never,
    {
      ...writeDefaults,
      shardBytes: 5e9,
    },
  );
  if (typeof path !== "string" || !path.endsWith(INDEX)) {
    throw new OptionError(`saveSharded: the path must end in ${INDEX}, got ${show(path)}`);
  }
  if (!(shardBytes > 0)) throw new OptionError(`saveSharded: shardBytes must be positive, got ${shardBytes}`);
  const tensors = tensorsOf("saveSharded", model);
  const notes = noteModel("saveSharded", model, rest);
  const parts: Record<string, Tensor>[] = [];
  const placed = new Map<unknown, Record<string, Tensor>>();
  let room = 0;
  let total = 0;
  for (const name of Object.keys(tensors).sort()) {
    const value = tensors[name];
    // Tensors of one memory go into one part, where they are stored once.
    const sharing = placed.get(value.storage);
    if (sharing) {
      sharing[name] = value;
      continue;
    }
    const { format, shape } = storedShape(value, rest.dtype);
    const bytes = sizeOf(shape) * widths[format];
    if (parts.length === 0 || bytes > room) {
      parts.push(Object.create(null));
      room = shardBytes;
    }
    room -= bytes;
    total += bytes;
    const part = parts[parts.length - 1];
    part[name] = value;
    placed.set(value.storage, part);
  }
  const map: [name: string, file: string][] = [];
  const slash = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  const number = (n: number) => String(n).padStart(5, "0");
  // All at once, so that what changes while one is written is found.
  const drafts = parts.map((part) => layOut("saveSharded", part, notes));
  for (const [i, draft] of drafts.entries()) {
    const file = `${path.slice(slash + 1, -INDEX.length)}-${number(i + 1)}-of-${number(parts.length)}.safetensors`;
    for (const name of draft.stored) map.push([name, file]);
    await writeSink("saveSharded", path.slice(0, slash + 1) + file, draft.chunks());
  }
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(map) };
  await writeSink("saveSharded", path, [new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`)]);
}
