import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { broadcast, permute, scatterStrided, strided } from "../../kernels/movement/reference.ts";
import { newArray, type TypedArray } from "../../src/dtype.ts";
import { sizeOf, stridesOf } from "../../src/shape.ts";
import { dot, expectClose, values } from "./check.ts";

const extremes = {
  float32: [0.1, Number.NaN, Number.NEGATIVE_INFINITY, -0],
  float64: [0.1, Number.NaN, Number.NEGATIVE_INFINITY, -0],
  int32: [-1, 2 ** 31 - 1, -(2 ** 31), 5],
  uint32: [2 ** 32 - 1, 2 ** 31, 0, 5],
  int8: [-128, 127, -1, 5],
  uint8: [255, 128, 0, 5],
} as const;

const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });

describe("permute", () => {
  it("moves each element to the place its axes go, and the inverse order brings it back", () => {
    fc.assert(
      fc.property(
        shapes.chain((shape) =>
          fc.tuple(fc.constant(shape), fc.shuffledSubarray([...shape.keys()], { minLength: shape.length })),
        ),
        ([shape, order]) => {
          const x = values(sizeOf(shape), 1);
          const target = order.map((k) => shape[k]);
          const out = new Float64Array(x.length);
          permute(out, x, shape, order);
          const from = stridesOf(shape);
          const to = stridesOf(target);
          for (let i = 0; i < x.length; i++) {
            const index = shape.map((n, axis) => Math.floor(i / from[axis]) % n);
            expect(out[order.reduce((at, k, axis) => at + index[k] * to[axis], 0)]).toBe(x[i]);
          }
          const back = new Float64Array(x.length);
          permute(
            back,
            out,
            target,
            order.map((_, k) => order.indexOf(k)),
          );
          expect(back).toEqual(x);
        },
      ),
    );
  });

  it("keeps the extremes of every type", () => {
    for (const [dtype, list] of Object.entries(extremes)) {
      const x = newArray(dtype as keyof typeof extremes, 5).subarray(1) as TypedArray;
      x.set(list);
      const out = x.slice();
      permute(out, x, [2, 2], [1, 0]);
      expect(Array.from(out), dtype).toEqual([x[0], x[2], x[1], x[3]]);
    }
  });
});

describe("strided", () => {
  it("reads backwards from an offset, and scatterStrided is its adjoint", () => {
    const x = values(12, 1);
    const u = values(6, 2);
    const out = new Float64Array(6);
    strided(out, [2, 3], x, [6, -2], 5);
    expect(Array.from(out)).toEqual([5, 3, 1, 11, 9, 7].map((i) => x[i]));
    const spread = new Float64Array(12);
    scatterStrided(spread, u, [2, 3], [6, -2], 5);
    expectClose([dot(spread, x)], [dot(u, out)]);
  });
});

describe("broadcast", () => {
  it("repeats axes of size 1 and missing leading axes", () => {
    const out = new Int8Array(12);
    broadcast(out, Int8Array.of(1, -2), [2, 1], [2, 2, 3]);
    expect(Array.from(out)).toEqual([1, 1, 1, -2, -2, -2, 1, 1, 1, -2, -2, -2]);
  });
});
