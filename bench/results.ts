/** The stored results: bench/results/<processor>/<name>.json, so that those of one processor leave those of others alone. */

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const resultsFolder = fileURLToPath(new URL("./results", import.meta.url));

export interface Result {
  readonly name: string;
  /** Mean number of running processes over the last minute, before and after. */
  readonly load: readonly number[];
}

export interface Results<T extends Result = Result> {
  readonly machine: { readonly cpu: string | undefined; readonly node: string };
  readonly results: readonly T[];
}

/** "Intel(R) Xeon(R) Processor" → "intel-xeon". */
const folderOf = (cpu: string | undefined): string =>
  (cpu ?? "unknown")
    .toLowerCase()
    .replaceAll(/\(r\)|\(tm\)|processor|\bcpu\b/g, " ")
    .trim()
    .replaceAll(/[^a-z0-9]+/g, "-");

/** Those of every processor that has some, in the order of the processors' names. */
export function readResults<T extends Result>(name: string, folder = resultsFolder): Results<T>[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((processor) => join(folder, processor, `${name}.json`))
    .filter((file) => existsSync(file))
    .map((file) => JSON.parse(readFileSync(file, "utf8")) as Results<T>);
}

export interface WriteOptions {
  readonly folder?: string;
  /** Threads that the benchmark itself kept busy. */
  readonly threads?: number;
  /** Names in their order: results of the same machine that were not measured this time are kept. */
  readonly among?: readonly string[];
  /** What is to be said of the machine besides. */
  readonly machine?: object;
}

/** Stores results, unless the machine was busy with something else. */
export function writeResults(
  name: string,
  results: readonly Result[],
  { folder = resultsFolder, threads = 1, among = [], machine: more }: WriteOptions = {},
): void {
  const busiest = Math.max(...results.flatMap(({ load }) => load));
  if (busiest > threads + 0.5)
    throw new Error(`${name}: the machine was busy, got load ${busiest.toFixed(1)}; try again later`);
  const machine = { cpu: cpus()[0]?.model, node: process.version, ...more };
  const before =
    among.length === 0
      ? undefined
      : readResults(name, folder).find(
          (held) => held.machine.cpu === machine.cpu && held.machine.node === machine.node,
        );
  const fresh = new Set(results.map((result) => result.name));
  const kept = before?.results.filter((each) => among.includes(each.name) && !fresh.has(each.name));
  const all = [...(kept ?? []), ...results];
  if (among.length > 0) all.sort((a, b) => among.indexOf(a.name) - among.indexOf(b.name));
  const into = join(folder, folderOf(machine.cpu));
  mkdirSync(into, { recursive: true });
  writeFileSync(join(into, `${name}.json`), `${JSON.stringify({ machine, results: all }, null, 2)}\n`);
}
