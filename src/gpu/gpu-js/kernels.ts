/** Kernels of gpu.js, by their source text: compiled once a shape, run in order, results kept where they were made. */

import { BackendError } from "../../errors.ts";
import { take } from "../../packed/values.ts";
import { Engine, type GpuReport, type Mode } from "../engine.ts";
import { isTexture, Later, type Resident } from "./far.ts";
import { laneBits } from "./sources.ts";

type Kernel = ((...args: unknown[]) => Promise<Resident>) & { destroy(): void; kernel?: object };

/** What is used of gpu.js. */
export interface GpuJs {
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

/**
 * Compiled kernels that are kept; the one that was used least lately goes first. In mode webasm each has a memory of its
 * own, of which browsers give about a hundred.
 */
const mostKernels: Readonly<Record<Mode, number>> = { webgl2: 512, webgpu: 512, webasm: 64, cpu: 512 };

/** No loop of a kernel is longer; gpu.js stops loops at 1,000 unless it is told. */
const longestLoop = 2 ** 24;

/** Results of kernels have at most so many numbers: positions are found by float32 arithmetic. */
export const mostNumbers = 2 ** 22;

/** Why ops run as they do, by the first word of their names. */
const reasons: Readonly<Record<string, string>> = {
  product: "one loop a number; codes lie in float32 numbers of 24 bits",
  conv: "one loop a number; codes lie in float32 numbers of 24 bits",
  attention: "scores, their largest, weights and sums are kernels of their own",
};

export class GpuJsKernels extends Engine {
  private readonly mode: Mode;
  private readonly gpu: GpuJs;
  private readonly kernels = new Map<string, Kernel>();
  private readonly uploads = new WeakMap<Float32Array, Later>();
  /** Gives textures back whose arrays nobody holds any more. */
  private readonly gone = new FinalizationRegistry<Later>((far) => this.free(far));
  private last: Promise<unknown> = Promise.resolve();
  private destroyed = false;

  constructor(gpu: GpuJs, mode: Mode) {
    super();
    this.gpu = gpu;
    this.mode = mode;
  }

  /**
   * `length` numbers, each by the source of a function of the inputs, in which `this.thread.x` is its place. Rejects with
   * BackendError that names the op. Throws ShapeError beyond the budget of the run.
   */
  run(op: string, source: string, length: number, inputs: readonly (Later | Float32Array)[]): Later {
    if (length > mostNumbers)
      throw new BackendError(
        `gpu: ${op} makes at most ${mostNumbers} numbers at once, got ${length}; use a smaller batch`,
      );
    take(length);
    if (length === 0) return new Later(0, Promise.resolve(new Float32Array(0)));
    this.counted(op, reasons[op.split(" ")[0]] ?? "one number a thread");
    return this.passing(new Later(length, this.inTurn(op, source, length, inputs)));
  }

  /** Numbers that stay on the GPU while somebody holds the array, and until it is closed. */
  upload(numbers: Float32Array): Later {
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
  bring(numbers: Float32Array): Later {
    return this.passing(this.brought(numbers));
  }

  /** Whether kernels run on the CPU, and read arrays where they are. */
  private get here(): boolean {
    return this.mode === "cpu" || this.mode === "webasm";
  }

  private brought(numbers: Float32Array): Later {
    const held = this.here || numbers.length === 0;
    return new Later(
      numbers.length,
      held ? Promise.resolve(numbers) : this.inTurn("upload", copied, numbers.length, [numbers]),
    );
  }

  protected about(): Omit<GpuReport, "ran" | "reasons"> {
    const { mode } = this;
    const limits = { numbers: mostNumbers, kernels: mostKernels[mode] };
    return {
      executor: "gpu.js",
      mode,
      gpu: !this.here,
      adapter: null,
      lanes: laneBits,
      limits,
      features: [],
    };
  }

  protected async end(): Promise<void> {
    await this.last;
    this.destroyed = true;
    this.kernels.clear();
    await this.gpu.destroy();
  }

  protected async free(far: Later): Promise<void> {
    const held = await far.ready.catch(() => null);
    if (held && isTexture(held) && !this.destroyed) held.delete();
  }

  private inTurn(
    op: string,
    source: string,
    length: number,
    inputs: readonly (Later | Float32Array)[],
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
    if (this.kernels.size > mostKernels[this.mode]) {
      const [[first, oldest]] = this.kernels;
      this.kernels.delete(first);
      oldest.destroy();
    }
    return checked;
  }
}

const nothing = /* @__PURE__ */ new Float32Array(1);

const copied = "function(x) { return x[this.thread.x]; }";
