/** What the page or worker does: runs packed models as its address says, and posts what they gave. */

import { type PackedCase, type Ran, runCases } from "../gpu/cases.ts";

export interface GpuPageReport {
  readonly ran: readonly Ran[];
  /** What the console was warned of. */
  readonly warned: readonly string[];
}

const warned: string[] = [];
const warn = console.warn;
console.warn = (...args: unknown[]) => {
  warned.push(args.join(" "));
  warn(...args);
};

const { searchParams } = new URL(location.href);
const cases = (await (await fetch(searchParams.get("cases")!)).json()) as PackedCase[];
const ran: Ran[] = [];
for (const options of JSON.parse(searchParams.get("options")!)) ran.push(await runCases(options, cases));
await fetch("/gpu", { method: "POST", body: JSON.stringify({ ran, warned } satisfies GpuPageReport) });
