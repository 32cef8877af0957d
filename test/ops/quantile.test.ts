import { describe, expect, it } from "vitest";
import { manualSeed, median, quantile, randn, shapesOnly, tensor, zeros } from "../../src/index.ts";

describe("quantile", () => {
  it("of many is that of each alone, whatever the axis", () => {
    manualSeed("quantile");
    const x = randn([7, 4, 9]);
    const q = [0, 0.1, 0.35, 0.5, 0.77, 0.9, 1];
    for (const axis of [0, 1, 2, null])
      for (const interpolation of ["linear", "lower", "higher", "nearest", "midpoint"] as const) {
        const all = quantile(x, q, { axis, interpolation });
        q.forEach((share, i) => {
          const one = quantile(x, share, { axis, interpolation });
          expect(all.select(i).toArray()).toEqual(one.toArray());
        });
      }
  });

  it("is the median's element where that lies in the middle", () => {
    const x = randn([5, 9]);
    expect(quantile(x, 0.5, { axis: 1 }).toArray()).toEqual(median(x).values.toArray());
  });

  it("has one axis in front for a list, none for a number, and one of size 0 for an empty list", () => {
    const x = zeros([2, 3, 4]);
    expect(quantile(x, 0.5).shape).toEqual([]);
    expect(quantile(x, [0.5]).shape).toEqual([1]);
    expect(quantile(x, [], { axis: 1 }).shape).toEqual([0, 2, 4]);
    expect(quantile(x, [0.1, 0.2], { axis: -1, keepDims: true }).shape).toEqual([2, 2, 3, 1]);
    expect(quantile(x, 0.5, { keepDims: true }).shape).toEqual([1, 1, 1]);
    expect(quantile(zeros([0, 3]), 0.5, { axis: 1 }).shape).toEqual([0]);
    expect(quantile(3, [0, 1]).toArray()).toEqual([3, 3]);
    expect(shapesOnly(() => quantile(zeros([2, 3]), zeros([5]), { axis: 0 })).shape).toEqual([5, 3]);
  });

  it("is a float32 of integers, and a float64 of float64", () => {
    const whole = quantile(tensor([1, 2, 4], { dtype: "int32" }), 0.75);
    expect([whole.dtype, whole.item()]).toEqual(["float32", 3]);
    const double = quantile(tensor([0, 1], { dtype: "float64" }), 0.1);
    expect([double.dtype, double.item()]).toEqual(["float64", 0.1]);
  });

  it("is NaN of a row with one, and heeds no other row", () => {
    const x = tensor([
      [Number.NaN, 1, 2],
      [3, 1, 2],
    ]);
    expect(quantile(x, [0, 0.5], { axis: 1 }).toArray()).toEqual([
      [Number.NaN, 1],
      [Number.NaN, 2],
    ]);
  });

  it.each([
    [() => quantile(zeros([3]), 1.5), "quantile: q must lie between 0 and 1, got 1.5"],
    [() => quantile(zeros([3]), [0.5, Number.NaN]), "quantile: q must lie between 0 and 1, got NaN"],
    [() => quantile(zeros([3]), [[0.5]]), "quantile: q must be a number or a list, got (1, 1)"],
    [() => quantile(zeros([3, 0]), 0.5), "quantile: nothing to choose from"],
    [() => quantile(zeros([3]), 0.5, { axis: 1 }), "quantile: axis out of range"],
    [
      () => quantile(zeros([3]), 0.5, { interpolation: "cubic" as "linear" }),
      'quantile: interpolation must be one of ("linear", "midpoint", "lower", "higher", "nearest"), got "cubic"',
    ],
  ])("refuses %s", (run, message) => {
    expect(run).toThrow(message);
  });
});
