/**
 * Kernels as gpu.js takes them: the text of a function whose result is number `this.thread.x` of the output. Sizes are
 * literals: kernels are compiled once a shape. Texts, since a minifier would rename what gpu.js reads of a function.
 */

import type { Activation, AttentionCall, HadamardCall, Join, RotaryCall } from "../../packed/executor.ts";

/** Every integer of so many bits is a float32. */
export const laneBits = 24;

/** A number as a literal of a float. */
export const float = (x: number): string => (Number.isInteger(x) && Math.abs(x) < 1e21 ? `${x}.0` : `${x}`);

/** floor(i / n) of integers: half of one more keeps a quotient that rounds down from losing one. */
export const quotient = (i: string, n: number): string =>
  n === 1 ? `(${i})` : `Math.floor(((${i}) + 0.5) / ${float(n)})`;

/**
 * Positions along axes of `shape`, the last first, of index `i`: lines that declare `name0`, `name1`, …; the first axis is
 * name0.
 */
export function unravel(i: string, shape: readonly number[], name: string): string {
  let text = "";
  let rest = i;
  for (let axis = shape.length - 1; axis > 0; axis--) {
    const next = `${name}r${axis}`;
    text += `const ${next} = ${quotient(rest, shape[axis])};\n`;
    text += `const ${name}${axis} = (${rest}) - ${next} * ${shape[axis]};\n`;
    rest = next;
  }
  return `${text}const ${name}0 = ${rest};\n`;
}

export const kernel = (inputs: string, body: string): string =>
  `function(${inputs}) {\nconst at = this.thread.x;\n${body}\n}`;

/** Abramowitz and Stegun, 1964, 7.1.26: within 1.5e-7. */
const erf = `const size = Math.abs(z);
const t = 1.0 / (1.0 + 0.3275911 * size);
const tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
let phi = 1.0 - tail * Math.exp(-size * size);
if (z < 0.0) { phi = -phi; }`;

/** tanh without overflow on the way. */
const tanh = (x: string): string => `const e = Math.exp(-2.0 * Math.abs(${x}));
let th = (1.0 - e) / (1.0 + e);
if (${x} < 0.0) { th = -th; }`;

const maps: Readonly<Record<Activation, string>> = {
  relu: "return Math.max(v, 0.0);",
  relu6: "return Math.min(Math.max(v, 0.0), 6.0);",
  leakyRelu: "if (v > 0.0) { return v; } return 0.01 * v;",
  elu: "if (v > 0.0) { return v; } return Math.exp(v) - 1.0;",
  gelu: `const z = v * ${Math.SQRT1_2};\n${erf}\nreturn 0.5 * v * (1.0 + phi);`,
  geluTanh: `const z = ${Math.sqrt(2 / Math.PI)} * (v + 0.044715 * v * v * v);\n${tanh("z")}\nreturn 0.5 * v * (1.0 + th);`,
  silu: "return v / (1.0 + Math.exp(-v));",
  sigmoid: "return 1.0 / (1.0 + Math.exp(-v));",
  tanh: `${tanh("v")}\nreturn th;`,
  hardSigmoid: "return Math.min(Math.max(v / 6.0 + 0.5, 0.0), 1.0);",
  hardSwish: "return v * Math.min(Math.max(v / 6.0 + 0.5, 0.0), 1.0);",
};

export const map = (f: Activation): string => kernel("x", `const v = x[at];\n${maps[f]}`);

const joins: Readonly<Record<Join, string>> = {
  plus: "return a + b;",
  minus: "return a - b;",
  times: "return a * b;",
  slope: "if (a > 0.0) { return a; } return a * b;",
};

/** y broadcasts to x: its strides along the axes of x, 0 where it has one number. */
export function join(f: Join, shape: readonly number[], other: readonly number[]): string {
  const same = other.length === shape.length && other.every((n, i) => n === shape[i]);
  if (same) return kernel("x, y", `const a = x[at];\nconst b = y[at];\n${joins[f]}`);
  const strides = shape.map(() => 0);
  for (let i = other.length - 1, size = 1; i >= 0; size *= other[i--])
    if (other[i] > 1) strides[shape.length - other.length + i] = size;
  const place = strides.flatMap((stride, axis) => (stride ? [`p${axis} * ${stride}`] : [])).join(" + ");
  const body = `${place ? unravel("at", shape, "p") : ""}const a = x[at];\nconst b = y[${place || 0}];\n${joins[f]}`;
  return kernel("x, y", body);
}

