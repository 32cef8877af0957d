/** SIMD copies between orders of axes: rows at a time, and 4 x 4 blocks where the unit step is not the last axis. */

import type { TypedArray } from "../../src/dtype.ts";
import { broadcastStrides, type Shape, stridesOf } from "../../src/shape.ts";
import { walkRows } from "../elementwise/reference.ts";
import { addressOf } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { pays, staged } from "../wasm/staging.ts";
import type { RowSizes } from "./reference.ts";
import { repeatsMuch } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

type Walk = (
  to: number,
  from: number,
  n0: number,
  n1: number,
  n2: number,
  n3: number,
  s0: number,
  s1: number,
  s2: number,
  s3: number,
) => void;

type Rows = (
  out: number,
  x: number,
  index: number,
  outer: number,
  n: number,
  count: number,
  inner: number,
) => void;

/** What simd.as.ts exports. */
export interface MovementExports {
  gather: Walk;
  scatter: Walk;
  takeRows: Rows;
  addRows: Rows;
  clear(at: number, bytes: number): void;
}

export const movementExports = /* @__PURE__ */ wasmKernel<MovementExports>(bytes);

// Below, staging plain arrays costs more than it saves.
const fewElements = 4096;

interface Axis {
  size: number;
  step: number;
}

/** The same walk with the fewest axes, at least four. */
function axesOf(shape: Shape, strides: readonly number[]): Axis[] {
  const axes: Axis[] = [];
  shape.forEach((size, i) => {
    if (size === 1) return;
    const outer = axes.at(-1);
    if (outer !== undefined && outer.step === strides[i] * size)
      axes[axes.length - 1] = { size: outer.size * size, step: strides[i] };
    else axes.push({ size, step: strides[i] });
  });
  while (axes.length < 4) axes.unshift({ size: 1, step: 0 });
  return axes;
}

/** The elements that a walk reaches: how far below and above its start. */
function reach(axes: readonly Axis[]): { below: number; above: number } {
  let [below, above] = [0, 0];
  for (const { size, step } of axes)
    if (step < 0) below -= step * (size - 1);
    else above += step * (size - 1);
  return { below, above };
}

/** Walks the last four axes at each place of the others; `contiguous` advances by their elements. */
function walk(axes: readonly Axis[], inner: (contiguous: number, strided: number) => void): void {
  const outer = axes.slice(0, -4);
  const size = axes.slice(-4).reduce((product, axis) => product * axis.size, 1);
  const steps = outer.map(({ step }) => step);
  walkRows(
    outer.map((axis) => axis.size),
    [steps],
    (at, n, [i], [step]) => {
      for (let k = 0; k < n; k++) inner((at + k) * size, i + k * step);
    },
  );
}

const hasFourBytes = (array: TypedArray): boolean => array.BYTES_PER_ELEMENT === 4;

/** The contract of reference.ts for elements of four bytes. False, with nothing written, where it does not apply. */
export function strided(
  out: TypedArray,
  shape: Shape,
  x: TypedArray,
  strides: readonly number[],
  offset = 0,
  exports = movementExports(),
): boolean {
  if (exports === null || !hasFourBytes(out) || out.constructor !== x.constructor) return false;
  const size = shape.reduce((product, n) => product * n, 1);
  if (size === 0) return true;
  const axes = axesOf(shape, strides);
  const { below, above } = reach(axes);
  // A walk that touches little of what it spans is not worth staging the span.
  if (!pays(below + above > 4 * size ? 0 : size, fewElements, out, x)) return false;
  return staged((staging) => {
    const from = staging.input(x, offset - below, below + above + 1);
    const to = staging.output(out, 0, size, false);
    if (from === 0 || to === 0) return false;
    const [a, b, c, d] = axes.slice(-4);
    walk(axes, (at, shift) =>
      exports.gather(
        to + at * 4,
        from + (below + shift) * 4,
        a.size,
        b.size,
        c.size,
        d.size,
        a.step * 4,
        b.step * 4,
        c.step * 4,
        d.step * 4,
      ),
    );
    return true;
  });
}

