/** The runner of experiments: what it keeps, what it measures again, and what it makes of the numbers. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import { checkExperiment } from "../../examples/reproduce/check.ts";
import type { Claim } from "../../examples/reproduce/experiment.ts";
import { meanOf, studentT, verdictOf } from "../../examples/reproduce/results.ts";
import { checkpointOf, type ReproduceOptions, reproduce } from "../../examples/reproduce/runner.ts";
import { type Line, readLines } from "../../examples/reproduce/store.ts";
import { Refusal } from "../../examples/run.ts";
import small from "./small-experiment.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "reproduce-runner-"));
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

let out = "";
let count = 0;
beforeEach(() => {
  out = join(folder, String(count++));
  vi.unstubAllEnvs();
  vi.stubEnv("SMALL_CALLS", join(folder, `calls-${count}`));
});

const read = (path: string): string => readFileSync(path, "utf8");
const calls = (): string[] => {
  const path = process.env.SMALL_CALLS!;
  return existsSync(path) ? read(path).trimEnd().split("\n") : [];
};
const linesOf = (): string => join(out, "small.jsonl");

/** The small experiment, read anew with what the environment says by now. */
function run(options: Partial<ReproduceOptions> = {}) {
  vi.resetModules();
  const said: string[] = [];
  const ended = reproduce({
    name: "small",
    file: pathToFileURL(join(import.meta.dirname, "small-experiment.ts")).href,
    out,
    scratch: join(out, "scratch"),
    quick: false,
    fresh: false,
    workers: 0,
    signal: new AbortController().signal,
    progress: () => ({ log() {} }),
    say: (text) => said.push(text),
    ...options,
  });
  return ended.then((results) => ({ results, said }));
}

const all = [
  "nearest 4, 1",
  "drawn 4, 1",
  "drawn 4, 2",
  "drawn 4, 3",
  "drawn 2, 1",
  "drawn 2, 2",
  "drawn 2, 3",
];
const numbers = (lines: readonly Line[]) => lines.map(({ cell, seed, measures }) => [cell, seed, measures]);

