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

/** Does nothing. */
const empty = /* @__PURE__ */ Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);

/** Why a mode does not work here, such as a policy that lets nothing be compiled; null where it does. */
async function obstacle(Class: GpuClass, mode: Mode): Promise<string | null> {
  const has = {
    webgl2: () => Class.isWebGL2Supported,
    webgpu: () => Class.isWebGPUAvailable(),
    webasm: () => Class.isWebAssemblySupported && new WebAssembly.Module(empty) !== null,
    cpu: () => new Function("") !== null,
  };
  try {
    return (await has[mode]()) ? null : "no support";
  } catch (error) {
    return (error as Error).message;
  }
}

async function firstOf(Class: GpuClass, candidates: readonly Mode[]): Promise<Mode | null> {
  for (const mode of candidates) if ((await obstacle(Class, mode)) === null) return mode;
  return null;
}

/** Throws BackendError where the package is missing, and where the mode, or every one that may be taken, fails here. */
export async function openGpuJs(mode: Mode | null, strict: boolean): Promise<Opened> {
  const Class = await gpuJs();
  const found = mode ?? (await firstOf(Class, strict ? ["webgl2"] : ["webgl2", "webasm", "cpu"]));
  if (found === null)
    throw new BackendError(
      strict
        ? "openGpu: needs WebGL2 where it is strict, got none; give a mode"
        : "openGpu: needs WebGL2, or a policy of the page that lets kernels be compiled, got neither",
    );
  const reason = await obstacle(Class, found);
  if (reason !== null) throw new BackendError(`openGpu: mode ${found} does not work here, got ${reason}`);
  const engine = new GpuJsKernels(new Class({ mode: found }), found);
  return openedOf(engine);
}
