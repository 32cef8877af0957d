import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  nearestBfloat16,
  nearestHalf,
  powerBelow,
  toBfloat16,
  toFloat16,
  widenBfloat16,
  widenFloat16,
} from "../../kernels/formats/half.ts";

const everyPattern = Uint16Array.from({ length: 65536 }, (_, i) => i);

const kinds = [
  { name: "float16", widen: widenFloat16, narrow: toFloat16, infinity: 0x7c00 },
  { name: "bfloat16", widen: widenBfloat16, narrow: toBfloat16, infinity: 0x7f80 },
];

it("the nearest normal float16 is that of the bit patterns, ties and doubles beside them too", () => {
  const values = widenFloat16(everyPattern);
  for (let i = 0x0400; i < 0x7bff; i += 1 + (i >> 7)) {
    const middle = (values[i] + values[i + 1]) / 2;
    for (const x of [values[i], middle, middle * (1 - 2 ** -52), middle * (1 + 2 ** -52)])
      expect(nearestHalf(x)).toBe(widenFloat16(toFloat16([x]))[0]);
  }
  expect([65519.9, 65520, 1e300].map(nearestHalf)).toEqual([65504, Infinity, Infinity]);
});

it("the nearest normal bfloat16 is that of the bit patterns, ties and doubles beside them too", () => {
  const values = widenBfloat16(everyPattern);
  for (let i = 0x0080; i < 0x7f7f; i += 1 + (i >> 9)) {
    const middle = (values[i] + values[i + 1]) / 2;
    for (const x of [values[i], middle, middle * (1 - 2 ** -52), middle * (1 + 2 ** -52)])
      expect(nearestBfloat16(x)).toBe(widenBfloat16(toBfloat16([x]))[0]);
  }
  const [most, tie] = [255 * 2 ** 120, 255.5 * 2 ** 120];
  expect([tie * (1 - 2 ** -52), tie, 1e300].map(nearestBfloat16)).toEqual([most, Infinity, Infinity]);
});

it("the power of two below a number is the number where it is one", () => {
  for (const e of [-1022, -150, -1, 0, 1, 127, 1023]) {
    for (const x of [1, 1 + 2 ** -52, 1.5, 2 - 2 ** -52]) expect(powerBelow(x * 2 ** e)).toBe(2 ** e);
  }
});

describe.each(kinds)("$name", ({ widen, narrow, infinity }) => {
  const values = widen(everyPattern);

  it("gives every bit pattern back after widening and narrowing, and NaN for NaN", () => {
    const back = narrow(values);
    const isNaN = (pattern: number) => (pattern & 0x7fff) > infinity;
    expect(everyPattern.filter((i) => Number.isNaN(values[i]) !== isNaN(i))).toHaveLength(0);
    expect(everyPattern.filter((i) => (isNaN(i) ? !isNaN(back[i]) : back[i] !== i))).toHaveLength(0);
  });

  it("rounds to the nearest, and a tie to the even neighbour", () => {
    for (let i = 0; i + 1 < infinity; i += 1 + (i >> 6)) {
      const [low, high] = [values[i], values[i + 1]];
      const middle = (low + high) / 2;
      const even = i % 2 === 0 ? i : i + 1;
      expect(
        Array.from(narrow([middle, low + (middle - low) * 0.999, high - (high - middle) * 0.999])),
      ).toEqual([even, i, i + 1]);
      expect(narrow([-middle])[0]).toBe(even | 0x8000);
    }
  });

  it("rounds doubles once, not by way of float32", () => {
    const [one, next] = [widen(narrow([1]))[0], widen(Uint16Array.of(narrow([1])[0] + 1))[0]];
    const middle = (one + next) / 2;
    expect(narrow([middle + 2 ** -45])[0]).toBe(narrow([1])[0] + 1);
    expect(narrow([middle - 2 ** -45])[0]).toBe(narrow([1])[0]);
  });

  it("becomes infinite half a step beyond the largest number and zero below half the smallest", () => {
    const largest = values[infinity - 1];
    const step = largest - values[infinity - 2];
    expect(Array.from(narrow([largest + step / 2, largest + step * 0.499, 1e300, -1e300]))).toEqual([
      infinity,
      infinity - 1,
      infinity,
      infinity | 0x8000,
    ]);
    expect(Array.from(narrow([values[1] / 2, (values[1] / 2) * 1.01, -0, 5e-324]))).toEqual([
      0, 1, 0x8000, 0,
    ]);
  });

  it("keeps the order of numbers", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), fc.double({ noNaN: true }), (a, b) => {
        const [x, y] = widen(narrow([Math.min(a, b), Math.max(a, b)]));
        expect(x).toBeLessThanOrEqual(y);
      }),
    );
  });
});
