/** Values and gradients of every op, composed function and loss where it has a kink, a pole, ties or infinities. */

import { grad, scope, type Tensor, tensor, zeros } from "bitgrad";
import { describe, expect, it } from "vitest";
import { shared } from "../../src/state.ts";
import { gradients } from "../../src/tape.ts";
import { isTensor } from "../../src/tensor.ts";
import { table } from "../ops-table.ts";
import { composites } from "./composites.ts";
import { losses } from "./losses.ts";
import { ops } from "./ops.ts";
import type { Flat, Nested, Point, Points } from "./point.ts";

type Run = (...inputs: (Tensor | null)[]) => Tensor | readonly Tensor[];

const entries: [name: string, points: Points, run: Run | null][] = [
  ...Object.entries(ops).map(([name, points]): [string, Points, Run] => [
    name,
    points,
    table[name as keyof typeof table] as Run,
  ]),
  ...Object.entries({ ...composites, ...losses }).map(([name, points]): [string, Points, null] => [
    name,
    points,
    null,
  ]),
];

/** 1, 2, 3, … times `factor`. */
const counting = (t: Tensor, factor = 1): Tensor =>
  tensor(
    Array.from({ length: t.size }, (_, i) => (i + 1) * factor),
    { shape: t.shape, dtype: t.dtype },
  );

/** The result at a point, its gradient by the fused rules and by those in ops, and the gradient of the latter. */
function solve(point: Point, op: Run | null, dtype: "float32" | "float64") {
  const { inputs, constant = [], integer = [], options } = point;
  const made = inputs.map((v, i): Tensor | null =>
    v === null ? null : tensor(v as never, { dtype: integer.includes(i) ? "int32" : dtype }),
  );
  const leaves = made.filter((t, i): t is Tensor => t !== null && !constant.includes(i));
  for (const leaf of leaves) leaf.requiresGrad = true;
  const result = point.run
    ? point.run(...(made as Tensor[]))
    : op!(...made, ...((options ? [options] : []) as never[]));
  const y = isTensor(result) ? result : (result as readonly Tensor[])[0];
  const flat = (grads: readonly (Tensor | null)[]): number[][] =>
    grads.map((g, i) => Array.from((g ?? zeros(leaves[i].shape)).data));
  const gradOf = (roots: readonly Tensor[], seeds: readonly Tensor[], createGraph: boolean) =>
    roots.length === 0
      ? leaves.map(() => null)
      : gradients(roots, seeds, leaves, { createGraph, retainGraph: true }, -1);
  const roots = y.requiresGrad ? [y] : [];
  const first = gradOf(roots, [counting(y)], true);
  const live = first.flatMap((g, k) => (g?.requiresGrad ? [[g, counting(g, k + 1)] as const] : []));
  return {
    value: [Array.from(y.data)],
    fused: flat(gradOf(roots, [counting(y)], false)),
    first: flat(first),
    second: flat(
      gradOf(
        live.map(([g]) => g),
        live.map(([, seed]) => seed),
        false,
      ),
    ),
  };
}

/** Equal infinities and NaN, and finite numbers apart by no more than a share of the largest. */
function expectNear(got: readonly Flat[], want: readonly Flat[], share: number, what: string): void {
  const size = Math.max(1, ...want.flat().filter(Number.isFinite).map(Math.abs));
  const isNear = (a: number, b: number) => Object.is(a, b) || a === b || Math.abs(a - b) <= share * size;
  const near =
    got.length === want.length &&
    got.every((list, i) => list.length === want[i].length && list.every((a, j) => isNear(a, want[i][j])));
  if (!near) expect.fail(`${what}: got ${shown(got)}, want ${shown(want)}`);
}

const shown = (lists: readonly Flat[]): string => lists.map((list) => `[${list.join(", ")}]`).join(" ");
const described = (inputs: readonly Nested[]): string =>
  JSON.stringify(inputs, (_, v) => (typeof v === "number" && !Number.isFinite(v) ? String(v) : v));

/** Runs in a scope that places tensors of one element too. */
function onHeap<T>(run: () => T): T {
  const memory = shared("memory", () => ({ least: 64 }));
  const { least } = memory;
  memory.least = 1;
  try {
    return scope(run);
  } finally {
    memory.least = least;
  }
}

describe.each(entries)("%s", (_, points, op) => {
  if (typeof points === "string") {
    it(`has no singular point: ${points}`, () => {
      expect(points.length).toBeGreaterThan(4);
    });
    return;
  }
  it.each([
    ["float64", "float64", 1e-7],
    ["float32", "float32", 1e-5],
    ["float32 on the heap, where SIMD takes any size", "float32", 1e-5],
  ] as const)(
    "has the value and the gradients of both orders that the table states, in %s",
    (way, dtype, share) => {
      for (const point of points) {
        const run = () => solve(point, op, dtype);
        const { value, fused, first, second } = way === dtype ? run() : onHeap(run);
        const where = `${way} at ${described(point.inputs)} ${point.run ?? described([point.options as never])}`;
        expectNear(value, [point.value], share, `value, ${where}`);
        expectNear(first, point.first, share, `gradient, ${where}`);
        expectNear(fused, point.first, share, `fused gradient, ${where}`);
        expectNear(second, point.second, share, `second gradient, ${where}`);
      }
    },
  );
});

it("shares the gradient of infinite float64 sums in doubles", () => {
  const x = tensor([Infinity, Infinity, Infinity], { dtype: "float64" });
  expect(Array.from(grad((t: Tensor) => t.logSumExp())(x).data)).toEqual([1 / 3, 1 / 3, 1 / 3]);
});
