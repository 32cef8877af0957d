/** This library beside its peers, on one thread: `npm run bench:peers -- --help`. */

import { spawnSync } from "node:child_process";
import { Command } from "commander";
import { backendInfo, useBackend } from "../../src/index.ts";
import { resultsFolder, writeResults } from "../results.ts";
import { type ComparedRow, type PeerSection, writePage } from "../table.ts";
import { compareAll, compareThreads } from "./compare.ts";
import { adapters } from "./libraries/index.ts";
import { freshRows, type Row, threadRows, workloads } from "./workloads.ts";

interface Options {
  list?: true;
  quick?: true;
  peers: string[];
  plain?: true;
  relaxed?: true;
  threads?: true;
  row?: string;
  write?: true;
  into: string;
}

const known = Object.keys(adapters).filter((name) => name !== "bitgrad");
const program = new Command("bench:peers")
  .description(
    "Compares bitgrad with other libraries, in one process, round by round, on one thread.\n" +
      "One row takes about 10 s: npm run bench:peers -- softmax --quick",
  )
  .argument("[words...]", "rows with a word that begins so: matmul, softmax, gelu, …; all by default")
  .option("--list", "show the names of the rows")
  .option("--quick", "fewer and shorter rounds, to steer by")
  .option("--peers <names...>", `only these: ${known.join(", ")}`, known)
  .option("--plain", "only without relaxed SIMD; this is what rows that are named run")
  .option("--relaxed", "only with relaxed SIMD")
  .option("--threads", "only ours on two threads beside ours on one")
  .option(
    "--row <name>",
    "one row by its whole name; several run in a process each, since they slow each other",
  )
  .option("--write", "store the results and make the table of docs/performance.md new")
  .option("--into <folder>", "store them there, and leave the table", resultsFolder)
  .parse();
const options = program.opts<Options>();
const fail = (message: string): never => program.error(`bench:peers: ${message}`);

// Memory and loading are the same with relaxed SIMD.
const single: readonly Row[] = options.relaxed ? workloads : [...workloads, ...freshRows];
const rows = options.threads ? threadRows : single;
const chosen = ({ name }: Row): boolean =>
  options.row !== undefined
    ? name === options.row
    : program.args.length === 0 ||
      program.args.some((start) => name.split(" ").some((word) => word.startsWith(start)));
if (!rows.some(chosen)) fail(`no row has such a word, got ${program.args.join(" ")}; see --list`);
const unknown = options.peers.filter((name) => !known.includes(name));
if (unknown.length > 0) fail(`no such peer, got ${unknown.join(", ")}; known are ${known.join(", ")}`);

/** The same command again, in a process of its own. */
function again(nodeFlags: readonly string[], flags: readonly string[]): number {
  const command = [...nodeFlags, ...process.execArgv, ...process.argv.slice(1), ...flags];
  return spawnSync(process.execPath, command, { stdio: "inherit" }).status ?? 1;
}

async function runSection(section: PeerSection): Promise<void> {
  useBackend("simd", { relaxed: section === "peers-relaxed" });
  const { relaxed } = backendInfo();
  if (section === "peers-relaxed" && !relaxed) {
    const flag = "--experimental-wasm-relaxed-simd";
    if (process.execArgv.includes(flag)) fail("relaxed SIMD does not run here");
    process.exitCode = again([flag], []);
    return;
  }
  const picked = rows.filter(chosen);
  if (picked.length > 1) {
    for (const { name } of picked) process.exitCode = again([], ["--row", name]) || process.exitCode;
    return;
  }
  const threads = section === "peers-threads" ? 2 : 1;
  console.log(`\n${relaxed ? "Relaxed" : "Plain"} SIMD, threads: ${threads}, Node ${process.version}`);
  const pick = (row: Row) => rows.includes(row) && chosen(row);
  const compare = { quick: options.quick ?? false, peers: options.peers };
  const results: ComparedRow[] =
    threads === 2 ? await compareThreads(pick, compare) : await compareAll(pick, compare);
  if (!options.write) return;
  if (process.exitCode) fail("a peer failed, so nothing is stored");
  writeResults(section, results, { folder: options.into, threads, among: rows.map(({ name }) => name) });
  if (options.into === resultsFolder) writePage();
}

if (options.list) for (const { name } of rows) console.log(name);
else if (options.relaxed) await runSection("peers-relaxed");
else if (options.threads) await runSection("peers-threads");
else if (options.plain || options.row || program.args.length > 0) await runSection("peers");
else for (const flag of ["--plain", "--relaxed", "--threads"]) process.exitCode ||= again([], [flag]);
// Runtimes keep the process alive.
process.exit();