/** The contract of reference.ts for float32. False, with nothing written, where it does not apply. */
export function scatterStrided(
  out: TypedArray,
  g: TypedArray,
  shape: Shape,
  strides: readonly number[],
  offset = 0,
  exports = movementExports(),
): boolean {
  if (exports === null || !(out instanceof Float32Array && g instanceof Float32Array)) return false;
  const size = shape.reduce((product, n) => product * n, 1);
  if (size === 0) return true;
  const axes = axesOf(shape, strides);
  const { below, above } = reach(axes);
  if (!pays(below + above > 4 * size ? 0 : size, fewElements, out, g)) return false;
  return staged((staging) => {
    const from = staging.input(g, 0, size);
    const to = staging.output(out, offset - below, below + above + 1, true);
    if (from === 0 || to === 0) return false;
    const [a, b, c, d] = axes.slice(-4);
    walk(axes, (at, shift) =>
      exports.scatter(
        to + (below + shift) * 4,
        from + at * 4,
        a.size,
        b.size,
        c.size,
        d.size,
        a.step * 4,
        b.step * 4,
        c.step * 4,
        d.step * 4,
      ),
    );
    return true;
  });
}

/** The contract of reference.ts for elements of four bytes. False, with nothing written, where it does not apply. */
export function permute(out: TypedArray, x: TypedArray, shape: Shape, order: readonly number[]): boolean {
  const strides = stridesOf(shape);
  return strided(
    out,
    order.map((k) => shape[k]),
    x,
    order.map((k) => strides[k]),
  );
}

/** The contract of reference.ts for elements of four bytes. False, with nothing written, where it does not apply. */
export const broadcast = (out: TypedArray, x: TypedArray, shape: Shape, target: Shape): boolean =>
  strided(out, target, x, broadcastStrides(shape, target));

/**
 * The contract of reference.ts on the heap, where engines fill shared memory by the word: ten times as fast. False, with
 * nothing written, elsewhere.
 */
export function clear(array: TypedArray, exports = movementExports()): boolean {
  const address = addressOf(array);
  if (exports === null || address === 0) return false;
  exports.clear(address, array.byteLength);
  return true;
}

/** The contract of reference.ts on the heap for elements of four bytes. False, with nothing written, elsewhere. */
export function takeRows(
  out: TypedArray,
  x: TypedArray,
  index: TypedArray,
  sizes: RowSizes,
  exports = movementExports(),
): boolean {
  if (exports === null || !hasFourBytes(out) || out.constructor !== x.constructor) return false;
  return walkIndexed(exports.takeRows, out, x, index, sizes);
}

/** The contract of reference.ts on the heap for float32. False, with nothing written, elsewhere. */
export function addRows(
  out: TypedArray,
  g: TypedArray,
  index: TypedArray,
  sizes: RowSizes,
  exports = movementExports(),
): boolean {
  if (exports === null || !(out instanceof Float32Array && g instanceof Float32Array)) return false;
  if (repeatsMuch(index, sizes.n)) return false;
  return walkIndexed(exports.addRows, out, g, index, sizes);
}

/** A table is larger than what is taken of it, so that none is staged. */
function walkIndexed(run: Rows, out: TypedArray, x: TypedArray, index: TypedArray, sizes: RowSizes): boolean {
  const { outer, n, inner } = sizes;
  const [to, from] = [addressOf(out), addressOf(x)];
  if (to === 0 || from === 0 || !(index instanceof Int32Array)) return false;
  // A program may have written to the index since its op checked it, and wasm would write anywhere on the heap.
  for (let i = 0; i < index.length; i++) if (!(index[i] >= 0 && index[i] < n)) return false;
  return staged((staging) => {
    const at = staging.input(index, 0, index.length);
    if (at === 0) return false;
    run(to, from, at, outer, n, index.length, inner);
    return true;
  });
}
