/**
 * One layout of a long job: its options, its progress, and a folder from which it goes on as if nothing had interrupted it.
 *
 *   await job("digits", { about: "Train a classifier." }, async ({ flags, out, train }) => {
 *     const model = makeModel(flags.seed);
 *     await train("digits", model, { data, loss, optimizer: optimizer(model, adamw()), steps: 2000 });
 *     await save(join(out, "digits.safetensors"), model);
 *   });
 *
 * The function runs from its beginning each time. With --resume, `train` reads back what it had done, be it a part or all of
 * its steps, and the function must make the same calls again: what it draws comes from the default generator, which the job
 * seeds, or from one seeded by `flags.seed`; what it reads is shown to `unchanged`.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { BitgradError, backendInfo, manualSeed } from "bitgrad";
import type { FitCheckpoint, FitHistory, FitOptions, Logger } from "bitgrad/train";
import * as training from "bitgrad/train";
import { Command, InvalidArgumentError } from "commander";
import { progressOf } from "./progress.ts";

/** What the person who started a job can mend: its message is a sentence for them. */
export class Refusal extends Error {}

/** The options of every job. */
export interface Flags {
  out: string;
  seed: number;
  quick?: true;
}

/** Options of `fit`; the job gives signal and file. */
export type TrainOptions<M extends object, B> = Omit<FitOptions<M, B>, "signal" | "checkpoint"> & {
  /** Written every 100 steps unless told otherwise. */
  checkpoint?: Omit<FitCheckpoint, "path" | "resume">;
};

/** What a job works with. */
export interface Run<F = object> {
  /** The options, those of the interrupted run where it is resumed. */
  readonly flags: Readonly<Flags & F>;
  /** The folder for results. */
  readonly out: string;
  /** Aborted by Ctrl-C. Work beside `train` asks it now and then: `signal.throwIfAborted()`. */
  readonly signal: AbortSignal;
  /** `fit` with progress and a checkpoint, as the phase of this name. Throws the signal's reason where it is aborted. */
  train<M extends object, B>(phase: string, model: M, options: TrainOptions<M, B>): Promise<FitHistory>;
  /** Shows the progress of other work: `log` it as `fit` does, and close it. */
  progress(phase: string): Logger;
  /** The path of a file that `train` or a loop of one's own resumes from. Throws where a name comes twice. */
  checkpoint(phase: string): string;
  /** Throws a Refusal where `value` is not what the interrupted run has shown. */
  unchanged(what: string, value: string): void;
  /** Seconds that the run has taken, the parts included that Ctrl-C ended. */
  seconds(): number;
}

/** What a run was asked for and has come upon: the file run.json beside its checkpoints. */
interface Asked {
  job: string;
  flags: object;
  facts: Record<string, string>;
  seconds: number;
}

const folderOf = (out: string) => join(out, "checkpoint");
const fileOf = (out: string) => join(folderOf(out), "run.json");

export interface RunOptions<F> {
  flags: Flags & F;
  /** Goes on with what lies in `flags.out`; else the run begins anew. */
  resume?: boolean;
  signal?: AbortSignal;
  progress?: (phase: string) => Logger;
}

