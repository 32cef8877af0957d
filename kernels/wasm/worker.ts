/**
 * What a thread of the pool runs, as a text, so that there is no asset to serve: Node evaluates it, a browser loads it from a
 * blob. It needs the memory, the address of the control block and its own number; kernels come to it through the heap.
 */

/** The control block: 32-bit words, those that threads write each on a cache line of its own. */
export const word = {
  /** Tasks of the job that nobody has taken; a task is taken by lowering it. */
  left: 0,
  /** Tasks that are finished. */
  done: 16,
  /** Rises with every job: what sleeping threads wait on. */
  job: 32,
  sleepers: 48,
  /** Address and length, in doubles, of the job's program. */
  program: 64,
  programLength: 65,
  /** Address of the scratch of thread 0, and bytes from one thread's to the next. */
  local: 66,
  localStep: 67,
  /** Characters of a message of a thread that failed, and the message. */
  failed: 80,
  message: 81,
  messageLength: 175,
  /** Address and bytes of every compiled source that jobs use. */
  kernels: 256,
} as const;

export const kernelLimit = 128;
export const controlBytes = (word.kernels + 2 * kernelLimit) * 4;

/** A source has at most so many exports; a function is numbered source · exportLimit + export. */
export const exportLimit = 256;

/**
 * Numbers from here to the next `localEnd` stand for offsets in the scratch of the thread that runs the call. No float32
 * lies there: above 2^52 they are multiples of 2^29.
 */
export const localStart = 2 ** 52 + 2 ** 28;
export const localEnd = localStart + 2 ** 28;

// How long a thread without work spins before it sleeps, in milliseconds. Waking one takes some 10 to 50 microseconds.
const patience = 0.1;

/**
 * A program is, in doubles: where each task begins and where the last ends; for each call of a task the function, the count
 * of its arguments, and these.
 */
export const workerSource = /* @__PURE__ */ (() => `
"use strict";
const run = ({ memory, control, index }, post) => {
  const words = new Int32Array(memory.buffer, control, ${controlBytes / 4});
  const kernels = [];
  let program = new Float64Array(0);
  const functions = (id) => {
    const bytes = new Uint8Array(memory.buffer, words[${word.kernels} + 2 * id] >>> 0, words[${word.kernels + 1} + 2 * id]);
    const module = new WebAssembly.Module(bytes.slice());
    return (kernels[id] = Object.values(new WebAssembly.Instance(module, { env: { memory } }).exports));
  };
  const perform = (task) => {
    const address = words[${word.program}] >>> 0;
    const length = words[${word.programLength}];
    if (program.byteOffset !== address || program.length !== length)
      program = new Float64Array(memory.buffer, address, length);
    const local = (words[${word.local}] >>> 0) + index * words[${word.localStep}] - ${localStart};
    for (let at = program[task], end = program[task + 1]; at < end; ) {
      const name = program[at];
      const args = [];
      const last = at + 2 + program[at + 1];
      for (at += 2; at < last; at++) {
        const value = program[at];
        args.push(value >= ${localStart} && value < ${localEnd} ? value + local : value);
      }
      const id = Math.floor(name / ${exportLimit});
      (kernels[id] || functions(id))[name % ${exportLimit}](...args);
    }
  };
  const fail = (error) => {
    const text = String(error).slice(0, ${word.messageLength});
    for (let i = 0; i < text.length; i++) words[${word.message} + i] = text.charCodeAt(i);
    Atomics.store(words, ${word.failed}, text.length);
  };
  const work = () => {
    for (;;) {
      const left = Atomics.load(words, ${word.left});
      if (left <= 0) return;
      if (Atomics.compareExchange(words, ${word.left}, left, left - 1) !== left) continue;
      try {
        perform(left - 1);
      } catch (error) {
        fail(error);
      }
      Atomics.add(words, ${word.done}, 1);
      if (Atomics.load(words, ${word.left}) <= 0) Atomics.notify(words, ${word.done});
    }
  };
  const live = () => {
    for (;;) {
      work();
      const until = performance.now() + ${patience};
      while (performance.now() < until)
        for (let i = 0; i < 64; i++)
          if (Atomics.load(words, ${word.left}) > 0) work();
      const job = Atomics.load(words, ${word.job});
      Atomics.add(words, ${word.sleepers}, 1);
      if (Atomics.load(words, ${word.left}) <= 0) Atomics.wait(words, ${word.job}, job);
      Atomics.sub(words, ${word.sleepers}, 1);
    }
  };
  post("ready");
  setTimeout(live);
};
if (typeof require === "function") {
  const { parentPort, workerData } = require("node:worker_threads");
  run(workerData, (message) => parentPort.postMessage(message));
} else self.onmessage = ({ data }) => run(data, (message) => self.postMessage(message));
`)();
