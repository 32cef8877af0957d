/** Magnitudes in groups that share a scale: sorted, a group is a stretch of them, and its scale their mean. */

/** Sums of sorted magnitudes, from which the cost of any stretch follows at once. */
class Sorted {
  readonly values: Float64Array;
  private readonly sums: Float64Array;
  private readonly squares: Float64Array;

  constructor(weight: Float64Array) {
    this.values = weight.map(Math.abs).sort();
    const n = weight.length;
    this.sums = new Float64Array(n + 1);
    this.squares = new Float64Array(n + 1);
    for (let i = 0; i < n; i++) {
      this.sums[i + 1] = this.sums[i] + this.values[i];
      this.squares[i + 1] = this.squares[i] + this.values[i] ** 2;
    }
  }

  mean(from: number, to: number): number {
    return (this.sums[to] - this.sums[from]) / (to - from);
  }

  /** The sum of squared distances from the mean. */
  cost(from: number, to: number): number {
    const sum = this.sums[to] - this.sums[from];
    return Math.max(0, this.squares[to] - this.squares[from] - sum ** 2 / (to - from));
  }
}

/** The ends of the `groups` stretches of least cost, by dynamic programming in O(groups · n²). */
function leastEnds(sorted: Sorted, groups: number): number[] {
  const n = sorted.values.length;
  let least = Float64Array.from({ length: n + 1 }, (_, end) => (end === 0 ? 0 : sorted.cost(0, end)));
  const starts: Int32Array[] = [];
  for (let g = 1; g < groups; g++) {
    const next = new Float64Array(n + 1).fill(Infinity);
    const start = new Int32Array(n + 1);
    for (let end = g + 1; end <= n; end++) {
      for (let from = g; from < end; from++) {
        const cost = least[from] + sorted.cost(from, end);
        if (cost < next[end]) [next[end], start[end]] = [cost, from];
      }
    }
    starts.push(start);
    least = next;
  }
  const ends = [n];
  for (const start of starts.reverse()) ends.unshift(start[ends[0]]);
  return ends;
}

/** The ends of stretches of `window`, of which neighbours merge, those whose cost grows least, until `groups` are left. */
function mergedEnds(sorted: Sorted, groups: number, window: number): number[] {
  const n = sorted.values.length;
  const ends: number[] = [];
  for (let end = window; end < n; end += window) ends.push(end);
  ends.push(n);
  const begin = (i: number): number => (i === 0 ? 0 : ends[i - 1]);
  /** By how much the cost grows where stretch i merges with the next. */
  const growth = (i: number): number => {
    const [from, middle, to] = [begin(i), ends[i], ends[i + 1]];
    const apart = sorted.mean(from, middle) - sorted.mean(middle, to);
    return (((middle - from) * (to - middle)) / (to - from)) * apart ** 2;
  };
  const grows = ends.slice(1).map((_, i) => growth(i));
  while (ends.length > groups) {
    let best = 0;
    for (let i = 1; i < grows.length; i++) if (grows[i] < grows[best]) best = i;
    ends.splice(best, 1);
    grows.splice(best, 1);
    for (const i of [best - 1, best]) if (i >= 0 && i < grows.length) grows[i] = growth(i);
  }
  return ends;
}

export interface Grouping {
  /** Where each group ends in the sorted magnitudes. */
  readonly ends: readonly number[];
  readonly values: Float64Array;
}

/**
 * scale · sign, with one scale for each of `groups` groups of like magnitude, as WGM groups them (dynamic grouping): the
 * least squared error by dynamic programming for a `window` of null, else by merging stretches of `window` magnitudes.
 * Merges go by the growth of the error; the released code goes by the error of what is merged, which finds worse groups.
 */
export function groupedSigns(weight: Float64Array, groups: number, window: number | null): Grouping {
  const sorted = new Sorted(weight);
  const most = Math.min(groups, weight.length);
  const ends = window === null ? leastEnds(sorted, most) : mergedEnds(sorted, most, window);
  const order = Uint32Array.from(weight.keys()).sort((a, b) => Math.abs(weight[a]) - Math.abs(weight[b]));
  const values = new Float64Array(weight.length);
  ends.forEach((end, g) => {
    const from = g === 0 ? 0 : ends[g - 1];
    const scale = sorted.mean(from, end);
    for (const i of order.subarray(from, end)) values[i] = weight[i] < 0 ? -scale : scale;
  });
  return { ends, values };
}
