/** What a tensor looks like in text, and what a value looks like in an error. */

import { inspect } from "node:util";
import { arange, ones, Rng, randn, tensor, zeros } from "bitgrad";
import { describe, expect, it } from "vitest";
import { show } from "../src/errors.ts";

describe("the text of a tensor", () => {
  it("is a summary above some 1,000 numbers, whatever the axes", () => {
    for (const shape of [
      [8, 8, 8, 8, 8, 8],
      Array(15).fill(2),
      [2, 600],
      [1001],
      [7, 7, 7, 7],
      [9, 9, 9, 9, 9],
      [1, 8, 1, 8, 1, 8, 8],
    ]) {
      const t = ones(shape);
      expect(String(t).match(/\b1\b(?=[,\]])/g)!.length).toBeLessThanOrEqual(1000);
      expect(String(t).length).toBeLessThan(20000);
      expect(String(t)).toContain("…");
      expect(inspect(t)).toBe(String(t));
      expect(inspect({ held: [t] }).length).toBeLessThan(30000);
    }
  });

  it("leaves no number out below that, on axes of at most 8", () => {
    const t = arange(1000).reshape([5, 5, 5, 8]);
    expect(String(t)).not.toContain("…");
    for (const n of [0, 1, 500, 999]) expect(String(t)).toMatch(new RegExp(`\\b${n}\\b`));
  });

  it("shows the first and the last of an axis, and the shape where short axes are cut", () => {
    expect(String(arange(20))).toBe("tensor([0, 1, 2, …, 17, 18, 19], float32)");
    const t = arange(4 ** 6).reshape(Array(6).fill(4));
    const rows = String(t).split("\n");
    expect(rows[0]).toBe("tensor([[[[[[0, 1, 2, 3],");
    expect(String(t)).toContain("[4092, 4093, 4094, 4095]]]]]], float32, shape (4, 4, 4, 4, 4, 4))");
  });

  it("stays short for empty tensors of many axes", () => {
    expect(String(zeros([8, 8, 8, 8, 8, 8, 0])).length).toBeLessThan(20000);
    expect(String(zeros([0, 3]))).toBe("tensor([], float32)");
    expect(String(zeros([3, 0]))).toBe("tensor([[],\n        [],\n        []], float32)");
  });
});

describe("the text of a value in an error", () => {
  it("stays short for arrays in arrays, and ends for one that holds itself", () => {
    const nested = (depth: number): unknown => (depth === 0 ? 1 : Array(8).fill(nested(depth - 1)));
    expect(show(nested(6)).length).toBeLessThan(400);
    expect(show([[1, 2], [3]])).toBe("((1, 2), (3))");
    const loop: unknown[] = [];
    loop.push(loop, loop);
    expect(show(loop).length).toBeLessThan(200);
    const t = randn([2], { rng: new Rng(1) });
    expect(() => tensor([[t]] as never)).toThrow(/got \(2\)/);
    expect(() => tensor([1, nested(7)] as never).toArray()).toThrow(/^.{0,600}$/);
  });
});
