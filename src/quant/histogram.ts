/** Histograms that grow with what they count, and the quantities that ranges are chosen by. */

/** How many numbers fall into each of equal bins of low … high. */
export interface Histogram {
  readonly low: number;
  readonly high: number;
  readonly counts: Float64Array;
}

/** Cells of a bin: bins of a wider range begin at a cell of the old ones, and hold whole numbers of them. */
const cells = 128;

/** Counts of numbers that lie within low … high; what a range of no width holds is in its middle bin. */
export function count(
  x: ArrayLike<number>,
  from: number,
  to: number,
  low: number,
  high: number,
  bins: number,
): Histogram {
  const counts = new Float64Array(bins);
  const width = high - low;
  if (width === 0) counts[bins >> 1] = to - from;
  else
    for (let i = from; i < to; i++) {
      const place = Math.floor(((x[i] - low) / width) * bins);
      counts[Math.min(bins - 1, Math.max(0, place))]++;
    }
  return { low, high, counts };
}

/**
 * The range that both have and whose bins hold whole cells of a's, so that counting on loses little: as PyTorch's
 * HistogramObserver widens.
 */
export function widened(a: Histogram, low: number, high: number): { low: number; high: number } {
  if (a.low <= low && a.high >= high) return { low: a.low, high: a.high };
  const least = Math.min(a.low, low);
  const most = Math.max(a.high, high);
  const fine = a.high - a.low;
  if (fine === 0) return { low: least, high: most };
  const ratio = Math.ceil(((most - least) / fine) * cells);
  return { low: least, high: least + (ratio / cells) * fine };
}

/** What `a` counted, in the bins of a range that `widened` gave; each of its bins is shared out evenly. */
export function rebinned(a: Histogram, low: number, high: number): Histogram {
  if (a.low === low && a.high === high) return a;
  const bins = a.counts.length;
  const counts = new Float64Array(bins);
  const width = (high - low) / bins;
  const step = (a.high - a.low) / bins;
  // Bins begin at cells, to which rounding must not matter.
  const cell = step / cells;
  const offset = cell > 0 ? Math.floor((a.low - low) / cell + 0.5) * cell : a.low - low;
  a.counts.forEach((mass, i) => {
    if (mass === 0) return;
    const from = (offset + i * step) / width;
    const to = (offset + (i + 1) * step) / width;
    const first = Math.min(bins - 1, Math.floor(from));
    const last = Math.min(bins - 1, Math.floor(to));
    if (first === last || to === from) counts[first] += mass;
    else
      for (let j = first; j <= last; j++)
        counts[j] += (mass * (Math.min(to, j + 1) - Math.max(from, j))) / (to - from);
  });
  return { low, high, counts };
}

/** Both together, over a range that `widened` gave. */
export function added(a: Histogram, b: Histogram): Histogram {
  const counts = a.counts.map((mass, i) => mass + b.counts[i]);
  return { low: a.low, high: a.high, counts };
}

const sum = (counts: Float64Array): number => counts.reduce((total, mass) => total + mass, 0);

/** The number below which a share of all lies, as NumPy's linear interpolation finds it, to within a bin. */
export function quantileOf({ low, high, counts }: Histogram, share: number): number {
  const width = (high - low) / counts.length;
  const target = share * sum(counts);
  let below = 0;
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] > 0 && below + counts[i] >= target)
      return low + (i + Math.max(0, target - below) / counts[i]) * width;
    below += counts[i];
  }
  return high;
}

/** The middles of the bins. */
export function middlesOf({ low, high, counts }: Histogram): Float32Array {
  const width = (high - low) / counts.length;
  return Float32Array.from(counts, (_, i) => low + (i + 0.5) * width);
}

/** ∫ density · x² from `from` to `to`. */
const square = (from: number, to: number): number => (to ** 3 - from ** 3) / 3;

/**
 * The range that PyTorch's HistogramObserver finds: it drops the tail of less mass, 1e-5 of all at a time, until the squared
 * error of `levels` even levels over what is left grows.
 */
