import { BitgradError, floorDivide, fmod, remainder, tensor, truncDivide } from "bitgrad";
import { describe, expect, it } from "vitest";

describe.each([
  ["remainder", remainder],
  ["fmod", fmod],
  ["floorDivide", floorDivide],
  ["truncDivide", truncDivide],
])("%s by zero", (name, divide) => {
  it("is an error for integers, which have no infinity, and names the place", () => {
    for (const dtype of ["int32", "int8", "uint8", "uint32"] as const) {
      const [a, b] = [tensor([5, 7, 9], { dtype }), tensor([1, 0, 2], { dtype })];
      expect(() => divide(a, b)).toThrow(BitgradError);
      expect(() => divide(a, b)).toThrow(
        `${name}: integers cannot be divided by zero, got 0 at element 1 of the divisor; divide floats`,
      );
      expect(() => divide(a, 0)).toThrow("at element 0");
      expect(divide(tensor([], { dtype }), 0).size).toBe(0);
    }
  });

  it("gives what IEEE says for floats", () => {
    const got = Array.from(divide(tensor([5, -5, 0]), 0).data);
    const want = { remainder: [NaN, NaN, NaN], fmod: [NaN, NaN, NaN] }[name] ?? [Infinity, -Infinity, NaN];
    expect(got).toEqual(want);
  });
});
