/** The libraries by name, each loaded when asked for. */

import type { Library } from "../library.ts";

export const adapters: Readonly<Record<string, () => Promise<Library>>> = {
  bitgrad: async () => (await import("./bitgrad.ts")).load(),
  "tfjs-wasm": async () => (await import("./tfjs.ts")).load(),
  "jax-js": async () => (await import("./jax.ts")).load(),
  "ort-web": async () => (await import("./ort-web.ts")).load(),
  "ort-node": async () => (await import("./ort-node.ts")).load(),
  "js-pytorch": async () => (await import("./js-pytorch.ts")).load(),
  "gpu.js": async () => (await import("./gpu.ts")).load(),
};
