/** Writes the tables of docs/performance.md from bench/results: `npm run bench:table`. */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { crossovers } from "../src/packed/products/crossover.ts";
import type { Crossover } from "../src/packed/products/measured.ts";
import { readGpuResults, renderGpu } from "./gpu-table.ts";
import type { PairResult } from "./pair.ts";
import { type Result, type Results, readResults } from "./results.ts";

export interface Compared {
  readonly peer: string;
  readonly native: boolean;
  readonly ratio: number;
  readonly interval: readonly [low: number, high: number];
  /** Of a run, theirs and ours: seconds, or MiB. */
  readonly a: number;
  readonly b: number;
}

export interface ComparedRow extends Result {
  readonly unit: string;
  readonly work: number;
  readonly required: number | null;
  readonly reach: number | null;
  /** The two are then figures that ours may have at most, no ratios. */
  readonly absolute?: true;
  readonly peers: readonly Compared[];
}

/** Times as fast as float32: required, and to reach for. */
export type Bounds = readonly [required: number | null, reach: number | null];

export const free: Bounds = [null, null];

/** A row that compares ours in few bits, b of the pair, with ours in float32. */
export const besideFloat = (
  name: string,
  { ratio, interval, a, b, load }: PairResult,
  [required, reach]: Bounds,
  speed: Pick<ComparedRow, "unit" | "work">,
): ComparedRow => ({
  ...{ name, ...speed, required, reach, load },
  peers: [{ peer: "float32", native: false, ratio, interval, a, b }],
});

/** What a row reports of a run that took so many seconds, or MiB; without its unit. */
export function quantity({ unit, work }: Pick<ComparedRow, "unit" | "work">, run: number): number {
  if (unit === "MiB") return run;
  return unit === "ms" ? run * 1e3 : work / run;
}

export const figure = (row: Pick<ComparedRow, "unit" | "work">, run: number): string =>
  `${Number(quantity(row, run).toPrecision(3)).toLocaleString("en")} ${row.unit}`;

const ratioText = ({ ratio, interval: [low, high] }: Compared): string =>
  `${ratio.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;

const least = (peers: readonly Compared[]): Compared | undefined =>
  peers.toSorted((a, b) => a.ratio - b.ratio)[0];

function line(row: ComparedRow): string {
  const { absolute, required, reach, unit } = row;
  const best = least(row.peers.filter(({ native }) => !native));
  const native = least(row.peers.filter(({ native }) => native));
  if (best === undefined) return `| ${[row.name, ...Array(7).fill("–")].join(" | ")} |`;
  const got = absolute ? quantity(row, best.b) : best.ratio;
  const meets = (bound: number | null): boolean => bound !== null && (absolute ? got <= bound : got >= bound);
  const bound = (value: number | null): string =>
    value === null ? "–" : absolute ? `at most ${value} ${unit}` : `${value}`;
  const met = meets(reach) ? "both" : meets(required) ? "yes" : required === null ? "–" : "no";
  return `| ${[
    row.name,
    figure(row, best.b),
    `${best.peer}, ${figure(row, best.a)}`,
    ratioText(best),
    bound(required),
    bound(reach),
    met,
    native ? `${native.peer}, ${figure(row, native.a)} (${native.ratio.toFixed(2)})` : "–",
  ].join(" | ")} |`;
}

function table({ machine, results: rows }: Results<ComparedRow>): string {
  return [
    `${machine.cpu ?? "unknown processor"}, Node ${machine.node}.`,
    "",
    "| workload | ours | best peer | ratio | required | to reach for | met | native |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ...rows.map(line),
  ].join("\n");
}

/** The sections of the page, by the name in their marker. */
export const sections = [
  ...(["peers", "peers-relaxed", "peers-threads"] as const),
  ...(["packed", "bits", "digits", "ints"] as const),
  ...(["steps", "qat", "cnn", "ops", "long", "heap"] as const),
];

export type Section = (typeof sections)[number];
export type PeerSection = Section & `peers${string}`;

const commands: Record<Section, string> = {
  peers: "npm run bench:peers --",
  "peers-relaxed": "npm run bench:peers -- --relaxed",
  "peers-threads": "npm run bench:peers -- --threads",
  packed: "npm run bench -- packed",
  bits: "npm run bench -- bits",
  digits: "npm run bench -- digits",
  ints: "npm run bench -- ints",
  steps: "npm run bench -- steps",
  qat: "npm run bench -- qat",
  cnn: "npm run bench -- cnn",
  ops: "npm run bench -- ops",
  long: "npm run bench -- long",
  heap: "npm run bench -- heap",
};

/** A table for each processor. */
export const renderSection = (section: Section, results: readonly Results<ComparedRow>[]): string =>
  results.length === 0
    ? `Not measured yet: \`${commands[section]} --write\`.`
    : results.map(table).join("\n\n");

/** By number of weights, the rows up to which lookup is taken. */
function crossoverTable({ machine, lookupRows, floatWeights }: Crossover): string {
  const shown = (rows: number): string => (rows === Infinity ? "any" : rows === 0 ? "none" : `${rows}`);
  const sizes = lookupRows[1].map(([weights]) => weights);
  const line = (name: string, steps: (typeof lookupRows)[1]): string =>
    `| ${[name, ...steps.map(([, rows]) => shown(rows))].join(" | ")} |`;
  return [
    `${machine}.`,
    "",
    `| rows by lookup, of weights | ${sizes.map((weights) => `${Math.sqrt(weights)}²`).join(" | ")} |`,
    `| --- |${" --- |".repeat(sizes.length)}`,
    line("1-bit", lookupRows[1]),
    line("ternary", lookupRows[2]),
    "",
    `| float32 is faster, up to weights, of bits | ${floatWeights.map((_, i) => i + 1).join(" | ")} |`,
    `| --- |${" --- |".repeat(floatWeights.length)}`,
    `| by float32 input | ${floatWeights.map((weights) => weights.toLocaleString("en")).join(" | ")} |`,
  ].join("\n");
}

const crossoverTables = ({ plain, relaxed }: typeof crossovers): string =>
  [plain, relaxed].flatMap((each) => (each ? [crossoverTable(each)] : [])).join("\n\n");

/** The text with what stands between `<!-- section -->` and `<!-- /section -->` made new. */
export function replaced(text: string, section: string, content: string): string {
  const [start, end] = [`<!-- ${section} -->`, `<!-- /${section} -->`];
  const [from, to] = [text.indexOf(start), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`bench:table: the page lacks ${start} or ${end}`);
  return `${text.slice(0, from + start.length)}\n${content}\n${text.slice(to)}`;
}

/** The page with its tables made new. */
export function renderPage(
  page: string,
  read: (section: Section) => readonly Results<ComparedRow>[],
  choices = crossovers,
  gpus = readGpuResults(),
): string {
  const measured = sections.reduce(
    (text, section) => replaced(text, section, renderSection(section, read(section))),
    page,
  );
  return replaced(replaced(measured, "crossover", crossoverTables(choices)), "gpu", renderGpu(gpus));
}

export const performancePage = fileURLToPath(new URL("../docs/performance.md", import.meta.url));

export function writePage(choices = crossovers): void {
  const page = readFileSync(performancePage, "utf8");
  writeFileSync(
    performancePage,
    renderPage(page, (section) => readResults<ComparedRow>(section), choices),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writePage();
