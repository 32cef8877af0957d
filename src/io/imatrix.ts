/** Importance matrices in the files of llama.cpp. */

import { isBytes } from "../dtype.ts";
import {
  checkChoice,
  checkInteger,
  FormatError,
  isBuiltIn,
  OptionError,
  readOptions,
  show,
} from "../errors.ts";
import { isTensor } from "../tensor.ts";
import { isGguf } from "./gguf.ts";
import {
  type ColumnImportance,
  entry,
  fromDat,
  fromGguf,
  type Imatrix,
  type ImatrixOptions,
  int32Max,
  toDat,
  toGguf,
} from "./imatrix-files.ts";

/**
 * Reads an importance matrix as llama.cpp's imatrix writes it, GGUF or .dat: Σ x² of each column of a weight's inputs, and
 * how many rows they sum. Sums are exact, as the file holds float32. What `formats.Q4_K.encode` and `clipSearch` take is the
 * `sumOfSquares`. Throws FormatError for a file that breaks its format, numbers that are negative or not finite, and
 * matrices of several experts.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { readImatrix, writeImatrix } from "bitgrad/io";
 * import { Linear, statistics } from "bitgrad/nn";
 *
 * const found = await statistics(new Linear(2, 8), [tensor([[1, 0], [3, -2]])], { keep: ["sumOfSquares"] });
 * const bytes = writeImatrix(new Map([["blk.0.attn_q.weight", found.get("")!]]));
 * const { importance } = readImatrix(bytes);
 * const { rows, sumOfSquares } = importance.get("blk.0.attn_q.weight")!;
 * console.log(rows, sumOfSquares.toArray()); // 2 [10, 4]
 * ```
 */
export function readImatrix(bytes: Uint8Array): Imatrix {
  const op = "readImatrix";
  if (!isBytes(bytes)) throw new OptionError(`${op}: needs the bytes of a file, got ${show(bytes)}`);
  const found = isGguf(bytes) ? fromGguf(op, bytes) : fromDat(op, bytes);
  if (found.importance.size === 0) throw new FormatError(`${op}: needs at least one entry, got none`);
  return found;
}

/**
 * The bytes of a file that llama.cpp's quantizer reads by --imatrix: of each name Σ x² of the columns and how many rows they
 * sum, in float32. Names are those of the tensors that are quantized (`blk.0.attn_q.weight`), in a GGUF file of at most
 * 55 bytes. Throws OptionError for numbers that are negative, not finite, or beyond float32, and for options that the format
 * does not hold.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { writeImatrix } from "bitgrad/io";
 *
 * const sumOfSquares = tensor([10, 0, 8, 2], { dtype: "float64" });
 * const importance = new Map([["blk.0.attn_q.weight", { rows: 2, sumOfSquares }]]);
 * console.log(writeImatrix(importance, { datasets: ["c"], chunkCount: 1, chunkSize: 2 }).length); // 384
 * ```
 */
export function writeImatrix(
  importance: ReadonlyMap<string, ColumnImportance>,
  options?: Partial<ImatrixOptions>,
): Uint8Array<ArrayBuffer> {
  const op = "writeImatrix";
  const read = readOptions<ImatrixOptions>(op, options, {
    format: "gguf",
    datasets: [],
    chunkCount: 0,
    chunkSize: 0,
  });
  const { format, datasets, chunkCount, chunkSize } = read;
  checkChoice(op, "format", format, ["gguf", "dat"]);
  if (!Array.isArray(datasets) || datasets.some((name) => typeof name !== "string")) {
    throw new OptionError(`${op}: datasets must be a list of names, got ${show(datasets)}`);
  }
  for (const [name, value] of Object.entries({ chunkCount, chunkSize })) {
    checkInteger(op, name, value, 0);
    if (value > int32Max) throw new OptionError(`${op}: ${name} must be below 2^31, got ${value}`);
  }
  checkImportance(op, importance);
  if (importance.size === 0) throw new OptionError(`${op}: needs at least one entry, got none`);
  // ggml has them sorted.
  const sorted = [...importance].sort(([a], [b]) => (a < b ? -1 : 1));
  return format === "gguf" ? toGguf(op, sorted, read) : toDat(op, sorted, read);
}

function checkImportance(op: string, importance: ReadonlyMap<string, ColumnImportance>): void {
  if (!isBuiltIn("Map", importance)) {
    throw new OptionError(`${op}: needs a Map of what statistics gives, got ${show(importance)}`);
  }
  for (const [name, given] of importance) {
    const at = `of ${show(name)}`;
    const sums = given?.sumOfSquares;
    if (!isTensor(sums) || sums.rank !== 1 || (sums.dtype as string) !== "float64" || sums.size === 0) {
      throw new OptionError(
        `${op}: sumOfSquares must be a float64 tensor (columns), got ${show(sums)} ${at}`,
      );
    }
    const bad = [given.rows, ...sums.data].findIndex((v) => !(v >= 0 && v < Infinity));
    if (bad === -1) continue;
    throw new OptionError(
      `${op}: numbers must be finite and not negative, got ${bad === 0 ? show(given.rows) : sums.data[bad - 1]} ${at}`,
    );
  }
}

/**
 * The importance of what several runs saw together: sums and rows of the same name are added. Throws OptionError for
 * entries of one name that differ in columns, and for numbers that are negative or not finite.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { mergeImportance } from "bitgrad/io";
 *
 * const part = (rows: number, sums: number[]) =>
 *   new Map([["0", { rows, sumOfSquares: tensor(sums, { dtype: "float64" }) }]]);
 * const { rows, sumOfSquares } = mergeImportance([part(1, [1, 4]), part(3, [2, 0])]).get("0")!;
 * console.log(rows, sumOfSquares.toArray()); // 4 [3, 4]
 * ```
 */
export function mergeImportance(
  parts: Iterable<ReadonlyMap<string, ColumnImportance>>,
): Map<string, ColumnImportance> {
  const op = "mergeImportance";
  const isList = typeof (Object(parts) as Partial<Iterable<unknown>>)[Symbol.iterator] === "function";
  if (!isList || typeof parts === "string") {
    throw new OptionError(`${op}: needs a list of maps, got ${show(parts)}`);
  }
  const merged = new Map<string, ColumnImportance>();
  for (const part of parts) {
    checkImportance(op, part);
    for (const [name, { rows, sumOfSquares }] of part) {
      const other = merged.get(name);
      const data = Float64Array.from(sumOfSquares.data);
      if (other && other.sumOfSquares.size !== data.length) {
        throw new OptionError(
          `${op}: entries of one name must have as many columns, got ${other.sumOfSquares.size} and ${data.length} of ${show(name)}`,
        );
      }
      if (other) for (let i = 0; i < data.length; i++) data[i] += other.sumOfSquares.data[i];
      merged.set(name, entry(rows + (other?.rows ?? 0), data));
    }
  }
  return merged;
}
