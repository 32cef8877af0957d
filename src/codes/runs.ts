/** Runs: the stretches of a row-major tensor that share a scale, and the shape that the scales have. */

import { forEachRun, type Runs } from "../../kernels/fake-quantize/reference.ts";
import { ShapeError, show } from "../errors.ts";
import { type Shape, sizeOf } from "../shape.ts";
import { blockOf, groupOf, type QuantSpec } from "./spec.ts";

type Layout = Pick<QuantSpec, "granularity" | "axis">;

function axisOf({ axis }: Layout, shape: Shape): number {
  const rank = shape.length;
  if (axis < -rank || axis >= rank) {
    throw new ShapeError(`quantize: no such axis, got ${axis} for ${show(shape)}`);
  }
  return axis < 0 ? axis + rank : axis;
}

/** Along which axes how many elements share a scale: of groups and blocks. */
export function sharedAlong(layout: Layout, shape: Shape): [axis: number, count: number][] {
  const [group, block] = [groupOf(layout), blockOf(layout)];
  if (group !== null) return [[axisOf(layout, shape), group]];
  if (block === null) return [];
  const rank = shape.length;
  if (rank < 2) throw new ShapeError(`quantize: blocks need rows and columns, got ${show(shape)}`);
  return [
    [rank - 2, block[0]],
    [rank - 1, block[1]],
  ];
}

/** One scale a run of elements, or for several runs; a tensor without elements has none. */
export function scaleShape(layout: Layout, shape: Shape): Shape {
  const { granularity } = layout;
  if (sizeOf(shape) === 0) return [0];
  if (granularity === "tensor") return [1];
  const last = shape.length - 1;
  if (last < 0)
    throw new ShapeError(`quantize: a scalar has one scale, got granularity ${show(granularity)}`);
  if (granularity === "channel") return [shape[axisOf(layout, shape)]];
  if (granularity === "token") return [...shape.slice(0, last), 1];
  const counts = [...shape];
  for (const [axis, count] of sharedAlong(layout, shape)) counts[axis] = Math.ceil(counts[axis] / count);
  return counts;
}

/** A tensor as tables of `height` rows of `width` numbers, in which tiles of `high` rows of `wide` numbers share a scale. */
interface Tiles {
  readonly height: number;
  readonly width: number;
  readonly high: number;
  readonly wide: number;
}

function tilesOf(layout: Layout, shape: Shape): Tiles {
  const { granularity } = layout;
  const last = shape[shape.length - 1];
  const inRows = (width: number, wide = width): Tiles => ({ height: 1, width, high: 1, wide });
  if (granularity === "tensor") return inRows(sizeOf(shape));
  if (granularity === "token") return inRows(last);
  if (granularity === "channel") return inRows(sizeOf(shape.slice(axisOf(layout, shape) + 1)));
  const [[axis, count], columns] = sharedAlong(layout, shape);
  if (columns) return { height: shape[axis], width: last, high: count, wide: columns[1] };
  if (axis === shape.length - 1) return inRows(last, count);
  return { height: shape[axis], width: sizeOf(shape.slice(axis + 1)), high: count, wide: 1 };
}

/** The runs as kernels take them. */
export function runsOf(layout: Layout, shape: Shape): Runs {
  const size = sizeOf(shape);
  if (size === 0) return { rows: 0, n: 1, step: 1 };
  const { width, wide } = tilesOf(layout, shape);
  return { rows: size / width, n: width, step: Math.min(wide, width) };
}

/** By which scale a run is read. */
export function scaleOfRun(layout: Layout, shape: Shape): (run: number) => number {
  const count = sizeOf(scaleShape(layout, shape));
  if (count === 0) return () => 0;
  const { height, high, width, wide } = tilesOf(layout, shape);
  if (high === 1) return (run) => run % count;
  const [across, down] = [Math.ceil(width / wide), Math.ceil(height / high)];
  return (run) => {
    const row = Math.floor(run / across);
    const tile = Math.floor(row / height) * down + Math.floor((row % height) / high);
    return tile * across + (run % across);
  };
}

/** Scales, or zero points, as kernels take them: run k is read by that at k, modulo their number. */
export function perRun(numbers: Float32Array, layout: Layout, shape: Shape): Float32Array {
  if (sizeOf(shape) === 0 || tilesOf(layout, shape).high === 1) return numbers;
  const { rows, n, step } = runsOf(layout, shape);
  const place = scaleOfRun(layout, shape);
  const spread = new Float32Array(rows * Math.ceil(n / step));
  for (let run = 0; run < spread.length; run++) spread[run] = numbers[place(run)];
  return spread;
}

/** Calls `visit(from, to, k)` for every run, in order: elements from … to − 1 are read with scale k. */
export function forRuns(
  layout: Layout,
  shape: Shape,
  visit: (from: number, to: number, k: number) => void,
): void {
  const place = scaleOfRun(layout, shape);
  forEachRun(runsOf(layout, shape), (from, to, k) => visit(from, to, place(k)));
}
