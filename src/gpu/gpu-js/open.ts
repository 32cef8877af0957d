/** gpu.js, an optional peer, which is loaded where it is asked for. */

import { BackendError } from "../../errors.ts";
import type { Mode, Opened } from "../engine.ts";
import { openedOf } from "./executor.ts";
import { type GpuJs, GpuJsKernels } from "./kernels.ts";

/** What there is of gpu.js's class. */
interface GpuClass {
  new (settings: { mode: Mode }): GpuJs;
  readonly isWebGL2Supported: boolean;
  readonly isWebAssemblySupported: boolean;
  isWebGPUAvailable(): Promise<boolean>;
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

async function firstOf(Class: GpuClass, candidates: readonly Mode[]): Promise<Mode | null> {
  for (const mode of candidates) if (await works(Class, mode)) return mode;
  return null;
}

/** Throws BackendError where the package is missing, and where the mode does not work here. */
export async function openGpuJs(mode: Mode | null, strict: boolean): Promise<Opened> {
  const Class = await gpuJs();
  const found = mode ?? (await firstOf(Class, strict ? ["webgl2"] : ["webgl2", "webasm", "cpu"]));
  if (found === null)
    throw new BackendError("openGpu: needs WebGL2 where it is strict, got none; give a mode");
  if (!(await works(Class, found)))
    throw new BackendError(`openGpu: mode ${found} does not work here, got no support`);
  const engine = new GpuJsKernels(new Class({ mode: found }), found);
  return openedOf(engine);
}
