/** What is made of the reports of consumers. */

import type { Report } from "./consumer.ts";

/** What came of a consumer. */
export interface Line {
  readonly consumer: string;
  readonly result: "passed" | "failed" | "skipped";
  readonly versions: Readonly<Record<string, string>>;
  readonly seconds: number;
  /** Why it failed or was skipped, else empty. */
  readonly why: string;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;

/** What differs between two results, by path, or null. */
function difference(got: unknown, want: unknown, path: string): string | null {
  if (!isObject(got) || !isObject(want)) {
    return Object.is(got, want) ? null : `${path} is ${JSON.stringify(got)} and not ${JSON.stringify(want)}`;
  }
  for (const name of new Set([...Object.keys(got), ...Object.keys(want)])) {
    const found = difference(got[name], want[name], `${path}.${name}`);
    if (found !== null) return found;
  }
  return null;
}

/** What is wrong with a report, of which `first` is to have the same bits, or null. */
export function problem(report: Report, threads: 1 | 2 | undefined, first: Report | null): string | null {
  if (report.error !== undefined) return report.error;
  if (report.backend !== "simd") return `the backend is ${report.backend}: ${report.reason}`;
  if (report.threads !== threads) return `${report.threads} threads run, not ${threads}: ${report.reason}`;
  if (threads === 1 && report.reason === null) return "one thread runs, and no reason is given";
  const unequal = /"(resumes|equalsFrozen)":false/.exec(JSON.stringify(report.results));
  if (unequal) return `${unequal[1]} is false`;
  return first && difference(report.results, first.results, "results");
}

/** The README's sentence about what passed, in lines of 120 columns. */
export function sentence(lines: readonly Line[]): string {
  const versions: Record<string, Set<string>> = {};
  for (const line of lines) {
    for (const [name, version] of Object.entries(line.versions)) {
      versions[name] ??= new Set();
      versions[name].add(version);
    }
  }
  const tried = Object.entries(versions).map(([name, of]) => `${name} ${[...of].join(", ")}`);
  const text = `Tried by \`npm run check:consumers\`, with the same bits in all that run: ${tried.join("; ")}.`;
  const rows = [""];
  for (const word of text.split(" ")) {
    const row = `${rows.at(-1)} ${word}`.trim();
    if (row.length <= 120) rows[rows.length - 1] = row;
    else rows.push(word);
  }
  return rows.join("\n");
}
