/** The header of a safetensors file: where each tensor lies, checked before anything is read or allocated. */

import { FormatError, isPlainObject, show } from "../errors.ts";
import type { Shape } from "../shape.ts";
import { type FormatName, isFormat, widths } from "./formats.ts";
import { readJsonObject } from "./json.ts";

const OP = "readSafetensors";
/** As in the reference implementation. */
export const HEADER_LIMIT = 100_000_000;
export const RANK_LIMIT = 64;
/** Metadata key under which names of one tensor are kept: JSON of {name: name of the tensor in the file}. */
export const TIED = "bitgrad.tied";

export interface Entry {
  readonly format: FormatName;
  readonly shape: Shape;
  /** First byte, counted from the end of the header. */
  readonly from: number;
  /** The byte after the last. */
  readonly to: number;
}

export interface Header {
  readonly entries: ReadonlyMap<string, Entry>;
  /** Further names of tensors in the file. */
  readonly tied: ReadonlyMap<string, string>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The length of the header of a file of `size` bytes, of which `bytes` are the first eight. */
export function headerLength(bytes: Uint8Array, size: number): number {
  if (size < 8) throw new FormatError(`${OP}: too short for a header, got ${size} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
  if (length > HEADER_LIMIT || length + 8 > size) {
    throw new FormatError(
      `${OP}: the header does not fit, got a length of ${length} bytes in a file of ${size}; at most ${HEADER_LIMIT}`,
    );
  }
  return length;
}

/** Reads the header's JSON; `dataSize` is the number of bytes behind it, every one of which belongs to one tensor. */
export function readHeader(json: Uint8Array, dataSize: number): Header {
  const object = readJsonObject(OP, json);
  const metadata = readMetadata(object.__metadata__);
  const entries = new Map<string, Entry>();
  for (const name of Object.keys(object)) {
    if (name !== "__metadata__") entries.set(name, readEntry(name, object[name]));
  }

  const inOrder = [...entries].sort(([, a], [, b]) => a.from - b.from || a.to - b.to);
  let end = 0;
  for (const [name, { from, to }] of inOrder) {
    if (from !== end) {
      const problem = from < end ? "tensors overlap" : "bytes belong to no tensor";
      throw new FormatError(`${OP}: ${problem}, got offset ${from} for ${show(name)} where ${end} belongs`);
    }
    end = to;
  }
  if (end !== dataSize) {
    throw new FormatError(
      `${OP}: tensors and file differ in length, got ${end} bytes of tensors in ${dataSize}`,
    );
  }
  return { entries, tied: takeTied(metadata, entries), metadata };
}

function readMetadata(given: unknown): Record<string, string> {
  const metadata: Record<string, string> = Object.create(null);
  if (given === undefined) return metadata;
  if (!isPlainObject(given))
    throw new FormatError(`${OP}: __metadata__ must be an object, got ${show(given)}`);
  for (const [key, value] of Object.entries(given)) {
    if (typeof value !== "string") {
      throw new FormatError(`${OP}: metadata must be text, got ${show(value)} for ${show(key)}`);
    }
    metadata[key] = value;
  }
  return metadata;
}

const isCount = (n: unknown): n is number =>
  Number.isSafeInteger(n) && (n as number) >= 0 && !Object.is(n, -0);

function readEntry(name: string, value: unknown): Entry {
  const fail = (what: string, got: unknown): never => {
    throw new FormatError(`${OP}: ${what}, got ${show(got)} for ${show(name)}`);
  };
  if (!isPlainObject(value)) return fail("a tensor's entry must be an object", value);
  const { dtype, shape, data_offsets: offsets } = value;
  const unknown = Object.keys(value).find(
    (key) => key !== "dtype" && key !== "shape" && key !== "data_offsets",
  );
  if (unknown !== undefined) fail("a tensor's entry has an unknown field", unknown);
  if (!isFormat(dtype)) return fail("unknown dtype", dtype);
  if (!Array.isArray(shape) || shape.length > RANK_LIMIT || !shape.every(isCount)) {
    return fail(`a shape must be at most ${RANK_LIMIT} integers of at least 0`, shape);
  }
  let size = 1;
  for (const n of shape) {
    size *= n;
    if (!Number.isSafeInteger(size * 8)) fail("the shape holds too many elements", shape);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[1] < offsets[0]) {
    return fail("data_offsets must be two integers in order", offsets);
  }
  const [from, to] = offsets;
  if (to - from !== size * widths[dtype]) {
    fail(
      `shape and offsets disagree: ${dtype} ${show(shape)} takes ${size * widths[dtype]} bytes`,
      to - from,
    );
  }
  return { format: dtype, shape: Object.freeze(shape), from, to };
}

/** Takes the ties out of `metadata`. */
function takeTied(
  metadata: Record<string, string>,
  entries: ReadonlyMap<string, Entry>,
): Map<string, string> {
  const tied = new Map<string, string>();
  if (!Object.hasOwn(metadata, TIED)) return tied;
  const names = readJsonObject(OP, new TextEncoder().encode(metadata[TIED]));
  delete metadata[TIED];
  for (const [name, target] of Object.entries(names)) {
    if (typeof target !== "string" || !entries.has(target) || entries.has(name) || name === "__metadata__") {
      throw new FormatError(
        `${OP}: a tied name must stand for a tensor of the file, got ${show(target)} for ${show(name)}`,
      );
    }
    tied.set(name, target);
  }
  return tied;
}
