/** Whole steps on the engine: `npm run bench -- steps`. Prints milliseconds a step, its speed, and the peak of the heap. */

import { heapUse, setHeapBudget } from "../kernels/wasm/heap.ts";
import { backendInfo } from "../src/index.ts";
import { timeSteps, workloads } from "./steps.ts";

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