describe("an experiment", { timeout: 60_000 }, () => {
  it("measures every cell by its seeds, and writes lines, results, a page and a picture", async () => {
    const { results } = await run();
    expect(calls()).toEqual(all);
    expect(readdirSync(out).sort()).toEqual([
      "scratch",
      "small.json",
      "small.jsonl",
      "small.md",
      "small.svg",
    ]);
    expect(JSON.parse(read(join(out, "small.json")))).toEqual(JSON.parse(JSON.stringify(results)));
    expect(results.rows.map(({ cell, seeds }) => [cell, seeds])).toEqual([
      ["float", 1],
      ["nearest 4", 1],
      ["drawn 4", 3],
      ["drawn 2", 3],
    ]);
    expect(results.rows[1].means["loss"]).toEqual({ mean: 2.5, error: 0 });
    expect(results.claims.map(({ verdict, seeds }) => [verdict, seeds])).toEqual([
      ["shown", 1],
      ["refuted", 3],
      ["not shown", 3],
    ]);
    const page = read(join(out, "small.md"));
    expect(page).toContain(
      "| method | bits | loss | seeds |\n| --- | --- | ---: | ---: |\n| float32 |  | 1.000 | 1 |",
    );
    expect(page).toContain("- **shown**: 4 bits lose (loss 1.500, to be above 0.000; nothing drawn).");
    expect(page).toMatch(
      /- \*\*refuted\*\*: 2 bits lose less \(loss 2\.5\d\d ± 0\.00[1-9], to be below 0\.000; 3 seeds\)\./,
    );
  });

  it("gives in worker processes the numbers that it gives in this one", async () => {
    await run();
    const here = readLines(linesOf()).lines;
    out = join(folder, "workers");
    await run({ workers: 2 });
    expect(numbers(readLines(linesOf()).lines)).toEqual(numbers(here));
  });

  it("goes on from what was measured, by more seeds too, and begins anew where it is told", async () => {
    await run({ seeds: 1 });
    expect(calls()).toEqual(["nearest 4, 1", "drawn 4, 1", "drawn 2, 1"]);
    const { results } = await run({ seeds: 2 });
    expect(calls().slice(3)).toEqual(["drawn 4, 2", "drawn 2, 2"]);
    expect(results.rows.map(({ seeds }) => seeds)).toEqual([1, 1, 2, 2]);
    await run({ seeds: 2 });
    expect(calls()).toHaveLength(5);
    const { lines } = readLines(linesOf());
    expect(lines.map(({ cell, seed }) => `${cell}, ${seed}`)).toEqual([
      "float, 1",
      "nearest 4, 1",
      "drawn 4, 1",
      "drawn 4, 2",
      "drawn 2, 1",
      "drawn 2, 2",
    ]);
    await run({ seeds: 1, fresh: true });
    expect(calls()).toHaveLength(8);
  });

  it("counts a claim over single draws as not shown", async () => {
    const { results } = await run({ seeds: 1 });
    expect(results.claims.map(({ verdict }) => verdict)).toEqual(["shown", "not shown", "not shown"]);
  });

  it("measures lines of another version again, and drops them", async () => {
    await run();
    const { lines } = readLines(linesOf());
    const old = lines.map((line) => (line.cell === "drawn 2" ? { ...line, version: 0 } : line));
    writeFileSync(linesOf(), old.map((line) => JSON.stringify(line)).join("\n"));
    await run();
    expect(calls().slice(all.length)).toEqual(["drawn 2, 1", "drawn 2, 2", "drawn 2, 3"]);
    expect(numbers(readLines(linesOf()).lines)).toEqual(numbers(lines));
  });

  it.each([
    ["cut off", (text: string) => text.slice(0, -40)],
    ["no line of results", (text: string) => `${text}{"cell":"drawn 2"}\n`],
    ["of numbers that are none", (text: string) => text.replace(/("loss":)[\d.]+(?=[^\n]*\n$)/, "$1null")],
  ])("drops a last line that is %s, says so, and measures what it lacks", async (_, damage) => {
    await run();
    const before = read(linesOf());
    writeFileSync(linesOf(), damage(before));
    const { said } = await run();
    expect(said).toEqual([
      expect.stringContaining("small.jsonl: the last line is broken and was dropped: {"),
    ]);
    expect(numbers(readLines(linesOf()).lines)).toHaveLength(8);
  });

  it("keeps a last line that only lacks its end of line, and adds to it none", async () => {
    await run();
    writeFileSync(linesOf(), read(linesOf()).trimEnd());
    vi.stubEnv("SMALL_FAILS", "drawn 2");
    await expect(run({ seeds: 4 })).rejects.toThrow("drawn 2, seed 4: no such numbers");
    expect(readLines(linesOf()).lines).toHaveLength(9);
    vi.stubEnv("SMALL_FAILS", undefined);
    expect((await run({ seeds: 4 })).said).toEqual([]);
    expect(calls().slice(all.length)).toEqual(["drawn 4, 4", "drawn 2, 4", "drawn 2, 4"]);
  });

  it("refuses a file that is damaged before its last line", async () => {
    await run();
    const before = `no line\n${read(linesOf())}`;
    writeFileSync(linesOf(), before);
    await expect(run()).rejects.toThrow(
      /small\.jsonl is damaged at line 1; remove the line, or begin anew by --fresh/,
    );
    expect(read(linesOf())).toBe(before);
  });

  it.each([
    [0, "SMALL_FAILS", "no such numbers"],
    [2, "SMALL_FAILS", "no such numbers"],
    [0, "SMALL_NAN", "loss must be finite, got NaN"],
    [0, "SMALL_NOTHING", "a cell must give numbers, got {}"],
  ])("by %i workers keeps what other cells give where one fails by %s", async (workers, name, message) => {
    vi.stubEnv(name, "drawn 4");
    const ended = run({ workers });
    await expect(ended).rejects.toThrow(Refusal);
    await expect(ended).rejects.toThrow(new RegExp(`cells failed:\n[^]*drawn 4, seed 1: .*${message}`));
    expect(readLines(linesOf()).lines.map(({ cell }) => cell)).toEqual(
      expect.arrayContaining(["float", "nearest 4", "drawn 2"]),
    );
    expect(existsSync(join(out, "small.json"))).toBe(false);
    vi.stubEnv(name, undefined);
    expect((await run()).results.rows).toHaveLength(4);
  });

  it.each([0, 50])(
    "does not blame a cell for what one before it in its worker throws %i ms after it has answered",
    async (delay) => {
      vi.stubEnv("SMALL_LATE", "nearest 4");
      vi.stubEnv("SMALL_DELAY", String(delay));
      const { results } = await run({ workers: 1 });
      expect(results.rows.map(({ seeds }) => seeds)).toEqual([1, 1, 3, 3]);
    },
  );

  it("blames a cell that ends its worker, alone or behind others", async () => {
    vi.stubEnv("SMALL_ENDS", "drawn 4");
    await expect(run({ workers: 1 })).rejects.toThrow(
      `cells failed:\n${[1, 2, 3].map((seed) => `drawn 4, seed ${seed}: the worker ended by 7`).join("\n")}`,
    );
    // A worker of its own tells that it is the cell.
    expect(calls().filter((call) => call.startsWith("drawn 4"))).toEqual(
      [1, 1, 2, 3].map((seed) => `drawn 4, ${seed}`),
    );
    expect(readLines(linesOf()).lines).toHaveLength(5);
  });

  it.each([0, 2])("by %i workers keeps what is done when it is stopped, and checkpoints", async (workers) => {
    vi.stubEnv("SMALL_WAITS", "drawn 4");
    const stop = new AbortController();
    const ended = run({ workers, signal: stop.signal });
    const isWaiting = () => {
      expect(calls()).toContain("drawn 4, 1");
      expect(readLines(linesOf()).lines).toHaveLength(2);
    };
    await vi.waitFor(isWaiting, { timeout: 30_000 });
    stop.abort();
    await expect(ended).rejects.toBe(stop.signal.reason);
    const kept = readLines(linesOf()).lines.map(({ cell }) => cell);
    expect(kept).toEqual(expect.arrayContaining(["float", "nearest 4"]));
    expect(readdirSync(join(out, "scratch"))).toContainEqual(
      expect.stringMatching(/^small-drawn-4-seed-1-version-1-\w+\.safetensors$/),
    );
    vi.stubEnv("SMALL_WAITS", undefined);
    await run({ workers });
    expect(calls()).toContain("drawn 4, 1, goes on");
    expect(readLines(linesOf()).lines).toHaveLength(8);
    expect(readdirSync(join(out, "scratch"))).toEqual([]);
  });

  it.each([0, 2])(
    "by %i workers keeps a second run of its results away, and lets it in when it ends",
    async (workers) => {
      vi.stubEnv("SMALL_WAITS", "drawn 4");
      const stop = new AbortController();
      const first = run({ workers, signal: stop.signal });
      const isWaiting = () => {
        expect(calls()).toContain("drawn 4, 1");
        expect(readLines(linesOf()).lines).toHaveLength(2);
      };
      await vi.waitFor(isWaiting, { timeout: 30_000 });
      const lines = read(linesOf());
      const second = run({ workers, fresh: true });
      await expect(second).rejects.toThrow(Refusal);
      await expect(second).rejects.toThrow(`small: process ${process.pid} runs it already; remove `);
      expect(read(linesOf())).toBe(lines);
      stop.abort();
      await expect(first).rejects.toBe(stop.signal.reason);
      vi.stubEnv("SMALL_WAITS", undefined);
      expect((await run({ workers })).results.rows).toHaveLength(4);
    },
  );

  it("is kept away by another process that runs, and not by one that was killed", async () => {
    const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
    const scratch = join(out, "scratch");
    mkdirSync(scratch, { recursive: true });
    const file = join(scratch, `small.lock.${other.pid}`);
    writeFileSync(file, "");
    await expect(run()).rejects.toThrow(
      `small: process ${other.pid} runs it already; remove ${file} if it does not`,
    );
    expect(readdirSync(scratch)).toEqual([`small.lock.${other.pid}`]);
    other.kill("SIGKILL");
    await once(other, "exit");
    expect((await run()).results.rows).toHaveLength(4);
    expect(readdirSync(scratch)).toEqual([]);
  });

  it("is not kept away by what a killed process of the same id left", async () => {
    const scratch = join(out, "scratch");
    mkdirSync(scratch, { recursive: true });
    writeFileSync(join(scratch, `small.lock.${process.pid}`), "");
    expect((await run()).results.rows).toHaveLength(4);
    expect(readdirSync(scratch)).toEqual([]);
  });

  it("keeps quick numbers apart from others", async () => {
    await run();
    await run({ quick: true });
    expect(calls().slice(all.length)).toEqual(["nearest 4, 1", "drawn 4, 1", "drawn 2, 1"]);
    expect(readdirSync(out)).toEqual(
      expect.arrayContaining(["small.jsonl", "small.quick.jsonl", "small.quick.md"]),
    );
  });
});

