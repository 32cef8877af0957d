/** Ops that move elements without changing them. */

import { permute as permuteLoop, scatterStrided, strided } from "../backend.ts";
import { checkInteger, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import {
  broadcastShapes,
  broadcastStrides,
  checkShape,
  normalizeAxes,
  normalizeAxis,
  type Shape,
  sameShape,
  sizeOf,
  stridesOf,
} from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { defineOp, type Grads } from "./op.ts";

const reshapeOp = defineOp<[x: Tensor], { shape: Shape }>("reshape", {
  arity: 1,
  options: { shape: [] },
  view: true,
  shape: (_, { shape }) => shape,
  forward() {},
  vjp: (grad, { inputs: [x] }): Grads => [grad.reshape(x.shape)],
});

/** The same elements in another shape; one size may be −1, to be worked out. Shares memory. */
export function reshape(x: TensorLike, shape: readonly number[]): Tensor {
  x = asTensor("reshape", x);
  const given = Array.isArray(shape) ? shape : [];
  const unknown = given.indexOf(-1);
  const wanted = [...given];
  if (unknown >= 0) {
    const known = given.reduce((n, size, i) => (i === unknown ? n : n * size), 1);
    if (known > 0 && x.size % known === 0) wanted[unknown] = x.size / known;
    else
      throw new ShapeError(`reshape: cannot work out the size of −1, got ${show(x.shape)} to ${show(shape)}`);
  }
  const target = checkShape("reshape", Array.isArray(shape) ? wanted : shape);
  if (sizeOf(target) !== x.size) {
    throw new ShapeError(`reshape: ${x.size} elements do not fit, got ${show(x.shape)} to ${show(shape)}`);
  }
  return reshapeOp(x, { shape: target });
}

/** One axis in place of axes start to end. */
export function flatten(x: TensorLike, options?: { start?: number; end?: number }): Tensor {
  const { start, end } = readOptions("flatten", options, { start: 0, end: -1 });
  x = asTensor("flatten", x);
  if (x.rank === 0) return reshape(x, [1]);
  const from = normalizeAxis("flatten", start, x.rank);
  const to = normalizeAxis("flatten", end, x.rank);
  if (from > to) throw new ShapeError(`flatten: start must not come after end, got ${start} and ${end}`);
  return reshape(x, [...x.shape.slice(0, from), sizeOf(x.shape, from, to + 1), ...x.shape.slice(to + 1)]);
}

/** Drops axes of size 1: those named (each must have size 1), or all. */
export function squeeze(x: TensorLike, axis?: number | readonly number[]): Tensor {
  x = asTensor("squeeze", x);
  const axes =
    axis === undefined
      ? x.shape.flatMap((n, i) => (n === 1 ? [i] : []))
      : normalizeAxes("squeeze", axis, x.rank);
  for (const k of axes) {
    if (x.shape[k] !== 1)
      throw new ShapeError(`squeeze: the axis must have size 1, got axis ${k} of ${show(x.shape)}`);
  }
  return reshape(
    x,
    x.shape.filter((_, i) => !axes.includes(i)),
  );
}

/** A new axis of size 1 at `axis` of the result. */
export function unsqueeze(x: TensorLike, axis: number): Tensor {
  x = asTensor("unsqueeze", x);
  const k = normalizeAxis("unsqueeze", axis, x.rank + 1);
  return reshape(x, [...x.shape.slice(0, k), 1, ...x.shape.slice(k)]);
}

const permuteOp = defineOp<[x: Tensor], { order: readonly number[] }>("permute", {
  writesAll: true,
  arity: 1,
  options: { order: [] },
  shape: ([x], { order }) => order.map((k) => x.shape[k]),
  forward: (out, [x], { order }) => permuteLoop(out, x.data, x.shape, order),
  vjp(grad, _, { order }) {
    const inverse = order.map((_, k) => order.indexOf(k));
    return [grad.permute(inverse)];
  },
});

/** Axis k of the result is axis order[k] of x. */
export function permute(x: TensorLike, order: readonly number[]): Tensor {
  x = asTensor("permute", x);
  if (!Array.isArray(order) || order.length !== x.rank) {
    throw new ShapeError(`permute: needs every axis once, got ${show(order)} for rank ${x.rank}`);
  }
  const axes = order.map((k: number) => normalizeAxis("permute", k, x.rank));
  if (axes.some((k, i) => axes.indexOf(k) !== i))
    throw new ShapeError(`permute: an axis is named twice, got ${show(order)}`);
  // Moving only axes of size 1 leaves the elements where they are.
  const moved = axes.filter((k) => x.shape[k] !== 1);
  if (moved.every((k, i) => i === 0 || moved[i - 1] < k))
    return reshape(
      x,
      axes.map((k) => x.shape[k]),
    );
  return permuteOp(x, { order: axes });
}

/** Two axes exchanged; the last two by default. */
export function transpose(x: TensorLike, a = -2, b = -1): Tensor {
  x = asTensor("transpose", x);
  const order = x.shape.map((_, i) => i);
  const i = normalizeAxis("transpose", a, x.rank);
  const j = normalizeAxis("transpose", b, x.rank);
  order[i] = j;
  order[j] = i;
  return permute(x, order);
}

const broadcastOp = defineOp<[x: Tensor], { shape: Shape }>("broadcastTo", {
  writesAll: true,
  arity: 1,
  options: { shape: [] },
  shape: (_, { shape }) => shape,
  forward: (out, [x], { shape }) => strided(out, shape, x.data, broadcastStrides(x.shape, shape)),
  // The tape sums the gradient back to the input's shape.
  vjp: (grad): Grads => [grad],
});

/** x repeated to `shape` by the rules of broadcasting. */
export function broadcastTo(x: TensorLike, shape: readonly number[]): Tensor {
  x = asTensor("broadcastTo", x);
  const target = checkShape("broadcastTo", shape);
  if (sameShape(x.shape, target)) return x;
  if (!sameShape(broadcastShapes("broadcastTo", x.shape, target), target)) {
    throw new ShapeError(`broadcastTo: the shape cannot shrink, got ${show(x.shape)} to ${show(target)}`);
  }
  return broadcastOp(x, { shape: target });
}

/** Elements at offset + Σ index·stride: the one copy behind slice, flip, diagonal and unfold. Strides are in elements. */
const stridedOp = defineOp<[x: Tensor], { shape: Shape; strides: readonly number[]; offset: number }>(
  "strided",
  {
    writesAll: true,
    arity: 1,
    options: { shape: [], strides: [], offset: 0 },
    shape: (_, { shape }) => shape,
    forward: (out, [x], { shape, strides, offset }) => strided(out, shape, x.data, strides, offset),
    vjp: (grad, { inputs: [x] }, { strides, offset }): Grads => [
      scatterStridedOp(grad, { shape: x.shape, strides, offset }),
    ],
  },
);

/** The adjoint of `strided`: adds into zeros of `shape`. */
const scatterStridedOp = defineOp<[g: Tensor], { shape: Shape; strides: readonly number[]; offset: number }>(
  "scatterStrided",
  {
    arity: 1,
    options: { shape: [], strides: [], offset: 0 },
    shape: (_, { shape }) => shape,
    forward: (out, [g], { strides, offset }) => scatterStrided(out, g.data, g.shape, strides, offset),
    vjp: (grad, { inputs: [g] }, { strides, offset }) => [
      stridedOp(grad, { shape: g.shape, strides, offset }),
    ],
  },
);

/** Where a slice begins and ends and its step, one entry an axis; `[from, to, step]` with null for "as far as it goes". */
export type SliceRange = readonly [from?: number | null, to?: number | null, step?: number] | number | null;

/**
 * A block of x: one range an axis, the rest whole. A range is `[from, to, step]` with Python's meaning (negative counts
 * from the end, `to` is left out), a number picks one index and drops the axis, null keeps the axis whole.
 */
export function slice(x: TensorLike, ranges: readonly SliceRange[]): Tensor {
  x = asTensor("slice", x);
  if (!Array.isArray(ranges) || ranges.length > x.rank) {
    throw new ShapeError(`slice: needs at most one range an axis, got ${show(ranges)} for rank ${x.rank}`);
  }
  const own = stridesOf(x.shape);
  const shape: number[] = [];
  const strides: number[] = [];
  let offset = 0;
  x.shape.forEach((n, axis) => {
    const range = (ranges as readonly SliceRange[])[axis] ?? [];
    if (typeof range === "number") {
      const index = range < 0 ? range + n : range;
      if (!Number.isInteger(index) || index < 0 || index >= n) {
        throw new ShapeError(`slice: index out of range, got ${range} on axis ${axis} of size ${n}`);
      }
      offset += index * own[axis];
      return;
    }
    if (!Array.isArray(range))
      throw new OptionError(
        `slice: a range must be a list, an index or null, got ${show(range)} on axis ${axis}`,
      );
    const [from, to, step = 1] = range as Exclude<SliceRange, number | null>;
    const [start, count] = bounds(n, from ?? null, to ?? null, step, axis);
    offset += start * own[axis];
    shape.push(count);
    strides.push(own[axis] * step);
  });
  if (sizeOf(shape) === x.size && strides.every((s, i) => s === stridesOf(shape)[i]))
    return reshape(x, shape);
  return stridedOp(x, { shape, strides, offset: sizeOf(shape) === 0 ? 0 : offset });
}

function bounds(
  n: number,
  from: number | null,
  to: number | null,
  step: number,
  axis: number,
): [start: number, count: number] {
  if (!Number.isInteger(step) || step === 0)
    throw new OptionError(`slice: the step must be a non-zero integer, got ${step} on axis ${axis}`);
  for (const v of [from, to]) {
    if (v !== null && !Number.isInteger(v))
      throw new OptionError(`slice: bounds must be integers or null, got ${show(v)} on axis ${axis}`);
  }
  const clamp = (v: number, low: number, high: number) => Math.min(Math.max(v < 0 ? v + n : v, low), high);
  if (step > 0) {
    const start = from === null ? 0 : clamp(from, 0, n);
    const end = to === null ? n : clamp(to, 0, n);
    return [start, Math.max(0, Math.ceil((end - start) / step))];
  }
  const start = from === null ? n - 1 : clamp(from, -1, n - 1);
  const end = to === null ? -1 : clamp(to, -1, n - 1);
  return [Math.max(start, 0), Math.max(0, Math.ceil((end - start) / step))];
}

/** Index `index` of `axis`, which is dropped. */
export function select(x: TensorLike, index: number, options?: { axis?: number }): Tensor {
  const { axis } = readOptions("select", options, { axis: 0 });
  x = asTensor("select", x);
  const k = normalizeAxis("select", axis, x.rank);
  const n = x.shape[k];
  if (!(Number.isInteger(index) && index >= -n && index < n)) {
    throw new ShapeError(`select: index out of range, got ${show(index)} on axis ${k} of size ${n}`);
  }
  return slice(x, [...Array<null>(k).fill(null), index]);
}

/** x in reverse order along the axes. */
export function flip(x: TensorLike, axis: number | readonly number[]): Tensor {
  x = asTensor("flip", x);
  const axes = normalizeAxes("flip", axis, x.rank);
  return slice(
    x,
    x.shape.map((_, k) => (axes.includes(k) ? [null, null, -1] : null)),
  );
}

/** Windows of `size` along an axis, `step` apart, as a new last axis: torch.Tensor.unfold. */
export function unfoldDim(x: TensorLike, options: { axis: number; size: number; step: number }): Tensor {
  x = asTensor("unfoldDim", x);
  const { axis, size, step } = readOptions("unfoldDim", options, { axis: 0, size: 1, step: 1 });
  const k = normalizeAxis("unfoldDim", axis, x.rank);
  const own = stridesOf(x.shape);
  if (![size, step].every(Number.isInteger) || size < 0 || size > x.shape[k] || step < 1) {
    throw new ShapeError(
      `unfoldDim: windows do not fit, got size ${size} and step ${step} on axis ${k} of ${show(x.shape)}`,
    );
  }
  const shape = x.shape.map((n, i) => (i === k ? Math.floor((n - size) / step) + 1 : n));
  const strides = own.map((s, i) => (i === k ? s * step : s));
  return stridedOp(x, { shape: [...shape, size], strides: [...strides, own[k]], offset: 0 });
}

/** The elements (i, i + offset) of the last two axes. */
export function diagonal(x: TensorLike, options?: { offset?: number }): Tensor {
  const { offset } = readOptions("diagonal", options, { offset: 0 });
  checkInteger("diagonal", "offset", offset);
  x = asTensor("diagonal", x);
  if (x.rank < 2) throw new ShapeError(`diagonal: needs at least two axes, got ${show(x.shape)}`);
  const [rows, columns] = x.shape.slice(-2);
  const own = stridesOf(x.shape);
  const count = Math.max(0, Math.min(rows - Math.max(0, -offset), columns - Math.max(0, offset)));
  const start = offset >= 0 ? offset : -offset * columns;
  return stridedOp(x, {
    shape: [...x.shape.slice(0, -2), count],
    strides: [...own.slice(0, -2), columns + 1],
    offset: count === 0 ? 0 : start,
  });
}

export { broadcastOp, permuteOp, reshapeOp, scatterStridedOp, stridedOp };
