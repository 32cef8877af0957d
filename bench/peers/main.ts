/** This library beside its peers, on one thread: `npm run bench:peers -- --help`. */

import { spawnSync } from "node:child_process";
import { Command } from "commander";
import { backendInfo, scope, useBackend } from "../../src/index.ts";
import { type PairOptions, pair, type Side, showRatio } from "../pair.ts";
import { load as loadOurs } from "./libraries/bitgrad.ts";
import type { Library } from "./library.ts";
import { type Workload, workloads } from "./workloads.ts";

const peers: Record<string, () => Promise<{ load(): Library | Promise<Library> }>> = {
  "tfjs-wasm": () => import("./libraries/tfjs.ts"),
  "jax-js": () => import("./libraries/jax.ts"),
  "ort-web": () => import("./libraries/ort-web.ts"),
  "ort-node": () => import("./libraries/ort-node.ts"),
  "js-pytorch": () => import("./libraries/js-pytorch.ts"),
  "gpu.js": () => import("./libraries/gpu.ts"),
};

interface Options {
  list?: true;
  quick?: true;
  peers?: string[];
  relaxed?: true;
}

const program = new Command("bench:peers")
  .description("Compares bitgrad with other libraries, in one process, round by round, on one thread.")
  .argument("[words...]", "rows with a word that begins so: matmul, softmax, gelu, …; all by default")
  .option("--list", "show the names of the rows")
  .option("--quick", "fewer and shorter rounds, to steer by")
  .option("--peers <names...>", `only these: ${Object.keys(peers).join(", ")}`)
  .option("--relaxed", "with relaxed SIMD")
  .parse();
const options = program.opts<Options>();

const rows = workloads.filter(
  ({ name }) =>
    program.args.length === 0 ||
    program.args.some((start) => name.split(" ").some((word) => word.startsWith(start))),
);
if (rows.length === 0) program.error(`bench:peers: no row has such a name, got ${program.args.join(" ")}`);
const unknown = options.peers?.filter((name) => !Object.hasOwn(peers, name)) ?? [];
if (unknown.length > 0) program.error(`bench:peers: no such peer, got ${unknown.join(", ")}`);
if (options.list) {
  for (const { name } of rows) console.log(name);
  process.exit();
}

useBackend("simd", { relaxed: options.relaxed ?? false });
if (options.relaxed && !backendInfo().relaxed) {
  const flag = "--experimental-wasm-relaxed-simd";
  if (process.execArgv.includes(flag)) program.error("bench:peers: relaxed SIMD does not run here");
  const again = spawnSync(process.execPath, [flag, ...process.execArgv, ...process.argv.slice(1)], {
    stdio: "inherit",
  });
  process.exit(again.status ?? 1);
}

const rounds: Omit<PairOptions, "tolerance"> = options.quick
  ? { rounds: 9, milliseconds: 8, seconds: 1.5, fewest: 3 }
  : { rounds: 15, milliseconds: 15, seconds: 4 };

const make = (library: Library, { operation, problem }: Workload): Promise<Side | null> | Side | null => {
  const maker = library.sides[operation] as ((problem: unknown) => Promise<Side | null>) | undefined;
  return maker === undefined ? null : maker(problem());
};

const speed = ({ unit, work }: Workload, seconds: number): string =>
  `${Number((unit === "ms" ? seconds * 1e3 : work / seconds).toPrecision(3))} ${unit}`;

const libraries = new Map<string, Library>();
for (const name of options.peers ?? Object.keys(peers))
  libraries.set(name, await (await peers[name]()).load());
const ours = loadOurs();

console.log(`${backendInfo().relaxed ? "relaxed" : "plain"} SIMD, one thread, Node ${process.version}`);
for (const row of rows) {
  console.log(`\n${row.name} (required ${row.required}x, reach for ${row.reach}x)`);
  using _ = scope({ name: row.name });
  const own = (await make(ours, row))!;
  for (const library of libraries.values()) {
    const show = (text: string) => console.log(`  ${library.name.padEnd(11)}${text}`);
    try {
      const theirs = await make(library, row);
      if (theirs === null) continue;
      const result = await pair(theirs, own, { ...rounds, tolerance: row.tolerance });
      const [a, b] = [result.a, result.b].map((seconds) => speed(row, seconds).padStart(14));
      show(`${a}   ours ${b}   ${showRatio(result)}`);
    } catch (error) {
      // Printed here, as tfjs shows all of its code with an error that nobody catches.
      show(`FAILED: ${error instanceof Error ? error.message : error}`);
      process.exitCode = 1;
    }
  }
}
