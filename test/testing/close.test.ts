import { ShapeError, tensor } from "bitgrad";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

describe("expectClose", () => {
  it("names the index, both values and the bound", () => {
    expect(() =>
      expectClose(
        tensor([
          [1, 2],
          [3, 4],
        ]),
        [
          [1, 2],
          [3.5, 4],
        ],
        { rtol: 0.1, atol: 0.01 },
      ),
    ).toThrow(/^expectClose: values differ at \(1, 0\), got 3 for 3\.5, bound 0\.36/);
  });

  it("allows atol + rtol · |want|, and no more", () => {
    expectClose(tensor([110.5], { dtype: "float64" }), [100], { rtol: 0.1, atol: 0.5 });
    expect(() =>
      expectClose(tensor([110.6], { dtype: "float64" }), [100], { rtol: 0.1, atol: 0.5 }),
    ).toThrow();
    expect(() => expectClose([1], [1.1], { rtol: 0.01 })).toThrow();
  });

  it("takes PyTorch's tolerances for the dtype, and equality for integers", () => {
    expectClose(tensor([0.1]), [0.1]);
    expect(() => expectClose(tensor([0.1], { dtype: "float64" }), [0.1000003])).toThrow();
    expect(() => expectClose(tensor([3], { dtype: "int32" }), [4])).toThrow("got 3 for 4, bound 0");
  });

  it("holds NaN equal to NaN and an infinity to itself alone", () => {
    expectClose([Number.NaN, Number.POSITIVE_INFINITY, -0], [Number.NaN, Number.POSITIVE_INFINITY, 0]);
    for (const [a, b] of [
      [Number.NaN, 1],
      [1, Number.NaN],
      [1, Number.POSITIVE_INFINITY],
      [Number.POSITIVE_INFINITY, 1],
      [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
    ]) {
      expect(() => expectClose([a], [b], { rtol: 1, atol: 1 }), `${a} and ${b}`).toThrow("got");
    }
  });

  it("refuses other shapes, negative tolerances and unknown options", () => {
    expect(() => expectClose([1, 2], [[1, 2]])).toThrow(ShapeError);
    expect(() => expectClose([1], [1], { rtol: -1 })).toThrow("must not be negative, got -1");
    expect(() => expectClose([1], [1], { tol: 1 } as never)).toThrow('unknown option, got "tol"');
  });
});
