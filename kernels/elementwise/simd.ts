/** SIMD elementwise loops. Each function has the contract of reference.ts and returns false, nothing written, where it does not apply. */

import type { TypedArray } from "../../src/dtype.ts";
import { broadcastStrides, type Shape } from "../../src/shape.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inRows } from "../wasm/parallel.ts";
import { pays, staged } from "../wasm/stage.ts";
import * as activation from "./activation.ts";
import {
  type Binary,
  minus,
  negative,
  over,
  plus,
  rectified,
  square,
  times,
  type Unary,
} from "./arithmetic.ts";
import { walkRows } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";
import { erf, sigmoid } from "./special.ts";

type Map1 = (out: number, x: number, n: number) => void;
type MapGrad = (out: number, grad: number, x: number, y: number, n: number) => void;
/** Strides and steps in bytes; a step is 4, or 0 for an operand that every row repeats. */
type Zip = (
  out: number,
  a: number,
  b: number,
  rows: number,
  n: number,
  aRow: number,
  bRow: number,
  aStep: number,
  bStep: number,
) => void;

type Named<Names extends string, F> = { readonly [name in Names]: F };
type Maps = "negate" | "square" | "sqrt" | "exp" | "log" | "tanh" | "sigmoid" | "erf" | "gelu" | "geluTanh";
type MoreMaps = "silu" | "rectify";
type Grads = "tanhGrad" | "sigmoidGrad" | "geluGrad" | "geluTanhGrad" | "siluGrad";
type Zips = "add" | "subtract" | "multiply" | "divide" | "gate";

/** What simd.as.ts exports. */
export interface ElementwiseExports
  extends Named<Maps | MoreMaps, Map1>,
    Named<Grads, MapGrad>,
    Named<Zips, Zip> {
  select(out: number, c: number, a: number, b: number, n: number, aStep: number, bStep: number): void;
}

export const elementwiseExports = /* @__PURE__ */ wasmKernel<ElementwiseExports>(bytes);

/** The functions that have a loop, by the very function the reference takes. */
export const simdUnary: ReadonlyMap<Unary, Maps | MoreMaps> = /* @__PURE__ */ new Map<Unary, Maps | MoreMaps>(
  [
    [negative, "negate"],
    [square, "square"],
    [rectified, "rectify"],
    [Math.sqrt, "sqrt"],
    [Math.exp, "exp"],
    [Math.log, "log"],
    [Math.tanh, "tanh"],
    [sigmoid, "sigmoid"],
    [erf, "erf"],
    [activation.gelu, "gelu"],
    [activation.geluTanh, "geluTanh"],
    [activation.silu, "silu"],
  ],
);

export const simdSlopes: ReadonlyMap<Binary, Grads> = /* @__PURE__ */ new Map<Binary, Grads>([
  [activation.tanhSlope, "tanhGrad"],
  [activation.sigmoidSlope, "sigmoidGrad"],
  [activation.geluSlope, "geluGrad"],
  [activation.geluTanhSlope, "geluTanhGrad"],
  [activation.siluSlope, "siluGrad"],
]);

export const simdBinary: ReadonlyMap<Binary, Zips> = /* @__PURE__ */ new Map<Binary, Zips>([
  [plus, "add"],
  [minus, "subtract"],
  [times, "multiply"],
  [over, "divide"],
  [activation.gated, "gate"],
]);

// Plain arrays below these sizes stay in JavaScript: measured, functions and arithmetic.
const fewCalls = 128;
const fewSums = 2048;

const float32 = (...arrays: readonly TypedArray[]): boolean =>
  arrays.every((array) => array instanceof Float32Array);

// A thread's part begins at whole vectors; that of a function where simd.as.ts looks anew at what numbers there are.
const whole = 64;
const chunk = 1024;

/** out = f(x), element by element. */
export function unary(out: TypedArray, x: TypedArray, f: Unary, exports = elementwiseExports()): boolean {
  const name = simdUnary.get(f);
  if (exports === null || name === undefined || !float32(out, x) || !pays(out.length, fewCalls, out, x))
    return false;
  const n = out.length;
  return staged((stage) => {
    const from = stage.input(x, 0, n);
    const to = stage.output(out, 0, n, false);
    if (from === 0 || to === 0) return false;
    inRows(exports, name, n, chunk, n, (i, count) => [to + i * 4, from + i * 4, count]);
    return true;
  });
}

