/**
 * Trains a small GPT on text, compresses it, fine-tunes the 1-bit model and writes a report:
 *
 *   npm start -- [--text FILE] [--steps N] [--out DIR] [--seed N] [--resume] [--quick]
 */

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { BitgradError } from "bitgrad";
import { Presets, SingleBar } from "cli-progress";
import Table from "cli-table3";
import { InvalidArgumentError, program } from "commander";
import { hash, loadCheckpoint, type Run, saveCheckpoint } from "./checkpoint.ts";
import { Refusal, readCorpus } from "./corpus.ts";
import { type Checkpoint, compressGpt, isCheckpoint, sizes } from "./job.ts";
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
const checkpointPath = join(flags.out, "checkpoint.safetensors");
const quickSizes = { dim: 32, layers: 1, heads: 2, context: 32, batch: 4 };

/** What the options ask for; with --resume what the checkpoint was asked for, which no option may contradict. */
function plan(): { run: Run; text: Uint8Array; resume?: Checkpoint } {
  if (!flags.resume) {
    const text = readCorpus(flags.text);
    const run: Run = {
      text: flags.text === undefined ? null : resolve(flags.text),
      sha256: hash(text),
      steps: flags.steps ?? (flags.quick ? 20 : 900),
      seed: flags.seed,
      sizes: flags.quick ? quickSizes : sizes,
    };
    return { run, text };
  }
  const { run, checkpoint } = loadCheckpoint(checkpointPath);
  const given: [option: string, is: unknown, was: unknown][] = [
    ["text", flags.text && resolve(flags.text), run.text ?? "the repository's own"],
    ["steps", flags.steps, run.steps],
    ["seed", program.getOptionValueSource("seed") === "cli" ? flags.seed : undefined, run.seed],
    ["quick", flags.quick, JSON.stringify(run.sizes) === JSON.stringify(quickSizes)],
  ];
  for (const [option, is, was] of given) {
    if (is !== undefined && is !== was) {
      throw new Refusal(
        `--resume goes on with --${option} ${was}, got ${is}; leave --${option} out, or begin anew without --resume`,
      );
    }
  }
  const text = readCorpus(run.text ?? undefined);
  if (hash(text) !== run.sha256) {
    throw new Refusal(
      `${run.text ?? "the repository's own text"} has changed since the run was interrupted; begin anew without --resume`,
    );
  }
  return { run, text, resume: checkpoint };
}

/** Ends with a sentence for what the caller can mend; anything else is a fault, and keeps its stack. */
function refuse(error: unknown): never {
  const plain =
    error instanceof Refusal || error instanceof BitgradError || (error as { syscall?: string }).syscall;
  if (plain) program.error(`error: ${(error as Error).message}`);
  throw error;
}

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
let phase = "";
let total = 0;
let began = 0;
let tokens = 0;

async function main(): Promise<void> {
  const { run, text, resume } = plan();
  mkdirSync(flags.out, { recursive: true });
  const result = await compressGpt({
    ...run,
    text,
    signal: interrupt.signal,
    resume,
    onPhase(name, count) {
      [phase, total, began, tokens] = [name, count, performance.now(), 0];
      if (!shown) return;
      bar.stop();
      bar.start(total, 0, { phase: name.padEnd(15), loss: "–", speed: "–" });
    },
    onStep({ done, loss, tokens: more }) {
      tokens += more;
      const speed = Math.round((tokens * 1000) / (performance.now() - began)).toLocaleString("en");
      if (shown) bar.update(done, { loss: loss.toFixed(3), speed });
      else if (done === total || done % Math.ceil(total / 10) === 0)
        process.stderr.write(`${phase}: ${done} of ${total}, loss ${loss.toFixed(3)}\n`);
    },
  });
  if (shown) bar.stop();

  if (isCheckpoint(result)) {
    await saveCheckpoint(checkpointPath, run, result);
    console.log(`stopped; npm start -- --resume --out ${quoted(flags.out)} goes on`);
    process.exitCode = 130;
    return;
  }
  rmSync(checkpointPath, { force: true });

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
  console.log(
    `entropy of single bytes: ${result.unigram.toFixed(3)} nats; report and models in ${flags.out}`,
  );
}

/** A folder's name as a shell reads it. */
const quoted = (name: string): string =>
  /^[\w./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;

await main().catch(refuse);
