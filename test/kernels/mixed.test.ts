import { DTypeError, scope, tensor } from "bitgrad";
import { describe, expect, it } from "vitest";
import { cast, mixedExports } from "../../kernels/mixed/simd.ts";

const beyond: [type: "int32" | "uint32" | "int8" | "uint8", ends: [number, number]][] = [
  ["int32", [-(2 ** 31), 2 ** 31 - 1]],
  ["uint32", [0, 2 ** 32 - 1]],
  ["int8", [-128, 127]],
  ["uint8", [0, 255]],
];
const arrays = { int32: Int32Array, uint32: Uint32Array, int8: Int8Array, uint8: Uint8Array };

describe("casts to integers", () => {
  it.skipIf(mixedExports() === null).each(beyond)(
    "to %s see every number that it cannot hold",
    (type, [low, high]) => {
      for (const n of [513, 1100, 1025])
        for (const at of [0, 1, 511, n - 2, n - 1])
          for (const value of [low - 1, high + 1, Number.NaN, Number.POSITIVE_INFINITY, -1e300, 1e20]) {
            const x = new Float64Array(n).fill(3);
            const out = new arrays[type](n);
            expect(cast(out, x)).toBe(true);
            x[at] = low - 0.5;
            expect(cast(out, x), `${x[at]}`).toBe(true);
            expect(out[at]).toBe(low);
            x[at] = value;
            expect(cast(out, x), `${value} at ${at} of ${n}`).toBe(false);
          }
    },
  );

  it("name the first such number, however many there are", () => {
    const numbers = Float32Array.from({ length: 2000 }, (_, i) => i % 100);
    numbers[1234] = Number.NaN;
    numbers[1999] = 1e10;
    const x = tensor(numbers);
    expect(() => x.to("int8")).toThrow(DTypeError);
    expect(() => x.to("int8")).toThrow("to: int8 cannot hold the value, got NaN at index 1234; round, clip");
    numbers[1234] = -128.75;
    expect(() => tensor(numbers).to("int8")).toThrow("got 10000000000 at index 1999");
    expect(tensor(numbers.subarray(0, 1900)).to("int8").data[1234]).toBe(-128);
  });
});

describe("roots and reciprocals of integers", () => {
  it.each(["sqrt", "rsqrt", "reciprocal"] as const)("%s is the same on the heap and off it", (op) => {
    const x = Int32Array.from({ length: 100 }, (_, i) => 2 ** 30 + i * 7654321 + 1);
    const off = tensor(x)[op]().toArray();
    const on = scope(() => tensor(x)[op]().toArray());
    expect(on).toEqual(off);
    const f = { sqrt: Math.sqrt, rsqrt: (v: number) => 1 / Math.sqrt(v), reciprocal: (v: number) => 1 / v }[
      op
    ];
    expect(off).toEqual(Array.from(x, (v) => Math.fround(f(v))));
  });
});
