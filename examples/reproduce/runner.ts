/**
 * Runs what is missing of an experiment, in worker processes of one thread each, and keeps every result as it comes. Ctrl-C
 * lets cells that keep checkpoints write them, and ends the others; what was measured stays.
 */

import { type ChildProcess, fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Logger } from "bitgrad/train";
import { Refusal } from "../run.ts";
import { checkExperiment } from "./check.ts";
import type { Experiment } from "./experiment.ts";
import { lock } from "./lock.ts";
import { measure, type Order } from "./measure.ts";
import { markdown, picture } from "./paper.ts";
import { Queue } from "./queue.ts";
import { type Results, resultsOf } from "./results.ts";
import { type Line, Store, type Task, tasksOf } from "./store.ts";
import type { Answer } from "./worker.ts";

export interface ReproduceOptions {
  readonly name: string;
  /** The module whose default export is the experiment. */
  readonly file: string;
  /** Where NAME.jsonl, .json, .md and .svg lie. */
  readonly out: string;
  /** Where cells keep checkpoints. */
  readonly scratch: string;
  readonly quick: boolean;
  /** Default: those of the experiment. */
  readonly seeds?: number;
  /** Begins anew, without what was measured before. */
  readonly fresh: boolean;
  /** Worker processes; 0 for none: cells run in this process. */
  readonly workers: number;
  readonly signal: AbortSignal;
  readonly progress: (phase: string) => Logger;
  readonly say: (text: string) => void;
}

/** What runs one task after the other. */
interface Hand {
  run(order: Order): Promise<Line>;
  end(): void;
}

/** How long a worker may take to write a checkpoint after Ctrl-C, in ms. */
const grace = 10_000;

/** A worker has ended where it should have answered. */
class Ended extends Error {}

async function endOf(child: ChildProcess, { signal }: AbortController): Promise<never> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit", { signal });
  throw new Ended(`the worker ended by ${child.signalCode ?? child.exitCode}`);
}

const answerOf = async (child: ChildProcess): Promise<Answer | "ready"> => {
  const answered = new AbortController();
  try {
    const answer = once(child, "message", answered).then(([first]) => first as Answer | "ready");
    return await Promise.race([answer, endOf(child, answered)]);
  } finally {
    answered.abort();
  }
};

async function workerOf(file: string, signal: AbortSignal): Promise<Hand> {
  const child = fork(fileURLToPath(new URL("worker.ts", import.meta.url)), [file], {
    execArgv: ["--import", "tsx"],
  });
  const stop = () => {
    if (child.connected) child.send("stop");
    setTimeout(() => child.kill("SIGKILL"), grace).unref();
  };
  signal.addEventListener("abort", stop, { once: true });
  if ((await answerOf(child)) !== "ready") throw new Error("the worker did not start");
  return {
    async run(order) {
      // Where it cannot be told any more it has ended.
      child.send(order, () => {});
      const answer = (await answerOf(child)) as Answer;
      if ("line" in answer) return answer.line;
      throw new Error(answer.error);
    },
    end() {
      signal.removeEventListener("abort", stop);
      child.kill("SIGKILL");
    },
  };
}

/** A worker, and another one after each error, for it may have ended, or hold what the cell left. */
function workersOf(file: string, signal: AbortSignal): Hand {
  let worker: Hand | null = null;
  return {
    async run(order) {
      const isNew = worker === null;
      worker ??= await workerOf(file, signal);
      try {
        return await worker.run(order);
      } catch (error) {
        worker.end();
        worker = null;
        // What ended a worker may have been left by a cell before: one of its own tells.
        if (isNew || !(error instanceof Ended) || signal.aborted) throw error;
        return this.run(order);
      }
    },
    end: () => worker?.end(),
  };
}

