/** A script of its own, which the page loads when its reader asks for a GPU: a packed model there, beside the CPU. */

import { type GpuModel, type GpuReport, openGpu, toGpu } from "bitgrad/gpu";
import { loadPacked } from "bitgrad/packed";
import { picturesOf, readOff } from "./digits.ts";
import type { GpuTask, GpuWork, OnGpu } from "./on-gpu.ts";
import { written } from "./text.ts";

/** What one run gave, and how much it made in a second. */
async function work(model: GpuModel, task: GpuTask): Promise<{ does: string; count: number }> {
  if (task.type === "write") {
    const { begin, options } = written(task.prompt, task.length);
    const made = await model.generate(begin, options);
    return { does: new TextDecoder().decode(Uint8Array.from([...begin, ...made])), count: made.length };
  }
  const pictures = picturesOf(task.pixels);
  const guesses = readOff((await model.forward(pictures)).data);
  return { does: guesses.join(), count: guesses.length };
}

/** What WebGL draws by, which gpu.js does not tell. */
function renderer(): string {
  const gl = document.createElement("canvas").getContext("webgl2");
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  return gl && names ? String(gl.getParameter(names.UNMASKED_RENDERER_WEBGL)) : "";
}

const told = ({ executor, mode, adapter }: GpuReport): string => {
  const by = executor === "webgpu" ? "WebGPU" : `gpu.js, mode ${mode}`;
  const name = adapter
    ? adapter.description || `${adapter.vendor} ${adapter.architecture}`.trim()
    : renderer();
  const software = adapter?.software || /swiftshader|llvmpipe|software/i.test(name);
  const about = [name, software ? "software that stands for a GPU, and is slow" : ""].filter(Boolean);
  return about.length > 0 ? `${by} (${about.join("; ")})` : by;
};

/** Once for its kernels to be made, and once to be timed. */
async function run(bytes: Uint8Array, task: GpuTask): Promise<GpuWork> {
  const packed = loadPacked(bytes);
  const gpu = await openGpu({ strict: true });
  try {
    const model = await toGpu(packed, gpu);
    await work(model, task);
    const start = performance.now();
    const { does, count } = await work(model, task);
    const perSecond = (count * 1000) / Math.max(performance.now() - start, 0.1);
    return { does, count, perSecond, by: told(gpu.explain()) };
  } finally {
    await gpu.close();
    packed.dispose();
  }
}

(globalThis as unknown as { onGpu: OnGpu }).onGpu = run;
