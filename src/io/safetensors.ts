/**
 * safetensors: eight bytes of little-endian header length, a JSON header, then the raw little-endian elements.
 * Reading and writing of bytes in memory; `save` and `load` do files.
 */

import { bytesOf } from "../dtype.ts";
import { isPlainObject, OptionError, readOptions, StageError, show } from "../errors.ts";
import { type FormatName, widths } from "../safetensors/formats.ts";
import { HEADER_LIMIT, headerLength, RANK_LIMIT, readHeader, TIED } from "../safetensors/header.ts";
import { KEY_LIMIT } from "../safetensors/json.ts";
import { type Shape, sizeOf } from "../shape.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import { type Conversions, encode, formats, type StoredFloat, storedFormat, storedShape } from "./formats.ts";
import { noteStores, STORES, takeStores } from "./stores.ts";

/** Tensors by name, with the file's own notes. */
export interface TensorFile {
  readonly tensors: Record<string, Tensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

export type ReadOptions = Partial<Conversions>;

export const readDefaults: Conversions = { widen: false, int64: "int32" };

export function checkConversions(op: string, { widen, int64 }: Conversions): Conversions {
  if (int64 !== "int32" && int64 !== "float64") {
    throw new OptionError(`${op}: int64 must be int32 or float64, got ${show(int64)}`);
  }
  return { widen, int64 };
}

/**
 * The tensors of a safetensors file in memory. They share the memory of `bytes` where it is aligned, so keep it as it is.
 * F64 F32 I32 I8 U32 U8 BOOL keep their type; I16 and U16 become int32 and uint32; I64 and U64 become int32 and uint32, or
 * float64 by `int64: "float64"`; F16, BF16, F8_E4M3 and F8_E5M2 become float32 by `widen: true`. Throws FormatError for a file
 * that breaks the format in any way, DTypeError for elements that would not fit.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { readSafetensors, writeSafetensors } from "bitgrad/io";
 *
 * const bytes = writeSafetensors({ ids: tensor([1, 2], { dtype: "int32" }) }, { metadata: { made: "by hand" } });
 * const { tensors, metadata } = readSafetensors(bytes);
 * console.log(tensors.ids.dtype, metadata.made); // int32 by hand
 * ```
 */
export function readSafetensors(bytes: Uint8Array | ArrayBuffer, options?: ReadOptions): TensorFile {
  const conversions = checkConversions(
    "readSafetensors",
    readOptions("readSafetensors", options, readDefaults),
  );
  const file = bytesOf(bytes);
  if (!file) {
    throw new OptionError(`readSafetensors: expected a Uint8Array or an ArrayBuffer, got ${show(bytes)}`);
  }
  const start = 8 + headerLength(file, file.length);
  const { entries, tied, metadata } = readHeader(file.subarray(8, start), file.length - start);
  const tensors: Record<string, Tensor> = Object.create(null);
  const unpack = takeStores(metadata, entries);
  for (const [name, { format, shape, from, to }] of entries) {
    const raw = file.subarray(start + from, start + to);
    tensors[name] = unpack(name, raw) ?? formats[format].decode(raw, shape, name, conversions);
  }
  for (const [name, target] of tied) tensors[name] = tensors[target];
  return { tensors, metadata };
}

export interface WriteOptions {
  /** Notes of text by name; loaders of PyTorch models look for { format: "pt" }. */
  metadata?: Readonly<Record<string, string>>;
  /** Stores all floats so, rounded half to even; else float32 and float64 as they are. Integers stay what they are. */
  dtype?: StoredFloat;
}

export const writeDefaults: WriteOptions = { metadata: undefined, dtype: undefined };

/**
 * A file about to be written: its bytes piece by piece, so that a model is never in memory twice. `chunks` throws StageError
 * where a value was written to since the file was laid out.
 */
export interface Draft {
  readonly bytes: number;
  /** The names that have bytes of their own. */
  readonly stored: readonly string[];
  chunks(): Iterable<Uint8Array>;
}

/** Lays out a file. Tensors that share their memory and shape are stored once; their other names go into the metadata. */
export function layOut(op: string, tensors: Readonly<Record<string, Tensor>>, options: WriteOptions): Draft {
  const { metadata = {}, dtype } = options;
  if (dtype !== undefined && !Object.hasOwn(storedFormat, dtype)) {
    throw new OptionError(
      `${op}: dtype must be float32, float16, bfloat16, float8_e4m3fn or float8_e5m2, got ${show(dtype)}`,
    );
  }
  if (!isPlainObject(metadata) || !Object.values(metadata).every((value) => typeof value === "string")) {
    throw new OptionError(`${op}: metadata must be text by name, got ${show(metadata)}`);
  }
  const names = Object.keys(tensors).sort();
  // Each takes four keys of the header.
  if (4 * names.length + Object.keys(metadata).length + 2 > KEY_LIMIT)
    throw tooMuch(op, `${names.length} names`);
  const stored: { name: string; value: Tensor; version: number; format: FormatName; shape: Shape }[] = [];
  // Names by memory, then by dtype and shape.
  const byStorage = new Map<unknown, Map<string, string>>();
  const tied: Record<string, string> = {};
  for (const name of names) {
    const value = tensors[name];
    if (!isTensor(value))
      throw new OptionError(`${op}: expected a tensor for ${show(name)}, got ${show(value)}`);
    if (name === "__metadata__" || name === "__proto__" || /\p{Surrogate}/u.test(name)) {
      throw new OptionError(`${op}: not a name that a file can hold, got ${show(name)}`);
    }
    if (value.rank > RANK_LIMIT) {
      throw new OptionError(
        `${op}: a tensor of at most ${RANK_LIMIT} axes is needed, got ${value.rank} for ${show(name)}`,
      );
    }
    const sharers = byStorage.get(value.storage) ?? new Map<string, string>();
    const kind = `${value.dtype} ${value.shape}`;
    const twin = sharers.get(kind);
    if (twin !== undefined) {
      tied[name] = twin;
      continue;
    }
    stored.push({ name, value, version: value.storage.version, ...storedShape(value, dtype) });
    byStorage.set(value.storage, sharers.set(kind, name));
  }
  if ([TIED, STORES, "__proto__"].some((key) => Object.hasOwn(metadata, key))) {
    throw new OptionError(`${op}: a reserved name in the metadata, got ${show(Object.keys(metadata))}`);
  }
  const notes: Record<string, string> = { ...metadata };
  if (Object.keys(tied).length > 0) notes[TIED] = JSON.stringify(tied);
  noteStores(notes, stored);

  // Wide elements first: with the header padded to eight bytes, every tensor is then aligned.
  stored.sort((a, b) => widths[b.format] - widths[a.format]);
  const header: Record<string, unknown> = Object.keys(notes).length > 0 ? { __metadata__: notes } : {};
  let at = 0;
  for (const { name, format, shape } of stored) {
    const to = at + sizeOf(shape) * widths[format];
    header[name] = { dtype: format, shape: [...shape], data_offsets: [at, to] };
    at = to;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(json.length / 8) * 8;
  if (padded > HEADER_LIMIT) throw tooMuch(op, `a header of ${padded} bytes`);
  const head = new Uint8Array(8 + padded).fill(0x20);
  head.set(json, 8);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  return {
    bytes: head.length + at,
    stored: stored.map(({ name }) => name),
    *chunks() {
      yield head;
      for (const { name, value, version, format } of stored) {
        // Before it is encoded, and once its bytes, which may be its own memory, have been written.
        const check = () => {
          if (value.storage.version === version) return;
          throw new StageError(
            `${op}: values must not change until they are written, got ${show(name)} changed; await it first`,
          );
        };
        check();
        yield encode(name, value, format);
        check();
      }
    },
  };
}

const tooMuch = (op: string, got: string): OptionError =>
  new OptionError(`${op}: too much for one file, got ${got}; use saveSharded`);

/** All of a draft in one array. */
export function joinDraft(draft: Draft): Uint8Array {
  const out = new Uint8Array(draft.bytes);
  let at = 0;
  for (const chunk of draft.chunks()) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

/**
 * A safetensors file of `tensors`, in the order of their names and aligned. Tensors that share memory and shape are stored
 * once, and `readSafetensors` gives them back as one tensor under every name. Throws DTypeError where a finite number would
 * become infinite, OptionError for names that a file cannot hold.
 *
 * @example
 * ```ts
 * import { randn } from "bitgrad";
 * import { readSafetensors, writeSafetensors } from "bitgrad/io";
 *
 * const bytes = writeSafetensors({ weight: randn([64, 64]) }, { dtype: "float16" });
 * console.log(bytes.length < 64 * 64 * 4, readSafetensors(bytes, { widen: true }).tensors.weight.dtype); // true float32
 * ```
 */
export function writeSafetensors(
  tensors: Readonly<Record<string, Tensor>>,
  options?: WriteOptions,
): Uint8Array {
  if (!isPlainObject(tensors)) {
    throw new OptionError(
      `writeSafetensors: expected tensors by name, got ${show(tensors)}; for a model use save`,
    );
  }
  return joinDraft(
    layOut("writeSafetensors", tensors, readOptions("writeSafetensors", options, writeDefaults)),
  );
}
