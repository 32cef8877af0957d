/** Threads in Node. Only the node build contains this file. */

import type { Spawn } from "../../kernels/wasm/threads.ts";

export const spawn: Spawn = async (source, data, lost) => {
  const { Worker } = await import("node:worker_threads");
  // Nothing of how the process was started, such as loaders of other languages, is for a thread.
  const worker = new Worker(source, { eval: true, workerData: data, execArgv: [], env: {} });
  let ended = false;
  await new Promise<void>((resolve, reject) => {
    worker.once("message", () => resolve());
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Error(`it ended with code ${code}`)));
  });
  worker.removeAllListeners();
  let reason = "";
  worker.once("error", (error) => {
    reason = `: ${error}`;
  });
  worker.once("exit", (code) => {
    if (!ended) lost(`it ended with code ${code}${reason}`);
  });
  worker.unref();
  return {
    async end() {
      ended = true;
      await worker.terminate();
    },
  };
};
