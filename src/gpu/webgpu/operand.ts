/** What products multiply by weights: rows of numbers, of codes in bytes, or of signs in bits, as kernels take them. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import type { PackedInput } from "../../packed/products/input.ts";
import type { Block, WebGpuRuns } from "./runs.ts";
import { each, float, groupsOf, kernel, reductions } from "./wgsl.ts";

/** Where rows lie in x: one behind the other, or as patches of images, whose padding is 0. */
export interface Rows {
  /** Numbers a row. */
  readonly k: number;
  /** Numbers with a scale of their own, by which they become codes: rows, or whole images. */
  readonly each: number;
  /** Rows a scale. */
  readonly rows: number;
  /** Lines that declare where number `i` of `row` lies. */
  readonly find: string;
  /** What x is there. */
  readonly read: string;
  /** Whether it lies in x, where some do not: those count as 0. */
  readonly inside: string | null;
}

export const rowsOf = (k: number): Rows => ({
  k,
  each: k,
  rows: 1,
  find: "",
  read: `x[row * ${k}u + i]`,
  inside: null,
});

/** One row for every position of a filter. */
export function patchesOf(g: ConvGeometry): Rows {
  const { c, h, w, kh, kw, oh, ow } = g;
  const beyond =
    (oh - 1) * g.strideH + (kh - 1) * g.dilationH >= h + g.padTop ||
    (ow - 1) * g.strideW + (kw - 1) * g.dilationW >= w + g.padLeft;
  return {
    k: c * kh * kw,
    each: c * h * w,
    rows: oh * ow,
    find: `let image = row / ${oh * ow}u;
let pixel = row % ${oh * ow}u;
let tap = i % ${kh * kw}u;
let y = i32(pixel / ${ow}u) * ${g.strideH} + i32(tap / ${kw}u) * ${g.dilationH} - ${g.padTop};
let z = i32(pixel % ${ow}u) * ${g.strideW} + i32(tap % ${kw}u) * ${g.dilationW} - ${g.padLeft};`,
    read: `x[((image * ${c}u + i / ${kh * kw}u) * ${h}u + u32(y)) * ${w}u + u32(z)]`,
    inside: g.padTop + g.padLeft > 0 || beyond ? `y >= 0 && y < ${h} && z >= 0 && z < ${w}` : null,
  };
}

/** A function of x at number `i` of `row`, by its result there and elsewhere. */
const reading = (
  { find, read, inside }: Rows,
  [name, type, there, elsewhere]: readonly [string, string, (x: string) => string, string],
): string => `fn ${name}(row: u32, i: u32) -> ${type} {
${find}
${inside ? `if (!(${inside})) { return ${elsewhere}; }` : ""}
return ${there(read)};
}`;

const floats = ["value", "f32", (x: string) => x, "0.0"] as const;

/** How numbers of a row are placed: groups of so many, each followed by what fills its words. */
export interface Places {
  readonly group: number;
  readonly groups: number;
  readonly span: number;
}

/** Lines that declare `row`, the place `i` in it of number `place` of m rows, and whether there is one. */
const placed = (rows: Rows, { group, groups, span }: Places, at: string): string => `let place = ${at};
let row = place / ${groups * span}u;
let inside = place % ${groups * span}u;
let i = inside / ${span}u * ${group}u + inside % ${span}u;
let there = inside % ${span}u < ${group}u && i < ${rows.k}u;`;

/** Rows of float32 with zeros where there are none; x itself where that is how it lies. */
export function floatRows(gpu: WebGpuRuns, x: Block, m: number, rows: Rows, places: Places): Block {
  const { group, groups, span } = places;
  const same = rows.rows === 1 && groups * span === rows.k && (groups === 1 || group === span);
  if (same) return x;
  const code = each(
    ["x: f32"],
    `${placed(rows, places, "at")}
if (!there) { return 0.0; }
return value(row, i);`,
    { outside: reading(rows, floats) },
  );
  const length = m * groups * span;
  return gpu.run(
    { op: "rows", reason: "one number a thread", code, inputs: [x], workgroups: groupsOf(length) },
    length,
  );
}

/** The scales of codes whose scale is found in the call: the largest magnitude over the largest code. */
function scalesOf(gpu: WebGpuRuns, x: Block, count: number, n: number, top: number): Block {
  const code = kernel({
    outs: ["out: f32"],
    inputs: ["x: f32"],
    outside: reductions(256),
    body: `if (group >= arrayLength(&out)) { return; }
var most = 0.0;
for (var i = t; i < ${n}u; i += 256u) { most = max(most, abs(x[group * ${n}u + i])); }
let all = largest(t, most);
if (t == 0u) { out[group] = select(max(all / ${float(top)}, ${float(2 ** -126)}), 1.0, all == 0.0); }`,
  });
  const reason = "a workgroup a row";
  return gpu.run({ op: "scales", reason, code, inputs: [x], workgroups: count }, count);
}

