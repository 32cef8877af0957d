import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { type Results, readResults, writeResults } from "../../bench/results.ts";
import {
  type ComparedRow,
  performancePage,
  renderPage,
  renderSection,
  type Section,
  sections,
} from "../../bench/table.ts";

const row = (name: string, ratios: Record<string, number>, more: Partial<ComparedRow> = {}): ComparedRow => ({
  ...{ name, unit: "GFLOP/s", work: 2, required: 1.25, reach: 1.5, load: [0.4, 1.2] },
  peers: Object.entries(ratios).map(([peer, ratio]) => ({
    ...{ peer, native: peer === "ort-node", ratio, interval: [ratio - 0.01, ratio + 0.01] as const },
    ...{ a: 0.04 * ratio, b: 0.04 },
  })),
  ...more,
});

const stored = (section: Section) => readResults<ComparedRow>(section);

const results = (...rows: ComparedRow[]): Results<ComparedRow> => ({
  machine: { cpu: "a processor", node: "v20.1.0" },
  results: rows,
});

const lines = (...rows: ComparedRow[]): string[] =>
  renderSection("peers", [results(...rows)])
    .split("\n")
    .slice(4);

describe("the tables of docs/performance.md", () => {
  it("show ours, the best peer with its ratio, what is required, and the native yardstick", () => {
    const [line] = lines(row("matmul", { "jax-js": 2, "tfjs-wasm": 1.3, "ort-node": 0.25 }));
    expect(line).toBe(
      "| matmul | 50 GFLOP/s | tfjs-wasm, 38.5 GFLOP/s | 1.30 (1.29–1.31) | 1.25 | 1.5 | yes | ort-node, 200 GFLOP/s (0.25) |",
    );
  });

  it("say whether a row is met", () => {
    const met = lines(row("a", { x: 1.24 }), row("b", { x: 1.25 }), row("c", { x: 1.5 })).map(
      (line) => line.split(" | ")[6],
    );
    expect(met).toEqual(["no", "yes", "both"]);
  });

  it("leave out bounds that a row does not have", () => {
    const bounds = lines(
      row("a", { x: 2 }, { required: null, reach: null }),
      row("b", { x: 2 }, { required: 18, reach: null }),
      row("c", { x: 19 }, { required: 18, reach: null }),
    ).map((line) => line.split(" | ").slice(4, 7));
    expect(bounds).toEqual([
      ["–", "–", "–"],
      ["18", "–", "no"],
      ["18", "–", "yes"],
    ]);
  });

  it("hold rows with absolute bounds to our own figure", () => {
    const bounds = { unit: "ms", required: 25, reach: 15, absolute: true } as const;
    const [slow, fast] = lines(
      row("import", { x: 9 }, bounds),
      row("import", { x: 0.5 }, { ...bounds, required: 40, reach: 20 }),
    );
    expect(slow).toContain("| 40 ms | x, 360 ms | 9.00 (8.99–9.01) | at most 25 ms | at most 15 ms | no |");
    expect(fast).toContain("| yes |");
  });

  it("stand in docs/performance.md as bench/results has them; `npm run bench:table` writes them", () => {
    const page = readFileSync(performancePage, "utf8");
    expect(renderPage(page, stored)).toBe(page);
  });

  it("show each processor that was measured by itself", () => {
    const of = (cpu: string) => ({ ...results(row("a", { x: 2 })), machine: { cpu, node: "v20.1.0" } });
    const section = renderSection("peers", [of("one"), of("two")]);
    expect(section.match(/^(one|two), Node v20.1.0.$/gm)).toEqual([
      "one, Node v20.1.0.",
      "two, Node v20.1.0.",
    ]);
    expect(section.match(/^\| a \|/gm)).toHaveLength(2);
  });

  it("change with the results", () => {
    const page = readFileSync(performancePage, "utf8");
    const changed = renderPage(page, () => [results(row("an unheard-of row", { x: 1 }))]);
    expect(changed).not.toBe(page);
    expect(changed.match(/an unheard-of row/g)).toHaveLength(sections.length);
    expect(renderPage(changed, stored)).toBe(page);
  });
});

it("the page tells up to how many rows lookup is taken, and what is faster as float32", () => {
  const measured = {
    machine: "a machine",
    lookupRows: {
      1: [
        [4096, 0],
        [16384, Infinity],
      ],
      2: [
        [4096, 4],
        [16384, 8],
      ],
    },
    floatWeights: [0, 1, 2, 3, 4, 5, 6, 32768],
  } as const;
  const page = renderPage(readFileSync(performancePage, "utf8"), stored, {
    plain: measured,
    relaxed: null,
  });
  expect(page).toContain(
    "| rows by lookup, of weights | 64² | 128² |\n| --- | --- | --- |\n| 1-bit | none | any |\n| ternary | 4 | 8 |\n",
  );
  expect(page).toContain("| by float32 input | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 32,768 |");
});

describe("bench/results", () => {
  const folder = () => {
    const made = mkdtempSync(join(tmpdir(), "bench-"));
    onTestFinished(() => rmSync(made, { recursive: true }));
    return made;
  };

  it("keep the rows that were not measured this time, in order", () => {
    const into = { folder: folder(), among: ["a", "b", "c"] };
    writeResults("x", [row("c", { x: 1 }), row("a", { x: 1 })], into);
    writeResults("x", [row("b", { x: 1 }), row("a", { x: 3 })], into);
    const [{ results: kept }] = readResults<ComparedRow>("x", into.folder);
    expect(kept.map(({ name, peers }) => [name, peers[0].ratio])).toEqual([
      ["a", 3],
      ["b", 1],
      ["c", 1],
    ]);
  });

  it("are not written while the machine does other work", () => {
    const into = folder();
    const busy = row("a", { x: 1 }, { load: [0.2, 1.7] });
    expect(() => writeResults("x", [busy], { folder: into })).toThrow("the machine was busy, got load 1.7");
    expect(readResults("x", into)).toEqual([]);
    writeResults("x", [busy], { folder: into, threads: 2 });
    expect(readResults("x", into)[0].results).toHaveLength(1);
  });
});
