/**
 * Packed models as safetensors files, written in version 2, or 3: docs/formats.md draws every bit. The layers are JSON in
 * the metadata, in which numbers stand by the name of their tensor.
 */

import { toFloat16, widenFloat16 } from "../../../kernels/formats/half.ts";
import { type ZeroKind, zeroKind, zeroKinds } from "../../../kernels/zeros.ts";
import { isFloat32Array, bytesOf as viewOf } from "../../dtype.ts";
import { FormatError, isPlainObject, OptionError, show } from "../../errors.ts";
import { type Entry, headerLength, readHeader } from "../../safetensors/header.ts";
import { DEPTH_LIMIT, readJsonObject } from "../../safetensors/json.ts";
import { packedBytes } from "./codes.ts";
import { crc32 } from "./crc.ts";
import { endless, type PackedLayer } from "./layer.ts";
import { type CodedWeight, PackedWeight } from "./weight.ts";

/** What files of weights with zero points are written in, others in version 2: its readers would pass over a field. */
const zeroVersion = 3;
const key = "bitgrad.packed";
const checksum = "bitgrad.crc32";
/** What the header begins with; the eight digits of the checksum follow. */
const opening = `{"__metadata__":{"${checksum}":"`;
const digitsAt = 8 + opening.length;
const noDigits = "00000000";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The CRC-32 of some bytes after others, in eight digits. */
const checksumOf = (...parts: readonly Uint8Array[]): string =>
  parts
    .reduce((crc, bytes) => crc32(bytes, crc), 0)
    .toString(16)
    .padStart(8, "0");

/** That of a whole file, its own digits being 0. */
const checksumOfFile = (file: Uint8Array): string =>
  checksumOf(file.subarray(0, digitsAt), utf8(noDigits), file.subarray(digitsAt + noDigits.length));

