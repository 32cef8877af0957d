/**
 * SIMD elementwise loops. Each function has the contract of reference.ts and returns false, nothing written, where it does
 * not apply.
 */

import { dtypeOfArray, newArray, type TypedArray } from "../../src/dtype.ts";
import { broadcastStrides, type Shape } from "../../src/shape.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inRows, type Run } from "../wasm/parallel.ts";
import { pays, type Staging, staged, stagedRows } from "../wasm/staging.ts";
import { type Binary, reciprocal, reciprocalSqrt, square, type Unary } from "./arithmetic.ts";
import { walkRows } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";
import { type ElementwiseExports, loopOf, simdBinary, simdSlopes, simdTests } from "./simd-loops.ts";
import { power } from "./special.ts";

export const elementwiseExports = /* @__PURE__ */ wasmKernel<ElementwiseExports>(bytes);

// Plain arrays below this size stay in JavaScript.
const fewSums = 2048;

const isFloat = (array: TypedArray): boolean => array instanceof Float32Array;

// A thread's part begins at whole vectors; that of a function where simd.as.ts looks anew at what numbers there are.
const whole = 64;
const chunk = 1024;

// Of integers, kernels/mixed and the reference alone compute these, in doubles.
const inDoubles: readonly Unary[] = [Math.sqrt, reciprocal, reciprocalSqrt];

/** out = f(x), element by element; of integers as float32 has them. */
export function unary(out: TypedArray, x: TypedArray, f: Unary, exports = elementwiseExports()): boolean {
  const loop = loopOf(f);
  if (exports === null || loop === undefined || !isFloat(out) || x instanceof Float64Array) return false;
  if (!isFloat(x) && inDoubles.includes(f)) return false;
  const { name, numbers } = loop;
  const floats = isFloat(x) ? x : new Float32Array(x);
  const run = (staging: Staging, first: number, n: number): boolean => {
    const from = staging.input(floats, first, n);
    const to = staging.output(out, first, n, false);
    if (from === 0 || to === 0) return false;
    inRows(exports, name, n, chunk, n, (i, count) => [to + i * 4, from + i * 4, count, ...numbers]);
    return true;
  };
  return stagedRows(out.length, run, chunk);
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
  if (!isFloat(out) || !isFloat(grad) || !isFloat(x) || !isFloat(y)) return false;
  const run = (staging: Staging, first: number, n: number): boolean => {
    const g = staging.input(grad, first, n);
    const input = staging.input(x, first, n);
    const output = staging.input(y, first, n);
    const to = staging.output(out, first, n, false);
    if (g === 0 || input === 0 || output === 0 || to === 0) return false;
    inRows(exports, name, n, whole, n * 2, (i, count) => [
      to + i * 4,
      g + i * 4,
      input + i * 4,
      output + i * 4,
      count,
    ]);
    return true;
  };
  return stagedRows(out.length, run, whole);
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
  const test = simdTests.get(f);
  const name = test ?? simdBinary.get(f);
  if (exports === null || !isFloat(a) || !isFloat(b)) return false;
  if (name === undefined)
    return f === power && a.length === out.length && b.length === 1 && b[0] === 2 && unary(out, a, square);
  if (!(test ? out instanceof Uint8Array : isFloat(out)) || !pays(out.length, fewSums, out, a, b))
    return false;
  return zipRows(exports, name, 0.2, out, shape, a, aShape, b, bShape, 0);
}

/**
 * Calls exports[name] with addresses, sizes and strides of the output and two operands that are broadcast to it, then with
 * the scratch and `more`, which a function may leave out. `each` is the nanoseconds of an element.
 */