/** A run without command line and Ctrl-C. It ends by `close(true)` when all is done, by `close(false)` to be resumed. */
export function openRun<F extends object>(name: string, options: RunOptions<F>) {
  const { flags, resume, signal = new AbortController().signal, progress = progressOf(signal) } = options;
  const { out } = flags;
  const asked: Asked = resume
    ? readAsked(name, out)
    : { job: name, flags: { ...flags }, facts: {}, seconds: 0 };
  if (!resume) clear(name, out);
  const began = performance.now();
  const seconds = () => asked.seconds + (performance.now() - began) / 1000;
  const write = () => {
    mkdirSync(folderOf(out), { recursive: true });
    const draft = `${fileOf(out)}.part`;
    writeFileSync(draft, JSON.stringify({ ...asked, seconds: seconds() }, null, 2));
    renameSync(draft, fileOf(out));
  };
  const phases = new Set<string>();
  const run: Run<F> = {
    // Which folder it is may have changed, as it may have been moved.
    flags: { ...(asked.flags as typeof flags), out },
    out,
    signal,
    async train(phase, model, { checkpoint, logger = [], ...rest }) {
      const history = await training.fit(model, {
        ...rest,
        signal,
        logger: [progress(phase), ...[logger].flat()],
        checkpoint: { every: 100, ...checkpoint, path: run.checkpoint(phase), resume: true },
      });
      signal.throwIfAborted();
      return history;
    },
    progress,
    checkpoint(phase) {
      const file = `${phase.replaceAll(/[^\w-]+/g, "-")}.safetensors`;
      if (phases.has(file))
        throw new Error(`checkpoint: a phase needs a name of its own, got ${phase} twice`);
      phases.add(file);
      return join(folderOf(out), file);
    },
    unchanged(what, value) {
      const was = asked.facts[what];
      if (was !== undefined && was !== value)
        throw new Refusal(`${what} has changed since the run was interrupted; begin anew without --resume`);
      asked.facts[what] = value;
      write();
    },
    seconds,
  };
  write();
  const { name: backend, relaxed } = backendInfo();
  run.unchanged("how this machine rounds", `${backend}${relaxed ? ", relaxed" : ""}`);
  manualSeed(run.flags.seed);
  const close = (done: boolean) => {
    if (done) removeRun(out);
    else write();
  };
  return { run, close };
}

/** Makes room for a run. Throws a Refusal where somebody else has a folder of the name of ours, or another job does. */
function clear(name: string, out: string): void {
  mkdirSync(out, { recursive: true });
  const folder = folderOf(out);
  const job = jobOf(out);
  // Where nothing but drafts is left, a run was killed as it began.
  if (job === null && existsSync(folder) && !readdirSync(folder).every((file) => file.endsWith(".part")))
    throw new Refusal(`${folder} holds other files than those of a run; pass another --out`);
  if (typeof job === "string" && job !== name)
    throw new Refusal(`${out} holds a run of ${job} that was interrupted, got ${name}; pass another --out`);
  removeRun(out);
}

/** Deletes what a run has written to its folder, and the folder if nothing else is in it. */
function removeRun(out: string): void {
  const folder = folderOf(out);
  if (!existsSync(folder)) return;
  for (const file of readdirSync(folder))
    if (file.endsWith(".safetensors") || file.endsWith(".part")) rmSync(join(folder, file), { force: true });
  // Last: it says that the others are ours.
  rmSync(fileOf(out), { force: true });
  if (readdirSync(folder).length === 0) rmSync(folder, { recursive: true });
}

/** Whose run lies there; null where there is none, undefined where it is too damaged to be resumed. */
function jobOf(out: string): string | null | undefined {
  if (!existsSync(fileOf(out))) return null;
  try {
    const asked: Partial<Asked> | null = JSON.parse(readFileSync(fileOf(out), "utf8"));
    return typeof asked?.job === "string" ? asked.job : null;
  } catch {
    return undefined;
  }
}

function readAsked(name: string, out: string): Asked {
  const file = fileOf(out);
  if (!existsSync(file)) throw new Refusal(`there is no checkpoint at ${folderOf(out)}`);
  let asked: Asked;
  try {
    asked = JSON.parse(readFileSync(file, "utf8")) as Asked;
  } catch (error) {
    throw new Refusal(`${file} is damaged, got ${(error as Error).message}; begin anew without --resume`);
  }
  const isObject = (value: unknown) => typeof value === "object" && value !== null;
  if (!isObject(asked?.flags) || !isObject(asked.facts) || typeof asked.seconds !== "number")
    throw new Refusal(`${file} is damaged, got no flags, facts and seconds; begin anew without --resume`);
  if (asked.job !== name) throw new Refusal(`${out} holds a run of ${asked.job}, got ${name}`);
  return asked;
}

