/**
 * fake-quantize: floats to codes and to the numbers that these stand for, as docs/architecture.md has quantizers do it. x is
 * seen as rows of n numbers; each `step` of a row, and what is left at its end, are a run, and share a scale. Run k is read
 * by scale k modulo the number of scales.
 *
 * ranges writes of each run the least and the largest number, the sum of magnitudes, and how many numbers it has. −0 counts
 * as 0, and NaN is passed over but by the sum. Sums run in double: eight partial sums take every eighth number each, and are
 * added as ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). With `sums` false the sum is 0, or NaN where a number is not finite.
 * uniform: code = clamp(round(x / scale) + zero), the quotient rounded to float32 and then half to even, value = (code −
 * zero) · scale, or where it is `whole`, code − zero. Zeros are integers from least to most. A number is inside where its
 * code needs no clamp.
 * levels: the code is the index of the level nearest to x / scale, the lower of two as near, value = level · scale. A number
 * is inside where a further level, as far beyond the last as that is from its neighbour, would not be as near.
 * signs: code −1 below 0, else 1, value = code · scale. A number is inside from −1 to 1.
 * rows: `uniform` from −top to top with scale = max|x| / top of the row in float32, at least 2⁻¹²⁶, and 1 for a row of
 * zeros; values are `whole` where `scales` takes the scales. No value is −0, and NaN gets the lowest code. seen[0] becomes 1
 * where a number is not inside, seen[1] where one is not finite; those are for the caller to refuse.
 */

import type { FloatArray } from "../../src/dtype.ts";

export interface Runs {
  readonly rows: number;
  readonly n: number;
  readonly step: number;
}

/** What is written of x; null for what is not. */
export interface Quantized {
  readonly values: Float32Array | null;
  readonly codes: Int8Array | Uint8Array | null;
  /** 1 where a number is inside, else 0. */
  readonly inside: Uint8Array | null;
  readonly seen: Uint8Array;
}

/** Calls `visit(from, to, k)` for every run, in order: the numbers from … to − 1 are run k. */
export function forEachRun(
  { rows, n, step }: Runs,
  visit: (from: number, to: number, k: number) => void,
): void {
  for (let row = 0, k = 0; row < rows * n; row += n)
    for (let from = 0; from < n; from += step, k++) visit(row + from, row + Math.min(from + step, n), k);
}

/** How many numbers `ranges` writes of a run. */
export const rangeSize = 4;

export function ranges(out: Float64Array, x: FloatArray, runs: Runs, sums: boolean): void {
  forEachRun(runs, (from, to, k) => range(out, k * rangeSize, x, from, to, sums));
}

/** Those of one run, written from place `at` on. */
export function range(
  out: Float64Array,
  at: number,
  x: FloatArray,
  from: number,
  to: number,
  sums: boolean,
): void {
  let min = Infinity;
  let max = -Infinity;
  let odd = 0;
  for (let i = from; i < to; i++) {
    const v = x[i];
    if (v < min) min = v;
    if (v > max) max = v;
    odd += v * 0;
  }
  // Adding 0 makes 0 of −0.
  out[at] = min + 0;
  out[at + 1] = max + 0;
  out[at + 2] = sums ? magnitudes(x, from, to) : odd;
  out[at + 3] = to - from;
}

const rest = (x: FloatArray, i: number, to: number): number => (i < to ? Math.abs(x[i]) : 0);

function magnitudes(x: FloatArray, from: number, to: number): number {
  let [a, b, c, d, e, f, g, h] = [0, 0, 0, 0, 0, 0, 0, 0];
  let i = from;
  for (; i + 7 < to; i += 8) {
    a += Math.abs(x[i]);
    b += Math.abs(x[i + 1]);
    c += Math.abs(x[i + 2]);
    d += Math.abs(x[i + 3]);
    e += Math.abs(x[i + 4]);
    f += Math.abs(x[i + 5]);
    g += Math.abs(x[i + 6]);
    h += Math.abs(x[i + 7]);
  }
  const left =
    a + rest(x, i, to) + (b + rest(x, i + 1, to)) + (c + rest(x, i + 2, to) + (d + rest(x, i + 3, to)));
  return left + (e + rest(x, i + 4, to) + (f + rest(x, i + 5, to)) + (g + rest(x, i + 6, to) + h));
}