/** The numbers of `shape` at these strides from `offset` on. */
export function pick(shape: readonly number[], strides: readonly number[], offset: number): string {
  const place = strides.map((stride, axis) => ` + p${axis} * ${stride}`).join("");
  return kernel("x", `${unravel("at", shape, "p")}return x[${offset}${place}];`);
}

/** `sum` of what `each` adds for every i below n. */
const rowLoop = (n: number, each: string): string =>
  `let sum = 0.0;\nfor (let i = 0; i < ${n}; i++) {\n${each}\n}\n`;

export const average = (n: number): string =>
  kernel("x", `${rowLoop(n, `sum += x[at * ${n} + i];`)}return sum / ${float(n)};`);

export const meanSquare = (n: number): string =>
  kernel("x", `${rowLoop(n, `const v = x[at * ${n} + i];\nsum += v * v;`)}return sum / ${float(n)};`);

export const variance = (n: number): string =>
  kernel(
    "x, mean",
    `${rowLoop(n, `const v = x[at * ${n} + i] - mean[at];\nsum += v * v;`)}return sum / ${float(n)};`,
  );

/** (x − mean) / √(variance + eps) · weight + bias, of rows of n; "rms" has no mean. */
export function normed(
  n: number,
  eps: number,
  has: { mean: boolean; weight: boolean; bias: boolean },
): string {
  const inputs = ["x", "spread", ...(["mean", "weight", "bias"] as const).filter((name) => has[name])];
  const body = `const row = ${quotient("at", n)};
const column = at - row * ${n};
let y = x[at];
${has.mean ? "y = y - mean[row];" : ""}
y = y / Math.sqrt(spread[row] + ${eps === 0 ? "0.0" : float(eps)});
${has.weight ? "y = y * weight[column];" : ""}
${has.bias ? "y = y + bias[column];" : ""}
return y;`;
  return kernel(inputs.join(", "), body);
}

/** Pairs of (…, T, D) turned by angles whose cosines and sines are given, (T, D / 2, 2). */
export function rotary({ t, d, style }: RotaryCall): string {
  const half = d / 2;
  const gap = style === "half" ? half : 1;
  return kernel(
    "x, turns",
    `const row = ${quotient("at", d)};
const c = at - row * ${d};
const p = row - ${quotient("row", t)} * ${t};
const second = ${style === "half" ? quotient("c", half) : `c - ${quotient("c", 2)} * 2`};
const j = ${style === "half" ? `c - second * ${half}` : quotient("c", 2)};
const turn = (p * ${half} + j) * 2;
if (second < 0.5) { return x[at] * turns[turn] - x[at + ${gap}] * turns[turn + 1]; }
return x[at - ${gap}] * turns[turn + 1] + x[at] * turns[turn];`,
  );
}

/**
 * What of a call is compiled into kernels, of so many queries at once: how many keys are held is not, since it changes with
 * every token, nor which query is the first. Kernels are given the two as `held`.
 */
export type Attended = Omit<AttentionCall, "tk" | "mask"> & { readonly mask: boolean; readonly part: number };

/** The place of number c of position p of head `head` of text `n`, of `count` heads and t positions. */
const place = (
  beside: boolean,
  count: number,
  t: number,
  d: number,
  [n, head, p, c]: readonly string[],
): string =>
  beside
    ? `((${n} * ${t} + ${p}) * ${count} + ${head}) * ${d} + ${c}`
    : `((${n} * ${count} + ${head}) * ${t} + ${p}) * ${d} + ${c}`;

/**
 * Scores of keys that there is room for, R for each query of a part of (B, H, Tq), which begins at `held[1]`. The first
 * `held[0]` of the keys are held; scores of those that may not be read are −1e30.
 */
export function scores({ b, h, hkv, tq, d, rows, beside, causal, mask }: Attended): string {
  const from = place(beside.q, h, tq, d, ["p0", "p1", "p2", "i"]);
  const to = place(beside.k, hkv, rows, d, ["p0", quotient("p1", h / hkv), "p3", "i"]);
  return kernel(
    mask ? "q, k, held, mask" : "q, k, held",
    `const row = ${quotient("at", rows)};
const p3 = at - row * ${rows};
const query = row + held[1];
${unravel("query", [b, h, tq], "p")}if (p3 > held[0] - 0.5) { return -1e30; }
${causal ? `if (p3 > p2 + held[0] - ${tq - 0.5}) { return -1e30; }` : ""}
${mask ? `if (mask[p0 * ${rows} + p3] < 0.5) { return -1e30; }` : ""}
${rowLoop(d, `sum += q[${from}] * k[${to}];`)}return sum * ${1 / Math.sqrt(d)};`,
  );
}

