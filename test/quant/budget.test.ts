import { OptionError, Rng } from "bitgrad";
import { type BudgetOption, chooseUnderBudget } from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const table = (rows: readonly (readonly (readonly [bytes: number, cost: number])[])[]): BudgetOption[][] =>
  rows.map((row) => row.map(([bytes, cost]) => ({ bytes, cost })));

/** The least cost by trying all, of equal ones the one of fewest bytes; null where none fits. */
function byTrying(rows: readonly (readonly BudgetOption[])[], budget: number): BudgetOption | null {
  let best: BudgetOption | null = null;
  const step = (i: number, bytes: number, cost: number): void => {
    if (i < rows.length) {
      for (const option of rows[i]) step(i + 1, bytes + option.bytes, cost + option.cost);
    } else if (bytes <= budget && (!best || cost < best.cost || (cost === best.cost && bytes < best.bytes))) {
      best = { bytes, cost };
    }
  };
  step(0, 0, 0);
  return best;
}

const layers = table([
  [
    [2, 9],
    [4, 3],
    [8, 0.5],
  ],
  [
    [4, 4],
    [8, 1],
    [16, 0.1],
  ],
  [
    [3, 8],
    [6, 5],
    [12, 0.2],
  ],
]);

describe("chooseUnderBudget", () => {
  it.each([
    [9, 21, [0, 0, 0]],
    [12, 15, [1, 0, 0]],
    [16, 12, [1, 0, 1]],
    [20, 7.2, [1, 0, 2]],
    [24, 4.2, [1, 1, 2]],
    [36, 0.8, [2, 2, 2]],
  ])("finds the least cost of three layers within %d bytes", (budget, cost, choice) => {
    const found = chooseUnderBudget(layers, budget);
    expect(found.choice).toEqual(choice);
    expect(found.cost).toBeCloseTo(cost, 12);
    expect(found.bytes).toBeLessThanOrEqual(budget);
  });

  it("finds the optimum that taking the best step first misses", () => {
    const trap = table([
      [
        [2, 10],
        [7, 4],
      ],
      [
        [2, 10],
        [8, 3],
      ],
    ]);
    expect(chooseUnderBudget(trap, 10)).toEqual({ choice: [0, 1], bytes: 10, cost: 13 });
  });

  it("equals trying every choice, on 200 random tables", () => {
    const rng = new Rng("tables");
    const whole = (n: number) => Math.floor(n * rng.next());
    for (let trial = 0; trial < 200; trial++) {
      const rows = Array.from({ length: 1 + whole(6) }, () =>
        Array.from({ length: 1 + whole(4) }, () => ({
          bytes: whole(20),
          // Ties, costs of all sizes, and some that are infinite.
          cost: trial % 3 === 0 ? whole(4) : rng.next() < 0.05 ? Infinity : 10 ** (8 * rng.next() - 6),
        })),
      );
      const budget = whole(rows.length * 16);
      const want = byTrying(rows, budget);
      if (want === null) {
        expect(() => chooseUnderBudget(rows, budget), `trial ${trial}`).toThrow(OptionError);
        continue;
      }
      const { choice, bytes, cost } = chooseUnderBudget(rows, budget);
      expect({ bytes, cost }, `trial ${trial}`).toEqual(want);
      expect(choice.reduce((sum, pick, i) => sum + rows[i][pick].cost, 0)).toBe(cost);
      expect(choice.reduce((sum, pick, i) => sum + rows[i][pick].bytes, 0)).toBe(bytes);
    }
  });

  it("says the least bytes there are where the budget is too small", () => {
    expect(() => chooseUnderBudget(layers, 8)).toThrow(
      "chooseUnderBudget: the budget must be at least 9 bytes, got 8",
    );
  });

  it("takes any budget above all, costs below 0, and nothing to choose", () => {
    expect(chooseUnderBudget(layers, Infinity).choice).toEqual([2, 2, 2]);
    expect(
      chooseUnderBudget(
        table([
          [
            [1, -1e10],
            [3, -2e10],
          ],
          [
            [1, 2e10],
            [2, 1],
          ],
        ]),
        4,
      ),
    ).toEqual({ choice: [0, 1], bytes: 3, cost: -1e10 + 1 });
    expect(chooseUnderBudget([], 0)).toEqual({ choice: [], bytes: 0, cost: 0 });
  });

  it("chooses for 300 layers of six options each", () => {
    const rng = new Rng("many");
    const rows = Array.from({ length: 300 }, () => {
      const size = 1000 + Math.floor(1e6 * rng.next());
      const scale = 10 ** (4 * rng.next() - 4);
      return [1, 2, 3, 4, 6, 8].map((bits) => ({
        bytes: Math.ceil((size * bits) / 8),
        cost: scale * 4 ** -bits * (0.5 + rng.next()),
      }));
    });
    const all = rows.reduce((sum, row) => sum + row[5].bytes, 0);
    const { bytes, cost } = chooseUnderBudget(rows, Math.floor(all / 2));
    expect(bytes).toBeLessThanOrEqual(all / 2);
    expect(bytes).toBeGreaterThan(0.499 * all);
    const four = rows.reduce((sum, row) => sum + row[3].cost, 0);
    expect(cost).toBeLessThan(four);
  });

  it("refuses options and budgets that are none", () => {
    const wrong: [rows: unknown, text: string][] = [
      [[[]], "needs options for each, got () at index 0"],
      [[[{ bytes: -1, cost: 1 }]], "an option must have { bytes, cost }, got -1 and 1 at index 0"],
      [[[{ bytes: 1, cost: Number.NaN }]], "got 1 and NaN at index 0"],
      [[[{ bytes: Infinity, cost: 1 }]], "got Infinity and 1 at index 0"],
      [[[{ bytes: 1, cost: -Infinity }]], "got 1 and -Infinity at index 0"],
    ];
    for (const [rows, text] of wrong) expect(() => chooseUnderBudget(rows as never, 9), text).toThrow(text);
    expect(() => chooseUnderBudget(layers, Number.NaN)).toThrow(
      "the budget must be a number of bytes, got NaN",
    );
  });
});
