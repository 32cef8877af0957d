/**
 * Runs the experiments of `experiments/`, each by its name:
 *
 *   npm run reproduce -- list
 *   npm run reproduce -- NAME [--quick] [--seeds N] [--fresh] [--workers N] [--out DIR]
 *
 * Results are kept in docs/papers as they come, and what was measured before is not measured again.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import Table from "cli-table3";
import { Command } from "commander";
import { isTerminal, progressOf } from "../progress.ts";
import { count, endBy, interruptible, quoted, Refusal } from "../run.ts";
import type { Experiment } from "./experiment.ts";
import { finding, tableOf } from "./paper.ts";
import type { Results } from "./results.ts";
import { reproduce } from "./runner.ts";

interface Flags {
  quick?: boolean;
  seeds?: number;
  fresh?: boolean;
  workers?: number;
  out?: string;
}

const folder = new URL("experiments/", import.meta.url);
const fileOf = (name: string): URL => new URL(`${name}.ts`, folder);
const names = readdirSync(folder)
  .map((file) => file.replace(/\.ts$/, ""))
  .sort();

async function list(): Promise<void> {
  for (const name of names) {
    const { default: experiment } = (await import(fileOf(name).href)) as { default: Experiment };
    console.log(`${name.padEnd(24)}${experiment.about}`);
  }
}

function print(results: Results): void {
  const { heads, cells, left } = tableOf(results);
  const table = new Table({
    head: heads,
    style: isTerminal ? {} : { head: [], border: [] },
    colAligns: heads.map((_, i) => (i < left ? "left" : "right")),
  });
  table.push(...cells);
  console.log(`${table}\n`);
  for (const claim of results.claims) console.log(`${claim.verdict}: ${claim.says} (${finding(claim)})`);
}

async function run(name: string, { quick = false, seeds, fresh = false, workers, out }: Flags) {
  if (!names.includes(name))
    throw new Refusal(`which experiment? got ${name}; there are ${names.join(", ")}`);
  const scratch = join("runs", "reproduce");
  const signal = interruptible("a few seconds");
  try {
    const results = await reproduce({
      name,
      file: fileOf(name).href,
      out: out ?? (quick ? scratch : join("docs", "papers")),
      scratch,
      quick,
      seeds,
      fresh,
      // Processes take longer to start than quick cells to run.
      workers: quick ? 0 : (workers ?? 2),
      signal,
      progress: progressOf(signal),
      say: (text) => process.stderr.write(`${text}\n`),
    });
    print(results);
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
    const again = process.argv.slice(2).filter((flag) => flag !== "--fresh");
    console.log(`stopped; npm run reproduce -- ${again.map(quoted).join(" ")} goes on`);
    process.exitCode = 130;
  }
}

const program = new Command("reproduce").description("Runs an experiment, and writes what it came to.");
program
  .argument("<name>", `one of ${names.join(", ")}; or list`)
  .option("--quick", "a tiny run of seconds, to see that everything works")
  .option("--seeds <n>", "how many seeds, where something is drawn (default: those of the experiment)", count)
  .option("--fresh", "forget what was measured before")
  .option("--workers <n>", "processes of one thread each (default: 2)", count)
  .option("--out <dir>", "where the results go (default: docs/papers, of quick runs runs/reproduce)")
  .parse();
try {
  const [name] = program.args;
  await (name === "list" ? list() : run(name, program.opts<Flags>()));
} catch (error) {
  endBy(program, error);
}
