import { describe, expect, it } from "vitest";
import { checkShape, sizeOf, sizesAt } from "../src/shape.ts";

describe("a shape that is checked", () => {
  it("is frozen, and stays when the list that it was given as changes", () => {
    const given = [2, 3];
    const shape = checkShape("op", given);
    given[0] = 7;
    expect(shape).toEqual([2, 3]);
    expect(Object.isFrozen(shape)).toBe(true);
    expect(checkShape("op", [7, 3])).toEqual([7, 3]);
  });

  it("is found again by its sizes alone, however many there are", () => {
    const shapes = Array.from({ length: 6000 }, (_, i) => [i, i % 7, 3].slice(0, 1 + (i % 3)));
    for (const shape of shapes) checkShape("op", shape);
    for (const shape of shapes) expect(checkShape("op", shape)).toEqual(shape);
    expect(checkShape("op", [5, 6])).toBe(checkShape("op", [5, 6]));
    expect(checkShape("op", [])).toEqual([]);
  });

  it("holds no −0", () => {
    expect(Object.is(checkShape("op", [-0, 11])[0], 0)).toBe(true);
    expect(Object.is(checkShape("op", [0, 11])[0], 0)).toBe(true);
  });

  it("is a list as any other, whatever kind of list it was given as", () => {
    class Sizes extends Array<number> {
      override map(): never[] {
        return [];
      }
    }
    const given = new Sizes();
    given.push(13, 17);
    expect(Object.getPrototypeOf(checkShape("op", given))).toBe(Array.prototype);
    expect(checkShape("op", [13, 17])).toEqual([13, 17]);
  });

  it.each([
    [[2, "3"]],
    [[2, 3.5]],
    [[2, -3]],
    [[Number.NaN]],
    [[2, undefined, 3]],
    [[2, null]],
    [[2 ** 31, 2 ** 31]],
  ])("is refused where it is none, also beside known ones: %j", (wrong) => {
    checkShape("op", [2, 3]);
    expect(() => checkShape("op", wrong)).toThrow(/^op: (sizes must be|the shape holds)/);
  });
});

describe("parts of a shape", () => {
  it("are the axes from one to before another", () => {
    expect(sizesAt([2, 3, 5, 7], 1, 3)).toEqual([3, 5]);
    expect(sizesAt([2, 3, 5, 7], 2)).toEqual([5, 7]);
    expect(sizeOf([2, 3, 5, 7], 1, 3)).toBe(15);
    expect(sizeOf([2, 3, 5, 7], 4)).toBe(1);
  });
});
