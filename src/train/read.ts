/** How `fit` goes through its data, and comes back to where it was. */

import { unlessAborted } from "../data/abort.ts";
import type { LoaderState } from "../data/loader.ts";
import { shared } from "../state.ts";

type Data<B> = AsyncIterable<B> | Iterable<B>;

/** The place where `fit` left a loader. */
const places = shared("places", () => new WeakMap<object, LoaderState>());

/** The place of a loader, null for other data. */
export function placeOf(data: object): LoaderState | null {
  const { state } = data as { state?: LoaderState | null };
  return typeof state?.position === "number" ? state : null;
}

/** Lets a loader that nobody used since `fit` left it go on from there. */
export function goOn(data: object): void {
  const place = placeOf(data);
  if (place && places.get(data) === place) (data as { state: LoaderState }).state = place;
}

/** Takes a loader back to `place`, if there is one, and notes where it is left. */
export function leave(data: object, place: LoaderState | null): void {
  if (place) (data as { state: LoaderState }).state = place;
  const left = placeOf(data);
  if (left) places.set(data, left);
}

/**
 * The batches of one epoch, until the signal is aborted, while one is read too. `asking` is called before each is asked for,
 * and what it gives when that has been done.
 */
export async function* read<B>(
  data: Data<B>,
  signal: AbortSignal | undefined,
  asking: () => () => void,
): AsyncGenerator<B> {
  const source: AsyncIterator<B> | Iterator<B> =
    (data as AsyncIterable<B>)[Symbol.asyncIterator]?.() ?? (data as Iterable<B>)[Symbol.iterator]();
  let waits = false;
  try {
    for (;;) {
      waits = false;
      const asked = asking();
      const next = source.next();
      asked();
      const { done, value } = await unlessAborted(next, signal);
      if (done) return;
      const batch = await unlessAborted(value, signal);
      waits = true;
      yield batch;
    }
  } finally {
    if (waits) await source.return?.();
    // What is still reading does not answer; it ends when it can.
    else if (signal?.aborted) Promise.resolve(source.return?.()).catch(() => {});
  }
}
