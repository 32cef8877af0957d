import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { pair, type Side, summarize } from "../../bench/pair.ts";

let clock = 0;

beforeEach(() => {
  clock = 0;
  vi.spyOn(performance, "now").mockImplementation(() => clock);
});
afterEach(() => vi.restoreAllMocks());

/** A run takes so many milliseconds of the false clock. */
const side = (milliseconds: number, result: ArrayLike<number> = [1, 2], ran = () => {}): Side => ({
  name: "fake",
  run() {
    clock += milliseconds;
    ran();
  },
  result: () => result,
});

describe("pair", () => {
  it("gives how many times faster the second is, and the seconds of a run", async () => {
    const result = await pair(side(6), side(2), { tolerance: 0 });
    expect(result.ratio).toBeCloseTo(3);
    expect(result.interval[0]).toBeCloseTo(3);
    expect(result.interval[1]).toBeCloseTo(3);
    expect(result.a).toBeCloseTo(0.006);
    expect(result.b).toBeCloseTo(0.002);
  });

  it("takes the ratio of each round, so that what slows both sides at once does not move it", () => {
    const times = [
      [3, 1],
      [30, 10],
      [600, 2],
      [6, 2],
      [300, 100],
    ] as const;
    expect(summarize(times)).toMatchObject({ ratio: 3, a: 30, b: 2 });
  });

  it("gives an interval around the median, from within the rounds", () => {
    const { ratio, interval } = summarize([1, 2, 3, 4, 5, 6, 7, 8, 9].map((a) => [a, 1]));
    expect(ratio).toBe(5);
    expect(interval[0]).toBeGreaterThan(1);
    expect(interval[0]).toBeLessThan(5);
    expect(interval[1]).toBeGreaterThan(5);
    expect(interval[1]).toBeLessThan(9);
  });

  it("runs both in every round, and swaps who begins", async () => {
    const order: string[] = [];
    const named = (name: string) => side(100, [1], () => order.push(name));
    await pair(named("a"), named("b"), { tolerance: 0, rounds: 4, milliseconds: 1 });
    expect(order.slice(-8).join("")).toBe("abbaabba");
  });

  it("has fewer rounds where runs are long", async () => {
    let runs = 0;
    const long = side(1000, [1, 2], () => runs++);
    await pair(long, side(1), { tolerance: 0, rounds: 21, seconds: 3, fewest: 5 });
    // Two to warm up.
    expect(runs).toBe(2 + 5);
  });

  it("throws where the results differ by more than the tolerance, for all elements or each", async () => {
    const [a, b] = [side(1, [1, 2]), side(1, [1, 2.5])];
    await expect(pair(a, b, { tolerance: 0.4 })).rejects.toThrow("element 1 is 2 by fake and 2.5");
    await expect(pair(a, b, { tolerance: [1, 0.4] })).rejects.toThrow("element 1");
    await expect(pair(a, b, { tolerance: [0, 0.6] })).resolves.toBeDefined();
    await expect(pair(a, side(1, [1]), { tolerance: 1 })).rejects.toThrow("gives 2 numbers and fake 1");
    await expect(pair(a, side(1, [1, Number.NaN]), { tolerance: 1 })).rejects.toThrow("element 1");
  });

  it("throws where the results differ only after the rounds", async () => {
    let asked = 0;
    const b: Side = { ...side(1), result: () => [1, asked++ === 0 ? 2 : 9] };
    await expect(pair(side(1), b, { tolerance: 0 })).rejects.toThrow("element 1 is 2 by fake and 9");
  });

  it("waits for sides that are asynchronous", async () => {
    const later: Side = {
      ...side(0),
      async run() {
        await Promise.resolve();
        clock += 8;
      },
    };
    expect((await pair(later, side(4), { tolerance: 0 })).ratio).toBeCloseTo(2);
  });
});
