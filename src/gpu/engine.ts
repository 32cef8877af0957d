/** Engine: what runs the verbs of packed layers on a GPU, and gives back what a run made. */

import { BackendError } from "../errors.ts";
import type { Executor, KeyValueCache } from "../packed/executor.ts";

/** Numbers that a GPU holds, or will hold when what makes them has run. */
export interface Far {
  readonly length: number;
  /** The numbers, on the CPU. Rejects with BackendError, by the name of the op, where what makes them failed. */
  read(): Promise<Float32Array>;
}

/** Keys and values that stay on the GPU. */
export interface FarCache extends KeyValueCache<Far> {
  /** All that must outlast a run. */
  kept(): Iterable<Far>;
}

/** The modes of gpu.js, of which "webgpu" is also how the other executor runs. */
export type Mode = "webgl2" | "webgpu" | "webasm" | "cpu";

/** What a browser says of a GPU. Empty texts are what it does not tell. */
export interface GpuAdapter {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  /** Whether software stands for a GPU. */
  readonly software: boolean;
}

/** What ran, and where. */
export interface GpuReport {
  readonly executor: "gpu.js" | "webgpu";
  readonly mode: Mode;
  /** Whether numbers are computed by a GPU, or by software that stands for one, and not by the CPU. */
  readonly gpu: boolean;
  /** null where gpu.js does not tell. */
  readonly adapter: GpuAdapter | null;
  /** Bits of codes in one word of a weight. */
  readonly lanes: number;
  /** What one result, buffer or workgroup may have at most. */
  readonly limits: Readonly<Record<string, number>>;
  /** What the GPU has beyond what every one has, and is used. */
  readonly features: readonly string[];
  /** How often each op ran. */
  readonly ran: Readonly<Record<string, number>>;
  /** How each op runs, and why so. */
  readonly reasons: Readonly<Record<string, string>>;
}

/** What an engine runs for packed layers. */
export interface Opened {
  readonly engine: Engine;
  readonly executor: Executor<Far>;
  /** (m, k) times (k, n). */
  matmul(a: Far, b: Far, m: number, k: number, n: number): Far;
}

export abstract class Engine {
  private readonly ran = new Map<string, number>();
  private readonly reasons = new Map<string, string>();
  /** What the run that goes on has made; null outside of runs. */
  private made: Far[] | null = null;
  /** When all runs so far have ended. */
  private runs: Promise<unknown> = Promise.resolve();
  private closing: Promise<void> | null = null;

  protected abstract about(): Omit<GpuReport, "ran" | "reasons">;
  /** Numbers of a call. */
  abstract bring(numbers: Float32Array): Far;
  protected abstract free(far: Far): void | Promise<void>;
  /** Ends what a run began and reads nothing of; settled when its numbers may be given back. */
  protected left(): Promise<unknown> | null {
    return null;
  }
  /** Gives all back; what runs has ended. */
  protected abstract end(): Promise<void>;
  /** Throws BackendError, by the name of what is to run, where nothing can any more. */
  protected check(what: string): void {
    if (!this.closing) return;
    const { mode } = this.about();
    throw new BackendError(`gpu: ${what} ran on a GPU that is closed, got mode ${mode}; open another`);
  }

  explain(): GpuReport {
    return {
      ...this.about(),
      ran: Object.fromEntries(this.ran),
      reasons: Object.fromEntries(this.reasons),
    };
  }

  protected counted(op: string, reason: string): void {
    this.ran.set(op, (this.ran.get(op) ?? 0) + 1);
    this.reasons.set(op, reason);
  }

  /** Goes with the run that made it. */
  protected passing<F extends Far>(far: F): F {
    this.made?.push(far);
    return far;
  }

  /** Numbers that outlasted the run which made them go with this one. */
  discard(far: Far): void {
    if (this.made) this.made.push(far);
    else void this.free(far);
  }

  /**
   * What `fn` makes is given back once the promise that it returns is settled, or it has thrown, but for what is kept then.
   * Rejects with BackendError, by the name of what runs, where it is closed.
   */
  async during<R>(what: string, fn: () => Promise<R>, kept: () => Iterable<Far> = () => []): Promise<R> {
    this.check(what);
    const made: Far[] = [];
    const making = this.making(made, fn);
    const left = this.left();
    const run = making.finally(async () => {
      await left;
      const staying = new Set(kept());
      await Promise.all(made.filter((far) => !staying.has(far)).map((far) => this.free(far)));
    });
    this.runs = Promise.allSettled([this.runs, run]);
    return run;
  }

  private async making<R>(made: Far[], fn: () => Promise<R>): Promise<R> {
    const outer = this.made;
    this.made = made;
    let result: Promise<R>;
    try {
      result = fn();
    } finally {
      this.made = outer;
    }
    return result;
  }

  /** What runs still ends first. */
  close(): Promise<void> {
    this.closing ??= this.runs.then(() => this.end());
    return this.closing;
  }
}
