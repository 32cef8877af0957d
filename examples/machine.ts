/** Where numbers were made, for reports. */

import { createRequire } from "node:module";
import { arch, cpus, platform } from "node:os";
import { backendInfo } from "bitgrad";

export interface Machine {
  readonly cpu: string;
  readonly platform: string;
  readonly node: string;
  readonly bitgrad: string;
  /** Which kernels run: "relaxed SIMD", "plain SIMD", or "plain loops" and why. */
  readonly kernels: string;
  readonly threads: number;
}

export function machine(): Machine {
  const { name, relaxed, reason, threads } = backendInfo();
  const simd = relaxed ? "relaxed SIMD" : "plain SIMD";
  const { version } = createRequire(import.meta.url)("bitgrad/package.json") as { version: string };
  return {
    cpu: cpus()[0]?.model.trim() || "unknown",
    platform: `${platform()} ${arch()}`,
    node: process.version,
    bitgrad: version,
    kernels: name === "simd" ? simd : `plain loops${reason === null ? "" : ` (${reason})`}`,
    threads,
  };
}
