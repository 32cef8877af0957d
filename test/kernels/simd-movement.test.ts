import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { permute as reference } from "../../kernels/movement/reference.ts";
import { broadcast, permute, strided } from "../../kernels/movement/simd.ts";
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

  it("repeat a row", () => {
    const out = new Float32Array(9000);
    expect(broadcast(out, Float32Array.of(1, 2, 3), [3], [3000, 3])).toBe(true);
    expect([...out.subarray(8996)]).toEqual([3, 1, 2, 3]);
  });
});
