/** Powell's method: a function of several numbers is made less along one direction after another, without gradients. */

export interface PowellOptions {
  /** How often each direction is searched. */
  rounds: number;
  /** How far the first steps go; each round goes half as far. */
  step: number;
}

interface Point {
  readonly at: readonly number[];
  readonly value: number;
}

type Objective = (at: readonly number[]) => Promise<number>;

const moved = ({ at }: Point, direction: readonly number[], by: number): number[] =>
  at.map((x, i) => x + by * direction[i]);

/** The lowest of a few points on a line: a step to each side, further where it falls, and the vertex of a parabola. */
async function alongLine(
  f: Objective,
  from: Point,
  direction: readonly number[],
  step: number,
): Promise<Point> {
  let best = from;
  const valueAt = async (t: number): Promise<number> => {
    const at = moved(from, direction, t);
    const value = await f(at);
    if (value < best.value) best = { at, value };
    return value;
  };
  let [low, middle, high] = [await valueAt(-step), from.value, await valueAt(step)];
  let centre = 0;
  const way = low < high ? -1 : 1;
  for (let i = 0; i < 3 && Math.min(low, high) < middle; i++) {
    centre += way * step;
    const next = await valueAt(centre + way * step);
    [low, middle, high] = way > 0 ? [middle, high, next] : [next, low, middle];
  }
  const bend = low - 2 * middle + high;
  const vertex = (step * (low - high)) / (2 * bend);
  if (bend > 0 && Math.abs(vertex) < step && vertex !== 0) await valueAt(centre + vertex);
  return best;
}

/**
 * The lowest point that is found from `start` on, itself where none is lower. Directions are the axes at first; after each
 * round the way that it went takes the place of the direction that did most. Powell, 1964, An efficient method for finding
 * the minimum of a function of several variables without calculating derivatives.
 */
export async function powell(f: Objective, start: Point, { rounds, step }: PowellOptions): Promise<Point> {
  let best = start;
  const directions: (readonly number[])[] = start.at.map((_, i) =>
    start.at.map((__, j) => (i === j ? 1 : 0)),
  );
  for (let round = 0; round < rounds; round++, step /= 2) {
    const before = best;
    let most = { gain: 0, index: 0 };
    for (const [index, direction] of directions.entries()) {
      const { value } = best;
      best = await alongLine(f, best, direction, step);
      if (value - best.value > most.gain) most = { gain: value - best.value, index };
    }
    const way = best.at.map((x, i) => x - before.at[i]);
    const length = Math.hypot(...way);
    if (length === 0 || directions.length === 1) continue;
    const direction = way.map((x) => x / length);
    best = await alongLine(f, best, direction, step);
    directions[most.index] = direction;
  }
  return best;
}
