/** Kernels of gpu.js, by their source text: compiled once a shape, run in order, results kept where they were made. */

import { BackendError } from "../errors.ts";
import { take } from "../packed/values.ts";
import { Far, isTexture, type Resident } from "./far.ts";

/** The modes of gpu.js. */
export type Mode = "webgl2" | "webgpu" | "webasm" | "cpu";

type Kernel = ((...args: unknown[]) => Promise<Resident>) & { destroy(): void; kernel?: object };

/** What is used of gpu.js. */
interface GpuJs {
  createKernel(source: string, settings: object): Kernel;
  destroy(): Promise<void>;
}

/** What the class that runs a kernel calls its mode. */
const classes: Readonly<Record<Mode, string>> = {
  webgl2: "gpu",
  webgpu: "webgpu",
  webasm: "webasm",
  cpu: "cpu",
};

/** Compiled kernels that are kept; the one that was used least lately goes first. */
const mostKernels = 512;

/** No loop of a kernel is longer; gpu.js stops loops at 1,000 unless it is told. */
const longestLoop = 2 ** 24;

/** Results of kernels have at most so many numbers: positions are found by float32 arithmetic. */
export const mostNumbers = 2 ** 22;

export class GpuJsKernels {
  readonly mode: Mode;
  /** How often each op ran. */
  readonly ran = new Map<string, number>();
  private readonly gpu: GpuJs;
  private readonly kernels = new Map<string, Kernel>();
  private readonly uploads = new WeakMap<Float32Array, Far>();
  /** Gives textures back whose arrays nobody holds any more. */
  private readonly gone = new FinalizationRegistry<Far>((far) => this.freed(far));
  /** What the run that goes on has made; null outside of runs. */
  private made: Far[] | null = null;
  private last: Promise<unknown> = Promise.resolve();
  /** When all runs so far have ended. */
  private runs: Promise<unknown> = Promise.resolve();
  private closing: Promise<void> | null = null;
  private destroyed = false;

  constructor(gpu: GpuJs, mode: Mode) {
    this.gpu = gpu;
    this.mode = mode;
  }

  /**
   * `length` numbers, each by the source of a function of the inputs, in which `this.thread.x` is its place. Rejects with
   * BackendError that names the op. Throws ShapeError beyond the budget of the run.
   */
  run(op: string, source: string, length: number, inputs: readonly (Far | Float32Array)[]): Far {
    if (length > mostNumbers)
      throw new BackendError(
        `gpu: ${op} makes at most ${mostNumbers} numbers at once, got ${length}; use a smaller batch`,
      );
    take(length);
    if (length === 0) return new Far(0, Promise.resolve(new Float32Array(0)));
    this.ran.set(op, (this.ran.get(op) ?? 0) + 1);
    const far = new Far(length, this.inTurn(op, source, length, inputs));
    this.made?.push(far);
    return far;
  }

  /** Numbers that stay on the GPU while somebody holds the array, and until it is closed. */
  upload(numbers: Float32Array): Far {
    const known = this.uploads.get(numbers);
    if (known) return known;
    const far = this.brought(numbers);
    this.uploads.set(numbers, far);
    // Where the CPU computes, the array itself is what is held: there is nothing to give back.
    if (!this.here) this.gone.register(numbers, far);
    far.ready.catch(() => this.uploads.delete(numbers));
    return far;
  }

  /** Numbers of a call. */
  bring(numbers: Float32Array): Far {
    const far = this.brought(numbers);
    this.made?.push(far);
    return far;
  }

  /** Whether kernels run on the CPU, and read arrays where they are. */
  private get here(): boolean {
    return this.mode === "cpu" || this.mode === "webasm";
  }

  private brought(numbers: Float32Array): Far {
    const held = this.here || numbers.length === 0;
    return new Far(
      numbers.length,
      held ? Promise.resolve(numbers) : this.inTurn("upload", copied, numbers.length, [numbers]),
    );
  }

  /** Numbers that outlasted the run which made them go with this one. */
  discard(far: Far): void {
    if (this.made) this.made.push(far);
    else void this.freed(far);
  }

  /**
   * What `fn` makes is given back once the promise that it returns is settled, or it has thrown, but for what is kept then.
   * Rejects with BackendError where it is closed.
   */
  async during<R>(fn: () => Promise<R>, kept: () => Iterable<Far> = () => []): Promise<R> {
    if (this.closing)
      throw new BackendError(`gpu: a model ran on a GPU that is closed, got mode ${this.mode}; open another`);
    const made: Far[] = [];
    const run = this.making(made, fn).finally(() => {
      const staying = new Set(kept());
      return Promise.all(made.filter((far) => !staying.has(far)).map((far) => this.freed(far)));
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
    this.closing ??= this.ended();
    return this.closing;
  }

  private async ended(): Promise<void> {
    await this.runs;
    await this.last;
    this.destroyed = true;
    this.kernels.clear();
    await this.gpu.destroy();
  }

  private async freed(far: Far): Promise<void> {
    const held = await far.ready.catch(() => null);
    if (held && isTexture(held) && !this.destroyed) held.delete();
  }

  private inTurn(
    op: string,
    source: string,
    length: number,
    inputs: readonly (Far | Float32Array)[],
  ): Promise<Resident> {
    const work = async (): Promise<Resident> => {
      const held = await Promise.all(
        inputs.map((input) => (ArrayBuffer.isView(input) ? input : input.ready)),
      );
      // gpu.js takes no empty array, and a kernel reads none.
      const args = held.map((x) => (isTexture(x) || x.length > 0 ? x : nothing));
      try {
        return await this.kernel(op, source, length)(...args);
      } catch (error) {
        const { message } = error as Error;
        throw new BackendError(`gpu: ${op} failed in mode ${this.mode}, got ${message}`, { cause: error });
      }
    };
    const done = this.last.then(work);
    this.last = done.catch(() => {});
    return done;
  }

  private kernel(op: string, source: string, length: number): Kernel {
    const key = `${length} ${source}`;
    const known = this.kernels.get(key);
    if (known) {
      this.kernels.delete(key);
      this.kernels.set(key, known);
      return known;
    }
    const kernel = this.gpu.createKernel(source, {
      output: [length],
      precision: "single",
      pipeline: true,
      immutable: true,
      asyncMode: true,
      dynamicArguments: true,
      loopMaxIterations: longestLoop,
    });
    const checked = Object.assign(
      async (...args: unknown[]) => {
        const result = await kernel(...args);
        const { mode: ran } = (kernel.kernel?.constructor ?? {}) as { mode?: string };
        if (ran !== classes[this.mode])
          throw new BackendError(`gpu: ${op} must run in mode ${this.mode}, got ${ran}`);
        return result;
      },
      { destroy: () => kernel.destroy() },
    ) as Kernel;
    this.kernels.set(key, checked);
    if (this.kernels.size > mostKernels) {
      const [[first, oldest]] = this.kernels;
      this.kernels.delete(first);
      oldest.destroy();
    }
    return checked;
  }
}

const nothing = /* @__PURE__ */ new Float32Array(1);

const copied = "function(x) { return x[this.thread.x]; }";
