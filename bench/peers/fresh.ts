/** What only a process of its own can tell: how long it takes until a library has computed something, and its memory. */

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import { type PairResult, summarize } from "../pair.ts";
import { modelBytes } from "./onnx.ts";
import type { FreshRow } from "./workloads.ts";

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

/** The libraries that take part, ours besides. */
export const freshPeers: Record<FreshRow["fresh"], readonly string[]> = {
  memory: ["tfjs-wasm", "jax-js"],
  first: ["tfjs-wasm", "jax-js", "ort-web", "ort-node"],
};

const rounds = { memory: 3, first: 9 };

const newest = (folder: string): number =>
  Math.max(
    ...readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs),
  );

/** As users have it: the built package. */
function builtEntry(): string {
  const entry = path("../../dist/index.js");
  const built = existsSync(entry) ? statSync(entry).mtimeMs : 0;
  if (built < Math.max(newest(path("../../src")), newest(path("../../kernels"))))
    throw new Error("dist is older than its sources; run `npm run build`");
  return entry;
}

/** The product that onnxruntime runs, in base64. */
function productModel(): string {
  const [a, b, out] = ["a", "b", "out"].map((name) => ({ name, shape: [256, 256] }));
  const nodes = [{ op: "MatMul", inputs: ["a", "b"], outputs: ["out"] }];
  return Buffer.from(modelBytes({ nodes, inputs: [a, b], outputs: [out], constants: {} })).toString("base64");
}

/** memory.ts in plain JavaScript, so that no compiler's memory counts. Packages are left to Node. */
function builtMemory(library: string): string {
  const outfile = path(`./node_modules/.memory/${library}.mjs`);
  // Bundled, as its modules name each other without extension.
  const gradients = path("./node_modules/@tensorflow/tfjs-core/dist/register_all_gradients.js");
  buildSync({
    ...{
      entryPoints: [path("./memory.ts")],
      outfile,
      bundle: true,
      inject: library === "tfjs-wasm" ? [gradients] : [],
    },
    ...{ platform: "node", format: "esm", packages: "external", logLevel: "error" },
  });
  return outfile;
}

/** Seconds, or MiB. */
function measure(kind: FreshRow["fresh"], library: string): number {
  const script =
    kind === "memory"
      ? [builtMemory(library), library]
      : [path("./first.mjs"), library, library === "bitgrad" ? builtEntry() : productModel()];
  return Number(execFileSync(process.execPath, script, { encoding: "utf8" }));
}

/** Both in turns, a process a round. */
export function compareFresh(kind: FreshRow["fresh"], peer: string, quick: boolean): PairResult {
  const before = loadavg()[0];
  const sides = [peer, "bitgrad"];
  const times: [peer: number, ours: number][] = [];
  // The first reads the files from the disk.
  if (kind === "first") for (const side of sides) measure(kind, side);
  for (let round = 0; round < (quick ? 1 : rounds[kind]); round++) {
    const pair = sides.map(() => 0) as [number, number];
    for (const side of round % 2 === 0 ? [0, 1] : [1, 0]) pair[side] = measure(kind, sides[side]);
    times.push(pair);
  }
  return { ...summarize(times), load: [before, loadavg()[0]] };
}
