import { describe, expect, it } from "vitest";
import { bincount, Rng, shapesOnly, tensor, zeros } from "../../src/index.ts";
import { multinomial } from "../../src/nn/index.ts";

describe("multinomial", () => {
  it("draws as often as the weights say", () => {
    const weights = [1, 0, 3, 4, 0];
    const n = 80_000;
    const drawn = multinomial(weights, n, { replacement: true, rng: new Rng(1) });
    const counts = bincount(drawn, { minLength: 5 }).toArray() as number[];
    weights.forEach((w, i) => {
      const want = (n * w) / 8;
      // Six standard deviations.
      expect(Math.abs(counts[i] - want)).toBeLessThanOrEqual(6 * Math.sqrt(want));
    });
  });

  it("draws the next from what is left", () => {
    const rows = 40_000;
    const weights = tensor([1, 2, 5]).broadcastTo([rows, 3]);
    const pairs = multinomial(weights, 2, { rng: new Rng(2) });
    const ids = pairs
      .select(0, { axis: 1 })
      .mul(3)
      .add(pairs.select(1, { axis: 1 }));
    const counts = bincount(ids, { minLength: 9 }).toArray() as number[];
    const w = [1, 2, 5];
    for (let i = 0; i < 3; i++)
      for (let j = 0; j < 3; j++) {
        const want = i === j ? 0 : (rows * (w[i] / 8) * w[j]) / (8 - w[i]);
        expect(Math.abs(counts[3 * i + j] - want)).toBeLessThanOrEqual(6 * Math.sqrt(want));
      }
  });

  it("draws all of what has a weight, each once, before it is exhausted", () => {
    for (const n of [1, 2, 5, 8, 13]) {
      const weights = Array.from({ length: n }, (_, i) => (i % 3 === 1 ? 0 : 10 ** (i - 9)));
      const some = weights.flatMap((w, i) => (w > 0 ? [i] : []));
      const drawn = multinomial(weights, some.length, { rng: new Rng(n) }).toArray() as number[];
      expect(drawn.sort((a, b) => a - b)).toEqual(some);
      expect(() => multinomial(weights, some.length + 1)).toThrow("multinomial: too few weights");
    }
  });

  it("draws the same from the same generator, rows of their own, and nothing where there are only shapes", () => {
    const draw = () =>
      multinomial(
        [
          [1, 2, 3, 4],
          [1, 0, 0, 0],
        ],
        6,
        { replacement: true, rng: new Rng(3) },
      );
    expect(draw().toArray()).toEqual(draw().toArray());
    expect((draw().toArray() as number[][])[1]).toEqual([0, 0, 0, 0, 0, 0]);
    const rng = new Rng(4);
    expect(shapesOnly(() => multinomial(zeros([2, 3]), 2, { rng })).shape).toEqual([2, 2]);
    expect(rng.state.counter).toBe(0);
    expect(multinomial(zeros([0]), 0).shape).toEqual([0]);
    expect(multinomial(zeros([0, 3]), 2).shape).toEqual([0, 2]);
  });

  it.each([
    [
      () => multinomial([1, -1], 1),
      "multinomial: weights must not be negative, and their sum finite, got -1 at index 1",
    ],
    [() => multinomial([1, Number.NaN], 1), "got NaN at index 1"],
    [
      () => multinomial([0, 0], 1, { replacement: true }),
      "multinomial: too few weights above 0, got 0 for 1 draws",
    ],
    [() => multinomial([1, 1], 3), "multinomial: too few weights above 0, got 2 for 3 draws"],
    [() => multinomial(1, 1), "multinomial: weights must be (n) or (m, n), got ()"],
  ])("refuses %s, and draws nothing", (run, message) => {
    expect(run).toThrow(message);
  });
});
