/** The two kernels of all products. */

import { type Kind, size, sizeNames } from "./kinds.ts";
import { across } from "./lanes.ts";
import type { Block, WebGpuRuns } from "./runs.ts";
import { each, groupsOf, kernel, threads } from "./wgsl.ts";

export interface Multiplied {
  readonly op: string;
  /** Rows of x and of the weight. */
  readonly m: number;
  readonly n: number;
  readonly kind: Kind;
  readonly x: Block;
  readonly w: Block;
  readonly more: readonly Block[];
  readonly bias: Float32Array | null;
  /** What sums are multiplied by: one for so many rows of x. */
  readonly scale: Block | number | null;
  readonly rows: number;
  /** What a kind takes in the place of a scale that it has none of. */
  readonly constant?: number;
  /** Positions of an image, which lie behind each other in every channel of the result; 1 for rows. */
  readonly pixels: number;
}

/** Up to so many rows of x, threads share a row of the weight. */
const fewRows = 8;
/** Threads a row of the weight, and rows a workgroup. */
const [shared, together] = [32, 4];
/** Threads of a tile along both axes. */
const side = 16;

/** Rows of x and of the weight a thread of a tile. */
interface Tile {
  readonly x: number;
  readonly w: number;
}

/** (m, n): every row of x times every row of the weight. */
export function multiply(gpu: WebGpuRuns, of: Multiplied): Block {
  const { op, m, n, kind, x, w, more, bias, scale } = of;
  if (kind.units === 0) return ofNothing(gpu, of);
  const inputs = [
    x,
    w,
    ...more,
    ...(scale !== null && typeof scale !== "number" ? [scale] : []),
    ...(bias ? [gpu.upload(op, bias, () => bias)] : []),
  ];
  if (m <= fewRows) {
    const reason = `${kind.name}; ${shared} threads a row of the weight, for ${m === 1 ? "one row" : "few rows"}`;
    const call = {
      op,
      reason,
      code: fewText(of, gpu.abilities.lanes),
      inputs,
      workgroups: Math.ceil(n / together),
    };
    return gpu.run({ ...call, sizes: sizesOf(of) }, m * n);
  }
  const tile = tileFor(m, n);
  const across = Math.ceil(n / (side * tile.w));
  const reason = `${kind.name}; tiles of ${side * tile.x} x ${side * tile.w}`;
  const workgroups = across * Math.ceil(m / (side * tile.x));
  return gpu.run({ op, reason, code: tileText(of, tile), inputs, workgroups, sizes: sizesOf(of) }, m * n);
}

const sizesOf = ({ m, n, kind, pixels, rows, scale, constant }: Multiplied): number[] => {
  const { units, group, groups, perGroup, zeroX } = kind;
  const scaleX = Float32Array.of(typeof scale === "number" ? scale : (constant ?? 0));
  const [bits] = new Uint32Array(scaleX.buffer);
  return [m, n, units, group, groups, perGroup, pixels, rows, zeroX, bits];
};

/** Products of no numbers are 0, and the bias is added. */
function ofNothing(gpu: WebGpuRuns, { op, m, n, bias, pixels }: Multiplied): Block {
  const code = each(
    bias ? ["bias: f32"] : [],
    bias ? `return bias[at / ${pixels}u % ${n}u];` : "return 0.0;",
  );
  const inputs = bias ? [gpu.upload(op, bias, () => bias)] : [];
  return gpu.run({ op, reason: "no products", code, inputs, workgroups: groupsOf(m * n) }, m * n);
}

/** Large tiles read less, small ones leave no thread idle. */
function tileFor(m: number, n: number): Tile {
  const rows = (count: number): number => (count <= 16 ? 1 : count <= 32 ? 2 : 4);
  return { x: rows(m), w: rows(n) };
}

const inputsOf = ({ kind, scale, bias }: Multiplied, word: string): string[] => [
  `x: ${kind.unit}`,
  `w: ${word}`,
  ...kind.inputs,
  ...(scale !== null && typeof scale !== "number" ? ["scaleX: f32"] : []),
  ...(bias ? ["bias: f32"] : []),
];

/** Writes a sum of float32 to row `row` and column `column` of the result. */
function finish({ bias, scale, pixels }: Multiplied): string {
  const scaled =
    scale === null
      ? "sum"
      : typeof scale === "number"
        ? `sum * bitcast<f32>(${size.scaleX})`
        : `sum * scaleX[row / ${size.rows}]`;
  const place =
    pixels === 1
      ? `row * ${size.n} + column`
      : `(row / ${size.pixels} * ${size.n} + column) * ${size.pixels} + row % ${size.pixels}`;
  return `out[${place}] = ${scaled}${bias ? " + bias[column]" : ""};`;
}

