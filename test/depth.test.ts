import { BitgradError, ones, scope, tensor } from "bitgrad";
import { describe, expect, it } from "vitest";

/** A value within lists, or objects, within one another. */
const nested = (depth: number, around: (inner: unknown) => unknown, inner: unknown): unknown => {
  let value = inner;
  for (let i = 0; i < depth; i++) value = around(value);
  return value;
};
const cyclic = (): unknown[] => {
  const list: unknown[] = [];
  list.push(list);
  return list;
};

describe("depth beyond the engine's stack", () => {
  it("is no limit to what a scope returns", () => {
    let within: { inner?: unknown } = {};
    const kept = scope(() => {
      const x = ones([3]);
      within = nested(20_000, (inner) => ({ inner }), x) as { inner?: unknown };
      return { within, x };
    });
    expect(kept.x.toArray()).toEqual([1, 1, 1]);
    expect(kept.within).toBe(within);
  });

  it("is met by an error of the library where numbers are read", () => {
    const deep = nested(20_000, (inner) => [inner], 1) as never;
    for (const data of [deep, cyclic() as never]) {
      expect(() => tensor(data)).toThrow(BitgradError);
      expect(() => ones([2], data)).toThrow(BitgradError);
      expect(() => ones(data)).toThrow(BitgradError);
    }
  });
});
