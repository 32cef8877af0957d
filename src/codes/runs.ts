/** Runs: the stretches of a row-major tensor that share a scale, and the shape that the scales have. */

import { forEachRun, type Runs } from "../../kernels/fake-quantize/reference.ts";
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

/** The runs as kernels take them. */
export function runsOf(layout: Layout, shape: Shape): Runs {
  const { granularity } = layout;
  const size = sizeOf(shape);
  if (size === 0) return { rows: 0, n: 1, step: 1 };
  const last = shape[shape.length - 1];
  const inner = granularity === "channel" ? sizeOf(shape.slice(axisOf(layout, shape) + 1)) : last;
  const n = granularity === "tensor" ? size : inner;
  return { rows: size / n, n, step: typeof granularity === "object" ? Math.min(granularity.group, n) : n };
}

/** Calls `visit(from, to, k)` for every run, in order: elements from … to − 1 are read with scale k. */
export function forRuns(
  layout: Layout,
  shape: Shape,
  visit: (from: number, to: number, k: number) => void,
): void {
  const count = sizeOf(scaleShape(layout, shape));
  forEachRun(runsOf(layout, shape), (from, to, k) => visit(from, to, k % count));
}