/** For options: a positive integer. */
export const count = (text: string): number => {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1) throw new InvalidArgumentError("needs a positive integer.");
  return n;
};

export interface JobOptions {
  /** What the job does, in a line. */
  about: string;
  /** The command that starts it, which is printed when it is interrupted: `npx tsx` and the script unless told otherwise. */
  command?: string;
  /** Adds options to those of every job, --out, --seed, --quick and --resume. */
  options?: (command: Command) => unknown;
}

/**
 * Runs a job by the options of the command line. Ctrl-C stops it after the step it is in, with exit code 130 and the command
 * that goes on; once more quits at once. What the caller can mend is a sentence, and exit code 1.
 */
export async function job<F extends object>(
  name: string,
  { about, command = `npx tsx ${relative("", process.argv[1])}`, options }: JobOptions,
  body: (run: Run<F>) => Promise<unknown>,
): Promise<void> {
  const program = new Command(name).description(about);
  options?.(program);
  program
    .option("--out <dir>", "where the results go", join("runs", name))
    .option("--seed <n>", "seed of everything random", count, 1)
    .option("--quick", "a tiny run of seconds, to see that everything works")
    .option("--resume", "go on from where an interrupted run in --out stopped; else a run begins anew")
    .parse();
  const { resume, ...flags } = program.opts<Flags & F & { resume?: true }>();
  const { out } = flags;
  const signal = interruptible();
  let opened: ReturnType<typeof openRun<F>> | undefined;
  try {
    if (resume) refuseOthers(program, readAsked(name, out));
    opened = openRun<F>(name, { flags: flags as Flags & F, resume, signal });
    await body(opened.run);
    // An interruption that the function did not heed may have cut its work short.
    signal.throwIfAborted();
    opened.close(true);
  } catch (error) {
    if (opened && signal.aborted && error === signal.reason) {
      opened.close(false);
      console.log(`stopped; ${command} --resume --out ${quoted(out)} goes on`);
      process.exitCode = 130;
      return;
    }
    endBy(program, error);
  }
}

/** Ends a program: what the caller can mend is a sentence, and exit code 1; other errors are thrown on. */
export function endBy(program: Command, error: unknown): never {
  const { syscall, message } = error as { syscall?: string; message: string };
  const plain = error instanceof Refusal || error instanceof BitgradError || syscall !== undefined;
  if (!plain) throw error;
  program.error(`error: ${message}`);
}

/** Throws a Refusal where the command line asks for what the interrupted run was not asked for. */
function refuseOthers(program: Command, { flags }: Asked): void {
  for (const option of program.options) {
    const key = option.attributeName();
    if (key === "out" || key === "resume" || program.getOptionValueSource(key) !== "cli") continue;
    const [is, was] = [program.getOptionValue(key), (flags as Record<string, unknown>)[key]];
    if (JSON.stringify(is) === JSON.stringify(was)) continue;
    const before = was === undefined ? `without ${option.long}` : `with ${option.long} ${was}`;
    throw new Refusal(
      `--resume goes on ${before}, got ${is === true ? option.long : is}; leave ${option.long} out, or begin anew without --resume`,
    );
  }
}

/** Of one Ctrl-C a program hears twice where npm started it: from the terminal and from npm. */
function ignoreTwins(): void {
  const ignore = () => {};
  process.on("SIGINT", ignore);
  setTimeout(() => process.off("SIGINT", ignore), 500).unref();
}

/** A signal that the first Ctrl-C aborts; `what` is being finished then. */
export function interruptible(what = "this step"): AbortSignal {
  const interrupt = new AbortController();
  // Once: of a second one the system makes an end, however busy the process is.
  process.once("SIGINT", () => {
    if (process.env.npm_lifecycle_event !== undefined) ignoreTwins();
    interrupt.abort();
    process.stderr.write(`\nstopping after ${what}; once more to quit at once\n`);
  });
  return interrupt.signal;
}

/** A word of a command as a shell reads it. */
export const quoted = (name: string): string =>
  /^[\w./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
