/** The gradient of a table whose rows are read often: its error does not grow with how often. */

import { embedding, grad, indexSelect, scatterAdd, type Tensor, tensor, useBackend, zeros } from "bitgrad";
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
    ])("by %s", (_, read) => {
      useBackend(backend);
      const got = grad((table: Tensor) => read(table).mul(0.1).sum())(zeros([4, 2])) as Tensor;
      expectClose(got.reshape([8]), tensor(want), { rtol: 1e-7, atol: 0 });
    });
  },
);

it("integers that are added often wrap as they did", () => {
  const ids = Int32Array.from({ length: 1000 }, () => 0);
  const sum = scatterAdd(tensor(Int32Array.of(5)), tensor(ids), tensor(new Int32Array(1000).fill(3)), {
    axis: 0,
  });
  expect(Array.from(sum.data)).toEqual([3005]);
});
