/** Every experiment runs in its quick form, and what docs/papers holds follows from its lines. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { checkExperiment } from "../../examples/reproduce/check.ts";
import type { Experiment } from "../../examples/reproduce/experiment.ts";
import { markdown, picture } from "../../examples/reproduce/paper.ts";
import { type Results, resultsOf } from "../../examples/reproduce/results.ts";
import { reproduce } from "../../examples/reproduce/runner.ts";
import { readLines } from "../../examples/reproduce/store.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = join(root, "examples/reproduce/experiments");
const papers = join(root, "docs/papers");
const names = readdirSync(folder).map((file) => file.replace(/\.ts$/, ""));
const fileOf = (name: string): string => pathToFileURL(join(folder, `${name}.ts`)).href;
const experimentOf = async (name: string): Promise<Experiment> => (await import(fileOf(name))).default;

const out = mkdtempSync(join(tmpdir(), "reproduce-"));
afterAll(() => rmSync(out, { recursive: true }));

const hasData = existsSync(process.env.BITGRAD_DATA ?? "");
const read = (path: string): string => readFileSync(path, "utf8");

describe.each(names)("the experiment %s", (name) => {
  it("has cells of different names, and claims about cells and columns that there are", async () => {
    checkExperiment(name, await experimentOf(name));
  });

  it("runs in its quick form, and measures every column", { timeout: 60_000 }, async (test) => {
    const experiment = await experimentOf(name);
    test.skip(experiment.needsData && !hasData, "needs BITGRAD_DATA");
    const signal = new AbortController().signal;
    const progress = () => ({ log() {} });
    const how = { quick: true, fresh: false, workers: 0, scratch: out };
    const results = await reproduce({ name, file: fileOf(name), out, ...how, signal, progress, say() {} });
    const cells = experiment.cells({ quick: true });
    expect(results.rows.map(({ cell }) => cell)).toEqual(cells.map((cell) => cell.name));
    const measured = new Set(results.rows.flatMap(({ means }) => Object.keys(means)));
    expect([...measured].sort()).toEqual(Object.keys(experiment.columns).sort());
    expect(read(join(out, `${name}.quick.md`))).toBe(markdown(results));
    expect(results.seconds).toBeLessThan(30);
  });
});

describe("docs/papers", () => {
  const written = readdirSync(papers).filter((file) => file.endsWith(".json"));
  const pathOf = (file: string, type: string): string => join(papers, file.replace(/json$/, type));

  it.each(written)("%s is what its lines come to", async (file) => {
    const name = file.replace(/\.json$/, "");
    const { lines, broken } = readLines(pathOf(file, "jsonl"));
    expect(broken).toBeNull();
    const results = resultsOf(name, await experimentOf(name), false, lines);
    expect(JSON.parse(read(join(papers, file)))).toEqual(JSON.parse(JSON.stringify(results)));
  });

  it.each(written)("%s gives its page and its picture", async (file) => {
    const results: Results = JSON.parse(read(join(papers, file)));
    expect(read(pathOf(file, "md"))).toBe(markdown(results));
    expect(read(pathOf(file, "svg")) === `${await picture(results)}\n`, "the picture is as drawn").toBe(true);
  });

  it("draws the series that a picture asks for alone, and lines of cells without the label", async () => {
    const results: Results = JSON.parse(read(join(papers, "stories-weight-only.json")));
    const drawn = await picture({ ...results, picture: { ...results.picture, only: ["GPTQ"] } });
    expect(drawn).toContain(">GPTQ</text>");
    expect(drawn).toContain(">float32</text>");
    expect(drawn).not.toContain(">AWQ</text>");
  });
});
