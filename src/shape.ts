/** Shape arithmetic. Pure functions over lists of axis lengths; tensors are contiguous and row-major. */

import { OptionError, ShapeError, show } from "./errors.ts";

export type Shape = readonly number[];

/** Number of elements; 1 for a scalar, whose shape is (). With `from` and `to`, of these axes alone. */
export function sizeOf(shape: Shape, from = 0, to = shape.length): number {
  let size = 1;
  for (let i = from; i < to; i++) size *= shape[i];
  return size;
}

/** The sizes of the axes from `from` to before `to`, in a list of their own: engines slice frozen lists slowly. */
export function sizesAt(shape: Shape, from: number, to = shape.length): number[] {
  const sizes: number[] = [];
  for (let i = from; i < to; i++) sizes.push(shape[i]);
  return sizes;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Checked shapes by their sizes, axis after axis. */
interface Known {
  shape: Shape | null;
  readonly next: Map<number, Known>;
}

const unknown = (): Known => ({ shape: null, next: new Map() });
// More than a program has shapes, unless it makes new ones all the time.
const mostKnown = 4096;
let known = unknown();
let count = 0;

/**
 * Checks that `shape` is a list of non-negative integers whose product is a safe integer, and returns it frozen. Programs
 * use the same shapes in every step: to find one again takes less time than to check and freeze another.
 */
export function checkShape(op: string, shape: unknown): Shape {
  if (!Array.isArray(shape)) {
    const hint = typeof shape === "number" ? `; write [${shape}, …]` : "";
    throw new ShapeError(`${op}: a shape must be an array of sizes, got ${show(shape)}${hint}`);
  }
  let found: Known | undefined = known;
  for (let i = 0; i < shape.length && found; i++) found = found.next.get(shape[i]);
  return found?.shape ?? keepShape(checkSizes(op, shape));
}

function checkSizes(op: string, shape: readonly unknown[]): Shape {
  for (const n of shape as Shape) {
    if (!Number.isInteger(n) || n < 0) {
      throw new ShapeError(`${op}: sizes must be non-negative integers, got ${show(shape)}`);
    }
  }
  if (!Number.isSafeInteger(sizeOf(shape as Shape)))
    throw new ShapeError(`${op}: the shape holds too many elements, got ${show(shape)}`);
  return shape as Shape;
}

function keepShape(shape: Shape): Shape {
  if (count >= mostKnown) {
    known = unknown();
    count = 0;
  }
  let place = known;
  const sizes: number[] = [];
  for (const n of shape) {
    // Without −0, which is found as 0.
    sizes.push(n + 0);
    const next = place.next.get(n) ?? unknown();
    place.next.set(n, next);
    place = next;
    count++;
  }
  place.shape = Object.freeze(sizes);
  return place.shape;
}

/** The axis counted from the front; negative axes count from the end. */
export function normalizeAxis(op: string, axis: number, rank: number): number {
  if (!Number.isInteger(axis)) throw new OptionError(`${op}: an axis must be an integer, got ${show(axis)}`);
  const k = axis < 0 ? axis + rank : axis;
  if (k < 0 || k >= rank) {
    throw new ShapeError(
      rank === 0
        ? `${op}: a scalar has no axis, got axis ${axis}`
        : `${op}: axis out of range, got ${axis} for rank ${rank}; use ${-rank} to ${rank - 1}`,
    );
  }
  return k;
}

/** Sorted, distinct axes; every axis when `axis` is null or undefined. A repeated axis is an error. */
export function normalizeAxes(
  op: string,
  axis: number | readonly number[] | null | undefined,
  rank: number,
): number[] {
  if (axis === null || axis === undefined) return Array.from({ length: rank }, (_, i) => i);
  if (typeof axis !== "number" && !Array.isArray(axis))
    throw new OptionError(`${op}: axes must be integers, got ${show(axis)}`);
  const list = (typeof axis === "number" ? [axis] : [...axis]).map((k) => normalizeAxis(op, k, rank));
  if (new Set(list).size !== list.length)
    throw new ShapeError(`${op}: an axis is named twice, got ${show(axis)}`);
  return list.sort((a, b) => a - b);
}

/** NumPy broadcasting of two shapes. */
export function broadcastShapes(op: string, a: Shape, b: Shape): Shape {
  if (sameShape(a, b)) return a;
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 0; i < rank; i++) {
    const m = i < rank - a.length ? 1 : a[i - (rank - a.length)];
    const n = i < rank - b.length ? 1 : b[i - (rank - b.length)];
    if (m !== n && m !== 1 && n !== 1) {
      throw new ShapeError(`${op}: cannot broadcast ${show(a)} with ${show(b)}: axis ${i} is ${m} and ${n}`);
    }
    out[i] = m === 1 ? n : m;
  }
  return out;
}

/** Whether `from` repeats to exactly `to` by broadcasting. */
export function broadcastsTo(from: Shape, to: Shape): boolean {
  const lead = to.length - from.length;
  if (lead < 0) return false;
  for (let i = 0; i < from.length; i++) if (from[i] !== to[lead + i] && from[i] !== 1) return false;
  return true;
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

/** Strides of `shape` read as if broadcast to `target`: 0 on every axis that is repeated. */
export function broadcastStrides(shape: Shape, target: Shape): number[] {
  const own = stridesOf(shape);
  const lead = target.length - shape.length;
  return target.map((_, i) => (i < lead || shape[i - lead] === 1 ? 0 : own[i - lead]));
}

/** The shape left after reducing `axes`. */
export function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): number[] {
  const out: number[] = [];
  for (let i = 0; i < shape.length; i++) {
    if (!axes.includes(i)) out.push(shape[i]);
    else if (keepDims) out.push(1);
  }
  return out;
}
