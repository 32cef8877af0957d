/**
 * Where work runs changes no bits: three AdamW steps of two small models under budgets that exhaust the heap early, late and
 * never, on any number of threads, on memory that is shared and not. `npm run test:bits` runs every combination in a
 * process of its own, so that none finds a heap that another has grown.
 */

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const script = fileURLToPath(new URL("./fixtures/steps.ts", import.meta.url));

/** What each SIMD level that runs here left, for each number of threads. */
async function steps(budget: number, memory: string, threads: readonly number[]) {
  const args = ["--import", "tsx", script, budget, memory, ...threads].map(String);
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    env: { ...process.env, NODE_OPTIONS: "" },
    timeout: 120_000,
  });
  return JSON.parse(stdout) as Record<string, string[]>;
}

const every = process.env.BITGRAD_BITS === "all";
const few: [number, string, number[]][] = [
  [1024, "shared", [1, 2]],
  [6, "shared", [4, 1, 3]],
  [10, "shared", [2, 3]],
  [4, "unshared", [1]],
  [32, "full", [1]],
];
const all = [4, 6, 8, 10, 16, 1024].flatMap((budget) =>
  ["shared", "unshared", "full"].flatMap((memory) =>
    [1, 2, 3, 4].map((threads): [number, string, number[]] => [budget, memory, [threads]]),
  ),
);

it("training leaves the same bits under every budget, on every number of threads, on either memory", {
  timeout: 600_000,
}, async () => {
  const found: Record<string, Map<string, string>> = {};
  for (const [budget, memory, threads] of every ? all : few)
    for (const [level, hashes] of Object.entries(await steps(budget, memory, threads)))
      hashes.forEach((hash, i) => {
        found[level] ??= new Map();
        found[level].set(`${budget} MiB, ${memory}, ${threads[i]} threads`, hash);
      });
  expect(Object.keys(found).length).toBeGreaterThan(0);
  for (const [level, hashes] of Object.entries(found)) {
    const [first] = hashes.values();
    const all = Object.fromEntries(hashes);
    expect(all, level).toEqual(Object.fromEntries(Object.keys(all).map((name) => [name, first])));
  }
});
