/** Comma-separated values, RFC 4180, and plain text. */

import { convertArray, type DType, isBytes, isDType } from "../dtype.ts";
import { FormatError, isPlainObject, OptionError, readOptions, show } from "../errors.ts";
import { type Tensor, wrap } from "../tensor.ts";
import { decodeLatin1, decodeText, unmarked } from "./bytes.ts";
import { platform } from "./platform.node.ts";

/**
 * The cells of delimited text, row by row. Fields in quotes may hold delimiters, line ends and doubled quotes; `quote: ""`
 * turns quoting off. Line ends are \n, \r\n or \r; a last empty line is none, nor is a byte order mark. Throws FormatError for a
 * quote out of place.
 *
 * @example
 * ```ts
 * import { parseCsv } from "bitgrad/data";
 *
 * console.log(parseCsv('name,text\na,"x, y"\n')); // [["name", "text"], ["a", "x, y"]]
 * ```
 */
export function parseCsv(content: string, options?: { delimiter?: string; quote?: string }): string[][] {
  const { delimiter, quote } = readOptions("csv", options, { delimiter: ",", quote: '"' });
  if (delimiter.length !== 1 || /[\r\n]/.test(delimiter) || delimiter === quote) {
    throw new OptionError(`csv: the delimiter must be one character, got ${show(delimiter)}`);
  }
  if (quote.length > 1 || /[\r\n]/.test(quote)) {
    throw new OptionError(`csv: the quote must be one character or empty, got ${show(quote)}`);
  }
  if (typeof content !== "string") throw new OptionError(`csv: expected text, got ${show(content)}`);
  const text = unmarked(content);
  const rows: string[][] = [];
  let row: string[] = [];
  let line = 1;
  let at = 0;
  const bare = new RegExp(`[^\\r\\n\\u${delimiter.charCodeAt(0).toString(16).padStart(4, "0")}]*`, "y");
  while (at < text.length || row.length > 0) {
    let cell: string;
    if (quote !== "" && text[at] === quote) {
      const first = line;
      cell = "";
      for (;;) {
        const end = text.indexOf(quote, at + 1);
        if (end === -1) throw new FormatError(`csv: a quote is never closed, got line ${first}`);
        const part = text.slice(at + 1, end);
        line += part.match(/\r\n?|\n/g)?.length ?? 0;
        cell += part;
        at = end + 1;
        if (text[at] !== quote) break;
        cell += quote;
      }
    } else {
      bare.lastIndex = at;
      cell = bare.exec(text)![0];
      at += cell.length;
      if (quote !== "" && cell.includes(quote)) {
        throw new FormatError(
          `csv: a quote stands inside an unquoted field, got ${show(cell)} on line ${line}`,
        );
      }
    }
    row.push(cell);
    if (text[at] === delimiter) {
      at++;
      continue;
    }
    if (at < text.length && text[at] !== "\n" && text[at] !== "\r") {
      throw new FormatError(
        `csv: text follows a closing quote, got ${show(text.slice(at, at + 10))} on line ${line}`,
      );
    }
    rows.push(row);
    row = [];
    at += text[at] === "\r" && text[at + 1] === "\n" ? 2 : 1;
    line++;
  }
  return rows;
}

export interface CsvOptions {
  /** Whether the first row names the columns; on unless told otherwise. */
  header?: boolean;
  /** The columns to read, in order; without a header, the names of all columns. */
  columns?: readonly string[];
  /** The dtype of a column that becomes a tensor; a column not named stays text. */
  types?: Readonly<Record<string, DType>>;
  /** What an empty cell of such a column stands for, NaN for one; without it an empty cell is an error. */
  missing?: Readonly<Record<string, number>>;
  delimiter?: string;
  /** "" for files in which quotes mean nothing. */
  quote?: string;
}

/**
 * The columns of a CSV, by name: lists of text, or tensors (N) where `types` gives a dtype; a data set as `loader` takes it.
 * Without header and `columns` the names are "0", "1", … Throws FormatError for rows of unequal length, a repeated or missing
 * column, and a cell that is no number of its type.
 *
 * @example
 * ```ts
 * import type { Tensor } from "bitgrad";
 * import { csv } from "bitgrad/data";
 *
 * const { age, name } = csv("name,age\na,3\nb,5\n", { types: { age: "float32" } });
 * console.log((age as Tensor).toArray(), name); // [3, 5] ["a", "b"]
 * ```
 */
