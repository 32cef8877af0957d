/** Runs: the stretches of a row-major tensor that share a scale, and the shape that the scales have. */

import { ShapeError, show } from "../errors.ts";
import { type Shape, sizeOf } from "../shape.ts";
import type { QuantSpec } from "./spec.ts";

type Layout = Pick<QuantSpec, "granularity" | "axis">;

function axisOf({ axis }: Layout, shape: Shape): number {
  const rank = shape.length;
  if (axis < -rank || axis >= rank) {
    throw new ShapeError(`quantize: no such axis, got ${axis} for ${show(shape)}`);
  }
  return axis < 0 ? axis + rank : axis;
}

/** One scale a run of elements; a tensor without elements has none. */
export function scaleShape(layout: Layout, shape: Shape): Shape {
  const { granularity } = layout;
  if (sizeOf(shape) === 0) return [0];
  if (granularity === "tensor") return [1];
  const last = shape.length - 1;
  if (last < 0)
    throw new ShapeError(`quantize: a scalar has one scale, got granularity ${show(granularity)}`);
  if (granularity === "channel") return [shape[axisOf(layout, shape)]];
  const count = granularity === "token" ? 1 : Math.ceil(shape[last] / granularity.group);
  return [...shape.slice(0, last), count];
}

/** Calls `visit(from, to, k)` for every run, in order: elements from … to − 1 are read with scale k. */
export function forRuns(
  layout: Layout,
  shape: Shape,
  visit: (from: number, to: number, k: number) => void,
): void {
  const { granularity } = layout;
  const size = sizeOf(shape);
  if (size === 0) return;
  if (granularity === "tensor") visit(0, size, 0);
  else if (granularity === "channel") {
    const axis = axisOf(layout, shape);
    const inner = sizeOf(shape.slice(axis + 1));
    const count = shape[axis];
    for (let from = 0, k = 0; from < size; from += inner, k = (k + 1) % count) visit(from, from + inner, k);
  } else {
    const n = shape[shape.length - 1];
    const step = granularity === "token" ? n : granularity.group;
    let k = 0;
    for (let row = 0; row < size; row += n) {
      for (let from = row; from < row + n; from += step, k++) visit(from, Math.min(from + step, row + n), k);
    }
  }
}
