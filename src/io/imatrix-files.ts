/** The two forms of files with an importance matrix, GGUF and .dat, and what they hold. */

import { encodeUtf8 } from "../data/bytes.ts";
import { FormatError, OptionError, show } from "../errors.ts";
import { type Tensor, wrap } from "../tensor.ts";
import { Cursor } from "./cursor.ts";
import { type Gguf, type GgufTensor, joined, readGguf, writeGguf } from "./gguf.ts";

/** What a weight's inputs were, by column: of `statistics` with `keep: ["sumOfSquares"]`, or of `readImatrix`. */
export interface ColumnImportance {
  /** How many rows were seen; the calls of a .dat file. */
  readonly rows: number;
  /** (columns), Σ x² over the rows. */
  readonly sumOfSquares: Tensor<"float64">;
}

export interface Imatrix {
  /** By the name of the weight or layer. */
  readonly importance: Map<string, ColumnImportance>;
  /** What the inputs were made from. */
  readonly datasets: readonly string[];
  /** How many chunks of text, of `chunkSize` tokens each, were read; 0 where the file does not say. */
  readonly chunkCount: number;
  readonly chunkSize: number;
}

export interface ImatrixOptions {
  /** "gguf", or "dat" for the files from before it. Default "gguf". */
  format: "gguf" | "dat";
  /** What the inputs were made from; a .dat file holds one at most. Default none. */
  datasets: readonly string[];
  /** Default 0. */
  chunkCount: number;
  /** Default 0; a .dat file does not hold it. */
  chunkSize: number;
}

const keys = {
  type: "general.type",
  datasets: "imatrix.datasets",
  count: "imatrix.chunk_count",
  size: "imatrix.chunk_size",
} as const;
const [sums, counts] = [".in_sum2", ".counts"];
/** Of a name of a tensor in ggml. */
const nameLimit = 63;
export const int32Max = 2 ** 31 - 1;

export function fromGguf(op: string, bytes: Uint8Array): Imatrix {
  const { values, tensors }: Gguf = readGguf(op, bytes, Object.values(keys));
  const type = values.get(keys.type);
  if (type !== "imatrix") {
    throw new FormatError(
      `${op}: ${keys.type} must be "imatrix", got ${show(type)}; it is another GGUF file`,
    );
  }
  const importance = new Map<string, ColumnImportance>();
  const part = (name: string): GgufTensor => {
    const found = tensors.get(name);
    if (!found) throw new FormatError(`${op}: ${sums} and ${counts} belong together, got no ${show(name)}`);
    return found;
  };
  for (const tensor of tensors.keys()) {
    if (tensor.endsWith(counts)) part(tensor.slice(0, -counts.length) + sums);
    if (!tensor.endsWith(sums)) continue;
    const name = tensor.slice(0, -sums.length);
    const { dims, bytes: data } = part(tensor);
    const count = part(name + counts);
    if (count.bytes.length !== 4 || dims.slice(1).some((dim) => dim !== 1)) {
      throw new FormatError(
        `${op}: matrices of several experts are not read, got dimensions ${show(dims)} and ${show(count.dims)} of ${show(name)}`,
      );
    }
    const [rows] = numbers(op, name, count.bytes);
    importance.set(name, entry(rows, numbers(op, name, data)));
  }
  const datasets = values.get(keys.datasets);
  const integer = (key: string): number => {
    const value = values.get(key);
    return typeof value === "number" && value > 0 ? value : 0;
  };
  return {
    importance,
    datasets: typeof datasets === "object" ? datasets : [],
    chunkCount: integer(keys.count),
    chunkSize: integer(keys.size),
  };
}

/** The number of entries; of each its name, calls, and Σ x² / rows · calls of the columns; the last chunk, the dataset. */
export function fromDat(op: string, bytes: Uint8Array): Imatrix {
  const cursor = new Cursor(op, bytes);
  const count = (what: string): number => {
    const n = cursor.i32();
    if (n >= 0) return n;
    throw new FormatError(`${op}: ${what} of a .dat file must not be negative, got ${n}`);
  };
  const entries = count("the number of entries");
  const importance = new Map<string, ColumnImportance>();
  for (let i = 0; i < entries; i++) {
    const name = cursor.text(count("the length of a name"), bytes.length);
    if (importance.has(name)) throw new FormatError(`${op}: names must differ, got ${show(name)} twice`);
    const calls = count("the number of calls");
    importance.set(name, entry(calls, numbers(op, name, cursor.take(4 * count("the number of columns")))));
  }
  if (cursor.at === bytes.length) return { importance, datasets: [], chunkCount: 0, chunkSize: 0 };
  const chunkCount = count("the last chunk");
  const dataset = cursor.text(count("the length of the dataset"), bytes.length);
  if (cursor.at !== bytes.length) {
    throw new FormatError(`${op}: bytes behind the end, got ${bytes.length - cursor.at} of ${bytes.length}`);
  }
  return { importance, datasets: dataset === "" ? [] : [dataset], chunkCount, chunkSize: 0 };
}

