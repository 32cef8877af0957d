/** openGpu: a GPU that packed models run on. */

import { OptionError, readOptions, show } from "../errors.ts";
import type { Values } from "../packed/values.ts";
import type { GpuReport, Mode, Opened } from "./engine.ts";
import { type Gemms, gemmsOf, multiplied } from "./gemm.ts";
import { openGpuJs } from "./gpu-js/open.ts";
import { checkWebGpu, openWebGpu } from "./webgpu/open.ts";

export interface GpuOptions {
  /**
   * What runs the kernels: "webgpu" those written for WebGPU, "gpu.js" those that it makes of JavaScript. "auto" takes
   * WebGPU where it has an adapter and no mode of gpu.js is asked for.
   */
  executor: "auto" | "gpu.js" | "webgpu";
  /**
   * A mode of gpu.js: "webgl2" and "webgpu" compute on a GPU, where the browser has one, "webasm" and "cpu" on the CPU.
   * null takes the first of webgl2, webasm and cpu that works here.
   */
  mode: Mode | null;
  /** Whether a mode that computes on the CPU is an error where none was asked for. */
  strict: boolean;
  /** What gives adapters, as `create([])` of the package webgpu does in Node; null takes the browser's `navigator.gpu`. */
  webgpu: object | null;
}

const executors: readonly GpuOptions["executor"][] = ["auto", "gpu.js", "webgpu"];
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
  readonly _opened: Opened;

  /** Products of packed weights by their type. They reject for what does not fit, and as `GpuModel.forward` does. */
  readonly gemm: Gemms;

  constructor(opened: Opened) {
    this._opened = opened;
    this.gemm = gemmsOf(opened);
  }

  /** What ran so far, and where. */
  explain(): GpuReport {
    return this._opened.engine.explain();
  }

  /**
   * a · b of (m, k) and (k, n): float32 numbers with a shape, such as tensors are. Rejects with ShapeError for others.
   */
  matmul(a: Values, b: Values): Promise<Values> {
    return multiplied(this._opened, a, b);
  }

  /** Gives everything back. What runs still ends first; what is asked for later rejects with BackendError. */
  close(): Promise<void> {
    return this._opened.engine.close();
  }
}

/**
 * Opens a GPU for `toGpu`: WebGPU where it has an adapter, else the package gpu.js, an optional peer, which is loaded here
 * and not before. In Node WebGPU is what the package webgpu gives, by the option `webgpu`. Throws OptionError for options
 * that are none or contradict each other, BackendError where gpu.js is missing, where the executor or mode does not work
 * here, and with `strict` where only the CPU would compute and its mode was not asked for.
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
  const { executor, mode, strict, webgpu } = readOptions<GpuOptions>("openGpu", options, {
    executor: "auto",
    mode: null,
    strict: false,
    webgpu: null,
  });
  if (!executors.includes(executor))
    throw new OptionError(
      `openGpu: option executor must be one of ${executors.join(", ")}, got ${show(executor)}`,
    );
  if (mode !== null && !modes.includes(mode))
    throw new OptionError(
      `openGpu: option mode must be one of ${modes.join(", ")} or null, got ${show(mode)}`,
    );
  const given = checkWebGpu(webgpu);
  if (executor === "webgpu" && mode !== null)
    throw new OptionError(`openGpu: option mode is for gpu.js, got ${show(mode)} for executor webgpu`);
  if (executor === "gpu.js" && given !== null)
    throw new OptionError("openGpu: option webgpu is for executor webgpu, got gpu.js");
  if (executor === "webgpu" || (executor === "auto" && mode === null)) {
    const opened = await openWebGpu(given, executor === "webgpu" || given !== null);
    if (opened) return new Gpu(opened);
  }
  return new Gpu(await openGpuJs(mode, strict));
}
