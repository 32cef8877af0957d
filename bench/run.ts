/** Runs the benchmarks one after another: `npm run bench -- [gemm conv …] [--write]`, all of them unless some are named. */

import { readdirSync } from "node:fs";

const named = process.argv.slice(2).filter((word) => !word.startsWith("-"));
const folder = new URL(".", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".bench.ts"));
const unknown = named.filter((name) => !files.includes(`${name}.bench.ts`));
if (unknown.length > 0) throw new Error(`bench: no such benchmark, got ${unknown.join(", ")}`);

for (const file of files) {
  const name = file.replace(".bench.ts", "");
  if (named.length > 0 && !named.includes(name)) continue;
  console.log(`\n${name}`);
  await import(new URL(file, folder).href);
}
