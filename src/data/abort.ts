/** Waiting that an abort ends. */

/** What `value` comes to, or the rejection with the signal's reason as soon as it is aborted. */
export function unlessAborted<T>(
  value: T | PromiseLike<T>,
  signal: AbortSignal | undefined,
): Promise<Awaited<T>> {
  const arriving = Promise.resolve(value) as Promise<Awaited<T>>;
  if (!signal) return arriving;
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    arriving.then(resolve, reject).then(() => signal.removeEventListener("abort", stop));
  });
}
