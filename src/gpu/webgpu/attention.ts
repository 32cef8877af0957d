/** Attention in one kernel, and rotary positions. */

import type { AttentionCall, RotaryCall } from "../../packed/executor.ts";
import { turnsOf } from "../turns.ts";
import type { Block, WebGpuRuns } from "./runs.ts";
import { each, float, groupsOf, kernel, reductions } from "./wgsl.ts";

/** Keys that a workgroup reads at once. */
const together = 128;

/** Less than all scores: what a key scores that may not be read. */
const hidden = "-3.4028234e38f";

/** The place of number c of position p of head `head` of text `n`, of `count` heads and `t` positions. */
const place = (
  beside: boolean,
  count: number,
  t: string,
  d: number,
  [n, head, p, c]: readonly string[],
): string =>
  beside
    ? `((${n} * ${t} + ${p}) * ${count}u + ${head}) * ${d}u + ${c}`
    : `((${n} * ${count}u + ${head}) * ${t} + ${p}) * ${d}u + ${c}`;

/**
 * A workgroup reads for one query of one head, keys in turn: their weights are kept relative to the largest score so far
 * (Milakov and Gimelshein, arXiv 1805.02867). How many there are is not compiled into it.
 */
export function attention(gpu: WebGpuRuns, q: Block, k: Block, v: Block, call: AttentionCall): Block {
  const { b, h, hkv, tq, tk, d, rows, beside, causal, mask } = call;
  const kept = Math.ceil(d / together);
  const own = (text: (c: string, i: number) => string): string =>
    Array.from({ length: kept }, (_, i) => {
      const line = text(`(t + ${i * together}u)`, i);
      return (i + 1) * together <= d ? line : `if (t + ${i * together}u < ${d}u) { ${line} }`;
    }).join("\n");
  const key = place(beside.k, hkv, "rows", d, ["n", "kv", "key", "0u"]);
  const value = place(beside.v, hkv, "rows", d, ["n", "kv", "(base + j)", "0u"]);
  const code = kernel({
    outs: ["out: f32"],
    inputs: ["q: f32", "k: f32", "v: f32", ...(mask ? ["mask: u32"] : [])],
    sizes: ["tq", "tk", "rows", "count"],
    threads: together,
    outside: `${reductions(together)}
var<workgroup> query: array<f32, ${d}>;
var<workgroup> weights: array<f32, ${together}>;`,
    body: `if (group >= count) { return; }
let p = group % tq;
let head = group / tq % ${h}u;
let n = group / tq / ${h}u;
let kv = head / ${h / hkv}u;
${own((c) => `query[${c}] = q[${place(beside.q, h, "tq", d, ["n", "head", "p", c])}] * ${float(1 / Math.sqrt(d))};`)}
workgroupBarrier();
let end = ${causal ? "u32(max(0, min(i32(tk), i32(p) + i32(tk) - i32(tq) + 1)))" : "tk"};
var most = ${hidden};
var sum = 0.0;
${Array.from({ length: kept }, (_, i) => `var read${i} = 0.0;`).join("\n")}
for (var base = 0u; base < end; base += ${together}u) {
let key = base + t;
var score = ${hidden};
let reads = key < end${mask ? " && mask[n * tk + min(key, tk - 1u)] != 0u" : ""};
if (reads) {
let begin = ${key};
score = 0.0;
for (var c = 0u; c < ${d}u; c++) { score += query[c] * k[begin + c]; }
}
let next = max(most, largest(t, score));
let weight = select(0.0, exp(score - next), reads);
weights[t] = weight;
let old = exp(most - next);
sum = sum * old + total(t, weight);
most = next;
${own((_, i) => `read${i} *= old;`)}
let some = min(${together}u, end - base);
for (var j = 0u; j < some; j++) {
let begin = ${value};
let w = weights[j];
${own((c, i) => `read${i} += w * v[begin + ${c}];`)}
}
workgroupBarrier();
}
let whole = select(1.0 / sum, 0.0, sum == 0.0);
${own((c, i) => `out[${place(beside.out, h, "tq", d, ["n", "head", "p", c])}] = read${i} * whole;`)}`,
  });
  const flags = mask ? [gpu.bring(Uint32Array.from(mask, Number))] : [];
  const reason = `a workgroup a query, ${together} keys at once`;
  const count = b * h * tq;
  const inputs = [q, k, v, ...flags];
  return gpu.run(
    { op: "attention", reason, code, inputs, workgroups: count, sizes: [tq, tk, rows, count] },
    count * d,
  );
}

/** Pairs of (…, T, D) turned by their positions. */
export function rotary(gpu: WebGpuRuns, x: Block, call: RotaryCall): Block {
  const { t, d, style } = call;
  const half = d / 2;
  const [pair, second, gap] =
    style === "half" ? [`c % ${half}u`, `c / ${half}u`, half] : ["c / 2u", "c % 2u", 1];
  const code = each(
    ["x: f32", "turns: vec2<f32>"],
    `let c = at % ${d}u;
let turn = turns[at / ${d}u % positions * ${half}u + ${pair}];
if (${second} == 0u) { return x[at] * turn.x - x[at + ${gap}u] * turn.y; }
return x[at - ${gap}u] * turn.y + x[at] * turn.x;`,
    { sizes: ["positions"] },
  );
  const inputs = [x, gpu.bring(turnsOf(call))];
  const reason = "one number a thread; angles by the CPU, in double";
  return gpu.run(
    { op: "rotary", reason, code, inputs, workgroups: groupsOf(x.length), sizes: [t] },
    x.length,
  );
}
