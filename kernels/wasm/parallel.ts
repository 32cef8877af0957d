/** How kernels hand their work to the threads: rows of one call, or a list of tasks of several calls each. */

import { free, work } from "./heap.ts";
import {
  type Call,
  expectThreads,
  functionName,
  kernelId,
  pool,
  type Run,
  reserveLocal,
  runJob,
} from "./threads.ts";
import { localStart } from "./worker.ts";

export type { Run };

// A job of rows has so many tasks at most, and the smallest job has so many.
const mostTasks = 16;
const fewTasks = 4;

/** Whether work that takes one thread so long goes to the threads, which there are. */
export function isWorthThreads(nanoseconds: number): boolean {
  expectThreads();
  return pool.active > 1 && nanoseconds > pool.least;
}

/** The tasks of a job while they are written down. */
export interface Job {
  /** Scratch of the thread that runs a task. */
  readonly local: number;
  /** Whether calls are written down rather than run. */
  readonly recorded: boolean;
  /** The exports to call instead of `exports`, with the same names; functions return nothing. */
  of<T extends object>(exports: T): T;
  /** Ends a task. Tasks may run at once and in any order, the calls of one run in turn. */
  next(): void;
}

let calls: Call[] = [];
const twins = new WeakMap<object, { id: number; twin: object }>();

/** Exports whose functions are written down in `calls`; null where the heap has no room for their code. */
function twinOf<T extends object>(exports: T): T | null {
  const id = kernelId(exports);
  if (id < 0) return null;
  const known = twins.get(exports);
  if (known?.id === id) return known.twin as T;
  const twin: Record<string, Run> = {};
  Object.entries(exports as Record<string, Run>).forEach(([key, run], place) => {
    const name = functionName(id, place);
    twin[key] = (...args) => {
      calls.push({ run, name, args });
    };
  });
  twins.set(exports, { id, twin });
  return twin as T;
}

/**
 * Runs the tasks that `build` writes down by calling the exports `job.of` gives, with `localBytes` of scratch for each:
 * on the threads where there are some and one thread would take about so many nanoseconds, else at once. `sources` are the
 * exports that it uses. False where the heap has no room for the scratch, and then `build` has not been called.
 */
export function inTasks(
  nanoseconds: number,
  localBytes: number,
  sources: readonly object[],
  build: (job: Job) => void,
): boolean {
  if (isWorthThreads(nanoseconds) && reserveLocal(localBytes)) {
    const tasks: Call[][] = [];
    if (sources.every((exports) => twinOf(exports) !== null)) {
      const outer = calls;
      calls = [];
      try {
        build({
          local: localStart,
          recorded: true,
          of: (exports) => twinOf(exports)!,
          next() {
            if (calls.length > 0) tasks.push(calls);
            calls = [];
          },
        });
      } finally {
        calls = outer;
      }
      if (tasks.length > 0) runJob(tasks);
      return true;
    }
  }
  const local = localBytes === 0 ? 0 : work(localBytes);
  if (localBytes > 0 && local === 0) return false;
  try {
    build({ local, recorded: false, of: (exports) => exports, next: () => {} });
  } finally {
    if (local !== 0) free(local);
  }
  return true;
}

/**
 * Calls exports[name] with args(first, count) over ranges that make up all rows; ranges begin at multiples of `step`. A row's
 * bits must not depend on the others of its call. `nanoseconds` is what one thread takes, about. Each range has
 * `localBytes` of scratch; false where the heap has no room for it, and then nothing has been called.
 */
export function inRows<N extends string>(
  exports: { readonly [name in N]: Run },
  name: N,
  rows: number,
  step: number,
  nanoseconds: number,
  args: (first: number, count: number, local: number) => number[],
  localBytes = 0,
): boolean {
  if (localBytes === 0 && pool.active === 1 && pool.lost === null) {
    exports[name](...args(0, rows, 0));
    return true;
  }
  const tasks = Math.max(1, Math.min(mostTasks, Math.floor((nanoseconds / pool.least) * fewTasks)));
  const each = Math.max(1, Math.ceil(rows / tasks / step)) * step;
  return inTasks(rows > each ? nanoseconds : 0, localBytes, [exports], (job) => {
    const target = job.of(exports);
    const range = job.recorded ? each : Math.max(1, rows);
    for (let first = 0; first < rows; first += range) {
      target[name](...args(first, Math.min(range, rows - first), job.local));
      job.next();
    }
  });
}
