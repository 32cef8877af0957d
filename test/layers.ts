/** Which parts of the sources there are, and what each may import. */

/**
 * The layer table. A unit is a file or a folder of src, or `kernels`; it may import itself, every unit of a lower layer,
 * and the units of its own layer named here. `types` are erased at run time, so they may point upwards where named.
 */
export const layers: readonly Record<string, { beside?: readonly string[]; types?: readonly string[] }>[] = [
  {
    dtype: { beside: ["errors"] },
    nested: { beside: ["dtype", "errors"] },
    errors: {},
    state: {},
    changes: { beside: ["state"] },
    shape: { beside: ["errors"] },
    safetensors: { beside: ["errors", "shape"] },
    printing: { beside: ["dtype", "errors", "shape"] },
  },
  {
    kernels: {},
    workers: { beside: ["kernels"] },
    pairing: { beside: ["kernels"] },
    backend: { beside: ["kernels", "workers", "pairing"] },
    random: { beside: ["backend", "kernels"] },
    generation: { beside: ["random"] },
    packed: { beside: ["backend", "kernels", "generation"] },
  },
  {
    storage: { beside: ["holders"] },
    holders: { types: ["storage"] },
    tensor: { beside: ["storage"], types: ["tape", "tensor-methods"] },
    "tensor-methods": { types: ["tensor", "ops", "tape"] },
    tape: { beside: ["storage", "tensor"] },
    autograd: { beside: ["storage", "tensor", "tape"] },
    ops: { beside: ["storage", "tensor", "tape", "autograd"], types: ["tensor-methods"] },
  },
  { nn: {}, codes: { beside: ["nn"] }, optim: { beside: ["nn"] }, data: {}, io: { beside: ["nn", "data"] } },
  { quant: {}, binary: {}, prune: {}, distill: {}, discovery: {}, cost: {}, train: {} },
  { dynamic: {} },
  { models: {}, testing: {} },
  { index: {}, gpu: {} },
];

/** Units that see less of the layers below than the table grants. */
export const only: Record<string, readonly string[]> = { kernels: ["dtype", "errors", "shape", "state"] };

/** The only files that may import a package, by package. */
export const packages: Record<string, readonly string[]> = {
  "seedrandom/seedrandom.js": ["src/random/rng.ts"],
  "gpu.js": ["src/gpu/gpu-js/open.ts"],
  "fast-check": ["src/testing/arbitraries.ts"],
};

export const lineLimit = 350;

/** "src/nn/linear.ts" belongs to nn, "src/tape.ts" to tape, all of kernels/ to kernels. */
export function unitOf(path: string): string {
  const [top, second] = path.split("/");
  return top === "src" ? second.replace(/\.ts$/, "") : top;
}

export const layerOf = (unit: string): number => layers.findIndex((layer) => Object.hasOwn(layer, unit));