interface Stored {
  readonly dtype: "U8" | "F16" | "F32";
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const bytesOf = (array: Uint8Array | Uint16Array | Float32Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** Throws OptionError for what the JSON of a file would lose. */
function checkJson(value: unknown, path: string): unknown {
  if (value === null || Number.isFinite(value) || typeof value === "boolean" || typeof value === "string") {
    if (Object.is(value, -0)) {
      throw new OptionError(`toBytes: JSON has no −0, got −0 at ${path}; write 0, or float32 numbers`);
    }
    return value;
  }
  throw new OptionError(
    `toBytes: a field must be a number, text, list, layer, weight or float32 numbers, got ${show(value)} at ${path}`,
  );
}

/** The tensors of a file by name, and the description that names them. */
class Writer {
  readonly tensors = new Map<string, Stored>();
  version = 2;
  private readonly names = new Map<PackedWeight, Record<string, unknown>>();
  /** The objects that hold what is described. */
  private readonly above: object[] = [];

  describe(value: unknown, path: string): unknown {
    if (value instanceof PackedWeight) return this.weight(value, path);
    if (isFloat32Array(value)) {
      this.floats(path, value, [value.length]);
      return { tensor: path };
    }
    if (typeof value !== "object" || value === null) return checkJson(value, path);
    // The description lies in an object of its own.
    const wrong = endless(value, this.above, DEPTH_LIMIT - 1);
    if (wrong) throw new OptionError(`toBytes: ${wrong}, got ${show(path)}`);
    this.above.push(value);
    const described = this.fields(value, path);
    this.above.pop();
    return described;
  }

  private fields(value: object, path: string): unknown {
    if (Array.isArray(value)) return value.map((item, i) => this.describe(item, `${path}.${i}`));
    if (!isPlainObject(value) && typeof (value as Partial<PackedLayer>).kind !== "string") {
      return checkJson(value, path);
    }
    const { kind, tensor, weight } = value as Record<string, unknown>;
    if (kind === undefined && (tensor !== undefined || typeof weight === "string")) {
      throw new OptionError(`toBytes: only layers may have a field tensor or weight, got one at ${path}`);
    }
    if (Object.hasOwn(value, "__proto__")) {
      throw new OptionError(
        `toBytes: a field must not have a reserved name, got "__proto__" at ${path || "the root"}`,
      );
    }
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
      const { bits, signed, codes, scale, group, scaleType, codebook, zeroPoint } = coded;
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
      if (zeroPoint) {
        this.version = zeroVersion;
        const zero = zeroKind(zeroPoint, bits);
        described = { ...described, zero };
        if (zero === "float") this.floats(`${path}.zero`, zeroPoint, shape);
        else this.tensors.set(`${path}.zero`, { dtype: "U8", shape, bytes: Uint8Array.from(zeroPoint) });
      }
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
  const metadata = { [checksum]: noDigits, [key]: JSON.stringify({ version: writer.version, model }) };
  const header: Record<string, unknown> = { __metadata__: metadata };
  let at = 0;
  for (const [name, { dtype, shape, bytes }] of stored) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
  }
  const json = utf8(JSON.stringify(header));
  const start = 8 + Math.ceil(json.length / 8) * 8;
  const file = new Uint8Array(start + at).fill(0x20, 8, start);
  file.set(json, 8);
  new DataView(file.buffer).setUint32(0, start - 8, true);
  let to = start;
  for (const [, { bytes }] of stored) {
    file.set(bytes, to);
    to += bytes.length;
  }
  file.set(utf8(checksumOfFile(file)), digitsAt);
  return file;
}

type CodedType = Omit<CodedWeight, "codes" | "scale" | "scaleType" | "zeroPoint"> & {
  readonly zero: ZeroKind | null;
};

const isCount = (n: unknown): n is number =>
  Number.isInteger(n) && (n as number) > 0 && (n as number) < 2 ** 31;

const areLevels = (levels: unknown): levels is number[] | null =>
  levels === null ||
  (Array.isArray(levels) &&
    levels.length <= 256 &&
    levels.every((level) => Number.isFinite(level) && Number.isFinite(Math.fround(level))));

const isZero = (zero: unknown): zero is ZeroKind | null =>
  zero === null || (zeroKinds as readonly unknown[]).includes(zero);

/** Puts the numbers of a file in the place of their names. */
class Reader {
  private readonly file: Uint8Array;
  private readonly entries: ReadonlyMap<string, Entry>;
  /** By name and description: in memory once, however many layers name them. */
  private readonly made = new Map<string, PackedWeight | Float32Array>();
  /** What was said of each tensor by the first that named it. */
  private readonly described = new Map<string, string>();

  private readonly version: unknown;

  constructor(file: Uint8Array, entries: ReadonlyMap<string, Entry>, version: unknown) {
    this.file = file;
    this.version = version;
    this.entries = entries;
  }

  /** The bytes of a tensor, of which its entry and all who name it must say the same. */
  private bytes(name: string, format: string, shape: readonly number[], use: string): ArrayBuffer {
    const entry = this.entries.get(name);
    if (entry?.format !== format) {
      throw new FormatError(`loadPacked: the file lacks a tensor of ${format}, got ${show(name)}`);
    }
    const before = this.described.get(name) ?? use;
    if (use !== before || shape.join() !== entry.shape.join()) {
      const [one, other] = use === before ? [show(entry.shape), show(shape)] : [before, use];
      throw new FormatError(
        `loadPacked: two descriptions of one tensor, got ${one} and ${other} for ${show(name)}`,
      );
    }
    this.described.set(name, use);
    // A copy, so that the file may go, and that the numbers are aligned wherever it lay.
    return this.file.slice(entry.from, entry.to).buffer;
  }

  private once<T extends PackedWeight | Float32Array>(name: string, use: string, make: () => T): T {
    const key = JSON.stringify([name, use]);
    const made = (this.made.get(key) as T | undefined) ?? make();
    this.made.set(key, made);
    return made;
  }

  /** What a description stands for. */
  read(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.read(item));
    if (!isPlainObject(value)) return value;
    const { weight, tensor } = value;
    // Fields of a layer may have any name.
    const isLayer = Object.hasOwn(value, "kind");
    if (!isLayer && Object.hasOwn(value, "weight") && typeof weight === "string")
      return this.weight(weight, value);
    if (!isLayer && Object.hasOwn(value, "tensor")) {
      const name = String(tensor);
      const entry = this.entries.get(name);
      const shape = [entry ? (entry.to - entry.from) / 4 : 0];
      return this.once(name, "", () => new Float32Array(this.bytes(name, "F32", shape, "numbers")));
    }
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, this.read(field)]));
  }

  private weight(name: string, given: Record<string, unknown>): PackedWeight {
    const { rows, columns, bits, signed, group = null, codebook = null, zero = null } = given;
    if (
      !isCount(rows) ||
      !isCount(columns) ||
      !isCount(bits) ||
      !areLevels(codebook) ||
      (group !== null && !isCount(group))
    ) {
      throw new FormatError(
        `loadPacked: a weight's sizes must be counts, got ${show([rows, columns, bits, group])}`,
      );
    }
    if (bits !== 32 && typeof signed !== "boolean") {
      throw new FormatError(`loadPacked: signed must be true or false, got ${show(signed)}`);
    }
    if (bits > 8 && bits !== 32) {
      throw new FormatError(`loadPacked: bits must be 1 to 8 or 32, got ${bits}`);
    }
    if (!isZero(zero) || (zero !== null && this.version !== zeroVersion)) {
      throw new FormatError(
        `loadPacked: zero must be one of ${zeroKinds.join(", ")} in version ${zeroVersion}, got ${show(zero)} in version ${show(this.version)}`,
      );
    }
    const type = { rows, columns, bits, signed: signed === true, group, codebook, zero };
    const use = JSON.stringify(type);
    return this.once(name, use, () => {
      if (bits < 32) return this.coded(name, type, use);
      const floats = new Float32Array(this.bytes(name, "F32", [rows, columns], use));
      return PackedWeight.ofFloats(floats, rows, columns);
    });
  }

  private coded(name: string, type: CodedType, use: string): PackedWeight {
    const { zero, ...coded } = type;
    const { rows, columns, bits, group } = coded;
    const codes = this.bytes(`${name}.codes`, "U8", [rows, packedBytes(columns, bits)], use);
    const entry = this.entries.get(`${name}.scale`);
    const half = entry?.format === "F16";
    const shape = group !== null ? [rows, Math.ceil(columns / group)] : entry?.shape[0] === 1 ? [1] : [rows];
    const raw = this.bytes(`${name}.scale`, half ? "F16" : "F32", shape, use);
    const scale = half ? widenFloat16(new Uint16Array(raw)) : new Float32Array(raw);
    const scaleType = half ? "float16" : "float32";
    const zeros = zero && this.bytes(`${name}.zero`, zero === "float" ? "F32" : "U8", shape, use);
    const shift = zero === "half" ? 0.5 : 0;
    const odd = zeros && zero !== "float" ? new Uint8Array(zeros).find((z) => z >= 2 ** bits) : undefined;
    if (odd !== undefined) {
      throw new FormatError(
        `loadPacked: a zero point must be a code of ${bits} bits, got ${odd} for ${show(name)}`,
      );
    }
    const zeroPoint =
      zeros &&
      (zero === "float"
        ? new Float32Array(zeros)
        : Float32Array.from(new Uint8Array(zeros), (z) => z + shift));
    return PackedWeight.ofCodes({ ...coded, codes: new Uint8Array(codes), scale, scaleType, zeroPoint });
  }
}

/**
 * What the layers of a file are made of. Throws FormatError for a file that is broken in any way, or of another version than
 * 1 to 3.
 */
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
  const text = utf8(metadata[key]);
  const described = readJsonObject("loadPacked", text);
  const sum = metadata[checksum];
  let found = sum;
  if (described.version === 2 || described.version === zeroVersion) {
    const opened = utf8(opening).every((byte, i) => byte === file[8 + i]);
    found = opened ? checksumOfFile(file) : "missing at its place";
  } else if (described.version === 1) {
    // Of the description and the tensors, where another program did not leave it out.
    if (sum !== undefined) found = checksumOf(text, tensors);
  } else {
    throw new FormatError(`loadPacked: reads versions 1 to ${zeroVersion}, got ${show(described.version)}`);
  }
  if (sum !== found) {
    throw new FormatError(
      `loadPacked: the file is damaged: its CRC-32 is ${found}, got ${show(sum)} in its header`,
    );
  }
  return new Reader(tensors, entries, described.version).read(described.model);
}