export const rowMost = (n: number): string =>
  kernel(
    "x",
    `let most = x[at * ${n}];\nfor (let i = 1; i < ${n}; i++) {\nmost = Math.max(most, x[at * ${n} + i]);\n}\nreturn most;`,
  );

/** Weights that are not divided by their sum yet; 0 where nothing may be read. */
export const weighed = (n: number): string =>
  kernel(
    "x, most",
    `if (x[at] < -1e29) { return 0.0; }\nreturn Math.exp(x[at] - most[${quotient("at", n)}]);`,
  );

/** What queries read: (B, H, Tq, D), or heads beside each other; outside of a part what `others` has of them. */
export function mixed({ b, h, hkv, tq, d, rows, beside, part }: Attended): string {
  const [shape, axes] = beside.out
    ? [
        [b, tq, h, d],
        ["p0", "p2", "p1", "p3"],
      ]
    : [
        [b, h, tq, d],
        ["p0", "p1", "p2", "p3"],
      ];
  const [n, head, query, c] = axes as string[];
  const whole = part === b * h * tq;
  const from = place(beside.v, hkv, rows, d, [n, quotient(head, h / hkv), "i", c]);
  return kernel(
    whole ? "weights, v" : "weights, v, held, others",
    `${unravel("at", shape as number[], "p")}let total = 0.0;
const place = (${n} * ${h} + ${head}) * ${tq} + ${query}${whole ? "" : " - held[1]"};
${whole ? "" : `if (place < -0.5 || place > ${part - 0.5}) { return others[at]; }`}
const row = place * ${rows};
${rowLoop(rows, `const w = weights[row + i];\ntotal += w;\nsum += w * v[${from}];`)}if (total == 0.0) { return 0.0; }
return sum / total;`,
  );
}

/** (H, rows, D) from (H, before, D), of which the first `length[0]` positions are held, with t more behind them. */
export const appended = (heads: number, rows: number, before: number, t: number, d: number): string =>
  kernel(
    "held, more, length",
    `${unravel("at", [heads, rows, d], "p")}const place = p1 - length[0];
if (place < -0.5) { return held[(p0 * ${before} + p1) * ${d} + p2]; }
if (place > ${t - 0.5}) { return 0.0; }
return more[(p0 * ${t} + place) * ${d} + p2];`,
  );

/** One step of the Walsh–Hadamard transform: sums and differences of numbers `gap` apart; `scale` behind the last. */
export const butterfly = (gap: number, scale: number): string =>
  kernel(
    "x",
    `const pair = ${quotient("at", gap)};
if (pair - ${quotient("pair", 2)} * 2 < 0.5) { return (x[at] + x[at + ${gap}]) * ${float(scale)}; }
return (x[at - ${gap}] - x[at]) * ${float(scale)};`,
  );

export const signed = ({ features }: HadamardCall): string =>
  kernel("x, signs", `return x[at] * signs[at - ${quotient("at", features)} * ${features}];`);

/** Channels of zeros around those of (N, C, plane). */
export const padded = (c: number, plane: number, before: number, behind: number): string =>
  kernel(
    "x",
    `${unravel("at", [1, before + c + behind, plane], "p")}const channel = p1 - ${before};
if (channel < -0.5) { return 0.0; }
if (channel > ${c - 1}.5) { return 0.0; }
return x[(p0 * ${c} + channel) * ${plane} + p2];`,
  );

export const gathered = (n: number, count: number): string =>
  kernel(
    "x, places",
    `const row = ${quotient("at", count)};\nreturn x[row * ${n} + places[at - row * ${count}]];`,
  );

/** (m, k) times (k, n). */
export const columns = (k: number, n: number): string =>
  kernel(
    "a, b",
    `const row = ${quotient("at", n)};
const column = at - row * ${n};
let sum = 0.0;
for (let i = 0; i < ${k}; i++) { sum += a[row * ${k} + i] * b[i * ${n} + column]; }
return sum;`,
  );
