import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { permute as reference } from "../../kernels/movement/reference.ts";
import { addRows, broadcast, permute, strided, takeRows } from "../../kernels/movement/simd.ts";
import { alloc, free, view } from "../../kernels/wasm/heap.ts";
import { expectWithin, onHeap } from "./heap.ts";

const product = (shape: readonly number[]): number => shape.reduce((n, size) => n * size, 1);

const orders = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }).chain((shape) =>
  fc
    .shuffledSubarray(
      shape.map((_, i) => i),
      { minLength: shape.length },
    )
    .map((order) => ({ shape, order })),
);

describe("SIMD copies", () => {
  it("permute any axes as the reference does, on the heap", () => {
    fc.assert(
      fc.property(orders, ({ shape, order }) => {
        const x = Float32Array.from({ length: product(shape) }, (_, i) => i);
        const want = x.slice();
        reference(want, x, shape, order);
        onHeap([new Float32Array(x.length), x], ([out, from]) => {
          expect(permute(out, from, shape, order)).toBe(true);
          expectWithin(out, want, new Float32Array(x.length));
        });
      }),
      { numRuns: 300 },
    );
  });

  it("serve large plain arrays and decline small ones, other sizes of elements, and slivers of large ones", () => {
    const x = Float32Array.from({ length: 6000 }, (_, i) => i);
    const out = new Float32Array(6000);
    expect(permute(out, x, [60, 100], [1, 0])).toBe(true);
    expect(out[1]).toBe(100);
    expect(permute(new Float32Array(4), x.slice(0, 4), [2, 2], [1, 0])).toBe(false);
    expect(permute(new Float64Array(6000), Float64Array.from(x), [60, 100], [1, 0])).toBe(false);
    expect(permute(new Int32Array(6000), x, [60, 100], [1, 0])).toBe(false);
    expect(strided(new Float32Array(5000), [5000], new Float32Array(500_000), [100])).toBe(false);
  });

  it("decline rows that are not there and tables elsewhere, and write nothing", () => {
    const blocks = [alloc(80), alloc(80)];
    const [table, rows] = blocks.map((at) => view("float32", at, 20).fill(7));
    const sizes = { outer: 1, n: 4, inner: 5 };
    for (const index of [
      [0, 4],
      [-1, 0],
      [2 ** 30, 0],
    ]) {
      expect(takeRows(rows, table, Int32Array.from(index), sizes)).toBe(false);
      expect(addRows(table, rows, Int32Array.from(index), sizes)).toBe(false);
    }
    expect(takeRows(rows, new Float32Array(20), Int32Array.of(0), sizes)).toBe(false);
    expect([...table, ...rows].every((v) => v === 7)).toBe(true);
    expect(takeRows(rows, table, Int32Array.of(0, 3), sizes)).toBe(true);
    for (const at of blocks) free(at);
  });

  it("repeat a row", () => {
    const out = new Float32Array(9000);
    expect(broadcast(out, Float32Array.of(1, 2, 3), [3], [3000, 3])).toBe(true);
    expect([...out.subarray(8996)]).toEqual([3, 1, 2, 3]);
  });
});
