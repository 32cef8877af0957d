/**
 * How much of something is done in a second. Each of `runs` returns how much it did; they take turns until so many
 * milliseconds are spent, and each has its fastest turn told: what else the machine does only slows. At least one turn.
 */
export function speeds(runs: readonly (() => number)[], milliseconds: number): number[] {
  const found = runs.map(() => 0);
  const end = performance.now() + milliseconds;
  do {
    runs.forEach((run, i) => {
      const start = performance.now();
      const done = run();
      // The clocks of browsers are coarse.
      found[i] = Math.max(found[i], (done * 1000) / Math.max(performance.now() - start, 0.1));
    });
  } while (performance.now() < end);
  return found;
}
