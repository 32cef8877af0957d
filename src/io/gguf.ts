/** The container of GGUF files, versions 2 and 3, little-endian: keys with values, and tensors of float32. */

import { encodeUtf8 } from "../data/bytes.ts";
import { FormatError, show } from "../errors.ts";
import { Cursor } from "./cursor.ts";

/** Values that are read: integers of up to 32 bits, text, and lists of texts. */
export type GgufValue = number | string | readonly string[];

export interface GgufTensor {
  /** As the file has them: the first is that of neighbours. */
  readonly dims: readonly number[];
  /** Little-endian float32. */
  readonly bytes: Uint8Array;
}

export interface Gguf {
  readonly values: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

export const isGguf = (bytes: Uint8Array): boolean =>
  bytes.length >= 4 && bytes[0] === 0x47 && bytes[1] === 0x47 && bytes[2] === 0x55 && bytes[3] === 0x46;

/** What ggml refuses beyond. */
const limits = { entries: 65535, key: 65535, name: 63, dims: 4, alignment: 2 ** 20, text: 2 ** 26 };

/** Bytes of a number of each type; text (8) and lists (9) have none. */
const sizes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8] as const;
const [U32, TEXT, LIST, F32] = [4, 8, 9, 0];
const alignmentKey = "general.alignment";

const padding = (size: number, alignment: number): number => (alignment - (size % alignment)) % alignment;

/**
 * The tensors of a file, and the values of the keys that are `wanted`. Everything is checked before it is read, and
 * nothing else is kept, so that no file takes more memory than it is long. Throws FormatError for a file that breaks the
 * format, and for tensors that are not float32.
 */
export function readGguf(op: string, bytes: Uint8Array, wanted: readonly string[]): Gguf {
  const cursor = new Cursor(op, bytes);
  cursor.skip(4);
  const version = cursor.u32();
  if ((version & 0xffff) === 0) {
    throw new FormatError(`${op}: big-endian GGUF files are not read, got version bytes ${version}`);
  }
  if (version !== 2 && version !== 3) {
    throw new FormatError(`${op}: the version of a GGUF file must be 2 or 3, got ${version}`);
  }
  const [tensorCount, valueCount] = [cursor.u64(), cursor.u64()];
  for (const count of [tensorCount, valueCount]) {
    if (count > limits.entries) {
      throw new FormatError(`${op}: at most ${limits.entries} tensors and as many keys, got ${count}`);
    }
  }
  const keys = new Set<string>();
  const values = new Map<string, GgufValue>();
  for (let i = 0; i < valueCount; i++) {
    const key = cursor.text(cursor.u64(), limits.key);
    if (keys.has(key)) throw new FormatError(`${op}: keys must differ, got ${show(key)} twice`);
    keys.add(key);
    const value = readValue(cursor, key, key === alignmentKey || wanted.includes(key));
    if (value !== null) values.set(key, value);
  }
  const alignment = alignmentOf(op, values.get(alignmentKey));
  const places = readPlaces(cursor, tensorCount, alignment);
  cursor.skip(tensorCount === 0 ? 0 : padding(cursor.at, alignment));
  const start = cursor.at;
  const tensors = new Map<string, GgufTensor>();
  for (const [name, { dims, from, size }] of places) {
    if (size > bytes.length - start - from) {
      const room = bytes.length - start;
      throw new FormatError(
        `${op}: tensor ${show(name)} ends behind the file, got bytes ${from} to ${from + size} of ${room}`,
      );
    }
    tensors.set(name, { dims, bytes: bytes.subarray(start + from, start + from + size) });
  }
  return { values, tensors };
}

/** A value, or null for one that is not wanted or of a kind that is not read. */
function readValue(cursor: Cursor, key: string, wanted: boolean): GgufValue | null {
  const type = cursor.u32();
  if (type === TEXT) {
    const length = cursor.u64();
    if (wanted) return cursor.text(length, limits.text);
    cursor.skip(length);
    return null;
  }
  if (type !== LIST) return readNumber(cursor, key, type, wanted);
  const of = cursor.u32();
  const count = cursor.u64();
  if (of !== TEXT) {
    cursor.skip(count * sizeOf(cursor.op, key, of));
    return null;
  }
  // Every text has 8 bytes of length.
  cursor.need(count * 8);
  const texts: string[] = [];
  for (let i = 0; i < count; i++) {
    const length = cursor.u64();
    if (wanted && count <= limits.entries) texts.push(cursor.text(length, limits.text));
    else cursor.skip(length);
  }
  return wanted ? texts : null;
}

