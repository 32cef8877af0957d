/**
 * Trains a small GPT on text, compresses it, fine-tunes the 1-bit model and writes a report:
 *
 *   npm start -- [--text FILE] [--steps N] [--out DIR] [--seed N] [--resume] [--quick]
 */

import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import Table from "cli-table3";
import { machine } from "../machine.ts";
import { isTerminal } from "../progress.ts";
import { count, job } from "../run.ts";
import { readCorpus } from "./corpus.ts";
import { compressGpt, sizes } from "./job.ts";
import { cells, heads, writeReport } from "./report.ts";

const quickSizes = { dim: 32, layers: 1, heads: 2, context: 32, batch: 4 };

await job<{ text?: string; steps?: number }>(
  "compress-gpt",
  {
    about: "Train a small GPT on text, compress it down to 1 bit, and report what it cost.",
    command: "npm start --",
    options: (command) =>
      command
        .option(
          "--text <file>",
          "text to train on (default: this repository's documents and sources)",
          (file) => resolve(file),
        )
        .option(
          "--steps <n>",
          "training steps of the float model; the fine-tune takes a third as many",
          count,
        ),
  },
  async (run) => {
    const { flags, out } = run;
    const text = readCorpus(flags.text);
    const sha256 = createHash("sha256").update(text).digest("hex");
    run.unchanged(flags.text ?? "the repository's own text", sha256);
    const options = {
      text,
      steps: flags.steps ?? (flags.quick ? 20 : 900),
      seed: flags.seed,
      sizes: flags.quick ? quickSizes : sizes,
    };
    const result = await compressGpt(options, run);

    const fileName = (name: string) => `${name.replaceAll(/[^a-z0-9]+/gi, "-")}.safetensors`;
    for (const { name, file } of result.rows) writeFileSync(join(out, fileName(name)), file);
    const about = {
      text: flags.text ? basename(flags.text) : "this repository's documents and sources",
      bytes: text.length,
      sha256,
      steps: options.steps,
      seed: options.seed,
      sizes: options.sizes,
      machine: machine(),
      seconds: run.seconds(),
    };
    writeFileSync(join(out, "report.html"), await writeReport(result, about));

    const table = new Table({
      head: [...heads],
      style: isTerminal ? {} : { head: [], border: [] },
      colAligns: ["left", ...Array(5).fill("right")],
    });
    for (const row of result.rows) table.push(cells(row));
    console.log(`\n${result.prompt}${result.rows[0].sample}\n\n${table}`);
    console.log(`entropy of single bytes: ${result.unigram.toFixed(3)} nats; report and models in ${out}`);
  },
);
