/**
 * Compares the speed of two ways to the same numbers, on a machine that does other things too: both in every round, in
 * swapped order, and the ratio of each round rather than of the totals.
 */

import { loadavg } from "node:os";
import { Rng } from "../src/random/rng.ts";

// What a benchmark needs, from one file.
export { writeResults } from "./results.ts";

export interface Side {
  readonly name: string;
  /** Does the work once. */
  run(): void | Promise<void>;
  /** What the last run produced; of a side that trains, the losses of its first runs. */
  result(): ArrayLike<number>;
}

export interface PairOptions {
  /** Largest difference of the two results, for every element or for each. */
  tolerance: number | ArrayLike<number>;
  rounds?: number;
  /** How long each side runs in each round; at least once. */
  milliseconds?: number;
  /** Where the rounds would take longer than this there are fewer, but at least `fewest`. */
  seconds?: number;
  fewest?: number;
  seed?: number;
}

export interface PairResult {
  /** How many times faster b is than a: the median over the rounds, and its 95% bootstrap interval. */
  readonly ratio: number;
  readonly interval: readonly [low: number, high: number];
  /** Seconds a run: medians. */
  readonly a: number;
  readonly b: number;
  /** Mean number of running processes over the last minute, before and after. */
  readonly load: readonly [before: number, after: number];
}

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((x, y) => x - y);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Seconds a run of `repeats` runs. */
async function time({ run }: Side, repeats: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < repeats; i++) {
    const pending = run();
    if (pending !== undefined) await pending;
  }
  return (performance.now() - start) / 1e3 / repeats;
}

function expectSame(a: Side, b: Side, tolerance: number | ArrayLike<number>): void {
  const [left, right] = [a.result(), b.result()];
  if (left.length !== right.length)
    throw new Error(`pair: ${a.name} gives ${left.length} numbers and ${b.name} ${right.length}`);
  for (let i = 0; i < left.length; i++)
    if (!(Math.abs(left[i] - right[i]) <= (typeof tolerance === "number" ? tolerance : tolerance[i])))
      throw new Error(`pair: element ${i} is ${left[i]} by ${a.name} and ${right[i]} by ${b.name}`);
}

/** The middle 95% of the medians of resampled rounds. */
function bootstrap(ratios: readonly number[], seed: number): [low: number, high: number] {
  const rng = new Rng(seed);
  const medians = Array.from({ length: 1000 }, () =>
    median(ratios.map(() => ratios[Math.floor(rng.next() * ratios.length)])),
  ).sort((x, y) => x - y);
  return [medians[25], medians[974]];
}

/** Seconds a run, once the compiler has had its turn: at least two runs, more of what is quick. */
async function warm(side: Side): Promise<number> {
  const first = await time(side, 1);
  const later = [await time(side, 1)];
  for (let spent = first + later[0]; spent < 0.2 && later.length < 20; spent += later.at(-1)!)
    later.push(await time(side, 1));
  return Math.min(...later);
}

/** Compares the results, then the speeds. Throws where the results differ, also after the last round. */
export async function pair(
  a: Side,
  b: Side,
  { tolerance, rounds = 21, milliseconds = 20, seconds = 10, fewest = 5, seed = 1 }: PairOptions,
): Promise<PairResult> {
  const before = loadavg()[0];
  const once = [await warm(a), await warm(b)];
  const repeats = once.map((each) => Math.max(1, Math.ceil(milliseconds / 1e3 / each)));
  expectSame(a, b, tolerance);
  const round = once[0] * repeats[0] + once[1] * repeats[1];
  const count = Math.min(rounds, Math.max(fewest, Math.floor(seconds / round)));
  const times: [a: number, b: number][] = [];
  for (let i = 0; i < count; i++)
    if (i % 2 === 0) {
      const first = await time(a, repeats[0]);
      times.push([first, await time(b, repeats[1])]);
    } else {
      const first = await time(b, repeats[1]);
      times.push([await time(a, repeats[0]), first]);
    }
  expectSame(a, b, tolerance);
  return { ...summarize(times, seed), load: [before, loadavg()[0]] };
}

/** The ratio a/b of every round, and the medians. */
export function summarize(
  times: readonly (readonly [a: number, b: number])[],
  seed = 1,
): Omit<PairResult, "load"> {
  const ratios = times.map(([left, right]) => left / right);
  return {
    ratio: median(ratios),
    interval: bootstrap(ratios, seed),
    a: median(times.map(([left]) => left)),
    b: median(times.map(([, right]) => right)),
  };
}

/** "1.42x (1.40–1.45)" */
export const showRatio = ({ ratio, interval: [low, high] }: PairResult): string =>
  `${ratio.toFixed(2)}x (${low.toFixed(2)}–${high.toFixed(2)})`;
