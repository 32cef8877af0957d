/** Functions of one number or of two, and where numbers go. */

import type { Activation, HadamardCall, Join } from "../../packed/executor.ts";
import { each, float, unravel } from "./wgsl.ts";

/** Abramowitz and Stegun, 1964, 7.1.26: within 1.5e-7. */
const erf = `let size = abs(z);
let u = 1.0 / (1.0 + 0.3275911 * size);
let tail = ((((1.061405429 * u - 1.453152027) * u + 1.421413741) * u - 0.284496736) * u + 0.254829592) * u;
let phi = sign(z) * (1.0 - tail * exp(-size * size));`;

/** Exponentials of negative numbers alone, which do not overflow. */
const sigmoid = `let e = exp(-abs(v));
let s = select(e, 1.0, v >= 0.0) / (1.0 + e);`;

const tanh = (x: string): string => `let e = exp(-2.0 * abs(${x}));
let th = sign(${x}) * (1.0 - e) / (1.0 + e);`;

const hardSigmoid = "clamp(v / 6.0 + 0.5, 0.0, 1.0)";

const maps: Readonly<Record<Activation, string>> = {
  relu: "return max(v, 0.0);",
  relu6: "return clamp(v, 0.0, 6.0);",
  leakyRelu: "return select(0.01 * v, v, v > 0.0);",
  elu: "return select(exp(min(v, 0.0)) - 1.0, v, v > 0.0);",
  gelu: `let z = v * ${float(Math.SQRT1_2)};\n${erf}\nreturn 0.5 * v * (1.0 + phi);`,
  geluTanh: `let z = ${float(Math.sqrt(2 / Math.PI))} * (v + 0.044715 * v * v * v);\n${tanh("z")}\nreturn 0.5 * v * (1.0 + th);`,
  silu: `${sigmoid}\nreturn v * s;`,
  sigmoid: `${sigmoid}\nreturn s;`,
  tanh: `${tanh("v")}\nreturn th;`,
  hardSigmoid: `return ${hardSigmoid};`,
  hardSwish: `return v * ${hardSigmoid};`,
};

export const map = (f: Activation): string => each(["x: f32"], `let v = x[at];\n${maps[f]}`);

const joins: Readonly<Record<Join, string>> = {
  plus: "a + b",
  minus: "a - b",
  times: "a * b",
  slope: "select(a * b, a, a > 0.0)",
};

/** y broadcasts to x: its strides along the axes of x, 0 where it has one number. */
export function join(f: Join, shape: readonly number[], other: readonly number[]): string {
  const same = other.length === shape.length && other.every((n, i) => n === shape[i]);
  const strides = shape.map(() => 0);
  for (let i = other.length - 1, size = 1; i >= 0; size *= other[i--])
    if (other[i] > 1) strides[shape.length - other.length + i] = size;
  const place = strides.flatMap((stride, axis) => (stride ? [`p${axis} * ${stride}u`] : [])).join(" + ");
  const found = same || place === "" ? "" : unravel("at", shape, "p");
  const text = `${found}let a = x[at];\nlet b = y[${same ? "at" : place || "0u"}];\nreturn ${joins[f]};`;
  return each(["x: f32", "y: f32"], text);
}

/** The numbers of `shape` at these strides from `offset` on. */
export function pick(shape: readonly number[], strides: readonly number[], offset: number): string {
  const place = strides.map((stride, axis) => ` + p${axis} * ${stride}u`).join("");
  return each(["x: f32"], `${unravel("at", shape, "p")}return x[${offset}u${place}];`);
}

/** One step of the Walsh–Hadamard transform: sums and differences of numbers `gap` apart, times √½. */
export const butterfly = (gap: number): string =>
  each(
    ["x: f32"],
    `if (at / ${gap}u % 2u == 0u) { return (x[at] + x[at + ${gap}u]) * ${float(Math.SQRT1_2)}; }
return (x[at - ${gap}u] - x[at]) * ${float(Math.SQRT1_2)};`,
  );

export const signed = ({ features }: HadamardCall): string =>
  each(["x: f32", "signs: f32"], `return x[at] * signs[at % ${features}u];`);

/** Channels of zeros around those of (N, C, plane). */
export const padded = (c: number, plane: number, before: number, behind: number): string =>
  each(
    ["x: f32"],
    `${unravel("at", [1, before + c + behind, plane], "p")}
if (p1 < ${before}u || p1 >= ${before + c}u) { return 0.0; }
return x[(p0 * ${c}u + p1 - ${before}u) * ${plane}u + p2];`,
  );

export const gathered = (n: number, count: number): string =>
  each(["x: f32", "places: u32"], `return x[at / ${count}u * ${n}u + places[at % ${count}u]];`);
