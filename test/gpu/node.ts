/** WebGPU in Node, by the package webgpu. */

/** What gives adapters; null where no driver starts. */
async function start(): Promise<object | null> {
  try {
    const { create } = await import("webgpu");
    const gpu = create([]);
    return (await gpu.requestAdapter()) ? gpu : null;
  } catch {
    return null;
  }
}

export const webgpu = await start();
