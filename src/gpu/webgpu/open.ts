/** Adapters and devices of WebGPU. */

import { BackendError, OptionError, show } from "../../errors.ts";
import type { Opened } from "../engine.ts";
import { openedOf } from "./executor.ts";
import { addsAcross } from "./lanes.ts";
import { WebGpuRuns } from "./runs.ts";
import type { Adapter, Device, WebGpu } from "./types.ts";

/** Throws OptionError for what gives no adapters. */
export function checkWebGpu(given: unknown): WebGpu | null {
  if (given === null || typeof (given as Partial<WebGpu>)?.requestAdapter === "function")
    return given as WebGpu | null;
  throw new OptionError(
    `openGpu: option webgpu must give adapters, as create([]) of the package webgpu does, got ${show(given)}`,
  );
}

/** Limits that a device gets only where it asks for them. */
const limits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
] as const;

async function deviceOf(adapter: Adapter): Promise<Device> {
  const requiredLimits = Object.fromEntries(
    limits.flatMap((name) => (adapter.limits[name] > 0 ? [[name, adapter.limits[name]]] : [])),
  );
  const requiredFeatures = adapter.features.has("subgroups") ? ["subgroups"] : [];
  try {
    return await adapter.requestDevice({ requiredLimits, requiredFeatures });
  } catch (error) {
    const { message } = error as Error;
    throw new BackendError(`openGpu: needs a device of WebGPU, got ${message}`, { cause: error });
  }
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** By what was given, or the browser's. Null where there is no adapter, unless one `must` be. */
export async function openWebGpu(given: WebGpu | null, must: boolean): Promise<Opened | null> {
  const { navigator } = globalThis as { navigator?: { gpu?: WebGpu } };
  const gpu = given ?? navigator?.gpu ?? null;
  const adapter = (await gpu?.requestAdapter({ powerPreference: "high-performance" })) ?? null;
  if (gpu === null || adapter === null) {
    if (!must) return null;
    throw new BackendError(
      gpu === null
        ? "openGpu: executor webgpu needs WebGPU, got none here; in Node give the option webgpu"
        : "openGpu: executor webgpu needs an adapter, got none",
    );
  }
  const device = await deviceOf(adapter);
  const { vendor, architecture, device: name, description, isFallbackAdapter } = adapter.info ?? {};
  const about = {
    vendor: textOf(vendor),
    architecture: textOf(architecture),
    device: textOf(name),
    description: textOf(description),
    software:
      (isFallbackAdapter ?? adapter.isFallbackAdapter) === true ||
      /swiftshader|llvmpipe/i.test(`${architecture} ${name} ${description}`),
  };
  const packedDots = gpu.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product") === true;
  const made = (lanes: number) => new WebGpuRuns(device, { gpu, adapter }, about, { packedDots, lanes });
  const least = adapter.features.has("subgroups") ? Number(adapter.info?.subgroupMinSize ?? 1) : 1;
  const lanes = Math.min(32, least);
  return openedOf(made(lanes > 1 && (await addsAcross(made(1), lanes)) ? lanes : 1));
}