export function leastError({ low, high, counts }: Histogram, levels: number): [low: number, high: number] {
  const bins = counts.length;
  const width = (high - low) / bins;
  if (width === 0) return [low, high];
  const upTo = new Float64Array(bins);
  let total = 0;
  counts.forEach((mass, i) => {
    total += mass;
    upTo[i] = total;
  });

  /** Of even levels over the bins first … last; numbers beyond take the nearest level. */
  const error = (first: number, last: number): number => {
    const step = (width * (last - first + 1)) / levels;
    const levelOf = (x: number) => Math.min(levels - 1, Math.max(0, Math.floor(x / step)));
    let norm = 0;
    for (let i = 0; i < bins; i++) {
      if (counts[i] === 0) continue;
      const from = (i - first) * width;
      const to = from + width;
      const a = levelOf(from);
      const b = levelOf(to);
      const parts =
        square(from - (a + 0.5) * step, step / 2) +
        (b - a - 1) * square(-step / 2, step / 2) +
        square(-step / 2, to - (b + 0.5) * step);
      norm += (counts[i] / width) * parts;
    }
    return norm;
  };

  const stride = 1e-5;
  let [alpha, beta] = [0, 1];
  let [first, last] = [0, bins - 1];
  let best = Infinity;
  while (alpha < beta) {
    const [nextAlpha, nextBeta] = [alpha + stride, beta - stride];
    let [l, r] = [first, last];
    while (l < last && upTo[l] < nextAlpha * total) l++;
    while (r > first && upTo[r] > nextBeta * total) r--;
    let [nextFirst, nextLast] = [first, last];
    if (l - first > last - r) {
      nextFirst = l;
      alpha = nextAlpha;
    } else {
      nextLast = r;
      beta = nextBeta;
    }
    if (nextFirst === first && nextLast === last) continue;
    const norm = error(nextFirst, nextLast);
    if (norm > best) break;
    best = norm;
    [first, last] = [nextFirst, nextLast];
  }
  return [low + width * first, low + width * (last + 1)];
}

/** Mass in place of an empty bin. */
const smooth = 1e-4;

/**
 * The cut of a histogram of magnitudes, 0 … high, after which its tail is clamped: of all that leave a bin per level, the
 * one whose distribution differs least from that of `levels` levels, by the Kullback–Leibler divergence. Migacz, 8-bit
 * inference with TensorRT, 2017.
 */
export function leastDivergence({ high, counts }: Histogram, levels: number): number {
  const bins = counts.length;
  const total = sum(counts);
  if (total === 0 || high === 0) return high;
  let best = Infinity;
  let cut = bins;
  let tail = total;
  for (let i = 0; i < Math.min(levels, bins); i++) tail -= counts[i];
  for (let end = levels; end <= bins; end++) {
    if (end > levels) tail -= counts[end - 1];
    if (tail >= total) continue;
    const found = divergence(counts, end, Math.max(0, tail), total, levels);
    if (found < best) [best, cut] = [found, end];
  }
  return (high * cut) / bins;
}

/** Of the first `end` bins, the tail in the last of them, from the same merged to levels. */
function divergence(counts: Float64Array, end: number, tail: number, total: number, levels: number): number {
  let result = 0;
  const kept = total - tail;
  for (let level = 0; level < levels; level++) {
    const from = Math.floor((level * end) / levels);
    const to = Math.floor(((level + 1) * end) / levels);
    let mass = 0;
    let filled = 0;
    for (let i = from; i < to; i++) {
      mass += counts[i];
      if (counts[i] > 0) filled++;
    }
    for (let i = from; i < to; i++) {
      const p = (i === end - 1 ? counts[i] + tail : counts[i]) / total;
      const q = counts[i] > 0 ? mass / filled / kept : 0;
      const [a, b] = [Math.max(p, smooth / total), Math.max(q, smooth / total)];
      result += a * Math.log(a / b);
    }
  }
  return result;
}
