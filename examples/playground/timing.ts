/** How long something takes: the median of some rounds, after one that warms up where there are more. */
export function medianSeconds(rounds: number, run: () => void): number {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    run();
    times.push((performance.now() - start) / 1000);
  }
  if (rounds > 1) times.shift();
  times.sort((a, b) => a - b);
  return Math.max(times[times.length >> 1], 1e-6);
}
