/**
 * Packs the library and tries it as its users do, each in a folder of its own: `npm run check:consumers`. Words after `--`
 * take those whose names have them all, and `-- --write` writes into the README what passed. Every program must come to
 * the bits of the first. It exits with 1 where one failed.
 */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { replaced } from "../../bench/table.ts";
import { root } from "../package/tarball.ts";
import { type Line, problem, sentence } from "./compare.ts";
import { type Consumer, Missing, Place, type Report } from "./consumer.ts";
import { bundles } from "./pages.ts";
import { runtimes } from "./runtimes.ts";
import { checks } from "./types.ts";

async function attempt(
  consumer: Consumer,
  place: Place,
  first: Report | null,
): Promise<[Line, Report | null]> {
  const start = performance.now();
  const line = (result: Line["result"], why = "", versions = {}): Line => {
    const seconds = (performance.now() - start) / 1000;
    return { consumer: consumer.name, result, versions, seconds, why };
  };
  try {
    const { versions, report } = await consumer.use(place);
    const wrong = report && problem(report, consumer.threads, first);
    return [line(wrong ? "failed" : "passed", wrong ?? "", versions), report];
  } catch (error) {
    const why = (error as Error).message;
    return [line(error instanceof Missing ? "skipped" : "failed", why), null];
  }
}

const named = (versions: Readonly<Record<string, string>>): string =>
  Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { write: { type: "boolean", default: false } },
});
const all = [...runtimes, ...checks, ...bundles];
const wanted = all.filter(
  ({ name }, i) => i === 0 || positionals.every((word) => name.toLowerCase().includes(word.toLowerCase())),
);
const place = await Place.open();
const lines: Line[] = [];
let first: Report | null = null;
try {
  for (const consumer of wanted) {
    const [line, report] = await attempt(consumer, place, first);
    first ??= line.result === "passed" ? report : null;
    lines.push(line);
    console.log(`${line.result}  ${line.consumer}  ${named(line.versions)}${line.why && `\n${line.why}`}`);
  }
} finally {
  await place.close();
}
console.table(
  lines.map(({ consumer, result, versions, seconds }) => ({
    consumer,
    result,
    versions: named(versions),
    seconds: Number(seconds.toFixed(1)),
  })),
);
const failed = lines.filter(({ result }) => result === "failed").length;
const skipped = lines.filter(({ result }) => result === "skipped").length;
console.log(`${lines.length - failed - skipped} passed, ${failed} failed, ${skipped} skipped`);
if (values.write && failed + skipped === 0 && wanted.length === all.length) {
  const page = join(root, "README.md");
  await writeFile(page, replaced(await readFile(page, "utf8"), "consumers", sentence(lines)));
}
if (failed > 0) process.exitCode = 1;
