/**
 * Trains a small GPT on text, compresses it, fine-tunes the 1-bit model and writes a report:
 *
 *   npm start -- [--text FILE] [--steps N] [--out DIR] [--seed N] [--resume] [--quick]
 */

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Presets, SingleBar } from "cli-progress";
import Table from "cli-table3";
import { InvalidArgumentError, program } from "commander";
import { loadCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { readCorpus } from "./corpus.ts";
import { compressGpt, isCheckpoint, type Sizes, sizes } from "./job.ts";
import { cells, heads, writeReport } from "./report.ts";

const count = (text: string): number => {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1) throw new InvalidArgumentError("needs a positive integer.");
  return n;
};

program
  .name("compress-gpt")
  .description("Train a small GPT on text, compress it down to 1 bit, and report what it cost.")
  .option("--text <file>", "text to train on (default: this repository's documents and sources)")
  .option("--steps <n>", "training steps of the float model; the fine-tune takes a third as many", count)
  .option("--out <dir>", "where the report and the models go", "runs/compress-gpt")
  .option("--seed <n>", "seed of everything random", count, 1)
  .option("--resume", "go on from the checkpoint that an interrupted run left in --out")
  .option("--quick", "a tiny run of seconds, to see that everything works")
  .parse();

interface Flags {
  text?: string;
  steps?: number;
  out: string;
  seed: number;
  resume?: true;
  quick?: true;
}

const flags = program.opts<Flags>();
const size: Sizes = flags.quick ? { dim: 32, layers: 1, heads: 2, context: 32, batch: 4 } : sizes;
const steps = flags.steps ?? (flags.quick ? 20 : 900);
const checkpointPath = join(flags.out, "checkpoint.safetensors");
if (flags.resume && !existsSync(checkpointPath))
  program.error(`error: there is no checkpoint at ${checkpointPath}`);
if (flags.text !== undefined && !existsSync(flags.text))
  program.error(`error: there is no file ${flags.text}`);
mkdirSync(flags.out, { recursive: true });

const interrupt = new AbortController();
process.once("SIGINT", () => {
  interrupt.abort();
  process.stderr.write("\nstopping after this step; once more to quit at once\n");
});

const shown = Boolean(process.stderr.isTTY) && !process.env.CI && !process.env.NO_COLOR;
const bar = new SingleBar(
  {
    format: "{phase} [{bar}] {value}/{total} | loss {loss} | {speed} tokens/s | {eta_formatted} left",
    hideCursor: true,
  },
  Presets.shades_classic,
);
let began = 0;
let tokens = 0;

const result = await compressGpt({
  text: readCorpus(flags.text),
  steps,
  seed: flags.seed,
  sizes: size,
  signal: interrupt.signal,
  ...(flags.resume && { resume: loadCheckpoint(checkpointPath, size) }),
  onPhase(name, total) {
    began = performance.now();
    tokens = 0;
    if (!shown) return;
    bar.stop();
    bar.start(total, 0, { phase: name.padEnd(15), loss: "–", speed: "–" });
  },
  onStep({ done, loss, tokens: more }) {
    tokens += more;
    const speed = Math.round((tokens * 1000) / (performance.now() - began)).toLocaleString("en");
    if (shown) bar.update(done, { loss: loss.toFixed(3), speed });
  },
});
if (shown) bar.stop();

if (isCheckpoint(result)) {
  await saveCheckpoint(checkpointPath, result);
  console.log(
    `stopped after ${result.step} of ${steps} steps; npm start -- --resume --steps ${steps} --out ${flags.out} goes on`,
  );
  process.exit(130);
}

const fileName = (name: string) => `${name.replaceAll(/[^a-z0-9]+/gi, "-")}.safetensors`;
for (const { name, file } of result.rows) writeFileSync(join(flags.out, fileName(name)), file);
writeFileSync(join(flags.out, "report.html"), await writeReport(result, "A GPT, compressed"));

const table = new Table({
  head: heads,
  style: shown ? {} : { head: [], border: [] },
  colAligns: ["left", ...Array(5).fill("right")],
});
for (const row of result.rows) table.push(cells(row));
console.log(`\n${result.sample}\n\n${table}`);
console.log(`entropy of single bytes: ${result.unigram.toFixed(3)} nats; report and models in ${flags.out}`);