describe("a checkpoint", () => {
  it("is of one cell, however alike their names are", () => {
    const how = { name: "small", scratch: "runs", quick: false };
    const pathOf = (cell: string) => checkpointOf(how, { cell, seed: 1, version: 1 });
    const cells = ["bias +1", "bias -1", "bias, 1", "α 1", "β 1"];
    expect(new Set(cells.map(pathOf)).size).toBe(cells.length);
  });
});

describe("a mistake in an experiment", () => {
  const [claim] = small.claims;
  const [float] = small.cells();
  it.each<[object, string]>([
    [{ cells: () => [float, float] }, 'cells must have names of their own, got "float" twice'],
    [
      { cells: () => [float, { ...float, name: "reader", reads: { ...float, name: "trained" } }] },
      'cells must read others of the experiment, got "trained"',
    ],
    [
      {
        cells: ({ quick }: { quick: boolean }) =>
          quick
            ? [{ ...float, name: "reader", reads: float }]
            : [float, { ...float, name: "reader", reads: float }],
      },
      'cells must read others of the experiment, got "float"',
    ],
    [
      { cells: ({ quick }: { quick: boolean }) => [{ ...float, name: quick ? "q" : "float" }] },
      'quick cells must be among the others, got "q"',
    ],
    [
      { claims: [{ ...claim, difference: (at: (cell: string) => { loss: number }) => at("flaot").loss }] },
      'the claim "4 bits lose" asks for a cell that there is not, got "flaot"',
    ],
    [
      { claims: [{ ...claim, difference: (at: (cell: string) => { los?: number }) => at("float").los }] },
      'the difference of the claim "4 bits lose" must be a number, got undefined',
    ],
    [{ claims: [{ ...claim, as: "los" }] }, 'the claim "4 bits lose" names no column, got "los"'],
    [{ claims: [{ ...claim, above: undefined }] }, 'the claim "4 bits lose" needs a bound'],
    [{ picture: { ...small.picture, y: "los" } }, 'the picture names no column, got "los"'],
  ])("%# is refused", (changes, message) => {
    expect(() => checkExperiment("small", { ...small, ...changes } as never)).toThrow(`small: ${message}`);
    expect(() => checkExperiment("small", small)).not.toThrow();
  });

  it("is no ratio of differences", () => {
    const ratio: Claim = {
      ...claim,
      difference: (at) =>
        (at("drawn 4").loss - at("float").loss) / (at("drawn 2").loss - at("nearest 4").loss),
    };
    expect(() => checkExperiment("small", { ...small, claims: [ratio] })).not.toThrow();
  });

  it("is refused before anything is measured", async () => {
    const file = pathToFileURL(join(import.meta.dirname, "../../examples/reproduce/results.ts")).href;
    await expect(run({ file })).rejects.toThrow(Refusal);
    await expect(run({ file })).rejects.toThrow("small: the file must export an experiment as its default");
    expect(existsSync(out)).toBe(false);
  });
});

