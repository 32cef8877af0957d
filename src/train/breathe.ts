/** Lets the event loop run now and then, so that timers, signals and the screen are served during long loops. */

/** Milliseconds of work between two breaths. */
const interval = 10;

/** A function to await in a loop: it returns at once, except once in a while, when it lets waiting tasks run first. */
export function breather(): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < interval) return;
    await nextTask();
    last = performance.now();
  };
}

/** `setTimeout` costs milliseconds; a message does not. */
const nextTask = (): Promise<void> =>
  new Promise((resolve) => {
    if (typeof setImmediate === "function") {
      setImmediate(resolve);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
