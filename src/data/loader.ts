/** Batches of a data set: in order or shuffled, each example once an epoch, resumable at any batch. */

import { isFunction, isPlainObject, OptionError, readOptions, show } from "../errors.ts";
import { Rng, type RngState } from "../random/rng.ts";
import type { Tensor } from "../tensor.ts";
import { unlessAborted } from "./abort.ts";
import { asGiven, type Epoch, inTurn, type Rows } from "./epochs.ts";
import { type Dataset, type IndexedDataset, sourceOf } from "./sources.ts";

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
  /** Examples a batch. Needed, but where `batches` brings them together. */
  batch?: number;
  /** A new random order every epoch; off unless told otherwise. */
  shuffle?: boolean;
  /**
   * The indices of the examples of every batch: a list for all epochs, or a function that draws one for each, such as
   * `(rng) => lengthBatches(lengths, { tokens: 512, rng })`. It is called with the same generator again where a run resumes.
   */
  batches?: readonly Rows[] | ((rng: Rng) => readonly Rows[]);
  /**
   * Seeds the order, and what `transform` draws: the loader forks it once and then has a generator of its own. Needed for
   * `shuffle` and for a function as `batches`; without these and `transform` nothing is drawn from it, so that one program
   * can turn shuffling on and off.
   */
  rng?: Rng;
  /** Leaves out the last batch of an epoch if it is short, as batch norm needs where it would be of one example. */
  dropLast?: boolean;
  /** Aborting it makes the next batch throw its reason, one that is being read too. */
  signal?: AbortSignal;
}

export interface Loader<B> extends AsyncIterable<B> {
  /** Batches an epoch; where a function draws `batches`, those of the epoch that `state` lies in. */
  readonly length: number;
  /**
   * The place after the batch that was handed out last. Assigning it makes the next loop go on from there, with the very
   * batches that would have come, be it a new epoch; a loop that assigned nothing begins a new epoch.
   */
  state: LoaderState;
}

/** What `transform` gives in place of each batch. */
interface Transforming<B, T> {
  /**
   * What becomes of a batch before it is handed out, such as `normalizeImages` of its images; it may be asynchronous. The
   * generator is a new one for each batch, and depends on `rng`, the epoch and the place in it alone: a run that resumes
   * draws what would have been drawn.
   */
  transform: (batch: B, rng: Rng) => T | Promise<T>;
}

/**
 * Batches of `dataset`; every `for await` loop is one epoch, in which each example comes exactly once, but for `dropLast`
 * and what `batches` says. Numbers become float32 unless they are in typed arrays or tensors. Throws OptionError for a
 * batch that is not a positive integer, 2^31 examples or more, indices that are none, or draws without `rng`, ShapeError
 * for fields or examples that do not fit one another.
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { loader, randomFlip } from "bitgrad/data";
 *
 * const set = { x: [[0], [1], [2], [3]], y: new Int32Array([0, 1, 0, 1]) };
 * const data = loader(set, { batch: 3, shuffle: true, rng: new Rng(1) });
 * for await (const { x, y } of data) console.log("batch", x.shape, y.dtype);
 * console.log(data.length); // 2
 *
 * const images = loader(
 *   { x: [[[[1, 2]]], [[[3, 4]]]] },
 *   { batch: 2, rng: new Rng(1), transform: ({ x }, rng) => ({ x: randomFlip(x, { rng }) }) },
 * );
 * for await (const { x } of images) console.log("images", x.shape);
 * ```
 */
