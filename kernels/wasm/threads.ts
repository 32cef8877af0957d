/**
 * The pool of threads over the heap. A job is a list of tasks that do not depend on one another, and a task is calls of
 * compiled functions with numbers; the threads and the caller take tasks until none is left. Which thread runs a task
 * changes no bits, since a task computes the same wherever it runs.
 */

import { BackendError } from "../../src/errors.ts";
import { shared } from "../../src/state.ts";
import { free, heapMemory, memoryIsShared, unsharedReason, view, work } from "./heap.ts";
import { compiledBytes } from "./load.ts";
import {
  controlBytes,
  exportLimit,
  kernelLimit,
  localEnd,
  localStart,
  word,
  workerSource,
} from "./worker.ts";

export type Run = (...numbers: number[]) => void;

/** A call of an exported function; `name` is how the threads know it. */
export interface Call {
  readonly run: Run;
  readonly name: number;
  readonly args: readonly number[];
}

export interface Thread {
  /** Ends it, whatever it does; resolves when it has ended. */
  end(): Promise<void>;
}

/**
 * Starts `source` as a thread with `data` and resolves when it says that it is ready; rejects where it cannot run. A thread
 * never keeps the process alive. `lost` is called with the reason when it ends by itself later. src/workers has one for
 * Node and one for browsers.
 */
export type Spawn = (source: string, data: object, lost: (reason: string) => void) => Promise<Thread>;

interface Pool {
  /** Empty without a pool; the caller is a thread besides. */
  threads: readonly Thread[];
  /** Of the threads, the caller included, 1 for none but the caller. */
  active: number;
  /** Why there is no pool although one was asked for, or null. */
  reason: string | null;
  /** Set when a thread was lost: what the next job throws. */
  lost: string | null;
  control: number;
  words: Int32Array;
  /** Blocks on the heap that live as long as the pool, and what they hold. */
  program: number;
  programLength: number;
  local: number;
  localStep: number;
  sources: number[];
  ids: WeakMap<object, number>;
  /** Ends one change of the pool before the next. */
  change: Promise<void>;
  /** Work that takes one thread fewer nanoseconds stays there. */
  least: number;
  /** A job without progress for so many milliseconds has lost a thread. */
  stall: number;
}

const fresh = () => ({
  threads: [],
  active: 1,
  control: 0,
  words: new Int32Array(0),
  program: 0,
  programLength: 0,
  local: 0,
  localStep: 0,
  sources: [],
  ids: new WeakMap<object, number>(),
});

/** One for all copies of the library in the process. */
export const pool = /* @__PURE__ */ shared<Pool>("threads", () => ({
  ...fresh(),
  reason: null,
  lost: null,
  change: Promise.resolve(),
  least: 50_000,
  stall: 30_000,
}));

/** Ends the pool and, for n above 1, starts one of n − 1 threads beside the caller. Changes wait for one another. */
export function changePool(n: number, spawn: Spawn): Promise<void> {
  pool.change = pool.change.then(() => restart(n, spawn));
  return pool.change;
}

async function restart(n: number, spawn: Spawn): Promise<void> {
  await stop();
  pool.reason = null;
  pool.lost = null;
  if (n === 1) return;
  if (!memoryIsShared()) {
    pool.reason = `threads need memory that is shared, and ${unsharedReason()}`;
    return;
  }
  const control = work(controlBytes);
  if (control === 0) {
    pool.reason = "threads need a little of the heap, and its budget is exhausted";
    return;
  }
  pool.control = control;
  pool.words = new Int32Array(heapMemory().buffer, control, controlBytes / 4).fill(0);
  const started = await Promise.allSettled(
    Array.from({ length: n - 1 }, (_, i) =>
      spawn(workerSource, { memory: heapMemory(), control, index: i + 1 }, (reason) => lose(control, reason)),
    ),
  );
  pool.threads = started.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const failed = started.find((result) => result.status === "rejected");
  if (failed === undefined) pool.active = n;
  else {
    await stop();
    pool.reason = `threads do not start here: ${(failed.reason as Error).message}`;
  }
}

/** Ends the threads, then frees what they had. */
async function stop(): Promise<void> {
  const { threads, control, program, local, sources } = pool;
  Object.assign(pool, fresh());
  await Promise.all(threads.map((thread) => thread.end()));
  for (const address of [control, program, local, ...sources]) if (address !== 0) free(address);
}

/** A thread of the pool with this control block is gone: the pool ends, and the next job says so. */
function lose(control: number, reason: string): void {
  if (control !== pool.control) return;
  pool.lost = `a thread was lost: ${reason}`;
  pool.reason = pool.lost;
  void stop();
}

