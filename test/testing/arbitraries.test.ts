import { OptionError, Rng, type Tensor } from "bitgrad";
import type { QuantSpec } from "bitgrad/quant";
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

  it("draw bits, and specs of every option", () => {
    expect(new Set(fc.sample(arb.bits(), 200))).toEqual(new Set([1, 2, 3, 4, 5, 6, 7, 8]));
    expect(new Set(fc.sample(arb.bits({ min: 2, max: 3 }), 50))).toEqual(new Set([2, 3]));
    const drawn = fc.sample(arb.spec(), { numRuns: 3000, seed: 1 });
    const seen = (of: (s: QuantSpec) => unknown) => new Set(drawn.map(of)).size;
    expect(seen((s) => s.scheme)).toBe(4);
    expect(seen((s) => s.bits)).toBe(8);
    expect(seen((s) => s.range)).toBe(3);
    expect(seen((s) => s.rounding)).toBe(4);
    expect(seen((s) => `${s.zeroPoint} ${s.includeZero} ${s.signed}`)).toBe(7);
    expect(seen((s) => s.scaleDtype)).toBe(4);
    expect(
      seen((s) => (typeof s.granularity === "string" ? s.granularity : Object.keys(s.granularity)[0])),
    ).toBe(5);
    expect(seen((s) => s.axis)).toBe(4);
    expect(seen((s) => s.codebook?.length)).toBeGreaterThan(10);
  });

  it("draw specs with the options that are given, and refuse those that go with nothing", () => {
    for (const given of [
      { scheme: "affine", zeroPoint: "float", bits: 3 },
      { zeroPoint: "int" },
      { codebook: [-1, 0.5, 1] },
      { scaleDtype: "e8m0", bits: 1 },
      { granularity: { block: [2, 2] as const } },
      { range: "noClip", rounding: "half-even" },
    ] as const)
      for (const how of fc.sample(arb.spec(given), 30)) expect(how).toMatchObject(given);
    expect(() => arb.spec({ scheme: "symmetric", zeroPoint: "int" })).toThrow(OptionError);
    expect(() => arb.spec({ bits: 9 })).toThrow("spec: bits must be an integer from 1 to 8, got 9");
  });

  it("draw weights with ties, zeros of both signs, denormals, outliers and equal numbers", () => {
    const drawn = fc
      .sample(arb.weights(), { numRuns: 300, seed: 1 })
      .map((t) => Array.from(t.data as Float32Array));
    const has = (test: (x: number[]) => boolean) => void expect(drawn.some(test), String(test)).toBe(true);
    has((x) => x.some((v) => Object.is(v, -0)) && x.some((v) => Object.is(v, 0)));
    has((x) => x.some((v) => v !== 0 && Math.abs(v) < 2 ** -126));
    has((x) => x.length > 5 && new Set(x).size === 1 && x[0] !== 0);
    has((x) => x.filter((v) => Math.abs(v) === 1000).length === 1 && x.length > 5);
    const halves = (x: number[]) =>
      x.filter((v) => ((127 * v) / Math.max(...x.map(Math.abs))) % 1 === 0.5).length;
    has((x) => halves(x) > 2);
    expect(drawn.flat().every((v) => Number.isFinite(v) && Math.fround(v) === v)).toBe(true);
    const some = fc.sample(arb.weights({ shape: [2, 3], max: 1000 }), 100);
    for (const t of some) expect([t.shape, t.data.every((v) => Math.abs(v) <= 1000)]).toEqual([[2, 3], true]);
    expect(fc.sample(arb.weights({ shape: [0, 3] }), 3).map((t) => t.size)).toEqual([0, 0, 0]);
  });
});
