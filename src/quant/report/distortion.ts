/** How far numbers, and logits, lie from those of a float model. No result is NaN: what has no ratio is defined here. */

type Floats = Float32Array | Float64Array;

/** Of numbers ŷ beside the y that they stand for. */
export interface Distortion {
  /** 10·log10(Σy²/Σ(y − ŷ)²) in dB: Infinity where all are equal, else −Infinity where every y is 0. */
  readonly sqnr: number;
  /** Σyŷ/(|y|·|ŷ|): 1 where both are all 0, else 0 where one is. */
  readonly cosine: number;
  /** Σ(y − ŷ)²/Σy²: 0 where all are equal, else Infinity where every y is 0. */
  readonly relative: number;
  /** max|y − ŷ|. */
  readonly maxError: number;
}

/** What an error is of a signal: 0 where there is none, Infinity where there is one and no signal. */
export const ratio = (error: number, signal: number): number => (error === 0 ? 0 : error / signal);

/** Sums in double of numbers that come part by part. */
export class DistortionSum {
  private signal = 0;
  private other = 0;
  private cross = 0;
  private error = 0;
  private worst = 0;

  /** Infinite numbers, as of masked logits, count where the other is not the same. */
  add(y: Floats, approximate: Floats): void {
    for (let i = 0; i < y.length; i++) {
      const [a, b] = [y[i], approximate[i]];
      const distance = a === b ? 0 : Math.abs(a - b);
      this.worst = Math.max(this.worst, distance);
      this.error += distance * distance;
      if (!Number.isFinite(a) || !Number.isFinite(b)) continue;
      this.signal += a * a;
      this.other += b * b;
      this.cross += a * b;
    }
  }

  result(): Distortion {
    const { signal, other, cross, error, worst } = this;
    if (error === 0) return { sqnr: Infinity, cosine: 1, relative: 0, maxError: 0 };
    const size = Math.sqrt(signal) * Math.sqrt(other);
    const cosine = size === 0 ? 0 : Math.min(1, Math.max(-1, cross / size));
    const relative = ratio(error, signal);
    return {
      sqnr: relative === 0 ? Infinity : 10 * Math.log10(1 / relative),
      cosine,
      relative,
      maxError: worst,
    };
  }

  /** The mean square of the differences of `count` numbers. */
  meanSquare(count: number): number {
    return count === 0 ? 0 : this.error / count;
  }
}

/** log Σ exp of the row from … from + n; −Infinity where every logit is. */
export function logSumOf(logits: Floats, from: number, n: number): number {
  let most = -Infinity;
  for (let i = from; i < from + n; i++) most = Math.max(most, logits[i]);
  if (most === -Infinity) return most;
  let sum = 0;
  for (let i = from; i < from + n; i++) sum += Math.exp(logits[i] - most);
  return most + Math.log(sum);
}

/**
 * KL(softmax(logits) ‖ softmax(others)) of the row from … from + n, in nats and in double. A logit of −Infinity is a class
 * that cannot be: it adds nothing in `logits`, and makes the divergence infinite in `others` alone.
 */
export function rowDivergence(logits: Floats, others: Floats, from: number, n: number): number {
  const first = logSumOf(logits, from, n);
  const second = logSumOf(others, from, n);
  let sum = 0;
  for (let i = from; i < from + n; i++) {
    const log = logits[i] - first;
    if (log === -Infinity) continue;
    sum += Math.exp(log) * (log - (others[i] - second));
  }
  // Rounding can leave a little less than nothing.
  return Math.max(0, sum);
}

/** The number below which a share of all lies, by linear interpolation as NumPy has it; of none 0. */
export function quantile(numbers: readonly number[], share: number): number {
  if (numbers.length === 0) return 0;
  const sorted = Float64Array.from(numbers).sort();
  const place = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return low === high ? low : low + (place - Math.floor(place)) * (high - low);
}

/** Σ E[g²]·Δ²: of a loss at its minimum about twice what it grows by, where weights move alone. */
export const fisherScore = (squares: ArrayLike<number>, delta: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < squares.length; i++) sum += squares[i] * delta[i] * delta[i];
  return sum;
};

/** Σ|g·Δ|: a bound of what a loss changes by to first order. */
export const firstOrderScore = (gradient: ArrayLike<number>, delta: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < gradient.length; i++) sum += Math.abs(gradient[i] * delta[i]);
  return sum;
};
