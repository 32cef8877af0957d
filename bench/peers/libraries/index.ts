/** The libraries by name, each loaded when asked for. */

import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import type { Library } from "../library.ts";

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

/** Ours in plain JavaScript, as users have it: what runs TypeScript here names every closure, which costs time. */
export async function bundledOurs(): Promise<Library> {
  const outfile = path("../node_modules/.ours/bitgrad.mjs");
  buildSync({
    ...{ entryPoints: [path("./bitgrad.ts")], outfile, bundle: true, packages: "external" },
    ...{ platform: "node", format: "esm", logLevel: "error" },
  });
  return (await import(outfile)).load();
}

export const adapters: Readonly<Record<string, () => Promise<Library>>> = {
  bitgrad: async () => (await import("./bitgrad.ts")).load(),
  "tfjs-wasm": async () => (await import("./tfjs.ts")).load(),
  "jax-js": async () => (await import("./jax.ts")).load(),
  "ort-web": async () => (await import("./ort-web.ts")).load(),
  "ort-node": async () => (await import("./ort-node.ts")).load(),
  "js-pytorch": async () => (await import("./js-pytorch.ts")).load(),
  "gpu.js": async () => (await import("./gpu.ts")).load(),
};
