/** Clusters around means. */

import { isFloat } from "../dtype.ts";
import { checkInteger, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { defaultRng } from "../random/default.ts";
import type { Rng } from "../random/rng.ts";
import { asTensor, type Tensor, type TensorLike, tensor } from "../tensor.ts";
import { type Rows, rowsOf } from "./given.ts";

export interface KMeansOptions {
  k: number;
  /** Centres (k, d) to begin with, or null for k-means++. */
  init: TensorLike | null;
  /** How often it begins anew; the clusters of least inertia are taken. */
  restarts: number;
  /** The most steps of one start. */
  iterations: number;
  /** Default: the default generator. */
  rng: Rng | null;
}

export interface Clusters {
  /** (n): the cluster of each row. */
  readonly labels: Tensor<"int32">;
  /** (k, d), each the mean of its rows. */
  readonly centres: Tensor;
  /** The sum of squared distances of rows from their centres. */
  readonly inertia: number;
  /** Steps of the start that was taken. */
  readonly iterations: number;
}

export const kMeansDefaults: KMeansOptions = {
  k: undefined as unknown as number,
  init: null,
  restarts: 1,
  iterations: 100,
  rng: null,
};

/**
 * Splits rows (n, d) into k clusters, each row in that of the nearest centre. Begins by k-means++ (Arthur and Vassilvitskii,
 * 2007) and goes on by Lloyd's steps until no row moves. A cluster that loses all its rows gets the row that lies farthest
 * from its centre, so that none is empty. Throws OptionError where fewer than k rows differ.
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { kMeans } from "bitgrad/discovery";
 *
 * const { labels, inertia } = kMeans([[0], [1], [8], [9]], { k: 2, rng: new Rng(1) });
 * const [a, b, c, d] = labels.toArray() as number[];
 * console.log(a === b, c === d, a === c, inertia); // true true false 1
 * ```
 */
export function kMeans(
  features: TensorLike,
  options: Partial<KMeansOptions> & Pick<KMeansOptions, "k">,
): Clusters {
  const op = "kMeans";
  const settings = readOptions<KMeansOptions>(op, options, kMeansDefaults);
  const rows = rowsOf(op, "features", features);
  const { dtype } = asTensor(op, features);
  const best = cluster(op, rows, settings);
  return {
    labels: tensor(best.labels, { dtype: "int32" }),
    centres: tensor(best.centres, { shape: [settings.k, rows.d], dtype: isFloat(dtype) ? dtype : "float32" }),
    inertia: best.inertia,
    iterations: best.iterations,
  };
}

interface Found {
  readonly labels: Int32Array;
  readonly centres: Float64Array;
  readonly inertia: number;
  readonly iterations: number;
}

export function cluster(op: string, rows: Rows, settings: KMeansOptions): Found {
  const { k, init, restarts, iterations } = settings;
  for (const [name, value] of Object.entries({ k, restarts, iterations })) checkInteger(op, name, value, 1);
  if (k > rows.n) throw new OptionError(`${op}: k must be at most the number of rows, ${rows.n}, got ${k}`);
  const first = init === null ? null : rowsOf(op, "init", init);
  if (first && (first.n !== k || first.d !== rows.d)) {
    throw new ShapeError(`${op}: init must be ${show([k, rows.d])}, got ${show([first.n, first.d])}`);
  }
  const rng = settings.rng ?? defaultRng();
  const draw = () => rng.next();
  let best: Found | null = null;
  for (let start = 0; start < (first ? 1 : restarts); start++) {
    const centres = first?.data ?? gather(rows, seeds(op, rows, k, draw));
    const found = lloyd(op, rows, Float64Array.from(centres), k, iterations);
    if (best === null || found.inertia < best.inertia) best = found;
  }
  return best as Found;
}

function gather({ data, d }: Rows, indices: readonly number[]): Float64Array {
  const out = new Float64Array(indices.length * d);
  for (const [i, row] of indices.entries()) out.set(data.subarray(row * d, (row + 1) * d), i * d);
  return out;
}

/** The squared distance of two rows, or some number above `limit` where it is more than that. */
function distance(
  a: Float64Array,
  i: number,
  b: Float64Array,
  j: number,
  d: number,
  limit = Infinity,
): number {
  let sum = 0;
  for (let c = 0; c < d; ) {
    const end = Math.min(c + 8, d);
    for (; c < end; c++) {
      const gap = a[i + c] - b[j + c];
      sum += gap * gap;
    }
    if (sum > limit) return sum;
  }
  return sum;
}

/**
 * The rows that k-means++ begins with, by one draw from [0, 1) each: the first row by chance, every other with the odds of
 * its squared distance from the nearest before it.
 */
export function seeds(op: string, { data, n, d }: Rows, k: number, draw: () => number): number[] {
  const chosen = [Math.min(Math.floor(draw() * n), n - 1)];
  const nearest = new Float64Array(n).fill(Infinity);
  while (chosen.length < k) {
    const last = chosen[chosen.length - 1] * d;
    let total = 0;
    for (let i = 0; i < n; i++) {
      nearest[i] = Math.min(nearest[i], distance(data, i * d, data, last, d, nearest[i]));
      total += nearest[i];
    }
    if (total === 0) throw tooFew(op, k);
    const want = draw() * total;
    let sum = 0;
    let next = -1;
    for (let i = 0; i < n; i++) {
      sum += nearest[i];
      if (nearest[i] === 0) continue;
      next = i;
      if (sum >= want) break;
    }
    chosen.push(next);
  }
  return chosen;
}

const tooFew = (op: string, k: number) =>
  new OptionError(`${op}: k must be at most the number of rows that differ, got ${k}; use fewer clusters`);

function lloyd(op: string, rows: Rows, centres: Float64Array, k: number, most: number): Found {
  const { data, n, d } = rows;
  const labels = new Int32Array(n);
  const gaps = new Float64Array(n);
  const sizes = new Int32Array(k);
  let [moved, iterations] = [true, 0];
  const nearest = (): void => {
    moved = false;
    for (let i = 0; i < n; i++) {
      let [at, least] = [labels[i], distance(data, i * d, centres, labels[i] * d, d)];
      for (let c = 0; c < k; c++) {
        if (c === labels[i]) continue;
        const gap = distance(data, i * d, centres, c * d, d, least);
        if (gap < least || (gap === least && c < at)) [at, least] = [c, gap];
      }
      if (at !== labels[i]) moved = true;
      labels[i] = at;
      gaps[i] = least;
    }
    sizes.fill(0);
    for (const label of labels) sizes[label]++;
    for (let c = 0; c < k; c++) {
      if (sizes[c] > 0) continue;
      const far = farthest(gaps, labels, sizes);
      if (far < 0) throw tooFew(op, k);
      sizes[labels[far]]--;
      sizes[c] = 1;
      labels[far] = c;
      gaps[far] = 0;
      moved = true;
    }
  };
  const average = (): void => {
    centres.fill(0);
    for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) centres[labels[i] * d + j] += data[i * d + j];
    for (let i = 0; i < centres.length; i++) centres[i] /= sizes[Math.floor(i / d)];
  };
  nearest();
  // The first labels are zeros that nothing chose.
  moved = true;
  while (moved && iterations < most) {
    average();
    nearest();
    iterations++;
  }
  average();
  let inertia = 0;
  for (let i = 0; i < n; i++) inertia += distance(data, i * d, centres, labels[i] * d, d);
  return { labels, centres, inertia, iterations };
}

/** The row farthest from its centre among those that do not lie there alone, or -1. */
function farthest(gaps: Float64Array, labels: Int32Array, sizes: Int32Array): number {
  let [at, most] = [-1, 0];
  for (let i = 0; i < gaps.length; i++) {
    if (gaps[i] > most && sizes[labels[i]] > 1) [at, most] = [i, gaps[i]];
  }
  return at;
}
