/** What every normalisation is tried on. The results of one call are laid end to end in its one output. */

import { raggedSizes, wave } from "../elementwise/cases.ts";
import type { RowSizes } from "./reference.ts";
import * as reference from "./reference.ts";

type Optional = Float32Array | null;

export type ForwardArgs = [
  out: Float32Array,
  statistics: Float64Array,
  x: Float32Array,
  weight: Optional,
  bias: Optional,
  sizes: RowSizes,
];
export type BackwardArgs = [
  grads: Float32Array,
  dOut: Float32Array,
  x: Float32Array,
  weight: Optional,
  statistics: Float64Array,
  sizes: RowSizes,
];

const eps = 1e-5;

type Forward<R> = (...args: [...Parameters<typeof reference.layerNorm>]) => R;
type Backward<R> = (...args: [...Parameters<typeof reference.layerNormGrad>]) => R;

/** The statistics are (mean, rstd). */
export const layerNorm =
  <R>(run: Forward<R>) =>
  (...[out, statistics, x, weight, bias, sizes]: ForwardArgs): R =>
    run(out, ...halves(statistics), x, weight, bias, sizes, eps);

export const rmsNorm =
  <R>(run: (...args: [...Parameters<typeof reference.rmsNorm>]) => R) =>
  (...[out, statistics, x, weight, , sizes]: ForwardArgs): R =>
    run(out, halves(statistics)[1], x, weight, sizes, eps);

/** The gradients are (dx, dw, db); without a weight there is dx alone. */
export const layerNormGrad =
  <R>(run: Backward<R>) =>
  (...[grads, dOut, x, weight, statistics, sizes]: BackwardArgs): R =>
    run(...parts(grads, weight, sizes), dOut, x, weight, ...halves(statistics), sizes);

export const rmsNormGrad =
  <R>(run: (...args: [...Parameters<typeof reference.rmsNormGrad>]) => R) =>
  (...[grads, dOut, x, weight, statistics, sizes]: BackwardArgs): R => {
    const [dx, dw] = parts(grads, weight, sizes);
    return run(dx, dw, dOut, x, weight, halves(statistics)[1], sizes);
  };

const halves = (both: Float64Array): [mean: Float64Array, rstd: Float64Array] => [
  both.subarray(0, both.length / 2),
  both.subarray(both.length / 2),
];

const parts = (
  grads: Float32Array,
  weight: Optional,
  { rows, n }: RowSizes,
): [Float32Array, Optional, Optional] => {
  const size = rows * n;
  const part = (k: number): Optional =>
    weight === null ? null : grads.subarray(size + k * n, size + (k + 1) * n);
  return [grads.subarray(0, size), part(0), part(1)];
};

export function* forwardCases(): Generator<ForwardArgs> {
  for (const n of [...raggedSizes.filter((size) => size > 1), 5000])
    for (const offset of [0, 100])
      for (const [weight, bias] of [
        [null, null],
        [wave(n, 3), null],
        [wave(n, 3), wave(n, 4)],
      ] as [Optional, Optional][]) {
        const x = wave(3 * n, n).map((v) => v + offset);
        yield [wave(3 * n, 1), new Float64Array(6), x, weight, bias, { rows: 3, n }];
      }
}

/** A few roundings of the normal value, 6 at the most here but √n in the longest row, and of the bias. */
export const forwardTolerance = (
  out: Float32Array,
  _statistics: Float64Array,
  x: Float32Array,
  _weight: Optional,
  _bias: Optional,
  { n }: RowSizes,
): Float64Array => {
  const offset = Math.abs(x[0]) > 50;
  // rmsNorm of rows far from 0 is near 1; layerNorm there keeps the digits of x − mean, which is exact.
  return new Float64Array(out.length).fill((offset ? 2e-6 : 1e-6) * Math.min(Math.sqrt(n), 8));
};

export function* backwardCases(rms = false): Generator<BackwardArgs> {
  for (const n of [...raggedSizes.filter((size) => size > 1), 1500])
    for (const rows of [0, 1, 3, 130])
      for (const weight of [null, wave(n, 3)]) {
        const x = wave(rows * n, 2);
        const statistics = new Float64Array(2 * rows);
        const forward = rms ? rmsNorm(reference.rmsNorm) : layerNorm(reference.layerNorm);
        forward(new Float32Array(rows * n), statistics, x, null, null, { rows, n });
        const size = rows * n + (weight === null ? 0 : 2 * n);
        yield [new Float32Array(size), wave(rows * n, 5), x, weight, statistics, { rows, n }];
      }
}

/** Sums over rows and over columns, each in blocks, of products below 10; dx is larger by rstd. */
export const backwardTolerance = (
  grads: Float32Array,
  _dOut: Float32Array,
  _x: Float32Array,
  _weight: Optional,
  statistics: Float64Array,
  { rows, n }: RowSizes,
): Float64Array => {
  const rstd = statistics.subarray(rows);
  return Float64Array.from(grads, (_, i) => (i < rows * n ? 2e-6 * rstd[Math.floor(i / n)] : 1e-6 * rows));
};
