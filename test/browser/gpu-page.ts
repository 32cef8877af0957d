/** What the page or worker does: runs packed models as its address says, and posts what they gave. */

import { type PackedCase, type Ran, runCases } from "../gpu/cases.ts";

export interface GpuPageReport extends Ran {
  /** What the console was warned of. */
  readonly warned: readonly string[];
}

const warned: string[] = [];
const warn = console.warn;
console.warn = (...args: unknown[]) => {
  warned.push(args.join(" "));
  warn(...args);
};

const options = JSON.parse(new URL(location.href).searchParams.get("options")!);
const cases = (await (await fetch("/cases")).json()) as PackedCase[];
const report: GpuPageReport = { ...(await runCases(options, cases)), warned };
await fetch("/gpu", { method: "POST", body: JSON.stringify(report) });
