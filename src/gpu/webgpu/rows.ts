/** Rows of numbers by a workgroup each: norms and means. */

import type { NormCall } from "../../packed/executor.ts";
import type { Block, WebGpuRuns } from "./runs.ts";
import { float, kernel, reductions } from "./wgsl.ts";

/** Few numbers leave most threads idle. */
const threadsFor = (n: number): number => (n <= 64 ? 32 : n <= 1024 ? 64 : 256);

const each = (n: number, count: number, line: string): string =>
  `for (var i = t; i < ${n}u; i += ${count}u) { ${line} }`;

export function norm(gpu: WebGpuRuns, x: Block, call: NormCall): Block {
  const { type, rows, n, eps, weight, bias } = call;
  const threads = threadsFor(n);
  const named = { weight, bias };
  const more = Object.entries(named).flatMap(([name, numbers]) =>
    numbers ? [{ name, block: gpu.upload("norm", numbers, () => numbers) }] : [],
  );
  const mean =
    type === "rms"
      ? "let mean = 0.0;"
      : `var sum = 0.0;
${each(n, threads, "sum += x[begin + i];")}
let mean = total(t, sum) / ${float(n)};`;
  const code = kernel({
    outs: ["out: f32"],
    inputs: ["x: f32", ...more.map(({ name }) => `${name}: f32`)],
    sizes: ["rows"],
    threads,
    outside: reductions(threads),
    body: `if (group >= rows) { return; }
let begin = group * ${n}u;
${mean}
var squares = 0.0;
${each(n, threads, "let v = x[begin + i] - mean; squares += v * v;")}
let spread = sqrt(total(t, squares) / ${float(n)} + ${float(eps)});
${each(
  n,
  threads,
  `out[begin + i] = (x[begin + i] - mean) / spread${weight ? " * weight[i]" : ""}${bias ? " + bias[i]" : ""};`,
)}`,
  });
  const inputs = [x, ...more.map(({ block }) => block)];
  return gpu.run(
    { op: "norm", reason: "a workgroup a row", code, inputs, workgroups: rows, sizes: [rows] },
    rows * n,
  );
}

/** Means of rows of n numbers. */
export function average(gpu: WebGpuRuns, x: Block, rows: number, n: number): Block {
  const threads = threadsFor(n);
  const code = kernel({
    outs: ["out: f32"],
    inputs: ["x: f32"],
    threads,
    outside: reductions(threads),
    body: `if (group >= arrayLength(&out)) { return; }
var sum = 0.0;
${each(n, threads, `sum += x[group * ${n}u + i];`)}
let all = total(t, sum);
if (t == 0u) { out[group] = all / ${float(n)}; }`,
  });
  return gpu.run({ op: "average", reason: "a workgroup a row", code, inputs: [x], workgroups: rows }, rows);
}
