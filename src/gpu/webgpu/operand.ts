/** What products multiply by weights: rows of numbers, of codes in bytes, or of signs in bits, as kernels take them. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import type { PackedInput } from "../../packed/products/input.ts";
import type { Block, WebGpuRuns } from "./runs.ts";
import { each, float, groupsOf, kernel, reductions, sizeAt } from "./wgsl.ts";

/** Whether bits of a float32 are of a number below 0, also of one that arithmetic here would take for 0. */
const negative = (bits: string): string => `(${bits} > 0x80000000u && ${bits} <= 0xff800000u)`;

/** What is not compiled into kernels, so that rows of all lengths share one. */
const sizeNames = ["k", "stride", "span", "group", "rows", "zero", "least", "most", "scale"] as const;
const size = Object.fromEntries(sizeNames.map((name, i) => [name, sizeAt(i)])) as Readonly<
  Record<(typeof sizeNames)[number], string>
>;
const floatAt = (name: (typeof sizeNames)[number]): string => `bitcast<f32>(${size[name]})`;
const zero = `bitcast<i32>(${size.zero})`;

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
  read: `x[row * ${size.k} + i]`,
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
  there: (x: string) => string,
  { name, type, elsewhere }: { name: string; type: string; elsewhere: string },
): string => `fn ${name}(row: u32, i: u32) -> ${type} {
${find}
${inside ? `if (!(${inside})) { return ${elsewhere}; }` : ""}
return ${there(read)};
}`;

/** How numbers of a row are placed: groups of so many, each followed by what fills its words. */
export interface Places {
  readonly group: number;
  readonly groups: number;
  readonly span: number;
}

/** Lines that declare `row`, the place `i` in it of number `place` of all rows, and whether there is one. */
const placed = (at: string): string => `let place = ${at};
let row = place / ${size.stride};
let inside = place % ${size.stride};
let i = inside / ${size.span} * ${size.group} + inside % ${size.span};
let there = inside % ${size.span} < ${size.group} && i < ${size.k};`;

/** How numbers become codes. */
interface Coding {
  readonly scale: Block | number | null;
  readonly zero: number;
  readonly least: number;
  readonly most: number;
  /** The code of a number. */
  readonly code: (x: string) => string;
}

const none: Coding = { scale: null, zero: 0, least: 0, most: 0, code: (x) => x };

/** `length` numbers or words for all rows, by the body of a function of each. */
function rowsRun(
  gpu: WebGpuRuns,
  [op, reason, type, body]: readonly [op: string, reason: string, type: string, body: string],
  x: Block,
  rows: Rows,
  { group, groups, span }: Places,
  of: Coding,
  length: number,
): Block {
  const code = { name: "value", type: "f32", elsewhere: "0.0", ...(of !== none && coded) };
  const { least, most, zero: shift, scale } = of;
  const scales = scale === null || typeof scale === "number" ? [] : [scale];
  const floats = Float32Array.of(least, most, typeof scale === "number" ? scale : 0);
  const bits = new Uint32Array(floats.buffer);
  const named = ["x: f32", ...scales.map(() => "scale: f32")];
  return gpu.run(
    {
      ...{ op, reason, inputs: [x, ...scales], workgroups: groupsOf(length) },
      code: each(named, body, { type, outside: reading(rows, of.code, code), sizes: ["k"] }),
      sizes: [rows.k, groups * span, span, group, rows.rows, shift, ...bits],
    },
    length,
  );
}

const coded = { name: "code", type: "i32", elsewhere: zero };

/** Rows of float32 with zeros where there are none; x itself where that is how it lies. */
export function floatRows(gpu: WebGpuRuns, x: Block, m: number, rows: Rows, places: Places): Block {
  const { group, groups, span } = places;
  const same = rows.rows === 1 && groups * span === rows.k && (groups === 1 || group === span);
  if (same) return x;
  const body = `${placed("at")}
if (!there) { return 0.0; }
return value(row, i);`;
  const kind = ["rows", "one number a thread", "f32", body] as const;
  return rowsRun(gpu, kind, x, rows, places, none, m * groups * span);
}

