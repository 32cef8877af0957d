/** What kernels need, by their text, beside what a device has. */

import { BackendError } from "../../errors.ts";

/** Bytes of numbers by their type. */
const bytesOf: Readonly<Record<string, number>> = {
  f32: 4,
  i32: 4,
  u32: 4,
  "vec2<f32>": 8,
  "vec4<f32>": 16,
  "vec4<u32>": 16,
};

/** Bytes that the threads of a workgroup share: arrays begin at multiples of 16. */
function sharedBytes(code: string): number {
  let sum = 0;
  for (const [, type, count] of code.matchAll(/var<workgroup> \w+: array<([\w<>]+), (\d+)>/g))
    sum += 16 * Math.ceil((bytesOf[type] * Number(count)) / 16);
  return sum;
}

/** Throws BackendError, by the op's name, for a kernel that the device cannot run. */
export function checkKernel(op: string, code: string, limits: Readonly<Record<string, number>>): void {
  const needed: readonly (readonly [limit: string, what: string, needed: number])[] = [
    ["maxStorageBuffersPerShaderStage", "storage buffers", code.split("var<storage").length - 1],
    ["maxComputeWorkgroupStorageSize", "bytes of workgroup memory", sharedBytes(code)],
    ["maxComputeInvocationsPerWorkgroup", "threads", Number(/@workgroup_size\((\d+)\)/.exec(code)?.[1] ?? 0)],
  ];
  for (const [limit, what, count] of needed)
    if (count > limits[limit])
      throw new BackendError(
        `gpu: ${op} needs at most ${limits[limit]} ${what} here, got ${count}; take another GPU or smaller layers`,
      );
}
