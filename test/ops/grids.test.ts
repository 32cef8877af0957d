import { describe, expect, it } from "vitest";
import { arange, einsum, manualSeed, meshgrid, randn, tensor, tensordot, zeros } from "../../src/index.ts";

describe("meshgrid", () => {
  it("repeats each vector along the axes of the others", () => {
    const pair = [tensor([1, 2]), tensor([3, 4, 5])];
    expect(meshgrid(pair).map((t) => t.toArray())).toEqual([
      [
        [1, 1, 1],
        [2, 2, 2],
      ],
      [
        [3, 4, 5],
        [3, 4, 5],
      ],
    ]);
    expect(meshgrid(pair, { indexing: "xy" }).map((t) => t.toArray())).toEqual([
      [
        [1, 2],
        [1, 2],
        [1, 2],
      ],
      [
        [3, 3],
        [4, 4],
        [5, 5],
      ],
    ]);
    const three = meshgrid([...pair, zeros([4])], { indexing: "xy" });
    expect(three.map((t) => t.shape)).toEqual(Array(3).fill([3, 2, 4]));
    expect(meshgrid([1, [2, 3]]).map((t) => t.toArray())).toEqual([[[1, 1]], [[2, 3]]]);
    expect(meshgrid([[1, 2]], { indexing: "xy" })[0].toArray()).toEqual([1, 2]);
  });

  it("refuses matrices, no tensors, and another indexing", () => {
    expect(() => meshgrid([zeros([2, 2])])).toThrow("meshgrid: needs vectors, got (2, 2)");
    expect(() => meshgrid([])).toThrow("meshgrid: needs a list of at least one tensor, got ()");
    expect(() => meshgrid([[1]], { indexing: "yx" as "xy" })).toThrow(
      'meshgrid: indexing must be one of ij, xy, got "yx"',
    );
  });
});

describe("tensordot", () => {
  const a = arange(24).reshape([2, 3, 4]);
  const b = arange(60).reshape([4, 3, 5]);

  it("sums over the axes named, in their pairs", () => {
    const axes = [
      [1, 2],
      [1, 0],
    ] as const;
    expect(tensordot(a, b, { axes }).toArray()).toEqual([
      [2200, 2266, 2332, 2398, 2464],
      [6160, 6370, 6580, 6790, 7000],
    ]);
    expect(tensordot(a, arange(24).reshape([3, 4, 2])).toArray()).toEqual([
      [1012, 1078],
      [2596, 2806],
    ]);
    expect(tensordot([1, 2], [3, 4], { axes: 0 }).toArray()).toEqual([
      [3, 4],
      [6, 8],
    ]);
    expect(tensordot([1, 2], [3, 4], { axes: 1 }).item()).toBe(11);
  });

  it("is einsum of the same axes", () => {
    manualSeed("tensordot");
    const [x, y] = [randn([2, 3, 4, 5]), randn([5, 6, 3])];
    const got = tensordot(x, y, {
      axes: [
        [1, -1],
        [-1, 0],
      ],
    });
    const want = einsum("abcd,deb->ace", x, y);
    expect(got.shape).toEqual([2, 4, 6]);
    expect(got.sub(want).abs().max().item()).toBeLessThan(1e-5);
  });

  it.each([
    [
      () => tensordot(a, b),
      "tensordot: paired axes differ in size, got (2, 3, 4) and (4, 3, 5) over ((1, 2), (0, 1))",
    ],
    [() => tensordot(a, b, { axes: [[0], [0, 1]] }), "tensordot: paired axes differ in size"],
    [
      () =>
        tensordot(a, b, {
          axes: [
            [1, -2],
            [0, 1],
          ],
        }),
      "tensordot: an axis is named twice, got (1, -2)",
    ],
    [
      () => tensordot(a, b, { axes: 4 }),
      "tensordot: there are fewer axes, got 4 for (2, 3, 4) and (4, 3, 5)",
    ],
    [
      () => tensordot(a, b, { axes: [1, 0] as never }),
      "tensordot: axes must be a number or two lists, got (1, 0)",
    ],
  ])("refuses %s", (run, message) => {
    expect(run).toThrow(message);
  });
});
