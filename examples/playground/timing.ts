/**
 * How long `run` takes: the median of runs until so many milliseconds are spent, after one that warms up; of that one alone
 * where no time is given.
 */
export function medianSeconds(milliseconds: number, run: () => void): number {
  const clock = () => performance.now();
  const timed = () => {
    const start = clock();
    run();
    return (clock() - start) / 1000;
  };
  const first = timed();
  const end = clock() + milliseconds;
  const times: number[] = [];
  while (clock() < end) times.push(timed());
  times.sort((a, b) => a - b);
  return Math.max(times[times.length >> 1] ?? first, 1e-6);
}
