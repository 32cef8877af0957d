/** Batches of a data set: in order or shuffled, each example once an epoch, resumable at any batch. */

import { type DType, dtypeOfArray, newArray, type TypedArray } from "../dtype.ts";
import { DTypeError, isPlainObject, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import type { NestedArray } from "../nested.ts";
import { Rng, type RngState } from "../random/rng.ts";
import { type Shape, sameShape } from "../shape.ts";
import { isTensor, type Tensor, tensor, wrap } from "../tensor.ts";
import { unlessAborted } from "./abort.ts";

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

type BatchField<F> = [F] extends [string | readonly string[]] ? string[] : Tensor;
/** What a loader yields: a tensor (B, …) for every field, a list for fields of strings. */
export type Batch<D> =
  D extends IndexedDataset<infer E>
    ? { [K in keyof E]: BatchField<E[K]> }
    : { [K in keyof D]: BatchField<D[K]> };

/** The place between two batches, plain data that JSON keeps exactly. */
export interface LoaderState {
  /** The epoch of the next batch, counted from 0. */
  readonly epoch: number;
  /** Examples of this epoch that were handed out: 0 after the last batch of the epoch before. */
  readonly position: number;
  /** The shuffling generator as it was when the epoch began. */
  readonly rng: RngState;
}

export interface LoaderOptions {
  /** Examples a batch. */
  batch: number;
  /** A new random order every epoch; off unless told otherwise. */
  shuffle?: boolean;
  /**
   * Seeds the order: the loader forks it once and then has a generator of its own. Needed when shuffling; without `shuffle`
   * nothing is drawn from it, so that one program can turn shuffling on and off.
   */
  rng?: Rng;
  /** Leaves out the last batch of an epoch if it is short, as batch norm needs where it would be of one example. */
  dropLast?: boolean;
  /** Aborting it makes the next batch throw its reason, one that is being read too. */
  signal?: AbortSignal;
}

export interface Loader<B> extends AsyncIterable<B> {
  /** Batches an epoch. */
  readonly length: number;
  /**
   * The place after the batch that was handed out last. Assigning it makes the next loop go on from there, with the very
   * batches that would have come, be it a new epoch; a loop that assigned nothing begins a new epoch.
   */
  state: LoaderState;
}

/**
 * Batches of `dataset`; every `for await` loop is one epoch, in which each example comes exactly once (but for `dropLast`).
 * Numbers become float32 unless they are in typed arrays or tensors. Throws OptionError for a batch that is not a positive
 * integer, 2^31 examples or more, or a shuffle without `rng`, ShapeError for fields or examples that do not fit one another.
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { loader } from "bitgrad/data";
 *
 * const set = { x: [[0], [1], [2], [3]], y: new Int32Array([0, 1, 0, 1]) };
 * const data = loader(set, { batch: 3, shuffle: true, rng: new Rng(1) });
 * for await (const { x, y } of data) console.log("batch", x.shape, y.dtype);
 * console.log(data.length); // 2
 * ```
 */
export function loader<const D extends Dataset>(dataset: D, options: LoaderOptions): Loader<Batch<D>> {
  const { batch, shuffle, rng, dropLast, signal } = readOptions<LoaderOptions>("loader", options, {
    batch: undefined as unknown as number,
    shuffle: false,
    rng: undefined,
    dropLast: false,
    signal: undefined,
  });
  if (!Number.isInteger(batch) || batch < 1) {
    throw new OptionError(`loader: batch must be a positive integer, got ${show(batch)}`);
  }
  if (shuffle && rng === undefined) {
    throw new OptionError("loader: shuffling needs a generator, got no rng; pass new Rng(seed)");
  }
  if (signal !== undefined && typeof signal?.throwIfAborted !== "function") {
    throw new OptionError(`loader: needs an AbortSignal, got ${show(signal)}; pass controller.signal`);
  }
  if (typeof dataset !== "object" || dataset === null) {
    throw new OptionError(`loader: a data set must be columns or { length, get }, got ${show(dataset)}`);
  }
  const source = isIndexed(dataset) ? fromExamples(dataset) : fromColumns(dataset);
  if (source.length >= 2 ** 31) {
    throw new OptionError(
      `loader: a data set must hold fewer than 2^31 examples, got ${source.length}; load parts of it`,
    );
  }
  const own = shuffle && rng ? rng.fork() : new Rng(0);
  const counted = dropLast ? source.length - (source.length % batch) : source.length;
  let state: LoaderState = { epoch: 0, position: 0, rng: own.state };
  let resume: LoaderState | null = null;
  /** Counts the assignments: loops begun before one may still be reading, and must not tell where they are. */
  let assigned = 0;

  async function* epoch(): AsyncGenerator<Batch<D>> {
    if (resume) own.state = resume.rng;
    const from = resume ?? {
      epoch: state.epoch + (state.position > 0 ? 1 : 0),
      position: 0,
      rng: own.state,
    };
    resume = null;
    const when = assigned;
    const tell = (place: LoaderState) => {
      if (when === assigned) state = place;
    };
    const order = shuffle ? own.permutation(source.length) : null;
    for (let position = from.position; position < counted; position += batch) {
      signal?.throwIfAborted();
      tell({ ...from, position });
      const size = Math.min(batch, counted - position);
      const rows = order
        ? order.subarray(position, position + size)
        : Int32Array.from({ length: size }, (_, i) => position + i);
      const made = await unlessAborted(source.batch(rows), signal);
      signal?.throwIfAborted();
      tell(
        position + size < counted
          ? { ...from, position: position + size }
          : { epoch: from.epoch + 1, position: 0, rng: own.state },
      );
      yield made as Batch<D>;
    }
  }

  return {
    length: Math.ceil(counted / batch),
    get state() {
      return resume ?? state;
    },
    set state(given) {
      resume = checkState(given, source.length);
      if (resume.position > 0 && resume.position >= counted) {
        // An epoch that has ended is the beginning of the next, when its order has been drawn.
        const probe = new Rng(0);
        probe.state = resume.rng;
        if (shuffle) probe.permutation(source.length);
        resume = { epoch: resume.epoch + 1, position: 0, rng: probe.state };
      }
      assigned++;
    },
    [Symbol.asyncIterator]: epoch,
  };
}

function checkState(given: unknown, length: number): LoaderState {
  if (isPlainObject(given)) {
    const { epoch, position, rng } = given;
    const fits = (n: unknown, least: number, most: number) =>
      Number.isInteger(n) && (n as number) >= least && (n as number) <= most;
    if (fits(epoch, -1, Number.MAX_SAFE_INTEGER) && fits(position, 0, length)) {
      const probe = new Rng(0);
      probe.state = rng as RngState;
      // Before the first epoch nothing has been drawn: the next loop is epoch 0 either way.
      return { epoch: Math.max(epoch as number, 0), position: position as number, rng: probe.state };
    }
  }
  throw new OptionError(
    `loader: a state must be { epoch, position, rng } with position in [0, ${length}], got ${isPlainObject(given) ? show(Object.entries(given)) : show(given)}`,
  );
}

type Fields = Record<string, Tensor | string[]>;

interface Source {
  readonly length: number;
  batch(rows: Int32Array): Promise<Fields>;
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
