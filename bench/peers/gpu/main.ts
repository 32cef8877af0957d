/** This library on a GPU beside its peers, on the same adapter in one run: `npm run bench:gpu -- --help`. */

import { cpus, loadavg } from "node:os";
import { Command } from "commander";
import { findChromium } from "../../../test/browser/pages.ts";
import { adapterText, fileOf, type GpuFigure, type GpuRow, held, speed } from "../../gpu-table.ts";
import { summarize } from "../../pair.ts";
import { resultsFolder, writeResults } from "../../results.ts";
import { writePage } from "../../table.ts";
import { open } from "./browser.ts";
import { type PageReport, type Plan, type Row, rows, type SideTimes, sizes } from "./rows.ts";

interface Options {
  list?: true;
  sizes: string[];
  sides?: string[];
  software?: true;
  browser?: string;
  rounds?: string;
  most?: string;
  write?: true;
  into: string;
}

const ours = "webgpu";
const known = [...new Set(rows.flatMap(({ sides }) => sides))];
const program = new Command("bench:gpu")
  .description(
    "Compares bitgrad on a GPU with tfjs-webgpu, jax-js and onnxruntime-web, on one adapter, in turns, in a browser.\n" +
      "The peers come by: npm ci --prefix bench/peers",
  )
  .argument(
    "[words...]",
    "rows with a word that begins so: float32, int4, decode, resident, …; all by default",
  )
  .option("--list", "show the names of the rows")
  .option("--sizes <n...>", "only products of these sizes", sizes.map(String))
  .option("--sides <names...>", `only these: ${known.join(", ")}`)
  .option("--software", "software that stands for a GPU, also where there is one")
  .option("--browser <path>", "the browser; by default that of BITGRAD_CHROMIUM, or the first Chromium found")
  .option("--rounds <count>", "rounds of each row; 9, or 3 on software")
  .option("--most <seconds>", "leave out what takes longer for a run; 30, or 1 on software")
  .option("--write", "store the results and make the table of docs/performance.md new")
  .option("--into <folder>", "store them there, and leave the table", resultsFolder)
  .addHelpText(
    "after",
    "\nBITGRAD_CHROMIUM_GPU has the flags by which the browser finds its GPU, if the usual do not.",
  )
  .parse();
const options = program.opts<Options>();
const fail = (message: string): never => program.error(`bench:gpu: ${message}`);

function count(name: "rounds" | "most", usual: number): number {
  const given = Number(options[name] ?? usual);
  return given > 0 && Number.isFinite(given)
    ? given
    : fail(`--${name} must be above 0, got ${options[name]}`);
}

const wanted = ({ name, task }: Row): boolean =>
  (!("n" in task) || task.kind === "vector" || options.sizes.includes(String(task.n))) &&
  (program.args.length === 0 ||
    program.args.some((start) => name.split(" ").some((word) => word.startsWith(start))));
const chosen = rows.filter(wanted);
if (chosen.length === 0)
  fail(`no row is so, got ${[...program.args, ...options.sizes].join(" ")}; see --list`);
const unknown = (options.sides ?? []).filter((name) => !known.includes(name));
if (unknown.length > 0) fail(`no such side, got ${unknown.join(", ")}; known are ${known.join(", ")}`);

const show = (name: string, text: string): void => console.log(`  ${name.padEnd(16)}${text}`);

function figures(reports: readonly SideTimes[]): GpuFigure[] {
  const own = reports.find(({ name }) => name === ours)?.times ?? [];
  return reports.map(({ name, times, out }) => {
    if (times.length === 0) return { name, seconds: null, ratio: null, interval: null, out };
    const { a: seconds, ratio, interval } = summarize(times.map((time, i) => [time, own[i] ?? time]));
    const beside = own.length > 0 && name !== ours;
    return { name, seconds, ratio: beside ? ratio : null, interval: beside ? interval : null, out };
  });
}