describe("a claim", () => {
  const below = { says: "", difference: () => 0, below: 1, as: "loss" };
  it("is shown or refuted where the 95 % interval lies on one side", () => {
    // 4.303 is the quantile of two degrees of freedom.
    expect(verdictOf({ mean: 0, error: 0.23 }, 3, below)).toBe("shown");
    expect(verdictOf({ mean: 0, error: 0.24 }, 3, below)).toBe("not shown");
    expect(verdictOf({ mean: 2, error: 0.24 }, 3, below)).toBe("not shown");
    expect(verdictOf({ mean: 2, error: 0.23 }, 3, below)).toBe("refuted");
    expect(verdictOf({ mean: 1, error: 0 }, 1, below)).toBe("refuted");
    expect(verdictOf({ mean: 0.5, error: 0 }, 1, { ...below, above: 0.4 })).toBe("shown");
    expect(verdictOf({ mean: 0.3, error: 0 }, 1, { ...below, above: 0.4 })).toBe("refuted");
    expect(verdictOf({ mean: 0, error: null }, 1, below)).toBe("not shown");
  });

  it("has the standard error of a mean", () => {
    expect(meanOf([1, 2, 3, 6])).toEqual({ mean: 3, error: Math.sqrt(14 / 3 / 4) });
    expect(meanOf([2])).toEqual({ mean: 2, error: null });
    expect(meanOf([2], true)).toEqual({ mean: 2, error: 0 });
  });

  it("takes quantiles of Student's t that join the table smoothly", () => {
    expect([1, 2, 10].map(studentT)).toEqual([12.706, 4.303, 2.228]);
    expect(studentT(11)).toBeCloseTo(2.201, 2);
    expect(studentT(30)).toBeCloseTo(2.042, 2);
    expect(studentT(1000)).toBeCloseTo(1.962, 2);
  });
});

describe("the command", { timeout: 60_000 }, () => {
  const command = (...args: string[]): Promise<{ code: number | null; out: string; err: string }> => {
    const job = spawn(process.execPath, ["--import", "tsx", "examples/reproduce/main.ts", ...args], {
      cwd: root,
    });
    let [said, err] = ["", ""];
    job.stdout.on("data", (chunk) => {
      said += chunk;
    });
    job.stderr.on("data", (chunk) => {
      err += chunk;
    });
    return new Promise((done) => job.on("close", (code) => done({ code, out: said, err })));
  };

  it("lists what there is, and refuses another name in a sentence", async () => {
    const [list, unknown, outside] = await Promise.all(
      ["list", "none", "../runner"].map((name) => command(name)),
    );
    expect([list.code, list.err]).toEqual([0, ""]);
    expect(list.out).toMatch(/^int8-networks +Runs .*\.$/m);
    expect([unknown.code, unknown.err]).toEqual([
      1,
      expect.stringMatching(/^error: which experiment\? got none; there are .*stories-weight-only/),
    ]);
    expect([outside.code, outside.err]).toEqual([
      1,
      expect.stringMatching(/^error: which experiment\? got \.\.\/runner;/),
    ]);
  });
});