export interface CodeRows {
  /** Four codes a word. */
  readonly x: Block;
  /** What sums are multiplied by; one for so many rows. */
  readonly scale: Block | number | null;
  readonly rows: number;
  /** What is subtracted from each code. */
  readonly zero: number;
}

/** Codes of int8, four in a word; of those from 0 to 255, each less 128. */
export function codeRows(
  gpu: WebGpuRuns,
  x: Block,
  m: number,
  rows: Rows,
  places: Places,
  input: Exclude<PackedInput, { kind: "mixed" }>,
): CodeRows {
  const of = coding(gpu, x, m, rows, input);
  const code = each(
    ["x: f32", ...of.names],
    `var word = 0u;
for (var c = 0u; c < 4u; c++) {
${placed(rows, places, "4u * at + c")}
if (there) { word |= (u32(code(row, i)) & 255u) << (8u * c); }
}
return word;`,
    {
      type: "u32",
      outside: reading(rows, ["code", "i32", of.code, `${of.zero}`]),
    },
  );
  const length = (m * places.groups * places.span) / 4;
  const call = { op: "codes", reason: "four codes a thread", code, inputs: [x, ...of.inputs] };
  return {
    x: gpu.run({ ...call, workgroups: groupsOf(length) }, length),
    scale: of.scale,
    rows: rows.rows,
    zero: of.zero,
  };
}

interface Coding {
  readonly names: readonly string[];
  readonly inputs: readonly Block[];
  /** The code of a number. */
  readonly code: (x: string) => string;
  readonly scale: Block | number | null;
  readonly zero: number;
}

function coding(
  gpu: WebGpuRuns,
  x: Block,
  m: number,
  rows: Rows,
  input: Exclude<PackedInput, { kind: "mixed" }>,
): Coding {
  if (input.kind === "signs")
    return {
      names: [],
      inputs: [],
      code: (x) => `select(1, -1, ${x} < 0.0)`,
      scale: null,
      zero: 0,
    };
  if (input.kind === "static") {
    const { scale, zeroPoint, least, most } = input;
    const shift = most > 127 ? 128 : 0;
    return {
      names: [],
      inputs: [],
      code: (x) =>
        `i32(clamp(round(${x} / ${float(scale)}), ${float(least - zeroPoint)}, ${float(most - zeroPoint)})) + ${zeroPoint - shift}`,
      scale,
      zero: zeroPoint - shift,
    };
  }
  const top = 2 ** (input.bits - 1) - 1;
  const scale = scalesOf(gpu, x, Math.ceil(m / rows.rows), rows.each, top);
  return {
    names: ["scale: f32"],
    inputs: [scale],
    code: (x) => `i32(clamp(round(${x} / scale[row / ${rows.rows}u]), ${float(-top)}, ${float(top)}))`,
    scale,
    zero: 0,
  };
}

/** Codes less their zero point as float32, for weights whose integers int8 does not hold. */
export function integerRows(
  gpu: WebGpuRuns,
  x: Block,
  m: number,
  rows: Rows,
  places: Places,
  input: Exclude<PackedInput, { kind: "mixed" }>,
): CodeRows {
  const of = coding(gpu, x, m, rows, input);
  const { groups, span } = places;
  const code = each(
    ["x: f32", ...of.names],
    `${placed(rows, places, "at")}
if (!there) { return 0.0; }
return f32(code(row, i) - ${of.zero});`,
    {
      outside: reading(rows, ["code", "i32", of.code, `${of.zero}`]),
    },
  );
  const length = m * groups * span;
  const call = { op: "codes", reason: "one code a thread", code, inputs: [x, ...of.inputs] };
  return {
    x: gpu.run({ ...call, workgroups: groupsOf(length) }, length),
    scale: of.scale,
    rows: rows.rows,
    zero: 0,
  };
}

/** Signs as bits, 32 in a word in the order of codes of weights: 1 for numbers that are not negative. */
export function signRows(gpu: WebGpuRuns, x: Block, m: number, k: number, words: number): Block {
  const code = each(
    ["x: f32"],
    `let row = at / ${words}u;
let first = at % ${words}u * 32u;
var word = 0u;
for (var i = 0u; i < 32u; i++) {
if (first + i < ${k}u && !(x[row * ${k}u + first + i] < 0.0)) { word |= 1u << (8u * (i % 4u) + i / 4u); }
}
return word;`,
    { type: "u32" },
  );
  const length = m * words;
  const call = { op: "signs", reason: "32 signs a thread", code, inputs: [x] };
  return gpu.run({ ...call, workgroups: groupsOf(length) }, length);
}
