/** `npm run soak`: random programs for `--seconds` (30) from `--seed` (drawn from the clock, and printed). */

import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "30" }, seed: { type: "string" } },
});
const seed = values.seed ?? String(Date.now() % 2 ** 31);
for (const [name, value] of Object.entries({ seconds: values.seconds, seed }))
  if (!Number.isFinite(Number(value))) throw new Error(`soak: --${name} must be a number, got ${value}`);
console.log(`soak: ${values.seconds} s, --seed ${seed}`);
const { status } = spawnSync("npx", ["vitest", "run", "test/soak.test.ts"], {
  stdio: "inherit",
  env: { ...process.env, BITGRAD_SOAK_SECONDS: values.seconds, BITGRAD_SOAK_SEED: seed },
});
process.exitCode = status ?? 1;
