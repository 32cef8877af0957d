/** Products of packed weights, whose codes lie in float32 numbers of 24 bits. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import { type PackedWeight, scalesPerRow } from "../../packed/file/weight.ts";
import type { PackedInput } from "../../packed/products/input.ts";
import type { Operands } from "../../packed/products/way.ts";
import { sizeOf } from "../../shape.ts";
import type { Later } from "./far.ts";
import type { GpuJsKernels } from "./kernels.ts";
import { float, kernel, laneBits, quotient, unravel } from "./sources.ts";

/** A weight as kernels read it: lanes of `each` codes a row, and what codes stand for. */
export interface Laid {
  readonly lanes: Float32Array;
  /** Lanes a row. */
  readonly stride: number;
  readonly bits: number;
  readonly each: number;
  /** Subtracted from every code. */
  readonly offset: number;
  readonly scale: Float32Array;
  readonly zeroPoint: Float32Array | null;
  readonly levels: Float32Array | null;
  readonly group: number;
  /** Scales a row; 0 where one serves them all. */
  readonly scales: number;
}

/** Codes of a row, lane by lane, the first in the lowest bits. */
function layOut(weight: PackedWeight): Laid {
  const { rows, columns, coded } = weight;
  const { bits, signed, scale, codebook, zeroPoint, group } = coded!;
  const codes = weight.unpacked();
  // Signs are −1 and 1, which as 0 and 1 are half as far apart.
  const ofSigns = bits === 1 && signed;
  const offset = ofSigns ? 0.5 : signed ? 2 ** (bits - 1) : 0;
  const each = Math.floor(laneBits / bits);
  const stride = Math.ceil(columns / each);
  const lanes = new Float32Array(rows * stride);
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < columns; i++) {
      const code = codes[r * columns + i];
      const digit = ofSigns ? (code + 1) / 2 : signed ? code + offset : code;
      lanes[r * stride + Math.floor(i / each)] += digit * 2 ** (bits * (i % each));
    }
  return {
    lanes,
    stride,
    bits,
    each,
    offset,
    scale: ofSigns ? scale.map((s) => 2 * s) : scale,
    zeroPoint: zeroPoint ?? null,
    levels: codebook && Float32Array.from(codebook),
    group: group ?? columns,
    scales: scalesPerRow(coded!),
  };
}

const layouts = new WeakMap<PackedWeight, Laid>();

function laidOut(weight: PackedWeight): Laid {
  const laid = layouts.get(weight) ?? layOut(weight);
  layouts.set(weight, laid);
  return laid;
}

/** Half to even, in the arithmetic of kernels. */
const roundEven = `let q = Math.floor(v + 0.5);
if (q - v == 0.5) { if (q - Math.floor(q * 0.5) * 2.0 == 1.0) { q = q - 1.0; } }`;

/** The least scale: see kernels/encode/reference.ts. */
const leastScale = 2 ** -126;

/** Codes of rows of n numbers less their zero point, and what sums of them are multiplied by: one scale a row, or none. */
export function codesOf(
  gpu: GpuJsKernels,
  x: Later,
  rows: number,
  n: number,
  input: PackedInput | null,
): { x: Later; scale: Later | null } {
  if (input === null) return { x, scale: null };
  if (input.kind === "signs")
    return {
      x: gpu.run("signs", kernel("x", "if (x[at] < 0.0) { return -1.0; }\nreturn 1.0;"), rows * n, [x]),
      scale: null,
    };
  if (input.kind === "static") {
    const { scale, zeroPoint, least, most } = input;
    const body = `const v = x[at] / ${float(scale)};\n${roundEven}
return Math.min(Math.max(q, ${float(least - zeroPoint)}), ${float(most - zeroPoint)});`;
    const codes = gpu.run("codes", kernel("x", body), rows * n, [x]);
    return { x: codes, scale: gpu.bring(new Float32Array(rows).fill(scale)) };
  }
  const top = 2 ** (input.bits - 1) - 1;
  const most = `let most = 0.0;
for (let i = 0; i < ${n}; i++) { most = Math.max(most, Math.abs(x[at * ${n} + i])); }
if (most == 0.0) { return 1.0; }
return Math.max(most / ${float(top)}, ${leastScale});`;
  const scale = gpu.run("scales", kernel("x", most), rows, [x]);
  const body = `const v = x[at] / scale[${quotient("at", n)}];\n${roundEven}
return Math.min(Math.max(q, ${float(-top)}), ${float(top)});`;
  return { x: gpu.run("codes", kernel("x, scale", body), rows * n, [x, scale]), scale };
}

