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

/** Without them a device is none, or one that was made for a test and runs nothing. */
const methods = [
  "createBuffer",
  "createShaderModule",
  "createComputePipeline",
  "createBindGroup",
  "createCommandEncoder",
  "pushErrorScope",
  "popErrorScope",
  "destroy",
] as const;

/** Throws for what is no device, by the name of what it lacks. */
function checkDevice(device: Device | null | undefined): asserts device is Device {
  if (typeof device !== "object" || device === null) throw new Error(`${show(device)} for a device`);
  const lacking =
    methods.find((name) => typeof device[name] !== "function") ??
    (["queue", "limits", "lost"] as const).find((name) => typeof device[name] !== "object");
  if (lacking) throw new Error(`one without ${lacking}`);
}

interface Found {
  readonly adapter: Adapter;
  readonly device: Device;
  readonly packedDots: boolean;
}

/** An adapter and its device; null where there is no adapter. */
async function found(gpu: WebGpu): Promise<Found | null> {
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) return null;
    const requiredLimits = Object.fromEntries(
      limits.flatMap((name) => (adapter.limits[name] > 0 ? [[name, adapter.limits[name]]] : [])),
    );
    const requiredFeatures = adapter.features.has("subgroups") ? ["subgroups"] : [];
    const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
    checkDevice(device);
    const packedDots = gpu.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product") === true;
    return { adapter, device, packedDots };
  } catch (error) {
    const reason = (error as Error | undefined)?.message ?? show(error);
    throw new BackendError(`openGpu: executor webgpu needs a device, got ${reason}`, { cause: error });
  }
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** By what was given, or the browser's. Null where it does not open, unless it `must`: then BackendError says why. */
export async function openWebGpu(given: WebGpu | null, must: boolean): Promise<Opened | null> {
  const { navigator } = globalThis as { navigator?: { gpu?: WebGpu } };
  const gpu = given ?? navigator?.gpu ?? null;
  try {
    return await openedBy(gpu);
  } catch (error) {
    if (!must && error instanceof BackendError) return null;
    throw error;
  }
}

async function openedBy(gpu: WebGpu | null): Promise<Opened> {
  if (typeof gpu?.requestAdapter !== "function")
    throw new BackendError(
      "openGpu: executor webgpu needs WebGPU, got none here; in Node give the option webgpu",
    );
  const all = await found(gpu);
  if (all === null) throw new BackendError("openGpu: executor webgpu needs an adapter, got none");
  const { adapter, device, packedDots } = all;
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
  const made = (lanes: number) => new WebGpuRuns(device, { gpu, adapter }, about, { packedDots, lanes });
  const least = adapter.features.has("subgroups") ? Number(adapter.info?.subgroupMinSize ?? 1) : 1;
  const lanes = Math.min(32, least);
  return openedOf(made(lanes > 1 && (await addsAcross(made(1), lanes)) ? lanes : 1));
}
