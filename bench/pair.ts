/**
 * Compares the speed of two ways to the same numbers, on a machine that does other things too: both in every round, in
 * swapped order, and the ratio of each round rather than of the totals.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { Rng } from "../src/random.ts";

export interface Side {
  readonly name: string;
  /** Does the work once. */
  run(): void | Promise<void>;
  /** What the last run produced. */
  result(): ArrayLike<number>;
}

export interface PairOptions {
  /** Largest difference of the two results for each element. */
  tolerance: ArrayLike<number>;
  /** At least 5. */
  rounds?: number;
  /** How long each side runs in each round. */
  milliseconds?: number;
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

function expectSame(a: Side, b: Side, tolerance: ArrayLike<number>): void {
  const [left, right] = [a.result(), b.result()];
  if (left.length !== right.length)
    throw new Error(`pair: ${a.name} gives ${left.length} numbers and ${b.name} ${right.length}`);
  for (let i = 0; i < left.length; i++)
    if (!(Math.abs(left[i] - right[i]) <= tolerance[i]))
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

/** Compares the results, then the speeds. Throws where the results differ, also after the last round. */
export async function pair(
  a: Side,
  b: Side,
  { tolerance, rounds = 21, milliseconds = 20, seed = 1 }: PairOptions,
): Promise<PairResult> {
  const before = loadavg()[0];
  const repeats: number[] = [];
  for (const side of [a, b]) {
    await time(side, 1);
    // Twice for the compiler, and the later ones to see how many runs fill a round.
    const once = Math.min(await time(side, 2), await time(side, 2));
    repeats.push(Math.max(1, Math.ceil(milliseconds / 1e3 / once)));
  }
  expectSame(a, b, tolerance);
  const times: [a: number, b: number][] = [];
  for (let round = 0; round < rounds; round++)
    if (round % 2 === 0) {
      const first = await time(a, repeats[0]);
      times.push([first, await time(b, repeats[1])]);
    } else {
      const first = await time(b, repeats[1]);
      times.push([await time(a, repeats[0]), first]);
    }
  expectSame(a, b, tolerance);
  const ratios = times.map(([left, right]) => left / right);
  return {
    ratio: median(ratios),
    interval: bootstrap(ratios, seed),
    a: median(times.map(([left]) => left)),
    b: median(times.map(([, right]) => right)),
    load: [before, loadavg()[0]],
  };
}

/** "1.42x (1.40–1.45)" */
export const showRatio = ({ ratio, interval: [low, high] }: PairResult): string =>
  `${ratio.toFixed(2)}x (${low.toFixed(2)}–${high.toFixed(2)})`;

/** Stores bench/results/<name>.json, unless the machine was busy with something else. */
export function writeResults(name: string, results: readonly { load: readonly number[] }[]): void {
  // The benchmark itself is one running process.
  const busiest = Math.max(...results.flatMap(({ load }) => load)) - 1;
  if (busiest > 0.5)
    throw new Error(`${name}: the machine was busy, got load ${(busiest + 1).toFixed(1)}; try again later`);
  const folder = new URL("./results/", import.meta.url);
  mkdirSync(folder, { recursive: true });
  const machine = { cpu: cpus()[0]?.model, node: process.version };
  writeFileSync(new URL(`${name}.json`, folder), `${JSON.stringify({ machine, results }, null, 2)}\n`);
}
