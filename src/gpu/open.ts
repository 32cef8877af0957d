/** openGpu: a GPU that packed models run on. */

import { BackendError, OptionError, readOptions, show } from "../errors.ts";
import type { Executor } from "../packed/executor.ts";
import type { Values } from "../packed/values.ts";
import { executorOf } from "./executor.ts";
import type { Far } from "./far.ts";
import { type Gemms, gemmsOf, multiplied } from "./gemm.ts";
import { GpuJsKernels, type Mode } from "./gpu-js.ts";

export interface GpuOptions {
  /** What runs the kernels. */
  executor: "auto" | "gpu.js";
  /**
   * A mode of gpu.js: "webgl2" and "webgpu" compute on a GPU, where the browser has one, "webasm" and "cpu" on the CPU.
   * null takes the first of webgl2, webasm and cpu that works here.
   */
  mode: Mode | null;
  /** Whether a mode that computes on the CPU is an error where none was asked for. */
  strict: boolean;
}

const modes: readonly Mode[] = ["webgl2", "webgpu", "webasm", "cpu"];

/** What there is of gpu.js's class. */
interface GpuClass {
  new (settings: { mode: Mode }): ConstructorParameters<typeof GpuJsKernels>[0];
  readonly isWebGL2Supported: boolean;
  readonly isWebAssemblySupported: boolean;
  isWebGPUAvailable(): Promise<boolean>;
}

/** What ran, and where. */
export interface GpuReport {
  readonly executor: "gpu.js";
  readonly mode: Mode;
  /** Whether numbers are computed by a GPU, or by software that stands for one, and not by the CPU. */
  readonly gpu: boolean;
  /** How often each op ran. */
  readonly ran: Readonly<Record<string, number>>;
}

/**
 * A GPU, until it is closed.
 *
 * @example
 * ```ts
 * import { openGpu } from "bitgrad/gpu";
 *
 * const gpu = await openGpu({ mode: "webasm" });
 * console.log(gpu.explain().mode, gpu.explain().gpu); // webasm false
 * await gpu.close();
 * ```
 */
export class Gpu {
  /** Not for others: what models run by. */
  readonly _kernels: GpuJsKernels;
  readonly _executor: Executor<Far>;

  /** Products of packed weights by their type. They reject for what does not fit, and as `GpuModel.forward` does. */
  readonly gemm: Gemms;

  constructor(kernels: GpuJsKernels) {
    this._kernels = kernels;
    this.gemm = gemmsOf(kernels);
    this._executor = executorOf(kernels);
  }

  explain(): GpuReport {
    const { mode, ran } = this._kernels;
    return {
      executor: "gpu.js",
      mode,
      gpu: mode === "webgl2" || mode === "webgpu",
      ran: Object.fromEntries(ran),
    };
  }

  /**
   * a · b of (m, k) and (k, n): float32 numbers with a shape, such as tensors are. Rejects with ShapeError for others.
   */
  matmul(a: Values, b: Values): Promise<Values> {
    return multiplied(this._kernels, a, b);
  }

  /** Gives everything back. What runs still ends first; what is asked for later rejects with BackendError. */
  close(): Promise<void> {
    return this._kernels.close();
  }
}

async function gpuJs(): Promise<GpuClass> {
  try {
    const { GPU, default: whole } = (await import("gpu.js")) as unknown as {
      GPU?: GpuClass;
      default: { GPU: GpuClass };
    };
    return GPU ?? whole.GPU;
  } catch (error) {
    throw new BackendError("openGpu: needs the package gpu.js, got none; npm install gpu.js", {
      cause: error,
    });
  }
}

/** Whether a mode works here. */
async function works(Class: GpuClass, mode: Mode): Promise<boolean> {
  if (mode === "webgl2") return Class.isWebGL2Supported;
  if (mode === "webgpu") return Class.isWebGPUAvailable();
  return mode === "cpu" || Class.isWebAssemblySupported;
}

/**
 * Opens a GPU for `toGpu`. The package gpu.js, an optional peer, is loaded here and not before. Throws OptionError for
 * options that are none, BackendError where gpu.js is missing, where the mode does not work here, and with `strict`
 * where only the CPU would compute and its mode was not asked for.
 *
 * @example
 * ```ts
 * import { openGpu } from "bitgrad/gpu";
 *
 * const gpu = await openGpu({ mode: "cpu" });
 * console.log(gpu.explain().executor); // gpu.js
 * await gpu.close();
 * ```
 */
export async function openGpu(options?: Partial<GpuOptions>): Promise<Gpu> {
  const { executor, mode, strict } = readOptions<GpuOptions>("openGpu", options, {
    executor: "auto",
    mode: null,
    strict: false,
  });
  if (executor !== "auto" && executor !== "gpu.js")
    throw new OptionError(`openGpu: option executor must be auto or gpu.js, got ${show(executor)}`);
  if (mode !== null && !modes.includes(mode))
    throw new OptionError(
      `openGpu: option mode must be one of ${modes.join(", ")} or null, got ${show(mode)}`,
    );
  const Class = await gpuJs();
  const found = mode ?? (await firstOf(Class, strict ? ["webgl2"] : ["webgl2", "webasm", "cpu"]));
  if (found === null)
    throw new BackendError("openGpu: needs WebGL2 where it is strict, got none; give a mode");
  if (!(await works(Class, found)))
    throw new BackendError(`openGpu: mode ${found} does not work here, got no support`);
  return new Gpu(new GpuJsKernels(new Class({ mode: found }), found));
}

async function firstOf(Class: GpuClass, candidates: readonly Mode[]): Promise<Mode | null> {
  for (const mode of candidates) if (await works(Class, mode)) return mode;
  return null;
}
