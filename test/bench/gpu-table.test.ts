import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import {
  fileOf,
  type GpuFigure,
  type GpuResults,
  type GpuRow,
  readGpuResults,
  renderGpu,
} from "../../bench/gpu-table.ts";
import { writeResults } from "../../bench/results.ts";

const side = (name: string, seconds: number | null, ratio: number | null = null): GpuFigure => ({
  ...{ name, seconds, ratio },
  interval: ratio === null ? null : [ratio - 0.1, ratio + 0.1],
  out: seconds === null ? "9 s a run" : null,
});

const row = (name: string, sides: readonly GpuFigure[], more: Partial<GpuRow> = {}): GpuRow => ({
  ...{ name, sides, unit: "GFLOP/s", work: 2, load: [0.4, 1.2] },
  ...{ beside: ["tfjs-webgpu", "jax-js"], required: 1, reach: 2 },
  ...more,
});

const results = (rows: readonly GpuRow[], software = false): GpuResults => ({
  machine: { cpu: "a processor", node: "v20.1.0", adapter: "an adapter", software },
  results: rows,
});

const lines = (...rows: GpuRow[]): string[] =>
  renderGpu([results(rows)])
    .split("\n")
    .slice(4);

it("tables of GPUs show every engine of ours, the others, and the quickest of those that ours is held to", () => {
  const sides = [side("webgpu", 0.1), side("gpu.js", 0.4, 4), side("cpu", 0.02, 0.2)];
  const [line] = lines(row("product", [...sides, side("tfjs-webgpu", 0.25, 2.5), side("jax-js", 0.15, 1.5)]));
  expect(line).toBe(
    "| product | 20 GFLOP/s | 5 GFLOP/s | 100 GFLOP/s | tfjs-webgpu 8 GFLOP/s, jax-js 13.3 GFLOP/s " +
      "| jax-js 1.50 (1.40–1.60) | 1 | 2 | yes |",
  );
});

it("tables of GPUs say whether a row is met, and nothing where a side was left out", () => {
  const met = (ratio: number | null, more: Partial<GpuRow> = {}) =>
    lines(row("a", [side("webgpu", 0.1), side("jax-js", ratio === null ? null : 0.1, ratio)], more))[0]
      .split(" | ")
      .at(-1);
  expect([met(0.9), met(1), met(2), met(null)]).toEqual(["no |", "yes |", "both |", "– |"]);
  expect(met(5, { required: null, reach: null })).toBe("– |");
  expect(met(0.6, { required: 0.6, reach: null })).toBe("yes |");
});

it("tables of GPUs call software what it is", () => {
  const rows = [row("a", [])];
  expect(renderGpu([results(rows, true)])).toMatch(
    /^Software adapter \(an adapter\): says nothing about GPUs\. a/,
  );
  expect(renderGpu([results(rows)])).toMatch(/^An adapter\. a/);
  expect(renderGpu([])).toBe("Not measured yet: `npm run bench:gpu -- --write`.");
});

it("results of GPUs are kept by processor and adapter, and read with what they were made on", () => {
  const folder = mkdtempSync(join(tmpdir(), "bench-gpu-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const adapter of ["Two (X)", "One"])
    writeResults(fileOf(adapter), [row(adapter, [])], { folder, machine: { adapter, software: true } });
  writeResults("peers", [row("not of a GPU", [])], { folder });
  const read = readGpuResults(folder);
  expect(read.map(({ machine, results: [{ name }] }) => [machine.adapter, machine.software, name])).toEqual([
    ["One", true, "One"],
    ["Two (X)", true, "Two (X)"],
  ]);
  expect(fileOf("Two (X)")).toBe("gpu-two-x");
});
