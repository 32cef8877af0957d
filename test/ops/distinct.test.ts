import { describe, expect, it } from "vitest";
import {
  bincount,
  grad,
  manualSeed,
  nonzero,
  randint,
  randn,
  searchsorted,
  shapesOnly,
  type Tensor,
  tensor,
  unique,
  zeros,
} from "../../src/index.ts";

const int = (values: number[] | number[][]) => tensor(values, { dtype: "int32" });
const shown = ({ values, inverse, counts }: { values: Tensor; inverse: Tensor; counts: Tensor }) =>
  [values, inverse, counts].map((t) => t.toArray());

describe("unique", () => {
  it("gives each element once in order, where it stands and how often it is", () => {
    const rows = int([
      [2, 1, 2],
      [0, 5, 0],
      [2, 1, 2],
      [0, 4, 0],
    ]);
    expect(shown(unique(rows))).toEqual([
      [0, 1, 2, 4, 5],
      [
        [2, 1, 2],
        [0, 4, 0],
        [2, 1, 2],
        [0, 3, 0],
      ],
      [4, 2, 4, 1, 1],
    ]);
    expect(shown(unique(rows, { axis: 0 }))).toEqual([
      [
        [0, 4, 0],
        [0, 5, 0],
        [2, 1, 2],
      ],
      [2, 1, 2, 0],
      [1, 1, 2],
    ]);
    expect(shown(unique(rows, { axis: 1 }))).toEqual([
      [
        [1, 2],
        [5, 0],
        [1, 2],
        [4, 0],
      ],
      [1, 0, 1],
      [1, 2],
    ]);
  });

  it("has -0 and 0 as one value, the first of them, and every NaN as one of its own", () => {
    const x = tensor([3, -0, Number.NaN, 0, 3, Number.NEGATIVE_INFINITY, Number.NaN]);
    expect(shown(unique(x))).toEqual([
      [Number.NEGATIVE_INFINITY, -0, 3, Number.NaN, Number.NaN],
      [2, 1, 3, 1, 2, 0, 4],
      [1, 2, 2, 1, 1],
    ]);
    const rows = tensor([
      [Number.NaN, 1],
      [0, 1],
      [Number.NaN, 1],
      [-0, 1],
    ]);
    expect(shown(unique(rows, { axis: 0 })).slice(1)).toEqual([
      [1, 0, 2, 0],
      [2, 1, 1],
    ]);
  });

  it("keeps the dtype, and takes bool, scalars and empty tensors", () => {
    const flags = unique(tensor([true, false, true]));
    expect([flags.values.dtype, ...shown(flags)]).toEqual(["bool", [false, true], [1, 0, 1], [1, 2]]);
    expect(shown(unique(5))).toEqual([[5], 0, [1]]);
    expect(unique(zeros([0, 3])).inverse.shape).toEqual([0, 3]);
    expect(unique(zeros([0, 3]), { axis: 0 }).values.shape).toEqual([0, 3]);
    expect(unique(zeros([2, 0]), { axis: 0 }).counts.toArray()).toEqual([2]);
  });

  it("is put together again by its inverse, whatever the axis", () => {
    manualSeed("unique");
    const x = randint(0, 3, [5, 4, 2]);
    for (const axis of [0, 1, 2]) {
      const { values, inverse } = unique(x, { axis });
      expect(values.indexSelect(inverse, { axis }).toArray()).toEqual(x.toArray());
    }
    const { values, inverse, counts } = unique(x);
    expect(values.indexSelect(inverse).toArray()).toEqual(x.toArray());
    expect(counts.sum().item()).toBe(40);
  });

  it("hands the gradient of a value to the first that has it", () => {
    const x = tensor([2, 1, 2]);
    expect(grad((t: Tensor) => unique(t).values.mul([1, 10]).sum())(x).toArray()).toEqual([10, 1, 0]);
  });

  it("refuses an axis that is not there", () => {
    expect(() => unique(zeros([3]), { axis: 1 })).toThrow("unique: axis out of range, got 1");
  });
});

