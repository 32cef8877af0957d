/**
 * Packed models as safetensors files, version 1: docs/formats.md draws every bit. The layers are JSON in the metadata, in which
 * numbers stand by the name of their tensor.
 */

import { toFloat16, widenFloat16 } from "../../kernels/formats/half.ts";
import { isFloat32Array, bytesOf as viewOf } from "../dtype.ts";
import { FormatError, isPlainObject, OptionError, show } from "../errors.ts";
import { type Entry, headerLength, readHeader } from "../safetensors/header.ts";
import { readJsonObject } from "../safetensors/json.ts";
import { packedBytes } from "./codes.ts";
import { crc32 } from "./crc.ts";
import type { PackedLayer } from "./layer.ts";
import { type CodedWeight, PackedWeight } from "./weight.ts";

export const version = 1;
const key = "bitgrad.packed";
const checksum = "bitgrad.crc32";

/** Of the description and of the tensors' bytes. */
const checksumOf = (description: string, tensors: readonly Uint8Array[]): string =>
  tensors
    .reduce((crc, bytes) => crc32(bytes, crc), crc32(new TextEncoder().encode(description)))
    .toString(16)
    .padStart(8, "0");

interface Stored {
  readonly dtype: "U8" | "F16" | "F32";
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const bytesOf = (array: Uint8Array | Uint16Array | Float32Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** The tensors of a file by name, and the description that names them. */
class Writer {
  readonly tensors = new Map<string, Stored>();
  private readonly names = new Map<PackedWeight, Record<string, unknown>>();

  describe(value: unknown, path: string): unknown {
    if (value instanceof PackedWeight) return this.weight(value, path);
    if (isFloat32Array(value)) {
      this.floats(path, value, [value.length]);
      return { tensor: path };
    }
    if (Array.isArray(value)) return value.map((item, i) => this.describe(item, `${path}.${i}`));
    if (typeof value !== "object" || value === null) return value;
    const stored = Object.entries(value).filter(([name]) => !name.startsWith("_"));
    const fields = stored.map(([name, field]) => [
      name,
      this.describe(field, path === "" ? name : `${path}.${name}`),
    ]);
    return Object.fromEntries(fields);
  }

  private floats(name: string, data: Float32Array, shape: readonly number[]): void {
    // A copy: the heap's memory may be shared, which not every sink takes.
    this.tensors.set(name, { dtype: "F32", shape, bytes: bytesOf(data.slice()) });
  }

  /** A weight that layers share is stored once. */
  private weight(weight: PackedWeight, path: string): unknown {
    const known = this.names.get(weight);
    if (known) return known;
    const { rows, columns, floats, coded } = weight;
    let described: Record<string, unknown> = { weight: path, rows, columns, bits: 32 };
    if (coded === null) this.floats(path, floats!, [rows, columns]);
    else {
      const { bits, signed, codes, scale, group, scaleType, codebook } = coded;
      described = { weight: path, rows, columns, bits, signed, group, codebook };
      this.tensors.set(`${path}.codes`, {
        dtype: "U8",
        shape: [rows, packedBytes(columns, bits)],
        bytes: codes,
      });
      const shape = group === null ? [scale.length] : [rows, Math.ceil(columns / group)];
      if (scaleType === "float16") {
        this.tensors.set(`${path}.scale`, { dtype: "F16", shape, bytes: bytesOf(toFloat16(scale)) });
      } else this.floats(`${path}.scale`, scale, shape);
    }
    this.names.set(weight, described);
    return described;
  }
}

/** The bytes of a file that holds a packed layer and all below it. */
export function writePacked(root: PackedLayer): Uint8Array {
  const writer = new Writer();
  const model = writer.describe(root, "");
  const width = { F32: 4, F16: 2, U8: 1 };
  // Wide elements first: with the header padded to eight bytes every tensor is then aligned.
  const stored = [...writer.tensors].sort(([, a], [, b]) => width[b.dtype] - width[a.dtype]);
  const description = JSON.stringify({ version, model });
  const sum = checksumOf(
    description,
    stored.map(([, { bytes }]) => bytes),
  );
  const header: Record<string, unknown> = { __metadata__: { [key]: description, [checksum]: sum } };
  let at = 0;
  for (const [name, { dtype, shape, bytes }] of stored) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const start = 8 + Math.ceil(json.length / 8) * 8;
  const file = new Uint8Array(start + at).fill(0x20, 8, start);
  file.set(json, 8);
  new DataView(file.buffer).setUint32(0, start - 8, true);
  let to = start;
  for (const [, { bytes }] of stored) {
    file.set(bytes, to);
    to += bytes.length;
  }
  return file;
}

/** Puts the numbers of a file in the place of their names. */
class Reader {
  private readonly file: Uint8Array;
  private readonly entries: ReadonlyMap<string, Entry>;
  private readonly weights = new Map<string, PackedWeight>();
  private readonly numbers = new Map<unknown, Float32Array>();

  constructor(file: Uint8Array, entries: ReadonlyMap<string, Entry>) {
    this.file = file;
    this.entries = entries;
  }

  private bytes(name: unknown, format: string, size: number): Uint8Array {
    const entry = typeof name === "string" ? this.entries.get(name) : undefined;
    if (!entry || entry.format !== format) {
      throw new FormatError(`loadPacked: the file lacks a tensor of ${format}, got ${show(name)}`);
    }
    if (entry.to - entry.from !== size) {
      throw new FormatError(
        `loadPacked: ${show(name)} must have ${size} bytes, got ${entry.to - entry.from}`,
      );
    }
    // A copy, so that the file may go, and that the numbers are aligned wherever it lay.
    return this.file.slice(entry.from, entry.to);
  }

  /** However many layers name it, in memory once. */
  private floats(name: unknown, length: number): Float32Array {
    const known = this.numbers.get(name);
    if (known?.length === length) return known;
    const made = new Float32Array(this.bytes(name, "F32", length * 4).buffer);
    this.numbers.set(name, made);
    return made;
  }

  /** What a description stands for. */
  read(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.read(item));
    if (!isPlainObject(value)) return value;
    if (Object.hasOwn(value, "weight") && typeof value.weight === "string") return this.weight(value);
    if (Object.hasOwn(value, "tensor")) {
      const entry = this.entries.get(String(value.tensor));
      return this.floats(value.tensor, entry ? (entry.to - entry.from) / 4 : 0);
    }
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, this.read(field)]));
  }

  private weight(given: Record<string, unknown>): PackedWeight {
    const { weight: name, rows, columns, bits, signed, group = null, codebook = null } = given;
    const known = this.weights.get(name as string);
    if (known) return known;
    const isCount = (n: unknown): n is number =>
      Number.isInteger(n) && (n as number) > 0 && (n as number) < 2 ** 31;
    const levels = (c: unknown): c is number[] | null =>
      c === null ||
      (Array.isArray(c) &&
        c.length <= 256 &&
        c.every((level) => Number.isFinite(level) && Number.isFinite(Math.fround(level))));
    if (
      !isCount(rows) ||
      !isCount(columns) ||
      !isCount(bits) ||
      !levels(codebook) ||
      (group !== null && !isCount(group))
    ) {
      throw new FormatError(
        `loadPacked: a weight's sizes must be counts, got ${show([rows, columns, bits, group])}`,
      );
    }
    if (bits !== 32 && typeof signed !== "boolean") {
      throw new FormatError(`loadPacked: signed must be true or false, got ${show(signed)}`);
    }
    const type = { rows, columns, bits, signed: signed === true, group, codebook };
    const made =
      bits === 32
        ? PackedWeight.ofFloats(this.floats(name, rows * columns), rows, columns)
        : this.coded(name as string, type);
    this.weights.set(name as string, made);
    return made;
  }

  private coded(name: string, type: Omit<CodedWeight, "codes" | "scale" | "scaleType">): PackedWeight {
    const { rows, columns, bits } = type;
    if (bits > 8) throw new FormatError(`loadPacked: bits must be 1 to 8 or 32, got ${bits}`);
    const codes = this.bytes(`${name}.codes`, "U8", rows * packedBytes(columns, bits));
    const entry = this.entries.get(`${name}.scale`);
    const half = entry?.format === "F16";
    const raw = this.bytes(`${name}.scale`, half ? "F16" : "F32", entry ? entry.to - entry.from : 0);
    const scale = half ? widenFloat16(new Uint16Array(raw.buffer)) : new Float32Array(raw.buffer);
    return PackedWeight.ofCodes({ ...type, codes, scale, scaleType: half ? "float16" : "float32" });
  }
}

/** What the layers of a file are made of. Throws FormatError for a file that is broken in any way, or of another version. */
export function readPacked(bytes: Uint8Array | ArrayBuffer): unknown {
  const file = viewOf(bytes);
  if (!file) {
    throw new OptionError(`loadPacked: expected the bytes of a file, got ${show(bytes)}`);
  }
  const start = 8 + headerLength(file, file.length);
  const { entries, metadata } = readHeader(file.subarray(8, start), file.length - start);
  if (!Object.hasOwn(metadata, key)) {
    throw new FormatError(`loadPacked: not a packed model, got metadata ${show(Object.keys(metadata))}`);
  }
  const tensors = file.subarray(start);
  const sum = metadata[checksum];
  if (sum !== undefined) {
    const found = checksumOf(metadata[key], [tensors]);
    if (sum !== found) {
      throw new FormatError(
        `loadPacked: the file is damaged: its CRC-32 is ${found}, got ${show(sum)} in its header`,
      );
    }
  }
  const described = readJsonObject("loadPacked", new TextEncoder().encode(metadata[key]));
  if (described.version !== version) {
    throw new FormatError(`loadPacked: reads version ${version}, got ${show(described.version)}`);
  }
  return new Reader(tensors, entries).read(described.model);
}
