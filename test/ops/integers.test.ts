/** Sums and products of integers: exact, or an error where the dtype cannot hold them. */

import {
  cumprod,
  cumsum,
  DTypeError,
  dot,
  einsum,
  indexAdd,
  matmul,
  prod,
  scatterAdd,
  sum,
  type Tensor,
  tensor,
  zeros,
} from "bitgrad";
import { describe, expect, it } from "vitest";

const int = (values: number[] | number[][], dtype: "int32" | "uint32" | "int8" | "uint8" = "int32") =>
  tensor(values, { dtype });
const most = 2 ** 31 - 1;

/** What does not fit, and how its error begins. */
const overflows: [name: string, run: () => Tensor, message: string][] = [
  ["sum", () => sum(int([most, 1])), "sum: int32 cannot hold the result, got 2147483648 at index 0"],
  [
    "sum of an axis",
    () =>
      sum(
        int([
          [1, most],
          [1, 1],
        ]),
        { axis: 0 },
      ),
    "got 2147483648 at index 1",
  ],
  [
    "sum of uint32",
    () => sum(int([2 ** 32 - 1, 1], "uint32")),
    "sum: uint32 cannot hold the result, got 4294967296",
  ],
  ["sum below the range", () => sum(int([-(2 ** 31), -1])), "got -2147483649 at index 0"],
  ["sumTo", () => int([most, 1]).sumTo([1]), "sumTo: int32 cannot hold the result, got 2147483648"],
  ["prod", () => prod(int([65536, 65536])), "prod: int32 cannot hold the result, got 4294967296"],
  [
    "cumsum",
    () => cumsum(int([most, 1, -1])),
    "cumsum: int32 cannot hold the result, got 2147483648 at index 1",
  ],
  [
    "cumprod",
    () => cumprod(int([65536, 65536, 0])),
    "cumprod: int32 cannot hold the result, got 4294967296 at index 1",
  ],
  [
    "matmul",
    () => matmul(int([[65536]]), int([[32768]])),
    "matmul: int32 cannot hold the result, got 2147483648 at index 0",
  ],
  [
    "dot",
    () => dot(int([65536, 1]), int([32768, 1])),
    "matmul: int32 cannot hold the result, got 2147483649",
  ],
  [
    "einsum",
    () => einsum("i,i->", int([65536, 1]), int([32768, 1])),
    "matmul: int32 cannot hold the result, got 2147483649",
  ],
  [
    "matmul of many small ones",
    () => matmul(int([Array(140_000).fill(-128)], "int8"), int(Array(140_000).fill(-128), "int8")),
    "got 2293760000",
  ],
  [
    "scatterAdd",
    () => scatterAdd(int([100], "int8"), [0], int([100], "int8")),
    "scatterAdd: int8 cannot hold the result, got 200 at index 0",
  ],
  [
    "indexAdd",
    () => indexAdd(int([0, 250], "uint8"), [1, 1], int([3, 3], "uint8")),
    "indexAdd: uint8 cannot hold the result, got 256 at index 1",
  ],
];

describe("of integers", () => {
  it.each(overflows)(
    "%s throws where its dtype cannot hold the result, and names the value",
    (_, run, message) => {
      expect(run).toThrow(DTypeError);
      expect(run).toThrow(message);
      expect(run).toThrow('; use .to("float64")');
    },
  );

  it("all are exact up to the ends of the range, whatever they pass on the way", () => {
    expect(sum(int([most, 1, -1])).item()).toBe(most);
    expect(sum(int([-(2 ** 31), 5, -5])).item()).toBe(-(2 ** 31));
    expect(sum(int([2 ** 32 - 2, 1], "uint32")).item()).toBe(2 ** 32 - 1);
    expect(prod(int([65536, 65536, 0])).item()).toBe(0);
    expect(prod(int([...Array(40).fill(most), 0])).item()).toBe(0);
    expect(prod(int([-65536, 32768])).item()).toBe(-(2 ** 31));
    expect(Array.from(cumsum(int([most, -1, 1])).data)).toEqual([most, most - 1, most]);
    expect(matmul(int([[65536, 65536]]), int([[32768], [-32768]])).item()).toBe(0);
    expect(matmul(int([[most, 1]]), int([[1], [-1]])).item()).toBe(most - 1);
    expect(Array.from(scatterAdd(int([100], "int8"), [0], int([27], "int8")).data)).toEqual([127]);
    expect(Array.from(indexAdd(int([250], "uint8"), [0, 0], int([2, 3], "uint8")).data)).toEqual([255]);
  });

  it("products whose sums pass 2⁵³ are refused rather than rounded", () => {
    const [a, b] = [94906267, 94906266];
    // a · a − (a + 1) · b is 1, a difference of two numbers beyond the integers that doubles hold.
    const run = () => matmul(int([[a, -(a + 1)]]), int([[a], [b]]));
    expect(run).toThrow(DTypeError);
    expect(run).toThrow("matmul: the products of int32 and int32 sum beyond 2^53");
    // A large number that meets zeros is no reason.
    expect(matmul(int([[most, 0]]), int([[0], [most]])).item()).toBe(0);
  });

  it("an empty axis sums to 0 and multiplies to 1", () => {
    expect(sum(zeros([0], { dtype: "int32" })).item()).toBe(0);
    expect(prod(zeros([0], { dtype: "int32" })).item()).toBe(1);
    expect(
      matmul(zeros([2, 0], { dtype: "int32" }), zeros([0, 2], { dtype: "int32" }))
        .sum()
        .item(),
    ).toBe(0);
  });

  it("float64 holds what they cannot", () => {
    expect(sum(int([most, 1]).to("float64")).item()).toBe(2 ** 31);
    expect(prod(int([65536, 65536]).to("float64")).item()).toBe(2 ** 32);
    expect(int([most, 1]).mean().item()).toBe(2 ** 30);
  });
});