describe("nonzero", () => {
  it("gives the indices of what is not 0, NaN among it", () => {
    const x = tensor([
      [0, 5, Number.NaN],
      [-0, 0, 1],
    ]);
    expect(nonzero(x).toArray()).toEqual([
      [0, 1],
      [0, 2],
      [1, 2],
    ]);
    expect(nonzero(tensor([true, false, true])).toArray()).toEqual([[0], [2]]);
    expect(nonzero(3).shape).toEqual([1, 0]);
    expect(nonzero(0).shape).toEqual([0, 0]);
    expect(nonzero(zeros([2, 0])).shape).toEqual([0, 2]);
  });

  it("finds each of a random mask by its own place", () => {
    manualSeed("nonzero");
    const x = randn([3, 7, 5]).greater(0.5);
    const at = nonzero(x).toArray() as number[][];
    const flat = at.map(([i, j, k]) => (i * 7 + j) * 5 + k);
    expect(flat).toEqual(Array.from(x.data).flatMap((on, i) => (on ? [i] : [])));
  });
});

describe("bincount", () => {
  it("counts, or sums weights", () => {
    expect(bincount([0, 2, 2, 5]).toArray()).toEqual([1, 0, 2, 0, 0, 1]);
    expect(bincount(int([1, 1]), { weights: [0.5, 0.25], minLength: 4 }).toArray()).toEqual([0, 0.75, 0, 0]);
    expect(bincount([]).shape).toEqual([0]);
    expect(bincount([], { minLength: 2 }).toArray()).toEqual([0, 0]);
    expect(bincount([3], { minLength: 2 }).dtype).toBe("int32");
    expect(bincount([0], { weights: tensor([2], { dtype: "float64" }) }).dtype).toBe("float64");
  });

  it("hands each weight the gradient of its sum", () => {
    const f = (w: Tensor) => bincount([1, 0, 1], { weights: w }).mul([3, 5]).sum();
    expect(grad(f)(tensor([1, 2, 3])).toArray()).toEqual([5, 3, 5]);
  });

  it.each([
    [() => bincount([1, -1]), "bincount: integers must not be negative, got -1"],
    [() => bincount([-1]), "bincount: integers must not be negative, got -1"],
    [() => bincount(tensor([0.5])), "bincount: the index must be integers, got float32"],
    [() => bincount([[1]]), "bincount: needs a list of integers, got (1, 1)"],
    [() => bincount([1], { weights: [1, 2] }), "bincount: needs a weight for each integer, got (2) for (1)"],
  ])("refuses %s", (run, message) => {
    expect(run).toThrow(message);
  });
});

describe("searchsorted", () => {
  const rows = tensor([
    [1, 3, 3, 7],
    [0, 2, 4, 6],
  ]);
  const values = tensor([
    [3, 0, 8],
    [2, 5, Number.NEGATIVE_INFINITY],
  ]);

  it("finds where values belong, before or behind equal ones", () => {
    expect(searchsorted(rows, values).toArray()).toEqual([
      [1, 0, 4],
      [1, 3, 0],
    ]);
    expect(searchsorted(rows, values, { right: true }).toArray()).toEqual([
      [3, 0, 4],
      [2, 3, 0],
    ]);
    expect(searchsorted(rows.select(0), values).toArray()).toEqual([
      [1, 0, 4],
      [1, 3, 0],
    ]);
    expect(searchsorted(rows.select(0), 4).item()).toBe(3);
    expect(searchsorted(zeros([0]), values).toArray()).toEqual(zeros([2, 3]).toArray());
  });

  it("has NaN behind every number, as sort leaves it", () => {
    const row = tensor([1, Number.NaN, Number.NaN]);
    const wanted = tensor([2, Number.NaN]);
    expect(searchsorted(row, wanted).toArray()).toEqual([1, 1]);
    expect(searchsorted(row, wanted, { right: true }).toArray()).toEqual([1, 3]);
  });

  it("agrees with counting what is below", () => {
    manualSeed("searchsorted");
    const row = randn([33]).mul(4).round().sort().values;
    const x = randn([50]).mul(4).round();
    const below = (right: boolean) =>
      (right ? row.lessEqual(x.unsqueeze(1)) : row.less(x.unsqueeze(1))).sum({ axis: 1 }).toArray();
    for (const right of [false, true])
      expect(searchsorted(row, x, { right }).toArray()).toEqual(below(right));
  });

  it("needs no numbers where there are only shapes, and refuses rows that do not fit", () => {
    expect(shapesOnly(() => searchsorted(zeros([4]), zeros([2, 3]))).shape).toEqual([2, 3]);
    expect(() => searchsorted(rows, zeros([3, 2]))).toThrow(
      "searchsorted: needs one row, or a row for each of values, got (2, 4) for (3, 2)",
    );
    expect(() => searchsorted(3, 2)).toThrow("searchsorted: needs one row");
  });
});
