/**
 * Runs the benchmarks one after another: `npm run bench -- [gemm conv …] [--write]`, all of them unless some are named; or
 * measures which product of packed weights is faster when: `npm run bench -- --crossover [--write]`.
 */

import { readdirSync } from "node:fs";
import { parseArgs } from "node:util";

const { values, positionals: named } = parseArgs({
  options: { write: { type: "boolean" }, crossover: { type: "boolean" } },
  allowPositionals: true,
});
const folder = new URL(".", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".bench.ts"));
const unknown = named.filter((name) => !files.includes(`${name}.bench.ts`));
if (unknown.length > 0) throw new Error(`bench: no such benchmark, got ${unknown.join(", ")}`);
if (values.crossover && named.length > 0)
  throw new Error(`bench: --crossover runs alone, got ${named.join(", ")}`);

if (values.crossover) await import("./crossover.ts");
else
  for (const file of files) {
    const name = file.replace(".bench.ts", "");
    if (named.length > 0 && !named.includes(name)) continue;
    console.log(`\n${name}`);
    await import(new URL(file, folder).href);
  }
