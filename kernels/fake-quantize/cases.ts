/**
 * What fake quantization is tried on: every tail around vectors, runs of every kind, ties, −0, NaN, infinities, denormals.
 */

import type { FloatArray } from "../../src/dtype.ts";
import { type Quantized, type Runs, rangeSize } from "./reference.ts";

export type RangeArgs = [out: Float64Array, x: FloatArray, runs: Runs, sums: boolean];
/** `out` is all that is written, one behind the other. */
export type UniformArgs = [
  out: Float32Array,
  x: Float32Array,
  scales: Float32Array,
  zeros: Float32Array | null,
  runs: Runs,
  least: number,
  most: number,
  whole: boolean,
];
export type LevelArgs = [
  out: Float32Array,
  x: Float32Array,
  scales: Float32Array,
  runs: Runs,
  codebook: readonly number[],
];
export type SignArgs = [out: Float32Array, x: Float32Array, scales: Float32Array, runs: Runs];
/** With `scaled`, of integers and their scales. */
export type RowArgs = [out: Float32Array, x: Float32Array, runs: Runs, top: number, scaled: boolean];

const special = [0, -0, Number.NaN, Infinity, -Infinity, 1e-45, -1e-45, 3e38, -3e38, 0.5, -1.5, 2.5, 1, -1];

const wave = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => 3 * Math.sin(12.9898 * (i + 1) + seed));

function* inputs(): Generator<[x: Float32Array, runs: Runs]> {
  for (let n = 0; n <= 19; n++) yield [wave(3 * n, n), { rows: 3, n, step: Math.max(1, n) }];
  for (const n of [63, 64, 65, 1000]) yield [wave(2 * n, n), { rows: 2, n, step: n }];
  for (const step of [1, 2, 5, 8, 16, 31, 33]) yield [wave(3 * 33, step), { rows: 3, n: 33, step }];
  for (const n of [1, 130, 4099]) yield [wave(n, n), { rows: 1, n, step: n }];
  // Of such magnitudes no order of a sum gives what another does.
  for (const n of [15, 40, 101])
    yield [wave(2 * n, n).map((v, i) => v * 2 ** ((i * 11) % 64)), { rows: 2, n, step: n }];
  for (let i = 0; i < special.length; i++)
    yield [
      Float32Array.from({ length: 40 }, (_, j) => special[(i * 3 + j) % special.length]),
      { rows: 2, n: 20, step: 7 },
    ];
  for (const one of special) yield [new Float32Array(9).fill(one), { rows: 1, n: 9, step: 9 }];
  // Quarters up to 127: many quotients are ties.
  yield [Float32Array.from({ length: 1017 }, (_, i) => (i - 508) / 4), { rows: 1, n: 1017, step: 1017 }];
  yield [Float32Array.of(1e-45, -1e-45, 0, 1e-43, -3e-43, 2e-43), { rows: 2, n: 3, step: 3 }];
}

const runsIn = ({ rows, n, step }: Runs): number => (n === 0 ? 0 : rows * Math.ceil(n / step));

export function* rangeCases(): Generator<RangeArgs> {
  for (const [x, runs] of inputs())
    for (const sums of [false, true])
      yield [new Float64Array(runsIn(runs) * rangeSize).fill(77), x, runs, sums];
}

/** Room for values, codes, marks, and what was seen. */
const room = (x: Float32Array): Float32Array => new Float32Array(3 * x.length + 2).fill(77);

/** Scales of all runs, of every third, and one. */
function* scaled(): Generator<[x: Float32Array, scales: Float32Array, runs: Runs]> {
  for (const [x, runs] of inputs())
    for (const count of new Set([Math.max(1, runsIn(runs)), 3, 1])) {
      if (runsIn(runs) % count !== 0) continue;
      const scales = Float32Array.from({ length: count }, (_, k) => [0.5, 0.02, 1e-3, -0.25, 1][k % 5]);
      yield [x, scales, runs];
    }
}

export function* uniformCases(): Generator<UniformArgs> {
  for (const [x, scales, runs] of scaled())
    for (const [least, most, zero] of [
      [-127, 127, null],
      [-8, 7, null],
      [-128, 127, -128],
      [0, 255, 255],
      [0, 15, 7],
    ] as const)
      yield [
        room(x),
        x,
        scales,
        zero === null ? null : scales.map((_, k) => zero - (k % 3) * Math.sign(zero)),
        runs,
        least,
        most,
        zero === 7,
      ];
}

export function* levelCases(): Generator<LevelArgs> {
  for (const [x, scales, runs] of scaled())
    for (const codebook of [
      [-1, 1],
      [-1, 0, 1],
      [0.1, 0.3, 0.35, 1],
      [-1, -0.7, -0.5, -0.4, -0.3, -0.2, -0.1, 0, 0.08, 0.16, 0.25, 0.34, 0.44, 0.56, 0.72, 1],
    ])
      yield [room(x), x, scales, runs, codebook];
}

export function* signCases(): Generator<SignArgs> {
  for (const [x, scales, runs] of scaled())
    for (const by of [1, 0]) yield [room(x), x, scales.map((scale) => scale * by), runs];
}

export function* rowCases(): Generator<RowArgs> {
  for (const [x, runs] of inputs())
    for (const top of [127, 7, 1])
      for (const scaled of [false, true])
        yield [new Float32Array(x.length + 2 + runs.rows).fill(77), x, runs, top, scaled];
}

/** Has `write` write all that there is, and lays it into `out`; codes have a sign where `least` is below 0. */
export function intoOne<R>(
  out: Float32Array,
  size: number,
  least: number,
  write: (quantized: Quantized) => R,
): R {
  const quantized = {
    values: out.subarray(0, size),
    codes: least < 0 ? new Int8Array(size) : new Uint8Array(size),
    inside: new Uint8Array(size),
    seen: new Uint8Array(2),
  };
  const done = write(quantized);
  out.set(quantized.codes, size);
  out.set(quantized.inside, 2 * size);
  out.set(quantized.seen, 3 * size);
  return done;
}