/** Throws what the loss of a thread left to say, once. */
export function expectThreads(): void {
  const { lost } = pool;
  if (lost === null) return;
  pool.lost = null;
  throw new BackendError(`setThreads: ${lost}; work goes on on one thread, setThreads starts others`);
}

/** The number by which threads know a kernel's exports, whose bytes then lie on the heap; −1 where there is no room. */
export function kernelId(exports: object): number {
  const known = pool.ids.get(exports);
  if (known !== undefined) return known;
  const bytes = compiledBytes(exports);
  const id = pool.sources.length;
  const address = bytes === null || id === kernelLimit ? 0 : work(bytes.length);
  if (bytes === null || address === 0) return -1;
  view("uint8", address, bytes.length).set(bytes);
  pool.sources.push(address);
  pool.words[word.kernels + 2 * id] = address;
  pool.words[word.kernels + 1 + 2 * id] = bytes.length;
  pool.ids.set(exports, id);
  return id;
}

export const functionName = (kernel: number, place: number): number => kernel * exportLimit + place;

/** Gives every thread at least `bytes` of scratch; false where the heap has no room. */
export function reserveLocal(bytes: number): boolean {
  if (bytes <= pool.localStep) return true;
  const step = Math.ceil(bytes / 64) * 64;
  const address = work(step * (pool.threads.length + 1));
  if (address === 0) return false;
  if (pool.local !== 0) free(pool.local);
  pool.local = address;
  pool.localStep = step;
  pool.words[word.local] = address;
  pool.words[word.localStep] = step;
  return true;
}

/** Writes the program that worker.ts describes; false where the heap has no room for it. */
function write(tasks: readonly (readonly Call[])[]): boolean {
  let length = tasks.length + 1;
  for (const calls of tasks) for (const { args } of calls) length += 2 + args.length;
  if (length > pool.programLength) {
    const address = work(length * 2 * 8);
    if (address === 0) return false;
    if (pool.program !== 0) free(pool.program);
    pool.program = address;
    pool.programLength = length * 2;
    pool.words[word.program] = address;
    pool.words[word.programLength] = length * 2;
  }
  const program = view("float64", pool.program, pool.programLength);
  let at = tasks.length + 1;
  tasks.forEach((calls, task) => {
    program[task] = at;
    for (const { name, args } of calls) {
      program[at++] = name;
      program[at++] = args.length;
      for (const value of args) program[at++] = value;
    }
  });
  program[tasks.length] = at;
  return true;
}

function perform(calls: readonly Call[]): void {
  const local = pool.local - localStart;
  for (const { run, args } of calls)
    run(...args.map((value) => (value >= localStart && value < localEnd ? value + local : value)));
}

/**
 * Runs all tasks, here and on the threads, and returns when all are done. Throws BackendError where a thread failed or made
 * no progress; then there is one thread.
 */
export function runJob(tasks: readonly (readonly Call[])[]): void {
  if (!write(tasks)) {
    for (const calls of tasks) perform(calls);
    return;
  }
  const { words } = pool;
  Atomics.store(words, word.done, 0);
  Atomics.store(words, word.left, tasks.length);
  Atomics.add(words, word.job, 1);
  if (Atomics.load(words, word.sleepers) > 0) Atomics.notify(words, word.job);
  try {
    for (;;) {
      const left = Atomics.load(words, word.left);
      if (left <= 0) break;
      if (Atomics.compareExchange(words, word.left, left, left - 1) !== left) continue;
      Atomics.add(words, word.done, 1);
      perform(tasks[left - 1]);
    }
  } finally {
    // Also when a call threw here: what others still do must not outlive the memory it is done to.
    awaitOthers(words, tasks.length);
  }
  const length = Atomics.load(words, word.failed);
  if (length > 0) {
    const text = String.fromCharCode(...words.subarray(word.message, word.message + length));
    lose(pool.control, text);
    expectThreads();
  }
}

// The others end soon after the caller has found no task left; a thread that wakes another costs more than this.
const spins = 2000;

function awaitOthers(words: Int32Array, total: number): void {
  for (let i = 0; i < spins; i++) if (Atomics.load(words, word.done) >= total) return;
  let seen = -1;
  let since = performance.now();
  for (;;) {
    const done = Atomics.load(words, word.done);
    if (done >= total) return;
    if (done !== seen) {
      seen = done;
      since = performance.now();
    } else if (performance.now() - since > pool.stall) {
      lose(pool.control, `it made no progress for ${pool.stall / 1000} s`);
      expectThreads();
    }
    pause(words, done);
  }
}

/** Sleeps until `done` changes, where this thread may sleep: a browser's main thread may not, and spins. */
function pause(words: Int32Array, done: number): void {
  try {
    Atomics.wait(words, word.done, done, 50);
  } catch {
    for (let i = 0; i < spins; i++) if (Atomics.load(words, word.done) !== done) return;
  }
}
