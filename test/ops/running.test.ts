import { describe, expect, it } from "vitest";
import { cummax, cummin, diff, manualSeed, randn, shapesOnly, tensor, zeros } from "../../src/index.ts";

const { NaN: nan } = Number;
const x = tensor([
  [3, 1, nan, 2],
  [3, -0, 5, 2],
  [nan, 0, 7, 2],
]);

describe("cummax and cummin", () => {
  it("give the best so far, the last of equal ones, and NaN from the first one on", () => {
    const { values, indices } = cummax(x, { axis: 1 });
    expect(values.toArray()).toEqual([
      [3, 3, nan, nan],
      [3, 3, 5, 5],
      [nan, nan, nan, nan],
    ]);
    expect(indices.toArray()).toEqual([
      [0, 0, 2, 2],
      [0, 0, 2, 2],
      [0, 0, 0, 0],
    ]);
    const down = cummin(x);
    expect(down.values.toArray()).toEqual([
      [3, 1, nan, 2],
      [3, -0, nan, 2],
      [nan, 0, nan, 2],
    ]);
    expect(down.indices.toArray()).toEqual([
      [0, 0, 0, 0],
      [1, 1, 0, 1],
      [2, 2, 0, 2],
    ]);
    expect(cummax([1, Infinity, nan, 2, nan]).indices.toArray()).toEqual([0, 1, 2, 2, 4]);
    expect(cummin([1, 1, 0, 0, 3]).indices.toArray()).toEqual([0, 1, 2, 3, 3]);
  });

  it("are the extremes of every beginning, along any axis", () => {
    manualSeed("running");
    const t = randn([4, 5, 3]);
    for (const axis of [0, 1, 2])
      for (let i = 0; i < t.shape[axis]; i++) {
        const start = t.slice([...Array<null>(axis).fill(null), [0, i + 1]]);
        expect(cummax(t, { axis }).values.select(i, { axis }).toArray()).toEqual(
          start.max({ axis }).toArray(),
        );
        expect(cummin(t, { axis }).values.select(i, { axis }).toArray()).toEqual(
          start.min({ axis }).toArray(),
        );
      }
  });

  it("take scalars, integers, empty tensors and shapes", () => {
    expect([cummax(5).values.item(), cummax(5).indices.item()]).toEqual([5, 0]);
    const whole = cummin(tensor([3, 1, 2], { dtype: "uint8" })).values;
    expect([whole.dtype, whole.toArray()]).toEqual(["uint8", [3, 1, 1]]);
    expect(cummax(zeros([0, 3])).values.shape).toEqual([0, 3]);
    expect(cummax(zeros([3, 0])).indices.shape).toEqual([3, 0]);
    expect(shapesOnly(() => cummax(zeros([2, 3]), { axis: -1 }).values).shape).toEqual([2, 3]);
    expect(() => cummax(x, { axis: 2 })).toThrow("cummax: axis out of range, got 2 for rank 2");
  });
});

describe("diff", () => {
  const d = tensor([
    [1, 4, 9, 16],
    [2, 3, 5, 8],
  ]);

  it("takes the element before from each, as often as told", () => {
    expect(diff(d).toArray()).toEqual([
      [3, 5, 7],
      [1, 2, 3],
    ]);
    expect(diff(d, { n: 2 }).toArray()).toEqual([
      [2, 2],
      [1, 1],
    ]);
    expect(diff(d, { axis: 0 }).toArray()).toEqual([[1, -1, -4, -8]]);
    expect(diff(d, { prepend: zeros([2, 1]), append: [[20], [30]] }).toArray()).toEqual([
      [1, 3, 5, 7, 4],
      [2, 1, 2, 3, 22],
    ]);
    expect(diff(d, { n: 0 }).toArray()).toEqual(d.toArray());
    expect(diff(d, { n: 9 }).shape).toEqual([2, 0]);
    expect(diff(zeros([2, 0])).shape).toEqual([2, 0]);
    expect(diff(tensor([true, false, false, true])).toArray()).toEqual([true, false, true]);
  });

  it("refuses a scalar, and parts that do not fit", () => {
    expect(() => diff(3)).toThrow("diff: a scalar has no axis");
    expect(() => diff(d, { prepend: [[1]] })).toThrow("concat: shapes differ beyond axis 1");
  });
});