/** The scales of codes whose scale is found in the call: the largest magnitude over the largest code. */
function scalesOf(gpu: WebGpuRuns, x: Block, count: number, n: number, top: number): Block {
  const [bits] = new Uint32Array(Float32Array.of(top).buffer);
  const code = kernel({
    outs: ["out: f32"],
    inputs: ["x: f32"],
    sizes: ["n", "top"],
    outside: reductions(256),
    body: `if (group >= arrayLength(&out)) { return; }
var most = 0.0;
for (var i = t; i < n; i += 256u) { most = max(most, abs(x[group * n + i])); }
let all = largest(t, most);
if (t == 0u) { out[group] = select(max(all / bitcast<f32>(top), ${float(2 ** -126)}), 1.0, all == 0.0); }`,
  });
  const reason = "a workgroup a row";
  return gpu.run({ op: "scales", reason, code, inputs: [x], workgroups: count, sizes: [n, bits] }, count);
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
  const body = `var word = 0u;
for (var c = 0u; c < 4u; c++) {
${placed("4u * at + c")}
if (there) { word |= (u32(code(row, i)) & 255u) << (8u * c); }
}
return word;`;
  const kind = ["codes", "four codes a thread", "u32", body] as const;
  const words = rowsRun(gpu, kind, x, rows, places, of, (m * places.groups * places.span) / 4);
  return { x: words, scale: of.scale, rows: rows.rows, zero: of.zero };
}

function coding(
  gpu: WebGpuRuns,
  x: Block,
  m: number,
  rows: Rows,
  input: Exclude<PackedInput, { kind: "mixed" }>,
): Coding {
  if (input.kind === "signs")
    return { ...none, code: (x) => `select(1, -1, ${negative(`bitcast<u32>(${x})`)})` };
  const code = (x: string, by: string): string =>
    `i32(clamp(round(${x} / ${by}), ${floatAt("least")}, ${floatAt("most")})) + ${zero}`;
  if (input.kind === "static") {
    const { scale, zeroPoint, least, most } = input;
    const bounds = { least: least - zeroPoint, most: most - zeroPoint };
    return {
      ...{ scale, ...bounds, zero: zeroPoint - (most > 127 ? 128 : 0) },
      code: (x) => code(x, floatAt("scale")),
    };
  }
  const top = 2 ** (input.bits - 1) - 1;
  const scale = scalesOf(gpu, x, Math.ceil(m / rows.rows), rows.each, top);
  return {
    ...{ scale, zero: 0, least: -top, most: top },
    code: (x) => code(x, `scale[row / ${size.rows}]`),
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
  const body = `${placed("at")}
if (!there) { return 0.0; }
return f32(code(row, i) - ${zero});`;
  const kind = ["codes", "one code a thread", "f32", body] as const;
  const numbers = rowsRun(gpu, kind, x, rows, places, of, m * places.groups * places.span);
  return { x: numbers, scale: of.scale, rows: rows.rows, zero: 0 };
}

/** Signs as bits, 32 in a word in the order of codes of weights: 1 for numbers that are not negative. */
export function signRows(gpu: WebGpuRuns, x: Block, m: number, k: number, words: number): Block {
  const code = each(
    ["x: u32"],
    `let row = at / words;
let first = at % words * 32u;
var word = 0u;
for (var i = 0u; i < 32u; i++) {
if (first + i < k && !${negative("x[row * k + first + i]")}) { word |= 1u << (8u * (i % 4u) + i / 4u); }
}
return word;`,
    { type: "u32", sizes: ["k", "words"] },
  );
  const length = m * words;
  const call = { op: "signs", reason: "32 signs a thread", code, inputs: [x] };
  return gpu.run({ ...call, workgroups: groupsOf(length), sizes: [k, words] }, length);
}
