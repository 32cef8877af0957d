/** What encoding is tried on: every tail around 16 numbers, strides, −0, NaN, infinities, ties of rounding. */

import type { Steps } from "./reference.ts";

export type SignArgs = [out: Uint8Array, x: Float32Array, rows: number, n: number, stride: number];
export type AboveArgs = [
  out: Uint8Array,
  x: Float32Array,
  threshold: number,
  rows: number,
  n: number,
  stride: number,
];
export type RowArgs = [
  out: Int8Array,
  scales: Float32Array,
  x: Float32Array,
  top: number,
  rows: number,
  n: number,
  stride: number,
];
export type ByArgs = [
  out: Int8Array | Uint8Array,
  x: Float32Array,
  steps: Steps,
  rows: number,
  n: number,
  stride: number,
];

const special = [0, -0, Number.NaN, Infinity, -Infinity, 1e-45, -1e-45, 3e38, -3e38, 0.5, -1.5, 2.5];

const wave = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => 3 * Math.sin(12.9898 * (i + 1) + seed));

function* inputs(): Generator<[x: Float32Array, rows: number, n: number]> {
  for (let n = 0; n <= 35; n++) yield [wave(3 * n, n), 3, n];
  for (const n of [63, 64, 65, 127, 129, 1000, 4097]) yield [wave(2 * n, n), 2, n];
  for (let i = 0; i < 20; i++)
    yield [Float32Array.from({ length: 40 }, (_, j) => special[(i * 7 + j) % special.length]), 2, 20];
  // Quarters up to 127: many quotients are ties.
  yield [Float32Array.from({ length: 1017 }, (_, i) => (i - 508) / 4), 1, 1017];
  yield [new Float32Array(34), 2, 17];
  // A largest magnitude whose 127th part vanishes, and one whose part is subnormal.
  yield [Float32Array.of(1e-45, -1e-45, 0), 1, 3];
  yield [Float32Array.of(1e-43, -3e-43, 2e-43), 1, 3];
}

const filled = <T extends Uint8Array | Int8Array>(array: T): T => {
  array.fill(77);
  return array;
};

export function* signCases(): Generator<SignArgs> {
  for (const [x, rows, n] of inputs())
    for (const spare of [0, 5]) {
      const stride = Math.ceil(n / 8) + spare;
      yield [filled(new Uint8Array(rows * stride)), x, rows, n, stride];
    }
}

export function* aboveCases(): Generator<AboveArgs> {
  for (const [out, x, rows, n, stride] of signCases())
    for (const threshold of [0, 0.5, -0.1]) yield [out.slice(), x, threshold, rows, n, stride];
}

export function* rowCases(): Generator<RowArgs> {
  for (const [x, rows, n] of inputs())
    for (const [top, stride] of [
      [127, n],
      [127, n + 3],
      [7, n],
      [1, n + 1],
    ])
      yield [filled(new Int8Array(rows * stride)), new Float32Array(rows), x, top, rows, n, stride];
}

export function* byCases(): Generator<ByArgs> {
  for (const [x, rows, n] of inputs())
    for (const [scale, zero] of [
      [0.5, 0],
      [0.02, 3],
      [1, 100],
      [1e-3, 0],
    ])
      for (const [kind, least, most] of [
        [Int8Array, -128, 127],
        [Uint8Array, 0, 255],
        [Int8Array, -127, 127],
        [Int8Array, -8, 7],
        [Uint8Array, 0, 15],
      ] as const)
        yield [
          filled(new kind(rows * (n + 2))),
          x,
          { scale, zero: Math.min(zero, most), least, most },
          rows,
          n,
          n + 2,
        ];
}
