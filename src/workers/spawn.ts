/** How threads are started. Node's half is `spawn.node.ts`, the browser's `spawn.browser.ts`. */

export interface Thread {
  /** Ends it, whatever it does; resolves when it has ended. */
  end(): Promise<void>;
}

/**
 * Starts `source` as a thread with `data` and resolves when it says that it is ready; rejects where it cannot run. A thread
 * never keeps the process alive. `lost` is called with the reason when it ends by itself later.
 */
export type Spawn = (source: string, data: object, lost: (reason: string) => void) => Promise<Thread>;
