import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  firstOutside,
  gather,
  type IndexSizes,
  places,
  scatter,
  scatterAdd,
} from "../../kernels/gather/reference.ts";
import * as simd from "../../kernels/gather/simd.ts";
import { maskedSelect, scope, tensor, zeros } from "../../src/index.ts";
import { sizeOf, stridesOf } from "../../src/shape.ts";

/** Sizes of a tensor and of an index that fits into it off the axis, and the index. */
const indexed = fc
  .array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 4 })
  .chain((within) =>
    fc.record({
      within: fc.constant(within),
      axis: fc.nat({ max: within.length - 1 }),
      shape: fc.tuple(...within.map((n) => fc.nat({ max: n }))),
      length: fc.nat({ max: 5 }),
      seeds: fc.array(fc.nat({ max: 1000 }), { minLength: 1, maxLength: 20 }),
    }),
  )
  .map(({ within, axis, shape, length, seeds }) => {
    const own: number[] = shape.map((n, k) => (k !== axis ? n : within[axis] === 0 ? 0 : length));
    const index = Int32Array.from({ length: sizeOf(own) }, (_, i) => seeds[i % seeds.length] % within[axis]);
    return { sizes: { within, shape: own, axis }, index };
  });

/** Where each element of the index stands, worked out place by place. */
function placesOf({ within, shape, axis }: IndexSizes, index: Int32Array): number[] {
  const [to, from] = [stridesOf(within), stridesOf(shape)];
  return Array.from(index, (id, i) =>
    to.reduce((at, step, k) => at + step * (k === axis ? id : Math.floor(i / from[k]) % shape[k]), 0),
  );
}

const numbers = (length: number, seed: number) =>
  Float32Array.from({ length }, (_, i) => Math.fround(Math.sin(i * 7 + seed) * 10 ** ((i * 5) % 9)));

describe("an index along an axis", () => {
  it("reads, writes and adds at the places it stands for, whatever the sizes", () => {
    fc.assert(
      fc.property(indexed, ({ sizes, index }) => {
        const at = placesOf(sizes, index);
        const x = numbers(sizeOf(sizes.within), 1);
        const source = numbers(index.length, 2);
        const got = new Float32Array(index.length);
        gather(got, x, index, sizes);
        expect(got).toEqual(Float32Array.from(at, (place) => x[place]));

        const want = x.slice();
        at.forEach((place, i) => {
          want[place] = source[i];
        });
        const written = new Float32Array(x.length);
        scatter(written, x, index, source, sizes);
        expect(written).toEqual(want);

        const sums = Float64Array.from(x);
        at.forEach((place, i) => {
          sums[place] += source[i];
        });
        const [single, double] = [new Float32Array(x.length), new Float64Array(x.length)];
        scatterAdd(single, x, index, source, sizes);
        scatterAdd(double, x, index, source, sizes);
        expect(single).toEqual(Float32Array.from(sums));
        expect(double).toEqual(sums);
      }),
      { numRuns: 300 },
    );
  });

  it("keeps the bits of NaN, infinities and −0 that nothing is added to", () => {
    const x = Float32Array.of(-0, Number.NaN, Infinity, -Infinity, 1);
    const out = new Float32Array(5);
    scatterAdd(out, x, Int32Array.of(4, 4), Float32Array.of(1, 2), { within: [5], shape: [2], axis: 0 });
    expect([...out]).toEqual([-0, Number.NaN, Infinity, -Infinity, 4]);
  });
});

describe("the SIMD loops", () => {
  const long = Int32Array.from({ length: 5003 }, (_, i) => i % 700);

  it("see every index that is out of range, wherever it stands", () => {
    expect(firstOutside(long, 700)).toBe(-1);
    expect(simd.isWithin(long, 700)).toBe(true);
    for (const at of [0, 1, 2, 3, 2000, 4999, 5000, 5001, 5002])
      for (const wrong of [700, -1, 2 ** 31 - 1, -(2 ** 31)]) {
        const index = long.slice();
        index[at] = wrong;
        expect(firstOutside(index, 700)).toBe(at);
        expect(simd.isWithin(index, 700)).toBe(false);
      }
  });

  it("see every index of an axis without elements, on the heap and off it", () => {
    expect(simd.isWithin(new Int32Array(5003), 0)).toBe(false);
    const read = (size: number) => zeros([0, 2]).embedding(zeros([size], { dtype: "int32" }));
    const message = "embedding: index out of range, got 0 for an axis of size 0";
    expect(() => read(5003)).toThrow(message);
    scope(() => {
      for (const size of [64, 67]) expect(() => read(size)).toThrow(message);
    });
  });

  it("decline an index that a program has written to since it was checked", () => {
    const index = long.slice();
    index[4321] = 700;
    const sizes = { within: [700], shape: [5003], axis: 0 };
    const out = new Float32Array(5003);
    expect(simd.gather(out, new Float32Array(700), index, sizes)).toBe(false);
    expect(simd.scatterAdd(new Float32Array(700), new Float32Array(700), index, out, sizes)).toBe(false);
  });

  it("find the places of what is not 0 as the reference does", () => {
    for (const length of [0, 1, 5, 4096, 5003]) {
      const mask = Uint8Array.from({ length }, (_, i) => ((i * 7) % 3 === 0 ? 0 : (i % 255) + 1));
      const want = Int32Array.from(mask.keys()).filter((i) => mask[i] !== 0);
      expect(places(mask)).toEqual(want);
      if (length >= 4096) expect(simd.places(mask)).toEqual(want);
    }
    expect(places(Float64Array.of(0, -0, Number.NaN, 1e-320))).toEqual(Int32Array.of(2, 3));
  });
});

describe("maskedSelect", () => {
  it("takes what is not 0, NaN too, and nothing behind the last", () => {
    const x = tensor([1, 2, 3, 4]);
    expect(maskedSelect(x, tensor([0, Number.NaN, -0, -2])).toArray()).toEqual([2, 4]);
    expect(maskedSelect(x, tensor([true, false, false, false])).toArray()).toEqual([1]);
    expect(maskedSelect(x, false).shape).toEqual([0]);
    expect(maskedSelect(x, true).toArray()).toEqual([1, 2, 3, 4]);
  });
});
