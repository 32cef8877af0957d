/** openGpu: a GPU that packed models run on. */

import { OptionError, readOptions, show } from "../errors.ts";
import type { Executor } from "../packed/executor.ts";
import type { Values } from "../packed/values.ts";
import type { Engine, Far, GpuReport, Mode, Opened } from "./engine.ts";
import { type Gemms, gemmsOf, multiplied } from "./gemm.ts";
import { openGpuJs } from "./gpu-js/open.ts";

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
  readonly _engine: Engine;
  readonly _executor: Executor<Far>;

  /** Products of packed weights by their type. They reject for what does not fit, and as `GpuModel.forward` does. */
  readonly gemm: Gemms;

  constructor(opened: Opened) {
    this._engine = opened.engine;
    this._executor = opened.executor;
    this.gemm = gemmsOf(opened);
  }

  /** What ran so far, and where. */
  explain(): GpuReport {
    return this._engine.explain();
  }

  /**
   * a · b of (m, k) and (k, n): float32 numbers with a shape, such as tensors are. Rejects with ShapeError for others.
   */
  matmul(a: Values, b: Values): Promise<Values> {
    return multiplied(this._engine, a, b);
  }

  /** Gives everything back. What runs still ends first; what is asked for later rejects with BackendError. */
  close(): Promise<void> {
    return this._engine.close();
  }
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
  return new Gpu(await openGpuJs(mode, strict));
}
