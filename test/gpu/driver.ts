/** A driver for WebGPU in Node: the software that a browser brings to stand for a GPU, unless another is named. */

import { existsSync } from "node:fs";

const drivers = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome"].map(
  (folder) => `${folder}/vk_swiftshader_icd.json`,
);

/** What the environment of the process must say before its first adapter: threads have a copy that drivers do not read. */
export function nameDriver(): void {
  const driver = drivers.find(existsSync);
  if (driver) process.env.VK_ICD_FILENAMES ??= driver;
}
