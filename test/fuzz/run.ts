/** `npm run fuzz`: `--count` mutated files of each kind (100,000) from `--seed` (drawn from the clock, and printed). */

import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "100000" },
    seed: { type: "string" },
    only: { type: "string", default: "" },
  },
});
const seed = values.seed ?? String(Date.now() % 2 ** 31);
for (const [name, value] of Object.entries({ ...values, seed }))
  if (!Number.isFinite(Number(value))) throw new Error(`fuzz: --${name} must be a number, got ${value}`);
console.log(`fuzz: ${values.count} files of each kind, --seed ${seed}`);
const { status } = spawnSync("npx", ["vitest", "run", "test/fuzz.test.ts"], {
  stdio: "inherit",
  env: {
    ...process.env,
    BITGRAD_FUZZ_COUNT: values.count,
    BITGRAD_FUZZ_SEED: seed,
    BITGRAD_FUZZ_ONLY: values.only,
  },
});
process.exitCode = status ?? 1;