/** A double beyond which there are no fractions: adding and taking it away rounds half to even. */
const magic = 6755399441055744;

export function uniform(
  { values, codes, inside, seen }: Quantized,
  x: FloatArray,
  scales: Float32Array,
  zeros: Float32Array | null,
  runs: Runs,
  least: number,
  most: number,
  whole = false,
): void {
  forEachRun(runs, (from, to, k) => {
    const scale = scales[k % scales.length];
    const zero = zeros ? zeros[k % scales.length] : 0;
    const unit = whole ? 1 : scale;
    let [clamped, odd] = [false, 0];
    for (let i = from; i < to; i++) {
      odd += x[i] * 0;
      // The clamp makes integers of quotients that are too large to be rounded so.
      const q = Math.fround(x[i] / scale) + magic - magic + zero;
      const code = q > most ? most : q >= least ? q : least;
      if (code !== q) clamped = true;
      if (values) values[i] = (code - zero) * unit + 0;
      if (codes) codes[i] = code;
      if (inside) inside[i] = code === q ? 1 : 0;
    }
    mark(seen, clamped, odd);
  });
}

function mark(seen: Uint8Array, clamped: boolean, odd: number): void {
  if (clamped) seen[0] = 1;
  if (odd !== 0) seen[1] = 1;
}

/** Between which levels the nearest one changes, and beyond which numbers are not inside: the first and the last. */
export function thresholds(levels: readonly number[]): Float64Array {
  const last = levels.length - 1;
  return Float64Array.from({ length: last + 2 }, (_, k) => {
    if (k === 0) return levels[0] - (levels[1] - levels[0]) / 2;
    if (k > last) return levels[last] + (levels[last] - levels[last - 1]) / 2;
    return (levels[k - 1] + levels[k]) / 2;
  });
}

export function levels(
  { values, codes, inside, seen }: Quantized,
  x: FloatArray,
  scales: Float32Array,
  runs: Runs,
  codebook: readonly number[],
): void {
  const steps = Float32Array.from(codebook);
  const ends = thresholds(codebook);
  const last = codebook.length - 1;
  forEachRun(runs, (from, to, k) => {
    const scale = scales[k % scales.length];
    let [outside, odd] = [false, 0];
    for (let i = from; i < to; i++) {
      odd += x[i] * 0;
      const u = Math.fround(x[i] / scale);
      let code = 0;
      while (code < last && u > ends[code + 1]) code++;
      const within = u > ends[0] && !(u > ends[last + 1]);
      if (!within) outside = true;
      if (values) values[i] = Math.fround(steps[code] * scale) + 0;
      if (codes) codes[i] = code;
      if (inside) inside[i] = within ? 1 : 0;
    }
    mark(seen, outside, odd);
  });
}

export function signs(
  { values, codes, inside, seen }: Quantized,
  x: FloatArray,
  scales: Float32Array,
  runs: Runs,
): void {
  forEachRun(runs, (from, to, k) => {
    const scale = scales[k % scales.length];
    let [outside, odd] = [false, 0];
    for (let i = from; i < to; i++) {
      odd += x[i] * 0;
      const code = x[i] < 0 ? -1 : 1;
      const within = Math.abs(x[i]) <= 1;
      if (!within) outside = true;
      if (values) values[i] = code * scale + 0;
      if (codes) codes[i] = code;
      if (inside) inside[i] = within ? 1 : 0;
    }
    mark(seen, outside, odd);
  });
}

/** 2^−126, the least normal float32: a scale can be divided by without surprises. */
const leastScale = 2 ** -126;

export function rows(
  values: Float32Array,
  x: Float32Array,
  seen: Uint8Array,
  { rows, n }: Pick<Runs, "rows" | "n">,
  top: number,
  scales: Float32Array | null = null,
): void {
  const found = new Float64Array(rows * rangeSize);
  const runs = { rows, n, step: n };
  ranges(found, x, runs, false);
  const by = Float32Array.from({ length: rows }, (_, k) => {
    const largest = Math.max(0, -found[k * rangeSize], found[k * rangeSize + 1]);
    return largest === 0 ? 1 : Math.max(Math.fround(largest / top), leastScale);
  });
  uniform({ values, codes: null, inside: null, seen }, x, by, null, runs, -top, top, scales !== null);
  scales?.set(by);
}
