/** The gradient of a table whose rows are read often: its error does not grow with how often. */

import {
  embedding,
  gather,
  grad,
  indexSelect,
  maxPool1d,
  ones,
  scatterAdd,
  stack,
  type Tensor,
  tensor,
  useBackend,
  zeros,
} from "bitgrad";
import { expectClose } from "bitgrad/testing";
import { afterEach, describe, expect, it } from "vitest";

afterEach(() => useBackend("simd"));

const often = 300_000;

describe.each(["simd", "reference"] as const)(
  "on %s, rows that are read 300,000 times get exact sums",
  (backend) => {
    /** Row 1 of four is read most, row 3 once. */
    const ids = Int32Array.from({ length: often }, (_, i) => (i === 7 ? 3 : 1));
    const want = [0, 0, 0.1 * (often - 1), 0.1 * (often - 1), 0, 0, 0.1, 0.1];

    it.each<[string, (table: Tensor) => Tensor]>([
      ["embedding", (table) => embedding(table, tensor(ids))],
      ["indexSelect", (table) => indexSelect(table, tensor(ids), { axis: 0 })],
      ["gather", (table) => gather(table, stack([tensor(ids), tensor(ids)], { axis: 1 }), { axis: 0 })],
    ])("by %s", (_, read) => {
      useBackend(backend);
      const got = grad((table: Tensor) => read(table).mul(0.1).sum())(zeros([4, 2])) as Tensor;
      expectClose(got.reshape([8]), tensor(want), { rtol: 1e-7, atol: 0 });
    });
  },
);

it("many small numbers that scatterAdd adds to a large one all count", () => {
  const ids = tensor(new Int32Array(400));
  const sum = scatterAdd(tensor([1e7]), ids, ones([400]).mul(0.3), { axis: 0 });
  expect(sum.item()).toBe(Math.fround(1e7 + 400 * Math.fround(0.3)));
});

it("a pixel that is the largest of many windows gets the sum of their gradients", () => {
  const x = tensor(Float32Array.from({ length: 400 }, (_, i) => (i === 199 ? 1 : 0))).reshape([1, 1, 400]);
  const slopes = Float32Array.from({ length: 201 }, (_, i) => (i === 0 ? 1e7 : 0.3));
  const got = grad((at: Tensor) => maxPool1d(at, { kernelSize: 200, stride: 1 }).mul(tensor(slopes)).sum())(
    x,
  );
  const all = slopes.subarray(1, 200).reduce((sum, slope) => sum + slope, 1e7);
  expect((got as Tensor).reshape([400]).select(199).item()).toBe(Math.fround(all));
});

it("integers that are added often wrap as they did", () => {
  const ids = Int32Array.from({ length: 1000 }, () => 0);
  const sum = scatterAdd(tensor(Int32Array.of(5)), tensor(ids), tensor(new Int32Array(1000).fill(3)), {
    axis: 0,
  });
  expect(Array.from(sum.data)).toEqual([3005]);
});