function readNumber(cursor: Cursor, key: string, type: number, wanted: boolean): number | null {
  const size = sizeOf(cursor.op, key, type);
  if (wanted && type === U32) return cursor.u32();
  if (wanted && type === 5) return cursor.i32();
  if (wanted && type === 10) return cursor.u64();
  cursor.skip(size);
  return null;
}

function sizeOf(op: string, key: string, type: number): number {
  const size = sizes[type];
  if (size) return size;
  throw new FormatError(
    `${op}: the type of a value is 0 to 12, of a list's values no list, got ${type} for ${show(key)}`,
  );
}

function alignmentOf(op: string, value: GgufValue | undefined): number {
  if (value === undefined) return 32;
  if (typeof value === "number" && value > 0 && value <= limits.alignment && (value & (value - 1)) === 0)
    return value;
  throw new FormatError(
    `${op}: ${alignmentKey} must be a power of two up to ${limits.alignment}, got ${show(value)}`,
  );
}

interface Place {
  readonly dims: readonly number[];
  /** First byte, counted from the start of the data. */
  readonly from: number;
  readonly size: number;
}

/** Where tensors lie: one behind the other, as ggml demands. */
function readPlaces(cursor: Cursor, count: number, alignment: number): Map<string, Place> {
  const { op } = cursor;
  const places = new Map<string, Place>();
  let end = 0;
  for (let i = 0; i < count; i++) {
    const name = cursor.text(cursor.u64(), limits.name);
    if (places.has(name))
      throw new FormatError(`${op}: tensors must differ in name, got ${show(name)} twice`);
    const rank = cursor.u32();
    if (rank < 1 || rank > limits.dims) {
      throw new FormatError(
        `${op}: a tensor has 1 to ${limits.dims} dimensions, got ${rank} of ${show(name)}`,
      );
    }
    const dims = Array.from({ length: rank }, () => cursor.u64());
    const size = dims.reduce((product, dim) => product * dim, 4);
    const type = cursor.u32();
    if (type !== F32) {
      throw new FormatError(`${op}: tensors must be float32, type 0, got type ${type} of ${show(name)}`);
    }
    const from = cursor.u64();
    if (from !== end) {
      throw new FormatError(
        `${op}: tensors lie one behind the other, got offset ${from} for ${show(name)} where ${end} belongs`,
      );
    }
    // Sizes beyond the file are refused where the data begins, and a sum that is not exact is one.
    end += size + padding(size, alignment);
    if (!(end <= cursor.length)) {
      throw new FormatError(
        `${op}: tensor ${show(name)} is larger than the file, got dimensions ${show(dims)}`,
      );
    }
    places.set(name, { dims, from, size });
  }
  return places;
}

/** The bytes of a file of version 3, alignment 32. A number is written as u32, a list as one of texts. */
export function writeGguf(
  op: string,
  values: ReadonlyMap<string, GgufValue>,
  tensors: ReadonlyMap<string, { readonly dims: readonly number[]; readonly data: Float32Array }>,
): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const put = (size: 4 | 8, value: number): void => {
    const part = new DataView(new ArrayBuffer(size));
    part.setUint32(0, value % 2 ** 32, true);
    if (size === 8) part.setUint32(4, Math.floor(value / 2 ** 32), true);
    parts.push(new Uint8Array(part.buffer));
  };
  const putText = (text: string): void => {
    const utf8 = encodeUtf8(op, text);
    put(8, utf8.length);
    parts.push(utf8);
  };
  parts.push(Uint8Array.of(0x47, 0x47, 0x55, 0x46));
  put(4, 3);
  put(8, tensors.size);
  put(8, values.size);
  for (const [key, value] of values) {
    putText(key);
    put(4, typeof value === "number" ? U32 : typeof value === "string" ? TEXT : LIST);
    if (typeof value === "number") put(4, value);
    else if (typeof value === "string") putText(value);
    else {
      put(4, TEXT);
      put(8, value.length);
      value.forEach(putText);
    }
  }
  let offset = 0;
  for (const [name, { dims, data }] of tensors) {
    putText(name);
    put(4, dims.length);
    for (const dim of dims) put(8, dim);
    put(4, F32);
    put(8, offset);
    offset += data.byteLength + padding(data.byteLength, 32);
  }
  const header = parts.reduce((sum, part) => sum + part.length, 0);
  parts.push(new Uint8Array(padding(header, 32)));
  for (const { data } of tensors.values()) {
    const bytes = new DataView(new ArrayBuffer(data.byteLength + padding(data.byteLength, 32)));
    for (let i = 0; i < data.length; i++) bytes.setFloat32(4 * i, data[i], true);
    parts.push(new Uint8Array(bytes.buffer));
  }
  return joined(parts);
}

/** Bytes one behind the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