export function zipRows<N extends string>(
  exports: { readonly [name in N]: Run },
  name: N,
  each: number,
  out: TypedArray,
  shape: Shape,
  a: TypedArray,
  aShape: Shape,
  b: TypedArray,
  bShape: Shape,
  scratchBytes: number,
  ...more: number[]
): boolean {
  const [width, aWidth, bWidth] = [out, a, b].map((x) => x.BYTES_PER_ELEMENT);
  const size = out.length;
  return staged((staging) => {
    const left = staging.input(a, 0, a.length);
    const right = staging.input(b, 0, b.length);
    const to = staging.output(out, 0, size, false);
    if (left === 0 || right === 0 || to === 0) return false;
    const aStep = step(a, size);
    const bStep = step(b, size);
    if (aStep >= 0 && bStep >= 0)
      return inRows(
        exports,
        name,
        size,
        whole,
        size * each,
        (i, count, local) => [
          to + i * width,
          left + i * aStep,
          right + i * bStep,
          1,
          count,
          0,
          0,
          aStep,
          bStep,
          local,
          ...more,
        ],
        scratchBytes,
      );
    const { sizes, strides } = mergeAxes(shape, [aShape, bShape]);
    const n = sizes.pop()!;
    const [aLast, bLast] = [strides[0].pop()! * aWidth, strides[1].pop()! * bWidth];
    let done = true;
    walkRows(sizes, strides, (at, rows, [i, j], [di, dj]) => {
      done &&= inRows(
        exports,
        name,
        rows,
        1,
        rows * n * each,
        (r, count, local) => [
          to + (at + r) * n * width,
          left + (i + r * di) * aWidth,
          right + (j + r * dj) * bWidth,
          count,
          n,
          di * aWidth,
          dj * bWidth,
          aLast,
          bLast,
          local,
          ...more,
        ],
        scratchBytes,
      );
    });
    return done;
  });
}

/** The bytes from one element to the next, seen over the whole output; −1 where the operand is repeated otherwise. */
const step = (x: TypedArray, size: number): number =>
  x.length === size ? x.BYTES_PER_ELEMENT : x.length === 1 ? 0 : -1;

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

/** out (shape) = a where c is not zero, else b, each broadcast to shape; c is a mask of bytes. */
export function select(
  out: TypedArray,
  shape: Shape,
  c: TypedArray,
  cShape: Shape,
  a: TypedArray,
  aShape: Shape,
  b: TypedArray,
  bShape: Shape,
  exports = elementwiseExports(),
): boolean {
  if (exports === null || !(c instanceof Uint8Array)) return false;
  const width = out.BYTES_PER_ELEMENT;
  const name = width === 1 ? "selectBytes" : width === 4 ? "select" : "selectDoubles";
  if (!pays(out.length, fewSums, out, c, a, b)) return false;
  const type = dtypeOfArray(out)!;
  const like = (x: TypedArray): TypedArray => {
    if (dtypeOfArray(x) === type) return x;
    const same = newArray(type, x.length);
    same.set(x);
    return same;
  };
  return staged((staging) => {
    const mask = staging.input(c, 0, c.length);
    const left = staging.input(like(a), 0, a.length);
    const right = staging.input(like(b), 0, b.length);
    const to = staging.output(out, 0, out.length, false);
    if (mask === 0 || left === 0 || right === 0 || to === 0) return false;
    const { sizes, strides } = mergeAxes(shape, [cShape, aShape, bShape]);
    const n = sizes.pop() ?? 1;
    const [cLast, aLast, bLast] = strides.map((s) => s.pop() ?? 0);
    // One row has whole vectors to part at; of many, each is a part.
    if (sizes.length === 0)
      inRows(exports, name, n, whole, n * 0.3, (i, count) => [
        to + i * width,
        mask + i * cLast,
        left + i * aLast * width,
        right + i * bLast * width,
        1,
        count,
        0,
        0,
        0,
        cLast,
        aLast * width,
        bLast * width,
      ]);
    else
      walkRows(sizes, strides, (at, rows, [h, i, j], [dh, di, dj]) =>
        inRows(exports, name, rows, 1, rows * n * 0.3, (r, count) => [
          to + (at + r) * n * width,
          mask + h + r * dh,
          left + (i + r * di) * width,
          right + (j + r * dj) * width,
          count,
          n,
          dh,
          di * width,
          dj * width,
          cLast,
          aLast * width,
          bLast * width,
        ]),
      );
    return true;
  });
}