export function csv(source: string | Uint8Array, options?: CsvOptions): Record<string, string[] | Tensor> {
  const { header, columns, types, missing, delimiter, quote } = readOptions<CsvOptions>("csv", options, {
    header: true,
    columns: undefined,
    types: undefined,
    missing: undefined,
    delimiter: ",",
    quote: '"',
  });
  if (columns !== undefined && !(Array.isArray(columns) && columns.every((name) => typeof name === "string")))
    throw new OptionError(`csv: columns must be a list of names, got ${show(columns)}`);
  if (types !== undefined && !isPlainObject(types))
    throw new OptionError(`csv: types must give dtypes by column, got ${show(types)}`);
  if (missing !== undefined && !isPlainObject(missing))
    throw new OptionError(`csv: missing must give numbers by column, got ${show(missing)}`);
  for (const [name, value] of Object.entries(missing ?? {})) {
    if (typeof value !== "number" || !Object.hasOwn(types ?? {}, name)) {
      throw new OptionError(
        `csv: missing must give a number for a column with a type, got ${show(value)} for ${show(name)}`,
      );
    }
  }
  if (typeof source !== "string" && !isBytes(source))
    throw new OptionError(`csv: expected text or a Uint8Array, got ${show(source)}`);
  const rows = parseCsv(typeof source === "string" ? source : decodeText("csv", source), {
    delimiter,
    quote,
  });
  const first = rows[0] ?? [];
  const names = header ? first : (columns ?? first.map((_, i) => String(i)));
  if (header) rows.shift();
  if (new Set(names).size !== names.length) {
    throw new FormatError(`csv: a column name stands twice, got ${show([...names])}`);
  }
  rows.forEach((row, i) => {
    if (row.length !== names.length) {
      throw new FormatError(
        `csv: a row differs in length, got ${row.length} fields for ${names.length} columns in record ${i + (header ? 2 : 1)}`,
      );
    }
  });
  const wanted = columns ?? names;
  const places = new Map(names.map((name, i) => [name, i]));
  for (const name of [...wanted, ...Object.keys(types ?? {})]) {
    if (!places.has(name)) {
      throw new FormatError(`csv: no such column, got ${show(name)}; the columns are ${show([...names])}`);
    }
  }
  const table: Record<string, string[] | Tensor> = Object.create(null);
  for (const name of wanted) {
    const column = places.get(name)!;
    const cells = rows.map((row) => row[column]);
    const dtype = types !== undefined && Object.hasOwn(types, name) ? types[name] : undefined;
    table[name] =
      dtype === undefined
        ? cells
        : numbers(name, cells, dtype, Object.hasOwn(missing ?? {}, name) ? missing![name] : undefined);
  }
  return table;
}

const decimal = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;
const specials: Record<string, number | undefined> = Object.assign(Object.create(null), {
  nan: Number.NaN,
  inf: Infinity,
  "+inf": Infinity,
  "-inf": -Infinity,
  infinity: Infinity,
  "-infinity": -Infinity,
});

function numbers(name: string, cells: readonly string[], dtype: DType, missing: number | undefined): Tensor {
  if (!isDType(dtype))
    throw new OptionError(`csv: unknown dtype for column ${show(name)}, got ${show(dtype)}`);
  const values = cells.map((cell, i) => {
    const trimmed = cell.trim();
    const special = specials[trimmed.toLowerCase()];
    const value =
      trimmed === "" ? missing : (special ?? (decimal.test(trimmed) ? Number(trimmed) : undefined));
    if (value === undefined) {
      const advice = trimmed === "" ? `; missing: { ${show(name)}: … } fills empty cells` : "";
      throw new FormatError(
        `csv: not a number in column ${show(name)}, got ${show(cell)} in data row ${i + 1}${advice}`,
      );
    }
    return value;
  });
  return wrap(convertArray(`csv column ${show(name)}`, values, dtype), [values.length], dtype);
}

/**
 * The text of a file (a path; in a browser a URL) or of bytes. Throws FormatError if there is no such file or it is not in the
 * encoding. A byte order mark at the start is dropped.
 *
 * @example
 * ```ts
 * import { text } from "bitgrad/data";
 *
 * console.log(await text(new TextEncoder().encode("naïve"))); // naïve
 * ```
 */
export async function text(
  source: string | Uint8Array,
  options?: { encoding?: "utf-8" | "latin1" },
): Promise<string> {
  const { encoding } = readOptions<{ encoding?: string }>("text", options, { encoding: "utf-8" });
  const bytes = typeof source === "string" ? await platform.readFile(source) : source;
  if (bytes === null && source !== null)
    throw new FormatError(`text: there is no such file, got ${show(source)}`);
  if (!isBytes(bytes)) {
    throw new OptionError(`text: expected a path or a Uint8Array, got ${show(source)}`);
  }
  if (encoding === "latin1") return decodeLatin1(bytes);
  if (encoding !== "utf-8")
    throw new OptionError(`text: unknown encoding, got ${show(encoding)}; use utf-8 or latin1`);
  return decodeText("text", bytes);
}
