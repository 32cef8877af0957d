import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readSafetensors } from "bitgrad/io";
import { parameters } from "bitgrad/nn";
import { loadPacked } from "bitgrad/packed";
import { afterAll, describe, expect, it } from "vitest";
import { readCorpus, unigramEntropy } from "../../examples/compress-gpt/corpus.ts";
import { compressGpt, type JobOptions, type JobResult } from "../../examples/compress-gpt/job.ts";
import { type About, writeReport } from "../../examples/compress-gpt/report.ts";
import { machine } from "../../examples/machine.ts";
import { openRun, type Run } from "../../examples/run.ts";

const pinned = readFileSync(fileURLToPath(new URL("../fixtures/pinned.txt", import.meta.url)));
const tiny = { dim: 16, layers: 1, heads: 2, context: 16, batch: 2 };
const folder = mkdtempSync(join(tmpdir(), "compress-gpt-"));
afterAll(() => rmSync(folder, { recursive: true }));

let folders = 0;
const newFolder = () => join(folder, String(folders++));

/** Runs the job to its end, and tells the steps it took by phase. */
async function finish(
  options: JobOptions,
  { out = newFolder(), resume = false, steps = {} as Record<string, number[]> } = {},
): Promise<JobResult> {
  const progress = (phase: string) => {
    steps[phase] = [];
    return { log: ({ step }: { step: number }) => steps[phase].push(step) };
  };
  const { run } = openRun("compress-gpt", { flags: { out, seed: 1 }, resume, progress });
  return compressGpt(options, run);
}

/** Stops the job after `steps` steps of a phase, and gives its folder. */
async function interrupted(
  options: JobOptions,
  steps: number,
  phase = "train",
  wrap = (run: Run): Run => run,
): Promise<string> {
  const stop = new AbortController();
  const interruption = new Error("interrupted");
  const out = newFolder();
  const progress = (current: string) => ({
    log({ step }: { step: number }) {
      if (current === phase && step === steps) stop.abort(interruption);
    },
  });
  const { run, close } = openRun("compress-gpt", { flags: { out, seed: 1 }, signal: stop.signal, progress });
  await expect(compressGpt(options, wrap(run))).rejects.toBe(interruption);
  close(false);
  return out;
}

it("learns, and wins back most of what rounding to one bit loses", { timeout: 600_000 }, async () => {
  const result = await finish({ text: pinned, steps: 400, seed: 1 });
  const loss = (name: string) => result.rows.find((row) => row.name === name)!.loss;
  expect(loss("float32")).toBeLessThan(result.unigram - 1);
  const lost = loss("1-bit") - loss("float32");
  expect(lost).toBeGreaterThan(0.1);
  expect(loss("1-bit, fine-tuned")).toBeLessThan(loss("1-bit") - lost / 2);
  expect(loss("int8")).toBeLessThan(loss("float32") + 0.02);
});