/** `value`: what the next code of lane number `lane` stands for, before its scale, and the code is taken from the lane. */
const nextValue = (
  { bits, offset, zeroPoint, levels }: Laid,
  scaleAt: string,
): string => `const rest = Math.floor(lane * ${2 ** -bits});
const digit = lane - rest * ${float(2 ** bits)};
lane = rest;
const value = ${levels ? "levels[digit]" : `digit - ${zeroPoint ? `zeros[${scaleAt}]` : float(offset)}`};`;

/** What is read beside x and lanes. */
function beside(
  of: Operands,
  laid: Laid,
  scaleX: Later | null,
): [name: string, numbers: Float32Array | Later][] {
  const named: [string, Float32Array | Later | null][] = [
    ["scale", laid.scale],
    ["zeros", laid.zeroPoint],
    ["levels", laid.levels],
    ["scaleX", scaleX],
    ["bias", of.bias],
  ];
  return named.filter((pair): pair is [string, Float32Array | Later] => pair[1] !== null);
}

const inputsOf = (gpu: GpuJsKernels, more: readonly [string, Float32Array | Later][]): Later[] =>
  more.map(([, numbers]) => (ArrayBuffer.isView(numbers) ? gpu.upload(numbers) : numbers));

const scalePlace = ({ scales }: Laid, row: string, group: string): string =>
  scales === 0 ? "0" : scales === 1 ? row : `${row} * ${scales} + ${group}`;

/** m rows times the rows of a weight: (m, k) -> (m, n). */
export function product(gpu: GpuJsKernels, x: Later, of: Operands, m: number): Later {
  const { weight, input } = of;
  const { rows: n, columns: k } = weight;
  const place = `const row = ${quotient("at", n)};\nconst column = at - row * ${n};\n`;
  if (weight.floats) return floatProduct(gpu, x, of, m, place);
  const laid = laidOut(weight);
  if (input?.kind === "signs" && weight.bits === 1 && laid.offset === 0.5 && laid.scales <= 1)
    return signProduct(gpu, x, of, laid, m, place);
  const codes = codesOf(gpu, x, m, k, input);
  const more = beside(of, laid, codes.scale);
  const { each, stride, group } = laid;
  // Lanes of a row are read in order; a group may end within one.
  const body = `${place}let total = 0.0;
let sum = 0.0;
let lane = 0.0;
let g = 0;
for (let i = 0; i < ${k}; i++) {
const l = ${quotient("i", each)};
if (i - l * ${each} == 0) { lane = w[column * ${stride} + l]; }
${nextValue(laid, scalePlace(laid, "column", "g"))}
sum += x[row * ${k} + i] * value;
if (i + 1 == ${k}) { total += sum * scale[${scalePlace(laid, "column", "g")}]; }
else { if (i + 1 == (g + 1) * ${group}) { total += sum * scale[${scalePlace(laid, "column", "g")}]; sum = 0.0; g = g + 1; } }
}
${codes.scale ? "total = total * scaleX[row];" : ""}
${of.bias ? "total = total + bias[column];" : ""}
return total;`;
  const source = kernel(["x", "w", ...more.map(([name]) => name)].join(", "), body);
  return gpu.run(`product ${weight.bits} bits`, source, m * n, [
    codes.x,
    gpu.upload(laid.lanes),
    ...inputsOf(gpu, more),
  ]);
}