function print(row: GpuRow): void {
  for (const side of row.sides) {
    const { name, seconds, ratio, out } = side;
    const beside = ratio === null ? "" : `   ours ${ratio.toFixed(2)} times as fast`;
    show(name, seconds === null ? `left out: ${out}` : `${speed(row, side).padStart(18)}${beside}`);
  }
  const to = held(row);
  if (to && row.required !== null) {
    const reach = row.reach === null ? "" : `, ${row.reach} to reach for`;
    show("", `${to.ratio!.toFixed(2)} of ${to.name}, required ${row.required}${reach}`);
  }
}

/** Seconds a unit of work, by side, of the last row of the same kind: what a larger one takes is told by it. */
const paces = new Map<string, number>();

const kindOf = ({ task }: Row, side: string): string =>
  [side, task.kind, "type" in task && task.type, "resident" in task && task.resident].join(" ");

function expected(row: Row, side: string): number {
  return row.task.kind === "decode" ? 0 : row.work * (paces.get(kindOf(row, side)) ?? 0);
}

async function measure(row: Row, plan: Plan, visit: Visit): Promise<GpuRow> {
  const before = loadavg()[0];
  const asked = row.sides.filter((name) => options.sides?.includes(name) ?? true);
  const slow = asked.filter((name) => expected(row, name) > plan.most);
  const ran = asked.filter((name) => !slow.includes(name));
  const { sides, error } = await visit(row, ran);
  for (const { name, times } of sides)
    if (times.length > 0) paces.set(kindOf(row, name), Math.min(...times) / row.work);
  const taken = asked.map((name) => {
    const out = slow.includes(name)
      ? `about ${expected(row, name).toFixed(0)} s a run`
      : (error ?? "no report");
    return sides.find((side) => side.name === name) ?? { name, times: [], out };
  });
  const { name, unit, work, beside, required, reach } = row;
  const load = [before, loadavg()[0]];
  return { name, unit, work, beside, required, reach, load, sides: figures(taken) };
}

type Visit = (
  row: Pick<Row, "task">,
  sides: readonly string[],
) => Promise<Pick<PageReport, "sides" | "error">>;

async function main(): Promise<void> {
  const chromium = options.browser ?? findChromium();
  if (chromium === null) fail("needs Chromium, got none; give --browser, or BITGRAD_CHROMIUM");
  const { browser, adapter } = await open(chromium!, options.software ?? false);
  const machine = { adapter: adapter.webgpu ?? adapter.webgl2 ?? "none", software: adapter.software };
  console.log(`Adapter: ${adapterText(machine)}; WebGL2: ${adapter.webgl2 ?? "none"}`);
  const plan: Plan = {
    rounds: count("rounds", adapter.software ? 3 : 9),
    ...{ seconds: adapter.software ? 4 : 15, milliseconds: adapter.software ? 100 : 50 },
    most: count("most", adapter.software ? 1 : 30),
  };
  const seconds = adapter.software ? 150 : 300;
  /** Once more without the side that the page was not heard of again at. */
  const visit: Visit = async ({ task }, sides) => {
    if (sides.every((name) => name === "cpu" || name === "copy"))
      return { sides: [], error: "nothing on the GPU to stand beside" };
    try {
      return await browser.visit({ task, sides, plan }, seconds);
    } catch (error) {
      const { turn } = browser;
      if (turn === null) return { sides: [], error: (error as Error).message.slice(0, 300) };
      const rest = await visit(
        { task },
        sides.filter((name) => name !== turn),
      );
      const out = `no report within ${seconds} s`;
      return { ...rest, sides: [...rest.sides, { name: turn, times: [], out }] };
    }
  };
  const results: GpuRow[] = [];
  for (const row of chosen) {
    console.log(`\n${row.name}`);
    const result = await measure(row, plan, visit);
    print(result);
    results.push(result);
  }
  await browser.close();
  if (!options.write) return;
  const { into: folder } = options;
  // Software keeps every core busy, and says nothing anyway.
  const threads = adapter.software ? Infinity : cpus().length / 2;
  const among = rows.map(({ name }) => name);
  writeResults(fileOf(machine.adapter), results, { folder, threads, among, machine });
  if (folder === resultsFolder) writePage();
}

if (options.list) for (const { name } of chosen) console.log(name);
else await main();
process.exit();