describe("a tiny run", () => {
  const options: JobOptions = { text: pinned, steps: 6, seed: 3, sizes: tiny };
  const run = finish(options);
  const numbers = ({ curves, prompt, rows }: JobResult) => ({
    curves,
    prompt,
    rows: rows.map(({ name, loss, sample, file }) => ({ name, loss, sample, file })),
  });

  it("gives the same numbers, texts and files for the same seed", async () => {
    expect(numbers(await finish(options))).toEqual(numbers(await run));
    const other = await finish({ ...options, seed: 4 });
    expect(other.curves).not.toEqual((await run).curves);
  });

  it.each([
    ["train", 3, [4, 5, 6], [1, 2]],
    ["train", 6, [], [1, 2]],
    ["fine-tune 1-bit", 1, [], [2]],
    ["fine-tune 1-bit", 2, [], []],
    ["measure", 3, [], []],
  ])("stopped in %s at %i goes on as if it had never stopped", async (phase, at, train, tune) => {
    const out = await interrupted(options, at, phase);
    const steps: Record<string, number[]> = {};
    const resumed = await finish(options, { out, resume: true, steps });
    expect(numbers(resumed)).toEqual(numbers(await run));
    expect(steps).toMatchObject({ train, "fine-tune 1-bit": tune });
  });

  it("stores smaller models the fewer bits they have, in files that hold every weight", async () => {
    const { rows, parameters: count } = await run;
    expect(rows.map((row) => row.bytes)).toEqual(rows.map((row) => row.bytes).sort((a, b) => b - a));
    for (const { name, file, bytes, bitsPerWeight } of rows) {
      if (name !== "float32") expect(loadPacked(file).byteLength).toBe(bytes);
      else expect(Object.keys(readSafetensors(file).tensors).length).toBeGreaterThan(10);
      expect(bitsPerWeight).toBeCloseTo((bytes * 8) / count, 6);
    }
  });

  it("goes on from a prompt that begins a line of the validation text", async () => {
    const { prompt } = await run;
    const validation = pinned.subarray(Math.floor(pinned.length * 0.9)).toString();
    expect(prompt).toHaveLength(8);
    expect(validation).toContain(`\n${prompt}`);
    expect(prompt[0]).not.toBe("\n");
  });

  it("reports pictures, texts and the run in one file that needs no other", async () => {
    const result = await run;
    const sample = "<b>&";
    const rows = result.rows.map((row, i) => (i === 2 ? { ...row, sample } : row));
    const about: About = {
      text: "pinned.txt",
      bytes: pinned.length,
      sha256: "0123456789abcdef",
      steps: 6,
      seed: 3,
      sizes: tiny,
      machine: machine(),
      seconds: 3675,
    };
    const html = await writeReport({ ...result, rows }, about, "A <report>");
    expect(html).toContain("A &lt;report&gt;");
    expect(html).toContain("&lt;b&gt;&amp;");
    for (const { name } of rows) expect(html).toContain(`<td>${name}</td>`);
    // Both widths of each picture; the first has the name of every model at its point.
    const pictures = html.match(/<svg.*?<\/svg>/gs)!;
    expect(pictures).toHaveLength(6);
    for (const picture of pictures.slice(0, 2)) {
      for (const { name } of rows) expect(picture).toContain(`>${name}</text>`);
    }
    const { cpu, node, bitgrad, kernels } = about.machine;
    const facts = [
      "pinned.txt",
      "0123456789abcdef",
      cpu,
      node,
      `bitgrad ${bitgrad}`,
      kernels,
      "1 h 1 min 15 s",
    ];
    for (const fact of facts) expect(html).toContain(fact);
    expect(html).toContain('<meta name="viewport"');
    expect(html).not.toMatch(/(src|href)="|<script|@import|url\(/);
  });
});

it("refuses a text too short to cut a window from", async () => {
  await expect(finish({ text: new Uint8Array(100), steps: 1 })).rejects.toThrow(
    /needs at least 650 bytes, got 100/,
  );
});

it("gives the entropy of single bytes in nats", () => {
  expect(unigramEntropy(Uint8Array.from([1, 1, 2, 2]))).toBeCloseTo(Math.LN2, 12);
  expect(unigramEntropy(Uint8Array.from([7, 7, 7]))).toBe(0);
});

it("reads the repository's own text by default", () => {
  expect(new TextDecoder().decode(readCorpus())).toContain("# bitgrad");
});

it("changes every weight when it trains", async () => {
  const models: object[] = [];
  const wrap = (run: Run): Run => ({
    ...run,
    train(phase, model, options) {
      models.push(model);
      return run.train(phase, model, options);
    },
  });
  await interrupted({ text: pinned, steps: 4, sizes: tiny }, 4, "train", wrap);
  expect(models).toHaveLength(1);
  expect(parameters(models[0]).every((p) => p.version > 0)).toBe(true);
});
