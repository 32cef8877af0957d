/** Writes the tables of docs/performance.md from bench/results: `npm run bench:table`. */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
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

function table(results: Results<ComparedRow> | null, command: string): string {
  if (results === null) return `Not measured yet: \`${command} --write\`.`;
  const { machine, results: rows } = results;
  return [
    `${machine.cpu ?? "unknown processor"}, Node ${machine.node}.`,
    "",
    "| workload | ours | best peer | ratio | required | to reach for | met | native |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ...rows.map(line),
  ].join("\n");
}

/** The sections of the page, by the name in their marker. */
export const sections = ["peers", "peers-relaxed", "peers-threads", "packed"] as const;

export type Section = (typeof sections)[number];
export type PeerSection = Exclude<Section, "packed">;

const commands: Record<Section, string> = {
  peers: "npm run bench:peers --",
  "peers-relaxed": "npm run bench:peers -- --relaxed",
  "peers-threads": "npm run bench:peers -- --threads",
  packed: "npm run bench -- packed",
};

export const renderSection = (section: Section, results: Results<ComparedRow> | null): string =>
  table(results, commands[section]);

/** The page with what stands between `<!-- section -->` and `<!-- /section -->` made new. */
export function renderPage(page: string, read: (section: Section) => Results<ComparedRow> | null): string {
  return sections.reduce((text, section) => {
    const [start, end] = [`<!-- ${section} -->`, `<!-- /${section} -->`];
    const [from, to] = [text.indexOf(start), text.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`bench:table: the page lacks ${start} or ${end}`);
    return `${text.slice(0, from + start.length)}\n${renderSection(section, read(section))}\n${text.slice(to)}`;
  }, page);
}

export const performancePage = fileURLToPath(new URL("../docs/performance.md", import.meta.url));

export function writePage(): void {
  writeFileSync(performancePage, renderPage(readFileSync(performancePage, "utf8"), readResults<ComparedRow>));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writePage();
