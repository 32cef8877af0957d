/** The adapter of the page: its name, and how quickly it copies. */

import type { GpuSide } from "./measure.ts";
import type { Adapter } from "./rows.ts";

const isSoftware = (name: string | null): boolean =>
  /swiftshader|llvmpipe|lavapipe|software|warp/i.test(name ?? "");

const webgpuAdapter = (): Promise<GPUAdapter | null> =>
  navigator.gpu?.requestAdapter({ powerPreference: "high-performance" }) ?? Promise.resolve(null);

function webgl2Name(): string | null {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  const info = gl?.getExtension("WEBGL_debug_renderer_info");
  return gl && info ? String(gl.getParameter(info.UNMASKED_RENDERER_WEBGL)) : null;
}

export async function adapter(): Promise<Adapter> {
  const found = await webgpuAdapter();
  // Newer than the types that tfjs brings.
  const info = (found as { readonly info?: GPUAdapterInfo } | null)?.info;
  const parts = info && [info.vendor, info.architecture, info.device, info.description];
  const webgpu = parts ? parts.filter((part) => part !== "").join(" ") || "unnamed" : null;
  const webgl2 = webgl2Name();
  const names = webgpu === null ? [webgl2] : [webgpu];
  return { webgpu, webgl2, software: names.every((name) => name === null || isSoftware(name)) };
}

const code = `
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < arrayLength(&x); i += groups.x * 256) { y[i] = x[i]; }
}`;

/** Copies a buffer, larger than caches are. Of that counts as much as reads and writes so many bytes. */
export async function copy(moved: number): Promise<GpuSide> {
  const found = await webgpuAdapter();
  if (!found) throw new Error("no WebGPU here");
  const size = Math.min(2 ** 28, found.limits.maxStorageBufferBindingSize, found.limits.maxBufferSize);
  const device = await found.requestDevice({
    requiredLimits: { maxStorageBufferBindingSize: size, maxBufferSize: Math.max(size, 2 ** 28) },
  });
  const buffer = (bytes: number, usage: number): GPUBuffer => device.createBuffer({ size: bytes, usage });
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const [x, y, one] = [
    buffer(size, STORAGE),
    buffer(size, STORAGE | COPY_SRC),
    buffer(4, MAP_READ | COPY_DST),
  ];
  const module = device.createShaderModule({ code });
  const pipeline = await device.createComputePipelineAsync({
    layout: "auto",
    compute: { module, entryPoint: "main" },
  });
  const entries = [x, y].map((each, binding) => ({ binding, resource: { buffer: each } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  const run = async (count: number): Promise<void> => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let i = 0; i < count; i++) pass.dispatchWorkgroups(4096);
    pass.end();
    encoder.copyBufferToBuffer(y, 0, one, 0, 4);
    device.queue.submit([encoder.finish()]);
    await one.mapAsync(GPUMapMode.READ);
    one.unmap();
  };
  return {
    name: "copy",
    share: moved / (2 * size),
    run,
    result: async () => [],
    close: async () => device.destroy(),
  };
}