export function loader<const D extends Dataset, T>(
  dataset: D,
  options: LoaderOptions & { rng: Rng } & Transforming<Batch<D>, T>,
): Loader<T>;
export function loader<const D extends Dataset, T>(
  dataset: D,
  options: LoaderOptions & { transform: (batch: Batch<D>) => T | Promise<T> },
): Loader<T>;
export function loader<const D extends Dataset>(dataset: D, options: LoaderOptions): Loader<Batch<D>>;
export function loader(
  dataset: Dataset,
  options: LoaderOptions & Partial<Transforming<never, unknown>>,
): Loader<unknown> {
  const { batch, shuffle, batches, rng, dropLast, signal, transform } = readOptions<
    LoaderOptions & Partial<Transforming<never, unknown>>
  >("loader", options, {
    batch: undefined,
    shuffle: false,
    batches: undefined,
    rng: undefined,
    dropLast: false,
    signal: undefined,
    transform: undefined,
  });
  if (batches === undefined && !(Number.isInteger(batch) && batch! >= 1)) {
    throw new OptionError(`loader: batch must be a positive integer, got ${show(batch)}`);
  }
  if (batches !== undefined && (batch !== undefined || shuffle || dropLast)) {
    const beside = {
      ...(batch !== undefined && { batch }),
      ...(shuffle && { shuffle }),
      ...(dropLast && { dropLast }),
    };
    throw new OptionError(
      `loader: batches alone says which examples come together, got ${show(Object.keys(beside))} beside it`,
    );
  }
  const draws = shuffle || isFunction(batches);
  if (draws && rng === undefined) {
    const what = shuffle ? "shuffling" : "a function that draws batches";
    throw new OptionError(`loader: ${what} needs a generator, got no rng; pass new Rng(seed)`);
  }
  if (signal !== undefined && typeof signal?.throwIfAborted !== "function") {
    throw new OptionError(`loader: needs an AbortSignal, got ${show(signal)}; pass controller.signal`);
  }
  if (transform !== undefined && !isFunction(transform))
    throw new OptionError(`loader: transform must be a function, got ${show(transform)}`);
  const source = sourceOf(dataset);
  const order =
    batches === undefined
      ? inTurn(source.length, batch!, shuffle!, dropLast!)
      : asGiven(batches, source.length);
  /** Where the next epoch begins to draw. */
  let own = (rng && (draws || transform) ? rng.fork() : new Rng(0)).state;
  let state: LoaderState = { epoch: 0, position: 0, rng: own };
  let resume: LoaderState | null = null;
  /** Counts the assignments: loops begun before one may still be reading, and must not tell where they are. */
  let assigned = 0;
  let begun: (Begun & { readonly at: string }) | null = null;

  /** The epoch that begins with a generator, made once. */
  const begin = (from: RngState): Begun => {
    const at = `${from.key} ${from.counter}`;
    if (begun?.at === at) return begun;
    const drawing = atState(from);
    const epoch = order.begin(drawing);
    const forks = rng && transform ? drawing.fork().state : null;
    begun = { at, epoch, forks, next: drawing.state };
    return begun;
  };

  async function* epoch(): AsyncGenerator<unknown> {
    if (resume) own = resume.rng;
    const from = resume ?? { epoch: state.epoch + (state.position > 0 ? 1 : 0), position: 0, rng: own };
    resume = null;
    const when = assigned;
    const tell = (place: LoaderState) => {
      if (when === assigned) state = place;
    };
    const { epoch: now, forks, next } = begin(from.rng);
    own = next;
    let { position } = from;
    for (let rows = now.rows(position); rows; rows = now.rows(position)) {
      signal?.throwIfAborted();
      tell({ ...from, position });
      let made: unknown = await unlessAborted(source.batch(rows), signal);
      signal?.throwIfAborted();
      if (transform) {
        const drawing = forks && atState({ ...forks, counter: position }).fork();
        made = await unlessAborted(transform(made as never, drawing as Rng), signal);
        signal?.throwIfAborted();
      }
      position += rows.length;
      tell(position < now.total ? { ...from, position } : { epoch: from.epoch + 1, position: 0, rng: next });
      yield made;
    }
  }

  return {
    get length() {
      return (order.fixed ?? begin((resume ?? state).rng).epoch).length;
    },
    get state() {
      return resume ?? state;
    },
    set state(given) {
      const place = checkState(given, batches === undefined ? source.length : Infinity);
      const { position, rng } = place;
      if (batches !== undefined && position > 0) {
        const { total, rows } = begin(rng).epoch;
        if (position !== total && rows(position) === null)
          throw new OptionError(`loader: a state's position must be where a batch begins, got ${position}`);
      }
      const { total } = order.fixed ?? begin(rng).epoch;
      // An epoch that has ended is the beginning of the next, when its order has been drawn.
      const ended = position > 0 && position >= total;
      resume = ended ? { epoch: place.epoch + 1, position: 0, rng: begin(rng).next } : place;
      assigned++;
    },
    [Symbol.asyncIterator]: epoch,
  };
}

/** An epoch whose draws were made. */
interface Begun {
  readonly epoch: Epoch;
  /** Where the generators of `transform` come from; null where it draws nothing. */
  readonly forks: RngState | null;
  /** The generator behind these draws. */
  readonly next: RngState;
}

function atState(state: RngState): Rng {
  const rng = new Rng(0);
  rng.state = state;
  return rng;
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
    `loader: a state must be { epoch, position, rng } with position ${length === Infinity ? "of at least 0" : `in [0, ${length}]`}, got ${isPlainObject(given) ? show(Object.entries(given)) : show(given)}`,
  );
}
