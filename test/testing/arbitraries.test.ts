import { Rng, type Tensor } from "bitgrad";
import { arb } from "bitgrad/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { broadcastShapes } from "../../src/shape.ts";

describe("arbitraries", () => {
  it("draw shapes and tensors within their limits", () => {
    fc.assert(
      fc.property(arb.tensor({ minRank: 1, maxRank: 2, minSize: 0, maxSize: 3, min: -2, max: 5 }), (t) => {
        expect([1, 2]).toContain(t.rank);
        expect(t.shape.every((n) => n >= 0 && n <= 3)).toBe(true);
        expect([...t.data].every((x) => x >= -2 && x <= 5)).toBe(true);
      }),
    );
    const seen = fc.sample(arb.shape({ minSize: 0 }), 200);
    expect(new Set(seen.map((s) => s.length))).toEqual(new Set([0, 1, 2, 3]));
    expect(seen.flat()).toContain(0);
  });

  it.each(["float64", "int32", "int8", "uint8", "uint32", "bool"] as const)("draw %s", (dtype) => {
    const drawn: Tensor[] = fc.sample(arb.tensor({ dtype, shape: [3] }), 20);
    for (const t of drawn) expect([t.dtype, t.shape]).toEqual([dtype, [3]]);
    expect(new Set(drawn.flatMap((t) => [...t.data])).size).toBeGreaterThan(1);
  });

  it("draw pairs that broadcast, of every kind", () => {
    const kinds = new Set<string>();
    fc.assert(
      fc.property(arb.broadcastPair(), ([a, b]) => {
        const whole = broadcastShapes("test", a, b);
        kinds.add(`${a.length === whole.length} ${b.length === whole.length} ${String(a) === String(b)}`);
      }),
      { numRuns: 300 },
    );
    expect(kinds.size).toBeGreaterThanOrEqual(4);
  });

  it("draw axes from both ends, each once", () => {
    fc.assert(
      fc.property(arb.axes(3), arb.order(3), arb.axis(3), (axes, order, axis) => {
        const places = axes.map((k) => (k < 0 ? k + 3 : k));
        expect(new Set(places).size).toBe(axes.length);
        expect([...order].sort()).toEqual([0, 1, 2]);
        expect(axis >= -3 && axis < 3).toBe(true);
      }),
    );
    expect(
      fc
        .sample(arb.axes(3), 100)
        .flat()
        .some((k) => k < 0),
    ).toBe(true);
    expect(fc.sample(arb.rng(), 1)[0]).toBeInstanceOf(Rng);
  });
});
