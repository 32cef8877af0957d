/** What every normalisation is tried on. The results of one call are laid end to end in its one output. */

import { raggedSizes, wave } from "../elementwise/cases.ts";
import type { ChannelSizes, RowSizes } from "./reference.ts";
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
  size = rows * n,
): [Float32Array, Optional, Optional] => {
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

/** The results are (out, mean, variance), and the gradients (dx, dw, db). */
export type BatchArgs = [
  results: Float64Array,
  out: Float32Array,
  x: Float32Array,
  weight: Optional,
  bias: Optional,
  sizes: ChannelSizes,
  eps: number,
];
export type BatchGradArgs = [
  grads: Float32Array,
  dOut: Float32Array,
  x: Float32Array,
  weight: Optional,
  statistics: Float64Array,
  sizes: ChannelSizes,
];

export const batchNorm =
  <R>(run: (...args: [...Parameters<typeof reference.batchNorm>]) => R) =>
  (...[results, out, x, weight, bias, sizes, eps]: BatchArgs): R => {
    out.fill(Number.NaN);
    const done = run(out, ...halves(results.subarray(out.length)), x, weight, bias, sizes, eps);
    results.set(out);
    return done;
  };

export const batchNormGrad =
  <R>(run: (...args: [...Parameters<typeof reference.batchNormGrad>]) => R) =>
  (...[grads, dOut, x, weight, statistics, sizes]: BatchGradArgs): R => {
    const [dx, dw, db] = parts(grads, dOut, { rows: 1, n: sizes.c }, x.length);
    return run(dx!, dw!, db!, dOut, x, weight, ...halves(statistics), sizes, eps);
  };

const channelSizes: readonly ChannelSizes[] = [
  ...[4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 257, 1030].map((pixels) => ({ n: 3, c: 2, pixels })),
  { n: 1, c: 1, pixels: 8 },
  { n: 20, c: 5, pixels: 49 },
  { n: 0, c: 3, pixels: 9 },
  { n: 2, c: 0, pixels: 9 },
];

const affine = (c: number): [weight: Optional, bias: Optional][] => [
  [null, null],
  [wave(c, 3), null],
  [null, wave(c, 4)],
  [wave(c, 3), wave(c, 4)],
];

export function* batchCases(): Generator<BatchArgs> {
  const args = (
    x: Float32Array,
    sizes: ChannelSizes,
    weight: Optional,
    bias: Optional,
    eps = 1e-5,
  ): BatchArgs => [
    new Float64Array(x.length + 2 * sizes.c),
    new Float32Array(x.length),
    ...([x, weight, bias, sizes, eps] as const),
  ];
  for (const sizes of channelSizes) {
    const { n, c, pixels } = sizes;
    for (const offset of [0, 100])
      for (const [weight, bias] of affine(c))
        yield args(
          wave(n * c * pixels, 1).map((v) => v + offset),
          sizes,
          weight,
          bias,
        );
  }
  const sizes = { n: 2, c: 3, pixels: 19 };
  const channels = (value: (k: number, i: number) => number): Float32Array =>
    Float32Array.from({ length: 2 * 3 * 19 }, (_, i) => value(Math.floor(i / 19) % 3, i));
  const [weight, bias] = [wave(3, 3), wave(3, 4)];
  // A channel that is constant, at 0 and elsewhere; one with NaN, an infinity, huge and tiny numbers beside others.
  for (const odd of [0, -0, 7.3, Number.NaN, Number.POSITIVE_INFINITY])
    yield args(
      channels((k, i) => (k === 1 ? odd : Math.sin(i))),
      sizes,
      weight,
      bias,
    );
  for (const odd of [Number.NaN, Number.NEGATIVE_INFINITY, 3e38, 1e25])
    yield args(
      channels((k, i) => (k === 1 && i === 21 ? odd : Math.sin(i))),
      sizes,
      weight,
      bias,
    );
  for (const scale of [3e38, 1e-40, 1e-20]) {
    const x = channels((k, i) => (k === 1 ? scale : 1) * Math.sin(i));
    yield args(x, sizes, weight, bias);
    yield args(x, sizes, weight, bias, 0);
  }
}

/** Sums in float lanes over blocks: a few roundings of the largest number, as it is and as it comes out. */
export const batchTolerance = (
  results: Float64Array,
  out: Float32Array,
  x: Float32Array,
  weight: Optional,
  bias: Optional,
  sizes: ChannelSizes,
  eps: number,
): Float64Array => {
  const want = new Float64Array(results.length);
  batchNorm(reference.batchNorm)(want, out, x, weight, bias, sizes, eps);
  const { c, pixels } = sizes;
  const [means, spreads] = halves(want.subarray(out.length));
  return want.map((value, i) => {
    if (i >= out.length + c) return 4e-6 * value;
    const k = i < out.length ? Math.floor(i / pixels) % c : i - out.length;
    if (i >= out.length) return 1e-6 * Math.sqrt(spreads[k]) + 1e-9 * Math.abs(means[k]);
    // What the mean is off, and roundings of the value and of the bias.
    const [gain, shift] = [weight, bias].map((array, j) => Math.abs(array?.[k] ?? 1 - j));
    const off = (1e-9 * Math.abs(means[k])) / Math.sqrt(spreads[k] + eps);
    return 4e-6 * (Math.abs(value) + shift + gain) + off * gain;
  });
};

export function* batchGradCases(): Generator<BatchGradArgs> {
  for (const sizes of channelSizes)
    for (const offset of [0, 100])
      for (const weight of [null, wave(sizes.c, 3)]) {
        const size = sizes.n * sizes.c * sizes.pixels;
        const x = wave(size, 2).map((v) => v + offset);
        const results = new Float64Array(size + 2 * sizes.c);
        batchNorm(reference.batchNorm)(results, new Float32Array(size), x, null, null, sizes, eps);
        yield [new Float32Array(size + 2 * sizes.c), wave(size, 5), x, weight, results.slice(size), sizes];
      }
}

/** Roundings of the terms, and of sums over the channel in blocks. */
export const batchGradTolerance = (
  grads: Float32Array,
  _dOut: Float32Array,
  x: Float32Array,
  _weight: Optional,
  statistics: Float64Array,
  { n, c, pixels }: ChannelSizes,
): Float64Array => {
  const [, spreads] = halves(statistics);
  return Float64Array.from(grads, (_, i) =>
    i < x.length ? 4e-6 / Math.sqrt(spreads[Math.floor(i / pixels) % c] + eps) : 4e-7 * n * pixels + 1e-6,
  );
};