/** The path of a cell's checkpoint: words for people, and what tells apart those that are written by one word. */
export function checkpointOf(
  { name, scratch, quick }: Pick<ReproduceOptions, "name" | "scratch" | "quick">,
  { cell, seed, version }: Task,
): string {
  const words = [name, quick ? "quick" : "", cell, `seed ${seed}`, `version ${version}`];
  const hash = createHash("sha256").update(JSON.stringify(words)).digest("hex").slice(0, 8);
  return join(scratch, `${words.join(" ").replaceAll(/[^\w]+/g, "-")}-${hash}.safetensors`);
}

/** Measures what is missing, keeps it, and gives what went wrong, by cell. */
async function fill(
  experiment: Experiment,
  store: Store,
  tasks: readonly Task[],
  options: ReproduceOptions,
): Promise<string[]> {
  const { name, file, quick, fresh, workers, signal, progress } = options;
  const missing = tasks.filter((task) => !store.get(task));
  const queue = new Queue(missing);
  const failures: string[] = [];
  const shown = progress(name);
  let done = tasks.length - missing.length;
  const here: Hand = { run: (order) => measure(experiment, order, signal), end() {} };
  const work = async (): Promise<void> => {
    const hand = workers === 0 ? here : workersOf(file, signal);
    for (let task = await queue.next(); task && !signal.aborted; task = await queue.next()) {
      const checkpoint = checkpointOf(options, task);
      if (fresh) rmSync(checkpoint, { force: true });
      try {
        store.add(await hand.run({ task, quick, checkpoint }));
        rmSync(checkpoint, { force: true });
        await shown.log({ step: ++done, of: tasks.length, epoch: 0, values: {} });
      } catch (error) {
        if (signal.aborted) break;
        failures.push(`${task.cell}, seed ${task.seed}: ${(error as Error).message}`);
      } finally {
        queue.ended(task);
      }
      // Lets Ctrl-C through where cells do not.
      await new Promise((resolve) => setImmediate(resolve));
    }
    hand.end();
  };
  const count = Math.min(Math.max(workers, 1), missing.length);
  await Promise.all(Array.from({ length: count }, work));
  await shown.close?.();
  return failures;
}

/** Writes NAME.json, NAME.md and NAME.svg. */
async function write(stem: string, results: Results): Promise<void> {
  const files = {
    json: `${JSON.stringify(results, null, 2)}\n`,
    md: markdown(results),
    svg: `${await picture(results)}\n`,
  };
  for (const [type, text] of Object.entries(files)) writeFileSync(`${stem}.${type}`, text);
}

/** What an experiment comes to, where no other run of it writes the same files. */
async function measured(experiment: Experiment, stem: string, options: ReproduceOptions): Promise<Results> {
  const { name, quick, fresh, signal, say } = options;
  const store = new Store(`${stem}.jsonl`, { fresh, say });
  const tasks = tasksOf(experiment, quick, options.seeds ?? (quick ? 1 : experiment.seeds));
  const failures = await fill(experiment, store, tasks, options);
  if (failures.length > 0) throw new Refusal(`cells failed:\n${failures.join("\n")}`);
  if (tasks.some((task) => !store.get(task))) signal.throwIfAborted();
  const lines = store.of(experiment, quick);
  store.write(lines);
  return resultsOf(name, experiment, quick, lines);
}

/**
 * Brings an experiment to its end, and writes what it came to. Throws a Refusal where it cannot run, another run of it with
 * the same scratch has not ended, or some of its cells failed, and the signal's reason where that is aborted before all is
 * measured.
 */
export async function reproduce(options: ReproduceOptions): Promise<Results> {
  const { name, file, out, scratch, quick } = options;
  const { default: experiment } = (await import(file)) as { default?: Experiment };
  checkExperiment(name, experiment);
  if (experiment.needsData && !process.env.BITGRAD_DATA)
    throw new Refusal(`${name} reads data: BITGRAD_DATA must name the folder that holds it`);
  // Numbers of quick runs are never mixed with others.
  const run = quick ? `${name}.quick` : name;
  const release = lock(scratch, run);
  try {
    const results = await measured(experiment, join(out, run), options);
    await write(join(out, run), results);
    return results;
  } finally {
    release();
  }
}
