/**
 * A training step of a Gpt whose logits take 785 MiB (vocabulary 50,257, 16 texts of 256) at the default budget of the
 * heap and at budgets that are too small, beside one of 3 GiB: `npm run bench -- heap [--write]`. Each budget has a
 * process of its own, since what a heap spans stays; all take a step in every round, and must lose the same bits.
 */

import { type ChildProcess, fork } from "node:child_process";
import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { showRatio, summarize, writeResults } from "./pair.ts";
import { type ComparedRow, writePage } from "./table.ts";

interface Step {
  readonly seconds: number;
  readonly loss: number;
  readonly heap: { readonly reserved: number; readonly budget: number };
}

const rounds = 7;
const script = fileURLToPath(new URL("./heap-step.ts", import.meta.url));
const start = (budget: string): ChildProcess => fork(script, [budget], { execArgv: ["--import", "tsx"] });
const step = (child: ChildProcess): Promise<Step> =>
  new Promise((resolve, reject) => {
    child.once("message", (message) => resolve(message as Step));
    child.once("exit", (code) => reject(new Error(`heap: a step ended with code ${code}`)));
    child.send("step");
  });

/** By how much a budget may slow a step down, as the ratio of the ample one's time to its own. */
const budgets = [
  ["default", "at the default budget", 1 / 1.1, 1],
  ["1024", "at 1 GiB", 0.5, 0.8],
  ["256", "at 256 MiB", 0.5, 0.8],
] as const;
const results: ComparedRow[] = [];
for (const [budget, name, required, reach] of budgets) {
  const [ample, small] = [start("3072"), start(budget)];
  const before = loadavg()[0];
  const times: [number, number][] = [];
  for (let i = 0; i < rounds + 1; i++) {
    const [a, b] = [await step(ample), await step(small)];
    if (a.loss !== b.loss) throw new Error(`heap: step ${i} loses ${a.loss} at 3 GiB and ${b.loss} ${name}`);
    if (i > 0) times.push([a.seconds, b.seconds]);
    if (i === rounds)
      console.log(
        name,
        [a, b].map(
          ({ heap }) =>
            `${(heap.reserved / 2 ** 20).toFixed(0)} of ${(heap.budget / 2 ** 20).toFixed(0)} MiB`,
        ),
      );
  }
  for (const child of [ample, small]) child.kill();
  const result = { ...summarize(times), load: [before, loadavg()[0]] as const };
  const { ratio, interval, a, b, load } = result;
  console.log(name.padEnd(24), `${b.toFixed(2)} s beside ${a.toFixed(2)} s`, showRatio(result));
  results.push({
    ...{ name: `Gpt training step, vocabulary 50,257, ${name}`, unit: "ms", work: 1, load },
    ...{ required: Number(required.toFixed(2)), reach },
    peers: [{ peer: "3 GiB", native: false, ratio, interval, a, b }],
  });
}
if (process.argv.includes("--write")) {
  writeResults("heap", results);
  writePage();
}
