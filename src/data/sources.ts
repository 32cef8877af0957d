/** Data sets: what they are, and the batches of their examples. */

import { type DType, dtypeOfArray, newArray, type TypedArray } from "../dtype.ts";
import { DTypeError, OptionError, ShapeError, show } from "../errors.ts";
import type { NestedArray } from "../nested.ts";
import { type Shape, sameShape } from "../shape.ts";
import { isTensor, type Tensor, tensor, wrap } from "../tensor.ts";

/** One field of a data set held in columns: example i is row i of a tensor or entry i of a list. */
export type Column =
  | Tensor
  | TypedArray
  | readonly (number | boolean | string | Tensor | TypedArray | NestedArray)[];

/** A data set computed or read example by example. `get` may be asynchronous; all examples have the same fields. */
export interface IndexedDataset<E extends Record<string, unknown> = Record<string, unknown>> {
  readonly length: number;
  get(index: number): E | Promise<E>;
}

/** Columns of equal length, or an object with `length` and `get`. */
export type Dataset = IndexedDataset | Readonly<Record<string, Column>>;

type Fields = Record<string, Tensor | string[]>;

/** Examples by their indices, stacked. */
export interface Source {
  readonly length: number;
  batch(rows: Int32Array): Promise<Fields>;
}

/** Of columns or of examples. Throws for what is neither. */
export function sourceOf(dataset: Dataset): Source {
  if (typeof dataset !== "object" || dataset === null) {
    throw new OptionError(`loader: a data set must be columns or { length, get }, got ${show(dataset)}`);
  }
  const source = isIndexed(dataset) ? fromExamples(dataset) : fromColumns(dataset);
  if (source.length < 2 ** 31) return source;
  throw new OptionError(
    `loader: a data set must hold fewer than 2^31 examples, got ${source.length}; load parts of it`,
  );
}

const isIndexed = (dataset: Dataset): dataset is IndexedDataset =>
  typeof (dataset as { get?: unknown }).get === "function";

function fromExamples(dataset: IndexedDataset): Source {
  const { length } = dataset;
  if (!Number.isInteger(length) || length < 0) {
    throw new OptionError(
      `loader: a data set's length must be an integer of at least 0, got ${show(length)}`,
    );
  }
  return {
    length,
    async batch(rows) {
      const examples = await Promise.all(Array.from(rows, (row) => dataset.get(row)));
      const names = Object.keys(examples[0]);
      const out: Fields = Object.create(null);
      examples.forEach((example, i) => {
        const own = Object.keys(example);
        if (own.length !== names.length || !names.every((name) => Object.hasOwn(example, name))) {
          throw new ShapeError(
            `loader: examples differ in their fields, got ${show(own)} at index ${rows[i]} and ${show(names)} at index ${rows[0]}`,
          );
        }
      });
      for (const name of names) {
        out[name] = stack(
          name,
          examples.map((example) => example[name]),
          rows,
        );
      }
      return out;
    },
  };
}

function fromColumns(columns: Readonly<Record<string, Column>>): Source {
  const names = Object.keys(columns);
  if (names.length === 0) throw new OptionError("loader: a data set needs at least one field, got none");
  const lengths = names.map((name) => {
    const column = columns[name];
    if (isTensor(column) && column.rank > 0) return column.shape[0];
    if (Array.isArray(column) || (ArrayBuffer.isView(column) && dtypeOfArray(column) !== null)) {
      return (column as ArrayLike<unknown>).length;
    }
    throw new OptionError(
      `loader: a field must be a tensor with rows, a typed array or an array, got ${show(column)} for ${show(name)}`,
    );
  });
  if (lengths.some((length) => length !== lengths[0])) {
    throw new ShapeError(
      `loader: fields differ in length, got ${names.map((name, i) => `${name}: ${lengths[i]}`).join(", ")}`,
    );
  }
  return {
    length: lengths[0],
    async batch(rows) {
      const out: Fields = Object.create(null);
      for (const name of names) {
        const column = columns[name];
        if (isTensor(column)) out[name] = takeRows(column.data, column.shape.slice(1), column.dtype, rows);
        else if (ArrayBuffer.isView(column)) out[name] = takeRows(column, [], dtypeOfArray(column)!, rows);
        else
          out[name] = stack(
            name,
            Array.from(rows, (row) => column[row]),
            rows,
          );
      }
      return out;
    },
  };
}

function takeRows(data: TypedArray, rowShape: Shape, dtype: DType, rows: Int32Array): Tensor {
  let width = 1;
  for (const n of rowShape) width *= n;
  const out = newArray(dtype, rows.length * width);
  rows.forEach((row, i) => {
    out.set(data.subarray(row * width, (row + 1) * width), i * width);
  });
  return wrap(out, Object.freeze([rows.length, ...rowShape]), dtype);
}

/** Values of one field, one an example, as a tensor with a leading batch axis; strings stay a list. */
function stack(name: string, values: readonly unknown[], rows: Int32Array): Tensor | string[] {
  if (values.every((value) => typeof value === "string")) return values as string[];
  const parts = values.map((value, i) => {
    if (isTensor(value)) return value;
    if (
      typeof value === "number" ||
      typeof value === "boolean" ||
      Array.isArray(value) ||
      ArrayBuffer.isView(value)
    ) {
      return tensor(value as NestedArray) as Tensor;
    }
    throw new DTypeError(
      `loader: field ${show(name)} must hold numbers, arrays, tensors or strings alone, got ${show(value)} at index ${rows[i]}`,
    );
  });
  const [{ shape, dtype, size }] = parts;
  const out = newArray(dtype, parts.length * size);
  parts.forEach((part, i) => {
    if (!sameShape(part.shape, shape) || part.dtype !== dtype) {
      throw new ShapeError(
        `loader: field ${show(name)} differs between examples, got ${part.dtype} ${show([...part.shape])} at index ${rows[i]} and ${dtype} ${show([...shape])} at index ${rows[0]}`,
      );
    }
    out.set(part.data, i * size);
  });
  return wrap(out, Object.freeze([parts.length, ...shape]), dtype);
}
