/** What a unit of a product is, four numbers or 32 signs, and how one of x and one of a weight are multiplied. */

import type { Laid } from "./laid.ts";
import { float, sizeAt } from "./wgsl.ts";

/** What of a product is not compiled into its kernel, so that layers of all sizes share one. */
export const sizeNames = [
  "m",
  "n",
  "units",
  "group",
  "groups",
  "perGroup",
  "pixels",
  "rows",
  "zeroX",
  "scaleX",
] as const;
export const size = Object.fromEntries(sizeNames.map((name, i) => [name, sizeAt(i)])) as Readonly<
  Record<(typeof sizeNames)[number], string>
>;

export interface Kind {
  /** For `explain`. */
  readonly name: string;
  /** The type of a unit, and of sums of products of units. */
  readonly unit: "vec4<f32>" | "u32";
  readonly sum: "f32" | "i32";
  /** Units of a weight that lie in one of its words, and the type of such a word. */
  readonly each: number;
  readonly word: "vec4<f32>" | "u32";
  /** Units a row, and units a group with a scale of its own where sums of groups are kept apart. */
  readonly units: number;
  readonly group: number;
  /** Groups of codes a row, and units of each. */
  readonly groups: number;
  readonly perGroup: number;
  /** Subtracted from codes of x. */
  readonly zeroX: number;
  /** What is read beside x and w. */
  readonly inputs: readonly string[];
  /** Functions that the others call. */
  readonly outside: string;
  /** Unit j, which is a literal or a name, of a word of row `column`. */
  unitOf(word: string, j: string, column: string, unit: string): string;
  /** A product that is added to a sum. */
  product(a: string, b: string): string;
  /** The float32 that the sum of a group stands for; `first` whether sums of others of the group lack its constant. */
  groupSum(sum: string, column: string, group: string, first: string): string;
}

const four = `fn four(word: u32) -> vec4<u32> {
return vec4<u32>(word & 255u, (word >> 8u) & 255u, (word >> 16u) & 255u, word >> 24u);
}`;

/** Scales as float32, or two float16 in a word. */
const scaleText = ({ halves }: Laid): string =>
  `fn scaleOf(i: u32) -> f32 { return ${halves ? "unpack2x16float(scales[i >> 1u])[i & 1u]" : "scales[i]"}; }`;

const scaleType = ({ halves }: Laid): string => `scales: ${halves ? "u32" : "f32"}`;

/** Sums of a row that are not kept apart. */
const whole = (units: number) => ({ units, group: units, groups: 1, perGroup: units, zeroX: 0 });

export const floatKind = (k: number): Kind => ({
  name: "float32",
  unit: "vec4<f32>",
  sum: "f32",
  each: 1,
  word: "vec4<f32>",
  ...whole(Math.ceil(k / 4)),
  inputs: [],
  outside: "",
  unitOf: (word) => word,
  product: (a, b) => `dot(${a}, ${b})`,
  groupSum: (sum) => sum,
});

/** Four codes of a plane, as bytes. */
const plane = (bits: number): string =>
  bits === 8
    ? "fn plane(word: u32, j: u32) -> u32 { return word; }"
    : `fn plane(word: u32, j: u32) -> u32 { return (word >> (j * ${bits}u)) & ${(0x01010101 * (2 ** bits - 1)) >>> 0}u; }`;

/** Where the scale is of unit `unit` of row `column`. */
const placeOf = ({ groups }: Laid): string =>
  groups === 1 ? "column" : `column * ${size.groups} + unit / ${size.perGroup}`;

/** Codes of a weight become float32 in registers. */
export function codedKind(laid: Laid): Kind {
  const { bits, groups, span, zero, levels } = laid;
  const place = placeOf(laid);
  const arrays = typeof zero !== "number";
  const digits =
    bits === 8 && !levels
      ? "vec4<f32>(vec4<i32>(four(bytes) << vec4<u32>(24u)) >> vec4<u32>(24u))"
      : "vec4<f32>(four(bytes))";
  const subtracted = arrays ? `zeros[${place}]` : float(zero);
  const values = levels
    ? "let c = four(bytes);\nlet v = vec4<f32>(levels[c.x], levels[c.y], levels[c.z], levels[c.w]);"
    : `let v = ${digits} - ${subtracted};`;
  return {
    name: `codes of ${bits} bits as float32`,
    unit: "vec4<f32>",
    sum: "f32",
    each: 8 / bits,
    word: "u32",
    ...whole((groups * span) / 4),
    groups,
    perGroup: span / 4,
    inputs: [scaleType(laid), ...(levels ? ["levels: f32"] : arrays ? ["zeros: f32"] : [])],
    outside: `${four}
${plane(bits)}
${scaleText(laid)}
fn values(word: u32, j: u32, column: u32, unit: u32) -> vec4<f32> {
let bytes = plane(word, j);
${values}
return v * scaleOf(${place});
}`,
    unitOf: (word, j, column, unit) => `values(${word}, ${j}, ${column}, ${unit})`,
    product: (a, b) => `dot(${a}, ${b})`,
    groupSum: (sum) => sum,
  };
}