/** Signs times signs: k less twice the bits that differ, 24 at a time. */
function signProduct(gpu: GpuJsKernels, x: Later, of: Operands, laid: Laid, m: number, place: string): Later {
  const { rows: n, columns: k } = of.weight;
  const { stride, scales } = laid;
  const packing = `const row = ${quotient("at", stride)};
const first = (at - row * ${stride}) * ${laneBits};
let lane = 0.0;
let bit = 1.0;
for (let i = 0; i < ${laneBits}; i++) {
if (first + i < ${k}) { if (x[row * ${k} + first + i] >= 0.0) { lane += bit; } }
bit = bit * 2.0;
}
return lane;`;
  const bits = gpu.run("signs", kernel("x", packing), m * stride, [x]);
  const body = `${place}let differ = 0;
for (let l = 0; l < ${stride}; l++) {
const v = x[row * ${stride} + l] ^ w[column * ${stride} + l];
const pairs = v - ((v >> 1) & 5592405);
const fours = (pairs & 3355443) + ((pairs >> 2) & 3355443);
const eights = (fours + (fours >> 4)) & 986895;
differ += (eights & 255) + ((eights >> 8) & 255) + ((eights >> 16) & 255);
}
const sum = ${float(k)} - 2.0 * differ;
const total = sum * scale[${scales === 0 ? "0" : "column"}] * 0.5;
return ${of.bias ? "total + bias[column]" : "total"};`;
  const more = beside(of, laid, null);
  const source = kernel(["x", "w", ...more.map(([name]) => name)].join(", "), body);
  return gpu.run("product of signs", source, m * n, [bits, gpu.upload(laid.lanes), ...inputsOf(gpu, more)]);
}

function floatProduct(
  gpu: GpuJsKernels,
  x: Later,
  { weight, bias }: Operands,
  m: number,
  place: string,
): Later {
  const { rows: n, columns: k } = weight;
  const body = `${place}let sum = ${bias ? "bias[column]" : "0.0"};
for (let i = 0; i < ${k}; i++) { sum += x[row * ${k} + i] * w[column * ${k} + i]; }
return sum;`;
  const inputs = [x, gpu.upload(weight.floats!), ...(bias ? [gpu.upload(bias)] : [])];
  return gpu.run("product float32", kernel(bias ? "x, w, bias" : "x, w", body), m * n, inputs);
}

/** Images times filters, which are rows of the weight; what lies outside counts as 0. */
export function conv(gpu: GpuJsKernels, x: Later, of: Operands, g: ConvGeometry): Later {
  const { weight, input } = of;
  const shape = [g.n, g.o, g.oh, g.ow];
  const channels = g.c / g.groups;
  const laid = weight.floats ? null : laidOut(weight);
  const codes = codesOf(gpu, x, g.n, g.c * g.h * g.w, laid ? input : null);
  const k = weight.columns;
  const more: [string, Float32Array | Later][] = laid
    ? beside(of, laid, codes.scale)
    : of.bias
      ? [["bias", of.bias]]
      : [];
  const scaleAt = laid ? scalePlace(laid, "p1", "gr") : "";
  const read = laid
    ? `const l = ${quotient("i", laid.each)};
if (i - l * ${laid.each} == 0) { lane = w[p1 * ${laid.stride} + l]; }
${nextValue(laid, scaleAt)}`
    : `const value = w[p1 * ${k} + i];`;
  const close = laid
    ? `if (i + 1 == ${k}) { total += sum * scale[${scaleAt}]; }
else { if (i + 1 == (gr + 1) * ${laid.group}) { total += sum * scale[${scaleAt}]; sum = 0.0; gr = gr + 1; } }`
    : `if (i + 1 == ${k}) { total = sum; }`;
  const body = `${unravel("at", shape, "p")}let total = 0.0;
let sum = 0.0;
let lane = 0.0;
let gr = 0;
const first = ${quotient("p1", g.o / g.groups)} * ${channels};
for (let i = 0; i < ${k}; i++) {
const c = ${quotient("i", g.kh * g.kw)};
const tap = i - c * ${g.kh * g.kw};
const ky = ${quotient("tap", g.kw)};
const kx = tap - ky * ${g.kw};
const y = p2 * ${g.strideH} + ky * ${g.dilationH} - ${g.padTop};
const z = p3 * ${g.strideW} + kx * ${g.dilationW} - ${g.padLeft};
${read}
if (y > -0.5) { if (y < ${g.h - 0.5}) { if (z > -0.5) { if (z < ${g.w - 0.5}) {
sum += x[((p0 * ${g.c} + first + c) * ${g.h} + y) * ${g.w} + z] * value;
} } } }
${close}
}
${codes.scale ? "total = total * scaleX[p0];" : ""}
${of.bias ? "total = total + bias[p1];" : ""}
return total;`;
  const source = kernel(["x", "w", ...more.map(([name]) => name)].join(", "), body);
  const weights = gpu.upload(laid ? laid.lanes : weight.floats!);
  return gpu.run(`conv ${weight.floats ? "float32" : `${weight.bits} bits`}`, source, sizeOf(shape), [
    codes.x,
    weights,
    ...inputsOf(gpu, more),
  ]);
}
