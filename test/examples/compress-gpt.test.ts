import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readSafetensors } from "bitgrad/io";
import { parameters } from "bitgrad/nn";
import { loadPacked } from "bitgrad/packed";
import { afterAll, describe, expect, it } from "vitest";
import { loadCheckpoint, saveCheckpoint } from "../../examples/compress-gpt/checkpoint.ts";
import { readCorpus, unigramEntropy } from "../../examples/compress-gpt/corpus.ts";
import {
  type Checkpoint,
  compressGpt,
  isCheckpoint,
  type JobOptions,
  type JobResult,
} from "../../examples/compress-gpt/job.ts";
import { writeReport } from "../../examples/compress-gpt/report.ts";

const pinned = readFileSync(fileURLToPath(new URL("../fixtures/pinned.txt", import.meta.url)));
const tiny = { dim: 16, layers: 1, heads: 2, context: 16, batch: 2 };
const folder = mkdtempSync(join(tmpdir(), "compress-gpt-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function finish(options: JobOptions): Promise<JobResult> {
  const result = await compressGpt(options);
  if (isCheckpoint(result)) throw new Error("the job stopped early");
  return result;
}

/** Stops the job after `steps` steps of a phase. */
async function interrupted(options: JobOptions, steps: number, phase = "train"): Promise<Checkpoint> {
  const stop = new AbortController();
  let current = "";
  const result = await compressGpt({
    ...options,
    signal: stop.signal,
    onPhase: (name) => {
      current = name;
    },
    onStep: ({ done }) => {
      if (current === phase && done === steps) stop.abort();
    },
  });
  if (!isCheckpoint(result)) throw new Error("the job did not stop");
  return result;
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

  it("gives the same numbers for the same seed", async () => {
    const [first, second] = [await run, await finish(options)];
    expect(second.curves).toEqual(first.curves);
    expect(second.rows.map((row) => row.loss)).toEqual(first.rows.map((row) => row.loss));
    expect(second.sample).toBe(first.sample);
  });

  it.each([
    ["train", 3],
    ["train", 6],
    ["fine-tune 1-bit", 1],
    ["fine-tune 1-bit", 2],
    ["measure", 3],
  ])("stopped in %s at %i goes on from its file as if it had never stopped", async (phase, steps) => {
    const path = join(folder, "checkpoint.safetensors");
    const asked = { text: null, sha256: "", steps: 6, seed: 3, sizes: tiny };
    await saveCheckpoint(path, asked, await interrupted(options, steps, phase));
    const { run: read, checkpoint } = loadCheckpoint(path);
    expect(read).toEqual(asked);
    if (phase !== "train") expect(checkpoint.tuned!.step).toBe(phase === "measure" ? 2 : steps);
    const resumed = await finish({ ...options, resume: checkpoint });
    expect(resumed.curves).toEqual((await run).curves);
    expect(resumed.rows.map((row) => row.loss)).toEqual((await run).rows.map((row) => row.loss));
    expect(resumed.sample).toBe((await run).sample);
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

  it("draws the curves and the table into one file that needs no other", async () => {
    const html = await writeReport(await run, "A <report>");
    expect(html.match(/<svg/g)).toHaveLength(4);
    expect(html).toContain("A &lt;report&gt;");
    for (const row of (await run).rows) expect(html).toContain(`<td>${row.name}</td>`);
    expect(html).not.toMatch(/(src|href)="http/);
  });
});

it("refuses a text too short to cut a window from", async () => {
  await expect(compressGpt({ text: new Uint8Array(100), steps: 1 })).rejects.toThrow(
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
  const { float } = await interrupted({ text: pinned, steps: 4, sizes: tiny }, 4);
  expect(parameters(float.model).every((p) => p.version > 0)).toBe(true);
});