/** Codes of x times codes of a weight, four at a time. `zeroX` is subtracted from those of x, by sums of the weight's. */
export function integerKind(laid: Laid, zeroX: number, packedDots: boolean): Kind {
  const { bits, groups, span, zero, factor } = laid;
  const arrays = typeof zero !== "number";
  const place = placeOf(laid);
  const doubled = factor === 2 ? "(plane(word, j) & 0x7f7f7f7fu) << 1u" : "plane(word, j)";
  const zeroBytes = arrays
    ? `(u32(i32(${float(factor!)} * zeros[${place}])) & 255u) * 0x01010101u`
    : `${((factor! * zero) & 255) * 0x01010101}u`;
  return {
    name: `codes of ${bits} bits as int8`,
    unit: "u32",
    sum: "i32",
    each: 8 / bits,
    word: "u32",
    units: (groups * span) / 4,
    group: span / 4,
    groups,
    perGroup: span / 4,
    zeroX,
    inputs: [scaleType(laid), ...(arrays ? ["zeros: f32"] : []), ...(zeroX === 0 ? [] : ["sums: i32"])],
    outside: `${plane(bits)}
${scaleText(laid)}
fn codes(word: u32, j: u32, column: u32, unit: u32) -> u32 {
let bytes = ${doubled};
${!arrays && zero === 0 ? "return bytes;" : `let zero = ${zeroBytes};\n${less}`}
}
${packedDots ? "fn dots(a: u32, b: u32) -> i32 { return dot4I8Packed(a, b); }" : plainDots}`,
    unitOf: (word, j, column, unit) => `codes(${word}, ${j}, ${column}, ${unit})`,
    product: (a, b) => `dots(${a}, ${b})`,
    groupSum: (sum, column, group, first) => {
      const at = groups === 1 ? column : `${column} * ${size.groups} + ${group}`;
      const scaled = `scaleOf(${at})${factor === 2 ? " * 0.5" : ""}`;
      return zeroX === 0
        ? `f32(${sum}) * ${scaled}`
        : `f32(${sum} - select(0, bitcast<i32>(${size.zeroX}) * sums[${at}], ${first})) * ${scaled}`;
    },
  };
}

/** Bytes less those of the zero point, without a borrow between them: Hacker's Delight, 2-18. */
const less = "return ((bytes | 0x80808080u) - (zero & 0x7f7f7f7fu)) ^ ((bytes ^ ~zero) & 0x80808080u);";

const plainDots = `fn dots(a: u32, b: u32) -> i32 {
let shifts = vec4<u32>(24u, 16u, 8u, 0u);
let p = (vec4<i32>(vec4<u32>(a) << shifts) >> vec4<u32>(24u)) * (vec4<i32>(vec4<u32>(b) << shifts) >> vec4<u32>(24u));
return p.x + p.y + p.z + p.w;
}`;

/** Signs times signs: bits that differ are counted, 32 at a time. */
export function signKind(laid: Laid): Kind {
  const { span } = laid;
  return {
    name: "signs, 32 in a word",
    unit: "u32",
    sum: "i32",
    each: 1,
    word: "u32",
    ...whole(span / 32),
    inputs: [scaleType(laid)],
    outside: scaleText(laid),
    unitOf: (word) => word,
    product: (a, b) => `i32(countOneBits(${a} ^ ${b}))`,
    // Scales of signs are twice as large as theirs, which are stored as 0 and 1: half of k is what none that differ give.
    groupSum: (sum, column) => `(bitcast<f32>(${size.scaleX}) - f32(${sum})) * scaleOf(${column})`,
  };
}
