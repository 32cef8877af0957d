/** Threads in a browser. Only the browser build contains this file. */

import type { Spawn } from "../../kernels/wasm/threads.ts";

export const spawn: Spawn = async (source, data, lost) => {
  if (typeof Worker !== "function") throw new Error("this platform has no workers");
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    const worker = new Worker(url);
    await new Promise<void>((resolve, reject) => {
      worker.onmessage = () => resolve();
      // A content-security policy that forbids the blob shows as an error without a message.
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message || "a content-security policy without worker-src blob: forbids them"));
      };
      worker.postMessage(data);
    });
    worker.onerror = (event) => lost(event.message);
    return { end: async () => worker.terminate() };
  } finally {
    URL.revokeObjectURL(url);
  }
};