/** Every workgroup multiplies all rows of x by a few rows of the weight, of which each is read by many threads. */
function fewText(of: Multiplied, lanes: number): string {
  const { m, kind } = of;
  const { units, each, group } = kind;
  const words = units / each;
  // A word of four: as many bytes as a thread reads at once.
  const wide = kind.word === "u32" && words % 4 === 0 && group % (4 * each) === 0;
  const step = wide ? 4 * each : each;
  const [many, kept] = [units > group, units > group ? "f32" : kind.sum];
  const rows = Array.from({ length: m }, (_, i) => i);
  const lines = (text: (i: number) => string): string => rows.map(text).join("\n");
  const wordLines = (word: string, start: string): string =>
    Array.from(
      { length: each },
      (_, j) => `{
let b = ${kind.unitOf(word, `${j}u`, "column", start)};
${lines((i) => `part${i} += ${kind.product(`x[${i}u * units + ${start} + ${j}u]`, "b")};`)}
}`,
    ).join("\n");
  const body = `let column = group * ${together}u + t / ${shared}u;
let lane = t % ${shared}u;
${lines((i) => `var sum${i} = ${kept}();`)}
if (column < n) {
let steps = units / ${step}u;
for (var step = lane; step < steps; step += ${shared}u) {
let first = step * ${step}u;
let word = w[column * steps + step];
${lines((i) => `var part${i} = ${kind.sum}();`)}
${wide ? `for (var c = 0u; c < 4u; c++) {\nlet start = first + c * ${each}u;\n${wordLines("word[c]", "start")}\n}` : wordLines("word", "first")}
${lines((i) => `sum${i} += ${many ? kind.groupSum(`part${i}`, "column", `first / ${size.group}`, `first % ${size.group} == 0u`) : `part${i}`};`)}
}
}
${lanes > 1 ? lines((i) => across(`sum${i}`, lanes)) : ""}
${
  lanes === shared
    ? ""
    : `${lines((i) => `parts[${i * shared * together}u + t] = sum${i};`)}
workgroupBarrier();
for (var gap = ${shared / 2}u; gap >= ${lanes}u; gap /= 2u) {
if (lane < gap) {
${lines((i) => `parts[${i * shared * together}u + t] += parts[${i * shared * together}u + t + gap];`)}
}
workgroupBarrier();
}`
}
if (lane == 0u && column < n) {
${lines((i) => {
  const sum = lanes === shared ? `sum${i}` : `parts[${i * shared * together}u + t]`;
  return `{ let row = ${i}u;\nlet sum = ${many ? sum : kind.groupSum(sum, "column", "0u", "true")};\n${finish(of)} }`;
})}
}`;
  return kernel({
    outs: ["out: f32"],
    sizes: sizeNames.slice(0, 3),
    inputs: inputsOf(of, wide ? "vec4<u32>" : kind.word),
    outside: `${kind.outside}
${lanes === shared ? "" : `var<workgroup> parts: array<${kept}, ${m * shared * together}>;`}`,
    subgroups: lanes > 1,
    threads: shared * together,
    body,
  });
}

/** Every workgroup makes a tile of the result, by units of both sides that it holds in its own memory. */
function tileText(of: Multiplied, tile: Tile): string {
  const { kind } = of;
  const { units, each, group, unit } = kind;
  const deep = unit === "u32" ? 8 : 4;
  const [high, wide] = [side * tile.x, side * tile.w];
  const all = (count: number, text: (i: number) => string): string =>
    Array.from({ length: count }, (_, i) => text(i)).join("\n");
  const pairs = (text: (i: number, j: number) => string): string =>
    all(tile.x, (i) => all(tile.w, (j) => text(i, j)));
  const load = (name: string, count: number, value: string): string =>
    all(
      Math.ceil((count * deep) / threads),
      (i) => `{
let e = t + ${threads * i}u;
if (e < ${count * deep}u) {
let at = e / ${deep}u;
let d = e % ${deep}u;
let unit = base + d;
var v = ${unit}();
${value}
${name}[d * ${count}u + at] = v;
} }`,
    );
  const grouped = units > group;
  const body = `let across = (n + ${wide - 1}u) / ${wide}u;
let firstRow = group / across * ${high}u;
let firstColumn = group % across * ${wide}u;
let tx = t % ${side}u;
let ty = t / ${side}u;
${pairs((i, j) => (grouped ? `var sum${i}_${j} = 0.0;` : `var part${i}_${j} = ${kind.sum}();`))}
for (var g = 0u; g < ${grouped ? size.groups : "1u"}; g++) {
let end = (g + 1u) * ${size.group};
${grouped ? pairs((i, j) => `var part${i}_${j} = ${kind.sum}();`) : ""}
for (var base = g * ${size.group}; base < end; base += ${deep}u) {
${load("tileX", high, `let row = firstRow + at;\nif (row < m && unit < end) { v = x[row * units + unit]; }`)}
${load(
  "tileW",
  wide,
  `let column = firstColumn + at;
if (column < n && unit < end) { v = ${kind.unitOf(`w[(column * units + unit) / ${each}u]`, `unit % ${each}u`, "column", "unit")}; }`,
)}
workgroupBarrier();
for (var d = 0u; d < ${deep}u; d++) {
${all(tile.x, (i) => `let a${i} = tileX[d * ${high}u + ty + ${i * side}u];`)}
${all(tile.w, (j) => `let b${j} = tileW[d * ${wide}u + tx + ${j * side}u];`)}
${pairs((i, j) => `part${i}_${j} += ${kind.product(`a${i}`, `b${j}`)};`)}
}
workgroupBarrier();
}
${
  grouped
    ? all(
        tile.w,
        (j) => `{ let column = firstColumn + tx + ${j * side}u;
if (column < n) {
${all(tile.x, (i) => `sum${i}_${j} += ${kind.groupSum(`part${i}_${j}`, "column", "g", "true")};`)}
} }`,
      )
    : ""
}
}
${pairs(
  (i, j) => `{ let row = firstRow + ty + ${i * side}u;
let column = firstColumn + tx + ${j * side}u;
if (row < m && column < n) {
let sum = ${grouped ? `sum${i}_${j}` : kind.groupSum(`part${i}_${j}`, "column", "0u", "true")};
${finish(of)}
} }`,
)}`;
  return kernel({
    outs: ["out: f32"],
    inputs: inputsOf(of, kind.word),
    sizes: sizeNames.slice(0, 3),
    outside: `${kind.outside}
var<workgroup> tileX: array<${unit}, ${high * deep}>;
var<workgroup> tileW: array<${unit}, ${wide * deep}>;`,
    body,
  });
}
