/** What kernels need, by their text, beside what a device has. */

import { BackendError } from "../../errors.ts";

/** Bytes of a number, f32, i32 or u32, or of a vector of such, of which three take the room of four. */
function bytesOf(type: string): number {
  const count = Number(/^vec(\d)</.exec(type)?.[1] ?? 1);
  return 4 * (count === 3 ? 4 : count);
}

/** Bytes that the threads of a workgroup share: arrays begin at multiples of 16. */
function sharedBytes(code: string): number {
  let sum = 0;
  for (const [, type, count] of code.matchAll(/var<workgroup> \w+: array<([\w<>]+), (\d+)>/g))
    sum += 16 * Math.ceil((bytesOf(type) * Number(count)) / 16);
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
