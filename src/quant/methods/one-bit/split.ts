/** BiLLM's block: a few salient columns in two orders of signs, the rest in one, small and large magnitudes apart. */

import { squaredError } from "./fit.ts";
import { residualSigns } from "./forms.ts";

/** At most so many columns are salient. */
const mostSalient = 49;

export interface Split {
  /** Of the salient columns, the first the most salient. */
  readonly salient: readonly number[];
  /** Magnitudes from here on are large. */
  readonly threshold: number;
  readonly values: Float64Array;
}

/**
 * The split of a matrix that BiLLM's search finds: the columns of largest Σ|w|, as many as make the error of two orders on
 * them and two on the rest least; then, of the 0.10, 0.11, … 0.90 quantiles of the rest's magnitudes, zeros standing for the
 * salient columns, that at which two groups of one order have the least error. Huang et al., 2024, arXiv:2402.04291, with
 * the search on the weights, where the released code may search on saliences.
 */
export function splitSigns(weight: Float64Array, rows: number, columns: number): Split {
  const sums = new Float64Array(columns);
  for (let i = 0; i < weight.length; i++) sums[i % columns] += Math.abs(weight[i]);
  const ranked = Array.from(sums.keys()).sort((a, b) => sums[b] - sums[a] || a - b);
  /** 1 where the column is not among the first k, and where it is. */
  const masks = (k: number): [rest: Uint8Array, salient: Uint8Array] => {
    const first = new Set(ranked.slice(0, k));
    const salient = Uint8Array.from(weight, (_, i) => (first.has(i % columns) ? 1 : 0));
    return [salient.map((s) => 1 - s), salient];
  };
  const twice = (mask: Uint8Array): Float64Array => residualSigns(weight, rows, columns, 2, mask);
  let k = 0;
  let least = Infinity;
  for (let n = 1; n <= Math.min(mostSalient, columns - 1); n++) {
    const [rest, salient] = masks(n);
    const error = squaredError(weight, sum(twice(rest), twice(salient)));
    if (error < least) [k, least] = [n, error];
  }
  const [rest, salient] = masks(k);
  const fixed = twice(salient);
  const sizes = weight.map((w, i) => rest[i] * Math.abs(w)).sort();
  let best: Split | null = null;
  least = Infinity;
  for (let percent = 10; percent <= 90; percent++) {
    const threshold = quantile(sizes, percent / 100);
    const small = rest.map((r, i) => (r === 1 && Math.abs(weight[i]) < threshold ? 1 : 0));
    const large = rest.map((r, i) => r - small[i]);
    const once = [small, large].map((mask) => residualSigns(weight, rows, columns, 1, mask));
    const values = sum(fixed, sum(once[0], once[1]));
    const error = squaredError(weight, values);
    if (error < least) [least, best] = [error, { salient: ranked.slice(0, k), threshold, values }];
  }
  return best!;
}

const sum = (a: Float64Array, b: Float64Array): Float64Array => a.map((v, i) => v + b[i]);

/** Between the two sorted numbers around it, in proportion. */
function quantile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const next = sorted[Math.min(below + 1, sorted.length - 1)];
  return sorted[below] + (at - below) * (next - sorted[below]);
}