/** out = grad · slope(x, y), element by element. */
export function unaryGrad(
  out: TypedArray,
  grad: TypedArray,
  x: TypedArray,
  y: TypedArray,
  slope: Binary,
  exports = elementwiseExports(),
): boolean {
  const name = simdSlopes.get(slope);
  if (exports === null || name === undefined) return false;
  if (!float32(out, grad, x, y) || !pays(out.length, fewCalls, out, grad, x, y)) return false;
  const n = out.length;
  return staged((stage) => {
    const [g, input, output] = [grad, x, y].map((array) => stage.input(array, 0, n));
    const to = stage.output(out, 0, n, false);
    if (g === 0 || input === 0 || output === 0 || to === 0) return false;
    inRows(exports, name, n, whole, n * 2, (i, count) => [
      to + i * 4,
      g + i * 4,
      input + i * 4,
      output + i * 4,
      count,
    ]);
    return true;
  });
}

/** out (shape) = f(a broadcast to shape, b broadcast to shape). */
export function binary(
  out: TypedArray,
  shape: Shape,
  a: TypedArray,
  aShape: Shape,
  b: TypedArray,
  bShape: Shape,
  f: Binary,
  exports = elementwiseExports(),
): boolean {
  const name = simdBinary.get(f);
  if (exports === null || name === undefined || !float32(out, a, b) || !pays(out.length, fewSums, out, a, b))
    return false;
  const size = out.length;
  return staged((stage) => {
    const left = stage.input(a, 0, a.length);
    const right = stage.input(b, 0, b.length);
    const to = stage.output(out, 0, size, false);
    if (left === 0 || right === 0 || to === 0) return false;
    const [aStep, bStep] = [step(a, size), step(b, size)];
    if (aStep >= 0 && bStep >= 0)
      inRows(exports, name, size, whole, size * 0.2, (i, count) => [
        to + i * 4,
        left + i * aStep,
        right + i * bStep,
        1,
        count,
        0,
        0,
        aStep,
        bStep,
      ]);
    else {
      const { sizes, strides } = mergeAxes(shape, [aShape, bShape]);
      const n = sizes.pop()!;
      const [aLast, bLast] = strides.map((s) => s.pop()! * 4);
      walkRows(sizes, strides, (at, rows, [i, j], [di, dj]) =>
        inRows(exports, name, rows, 1, rows * n * 0.2, (r, count) => [
          to + (at + r) * n * 4,
          left + (i + r * di) * 4,
          right + (j + r * dj) * 4,
          count,
          n,
          di * 4,
          dj * 4,
          aLast,
          bLast,
        ]),
      );
    }
    return true;
  });
}

/** The bytes from one element to the next, seen over the whole output; −1 where the operand is repeated otherwise. */
const step = (x: TypedArray, size: number): number => (x.length === size ? 4 : x.length === 1 ? 0 : -1);

/** The shape with neighbouring axes made one wherever every operand walks them alike. */
function mergeAxes(shape: Shape, operands: readonly Shape[]): { sizes: number[]; strides: number[][] } {
  const all = operands.map((s) => broadcastStrides(s, shape));
  const sizes: number[] = [];
  const strides: number[][] = operands.map(() => []);
  for (let axis = 0; axis < shape.length; axis++) {
    if (shape[axis] === 1) continue;
    const last = sizes.length - 1;
    const follows = last >= 0 && all.every((s, k) => strides[k][last] === s[axis] * shape[axis]);
    if (follows) sizes[last] *= shape[axis];
    else sizes.push(shape[axis]);
    const place = follows ? last : last + 1;
    for (let k = 0; k < all.length; k++) strides[k][place] = all[k][axis];
  }
  return { sizes, strides };
}

/** out = a where c is not zero, else b: c a mask of bytes of out's size, a and b of that size or single elements. */
export function select(
  out: TypedArray,
  _shape: Shape,
  c: TypedArray,
  _cShape: Shape,
  a: TypedArray,
  _aShape: Shape,
  b: TypedArray,
  _bShape: Shape,
  exports = elementwiseExports(),
): boolean {
  if (exports === null || !float32(out, a, b) || !(c instanceof Uint8Array)) return false;
  const size = out.length;
  const [aStep, bStep] = [step(a, size), step(b, size)];
  if (c.length !== size || aStep < 0 || bStep < 0 || !pays(size, fewSums, out, c, a, b)) return false;
  return staged((stage) => {
    const mask = stage.input(c, 0, size);
    const left = stage.input(a, 0, a.length);
    const right = stage.input(b, 0, b.length);
    const to = stage.output(out, 0, size, false);
    if (mask === 0 || left === 0 || right === 0 || to === 0) return false;
    inRows(exports, "select", size, whole, size * 0.3, (i, count) => [
      to + i * 4,
      mask + i,
      left + i * aStep,
      right + i * bStep,
      count,
      aStep,
      bStep,
    ]);
    return true;
  });
}