export const entry = (rows: number, sumOfSquares: Float64Array): ColumnImportance => ({
  rows,
  sumOfSquares: wrap(sumOfSquares, [sumOfSquares.length], "float64"),
});

/** Little-endian float32 numbers, in double. */
function numbers(op: string, name: string, bytes: Uint8Array): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = Float64Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  if (found.length === 0) throw new FormatError(`${op}: an entry needs columns, got none of ${show(name)}`);
  const bad = found.find((v) => !(v >= 0 && v < Infinity));
  if (bad === undefined) return found;
  throw new FormatError(`${op}: numbers must be finite and not negative, got ${bad} of ${show(name)}`);
}

export function toGguf(
  op: string,
  entries: readonly (readonly [string, ColumnImportance])[],
  { datasets, chunkCount, chunkSize }: ImatrixOptions,
): Uint8Array<ArrayBuffer> {
  const tensors = new Map<string, { dims: number[]; data: Float32Array }>();
  for (const [name, { rows, sumOfSquares }] of entries) {
    const size = encodeUtf8(op, name + sums).length;
    if (size > nameLimit) {
      throw new OptionError(
        `${op}: a name has at most ${nameLimit - sums.length} bytes, got ${size - sums.length} of ${show(name)}; rename it`,
      );
    }
    tensors.set(name + sums, { dims: [sumOfSquares.size, 1], data: floats(op, name, sumOfSquares.data) });
    tensors.set(name + counts, { dims: [1, 1], data: floats(op, name, [rows]) });
  }
  const values = new Map<string, number | string | readonly string[]>([
    [keys.type, "imatrix"],
    [keys.datasets, datasets],
    [keys.count, chunkCount],
    [keys.size, chunkSize],
  ]);
  return writeGguf(op, values, tensors);
}

export function toDat(
  op: string,
  entries: readonly (readonly [string, ColumnImportance])[],
  { datasets, chunkCount, chunkSize }: ImatrixOptions,
): Uint8Array<ArrayBuffer> {
  if (datasets.length > 1 || chunkSize !== 0) {
    throw new OptionError(
      `${op}: a .dat file holds one dataset and no chunkSize, got ${show(datasets)} and ${chunkSize}; write a "gguf" file`,
    );
  }
  const parts: Uint8Array[] = [];
  const put = (value: number): void => {
    const part = new DataView(new ArrayBuffer(4));
    part.setInt32(0, value, true);
    parts.push(new Uint8Array(part.buffer));
  };
  const putText = (text: string): void => {
    const utf8 = encodeUtf8(op, text);
    put(utf8.length);
    parts.push(utf8);
  };
  put(entries.length);
  for (const [name, { rows, sumOfSquares }] of entries) {
    if (!Number.isInteger(rows) || rows > int32Max) {
      throw new OptionError(
        `${op}: rows of a .dat file must be an integer below 2^31, got ${rows} of ${show(name)}`,
      );
    }
    putText(name);
    put(rows);
    put(sumOfSquares.size);
    const data = new DataView(new ArrayBuffer(4 * sumOfSquares.size));
    for (const [i, v] of floats(op, name, sumOfSquares.data).entries()) data.setFloat32(4 * i, v, true);
    parts.push(new Uint8Array(data.buffer));
  }
  put(chunkCount);
  putText(datasets[0] ?? "");
  return joined(parts);
}

function floats(op: string, name: string, values: ArrayLike<number>): Float32Array {
  const found = Float32Array.from(values);
  if (found.every((v) => v < Infinity)) return found;
  throw new OptionError(
    `${op}: numbers must fit float32, got larger ones of ${show(name)}; scale inputs down`,
  );
}
