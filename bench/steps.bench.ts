/**
 * Whole steps on the engine: `npm run bench -- steps [--write]`. Prints milliseconds a step, its speed, and the peak of the
 * heap; then training steps, and their products alone, beside the time that these products take at the limit.
 */

import { heapUse, setHeapBudget } from "../kernels/wasm/heap.ts";
import { backendInfo, setThreads } from "../src/index.ts";
import { shareOfLimit } from "./limit.ts";
import { writeResults } from "./pair.ts";
import { timeSteps, workloads } from "./steps.ts";
import { type Bounds, type ComparedRow, free, writePage } from "./table.ts";

const { name, relaxed } = backendInfo();
console.log(name, relaxed ? "relaxed" : "plain");
for (const [title, workload] of Object.entries(workloads)) {
  setHeapBudget(heapUse().budget);
  const time = timeSteps(workload);
  const speed = (workload.count / time) * 1e3;
  console.log(
    title.padEnd(34),
    `${time.toFixed(2).padStart(8)} ms, ${speed.toFixed(speed < 1000 ? 1 : 0)} ${workload.unit}/s,`,
    `heap at most ${(heapUse().peak / 2 ** 20).toFixed(0)} MiB`,
  );
}

/** A step takes at most so many times as long as its products at the limit. */
const bounds: Record<string, Bounds> = {
  "GPT training step": [1 / 1.15, 1 / 1.09],
  "MLP training step": [1 / 1.22, 1 / 1.15],
};
const share = shareOfLimit();
const results: ComparedRow[] = [];
for (const threads of [1, 2]) {
  await setThreads(threads);
  if (backendInfo().threads !== threads) break;
  for (const [title, [required, reach]] of Object.entries(bounds)) {
    const { make, alone, products } = workloads[title];
    const row = threads === 1 ? title : `${title}, two threads`;
    const held: Bounds = threads === 1 ? [round(required), round(reach)] : free;
    results.push(await share(row, products! / 1e9, make(), held));
    results.push(await share(`${row}, its products alone`, products! / 1e9, alone!(), free));
  }
}
await setThreads(1);

function round(bound: number | null): number | null {
  return bound && Number(bound.toFixed(2));
}

if (process.argv.includes("--write")) {
  writeResults("steps", results, { threads: 2 });
  writePage();
}
