/** Sums across threads of a subgroup, where those that follow each other are of one. */

import { BackendError } from "../../errors.ts";
import type { WebGpuRuns } from "./runs.ts";
import { kernel } from "./wgsl.ts";

/** Lines after which `name` is the sum of those of `lanes` threads, the first at a multiple of them. */
export const across = (name: string, lanes: number): string =>
  `for (var gap = 1u; gap < ${lanes}u; gap *= 2u) { ${name} += subgroupShuffleXor(${name}, gap); }`;

/** Whether this device adds so: no standard says which threads are of a subgroup. */
export async function addsAcross(gpu: WebGpuRuns, lanes: number): Promise<boolean> {
  const code = kernel({
    outs: ["out: f32"],
    inputs: [],
    threads: 128,
    subgroups: true,
    body: `var v = f32(group * 128u + t);
${across("v", lanes)}
out[group * 128u + t] = v;`,
  });
  const call = { op: "subgroups", reason: "a question", code, inputs: [], workgroups: 2 };
  try {
    const sums = await gpu.during("openGpu", () => gpu.run(call, 256).read());
    return sums.every((sum, i) => sum === lanes * (i - (i % lanes)) + (lanes * (lanes - 1)) / 2);
  } catch (error) {
    if (error instanceof BackendError) return false;
    throw error;
  }
}
