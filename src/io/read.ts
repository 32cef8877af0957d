/** Reads safetensors files piece by piece, from any source, whole or in parts. */

import type { ByteSource } from "../data/platform.ts";
import { FormatError, isBuiltIn, isPlainObject, OptionError, show } from "../errors.ts";
import { HEADER_LIMIT, type Header, headerLength, readHeader } from "../safetensors/header.ts";
import { readJsonObject } from "../safetensors/json.ts";
import type { Tensor } from "../tensor.ts";
import { type Conversions, formats } from "./formats.ts";
import type { TensorFile } from "./safetensors.ts";
import { openSource, type Source } from "./source.ts";
import { takeStores } from "./stores.ts";

/** "{", behind a byte order mark or not. Header lengths leave the eighth byte 0, which JSON never holds. */
const isIndex = (head: Uint8Array): boolean =>
  head.length === 8 && head[7] !== 0 && (head[0] === 0x7b || (head[0] === 0xef && head[3] === 0x7b));

/** The tensors of a file, or of the parts that it is the index of. */
export async function readSource(
  source: Source,
  conversions: Conversions,
  shard: ((file: string) => Source) | undefined,
): Promise<TensorFile> {
  if (shard !== undefined && typeof shard !== "function")
    throw new OptionError(`load: shard must be a function, got ${show(shard)}`);
  const bytes = await openSource("load", source);
  try {
    const head = await bytes.read(0, Math.min(8, bytes.size));
    if (!isIndex(head)) {
      const { tensors, metadata } = await readFile(bytes, conversions);
      return { tensors, metadata };
    }
    if (bytes.size > HEADER_LIMIT)
      throw new FormatError(`load: the index is too long, got ${bytes.size} bytes; at most ${HEADER_LIMIT}`);
    return await readSharded(await bytes.read(0, bytes.size), shard ?? besides(source), conversions);
  } finally {
    await bytes.close();
  }
}

async function readFile(
  bytes: ByteSource,
  conversions: Conversions,
): Promise<TensorFile & Pick<Header, "tied">> {
  const length = headerLength(await bytes.read(0, Math.min(8, bytes.size)), bytes.size);
  const { entries, tied, metadata } = readHeader(await bytes.read(8, length), bytes.size - 8 - length);
  if ("bitgrad.packed" in metadata && !conversions.widen) {
    throw new FormatError(
      "load: needs tensors, got a packed model; read it by loadPacked of bitgrad/packed, or its tensors with { widen: true }",
    );
  }
  const tensors: Record<string, Tensor> = Object.create(null);
  const unpack = takeStores(metadata, entries);
  for (const [name, { format, shape, from, to }] of entries) {
    const raw = await bytes.read(8 + length + from, to - from);
    tensors[name] = unpack(name, raw) ?? formats[format].decode(raw, shape, name, conversions);
  }
  for (const [name, target] of tied) tensors[name] = tensors[target];
  return { tensors, metadata, tied };
}

function besides(source: Source): (file: string) => Source {
  if (isBuiltIn("URL", source)) return (file) => new URL(encodeURIComponent(file), source);
  if (typeof source === "string") return (file) => source.replace(/[^/\\]*$/, "") + file;
  throw new OptionError(`load: the parts of a sharded file are unknown, got ${show(source)}; pass shard`);
}

/** {"weight_map": {name: file}}, as Hugging Face writes it. */
async function readSharded(
  json: Uint8Array,
  shard: (file: string) => Source,
  conversions: Conversions,
): Promise<TensorFile> {
  const { weight_map: map } = readJsonObject("load", json.subarray(json[0] === 0xef ? 3 : 0));
  if (!isPlainObject(map)) throw new FormatError(`load: an index needs a weight_map, got ${show(map)}`);
  const byFile = new Map<string, string[]>();
  for (const [name, file] of Object.entries(map)) {
    // A file name alone: an index must not reach into other folders.
    if (typeof file !== "string" || !/^[^/\\:\p{Cc}\p{Cs}]+\.safetensors$/u.test(file)) {
      throw new FormatError(
        `load: an index must name safetensors files beside it, got ${show(file)} for ${show(name)}`,
      );
    }
    const names = byFile.get(file);
    if (names) names.push(name);
    else byFile.set(file, [name]);
  }
  const tensors: Record<string, Tensor> = Object.create(null);
  const metadata: Record<string, string> = Object.create(null);
  for (const [file, names] of byFile) {
    const bytes = await openSource("load", shard(file));
    const part = await readFile(bytes, conversions).finally(() => bytes.close());
    for (const name of names) {
      if (!(name in part.tensors)) {
        throw new FormatError(`load: a part lacks a tensor of the index, got ${show(name)} of ${show(file)}`);
      }
      tensors[name] = part.tensors[name];
    }
    // Other libraries' indexes know no ties, so ours do not list them either.
    for (const [name, target] of part.tied) if (target in tensors) tensors[name] = part.tensors[name];
    Object.assign(metadata, part.metadata);
  }
  return { tensors, metadata };
}
