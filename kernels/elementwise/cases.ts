/** What every elementwise loop is tried on: sizes around the vector width, and each way of broadcasting. */

import { type Shape, sizeOf } from "../../src/shape.ts";
import { gelu, geluTanh, silu } from "./activation.ts";
import type { Binary, Unary } from "./arithmetic.ts";
import * as reference from "./reference.ts";
import { simdBinary, simdSlopes, simdUnary } from "./simd.ts";

export type UnaryArgs = [out: Float32Array, x: Float32Array, f: Unary];
export type GradArgs = [
  out: Float32Array,
  grad: Float32Array,
  x: Float32Array,
  y: Float32Array,
  slope: Binary,
];
export type BinaryArgs = [
  out: Float32Array,
  shape: Shape,
  a: Float32Array,
  aShape: Shape,
  b: Float32Array,
  bShape: Shape,
  f: Binary,
];
export type SelectArgs = [
  out: Float32Array,
  shape: Shape,
  c: Uint8Array,
  cShape: Shape,
  a: Float32Array,
  aShape: Shape,
  b: Float32Array,
  bShape: Shape,
];

export const raggedSizes: readonly number[] = [0, 1, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 1000];

/** Reproducible values in −scale … scale. */
export const wave = (size: number, seed: number, scale = 1): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => scale * Math.sin(12.9898 * (i + 1) + 78.233 * seed));

const specials = [
  0,
  -0,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
  1e-45,
  -1e-40,
  3e38,
  -3e38,
];

/** Numbers of every size that a float has room for, in between those near 0, and a few blocks of such as are special. */
function sweep(): Float32Array {
  const x = [
    ...wave(2048, 5, 6),
    ...wave(1100, 6, 100),
    ...wave(1100, 7, 1e-3),
    ...specials,
    ...wave(1024, 8, 87),
  ];
  for (let k = -149; k < 128; k++) x.push(1.37 * 2 ** k, -1.73 * 2 ** k);
  return Float32Array.from(x);
}

export function* unaryCases(): Generator<UnaryArgs> {
  for (const f of simdUnary.keys()) yield [new Float32Array(sweep().length), sweep(), f];
  for (const f of simdUnary.keys())
    for (const n of raggedSizes)
      for (const scale of [1, 12]) {
        const x = wave(n, 1, scale);
        yield [wave(n, 2), f === Math.log || f === Math.sqrt ? x.map(Math.abs) : x, f];
      }
}

export function unaryTolerance(out: Float32Array, x: Float32Array, f: Unary): Float64Array {
  const want = new Float64Array(out.length);
  reference.unary(want, x, f);
  // x times a probability: 1e-7 of the probability, which may vanish.
  const gatedByTail = f === gelu || f === geluTanh || f === silu;
  return want.map((y, i) => 3e-7 * Math.abs(y) + (gatedByTail ? 1e-7 * Math.abs(x[i]) : 2 ** -126));
}

export function* gradCases(): Generator<GradArgs> {
  for (const slope of simdSlopes.keys())
    for (const n of raggedSizes)
      for (const scale of [1, 12])
        yield [wave(n, 1), wave(n, 2), wave(n, 3, scale), wave(n, 4).map(Math.abs), slope];
}

/** Slopes are of size 1; at a large x they are the difference of products of x. */
export const gradTolerance = (_: Float32Array, grad: Float32Array, x: Float32Array): Float64Array =>
  Float64Array.from(grad, (g, i) => 3e-7 * (2 + Math.abs(x[i])) * Math.abs(g));

const pairs: readonly (readonly [Shape, Shape, Shape])[] = [
  ...raggedSizes.flatMap((n): [Shape, Shape, Shape][] => [
    [[n], [n], [n]],
    [[n], [n], []],
    [[n], [1], [n]],
    [[3, n], [3, n], [n]],
    [[3, n], [n], [3, n]],
    [
      [3, n],
      [3, n],
      [3, 1],
    ],
    [
      [3, n],
      [3, 1],
      [3, n],
    ],
    [[3, n], [3, 1], [n]],
  ]),
  [[], [], []],
  [
    [2, 3, 4, 5],
    [2, 1, 4, 1],
    [3, 1, 5],
  ],
  [
    [2, 3, 4, 5],
    [2, 3, 4, 5],
    [2, 1, 4, 5],
  ],
  [
    [4, 1, 6, 1],
    [4, 1, 1, 1],
    [1, 1, 6, 1],
  ],
];

export function* binaryCases(): Generator<BinaryArgs> {
  for (const f of simdBinary.keys())
    for (const [shape, a, b] of pairs)
      yield [wave(sizeOf(shape), 1), shape, wave(sizeOf(a), 2, 3), a, wave(sizeOf(b), 3, 2), b, f];
}

export function* selectCases(): Generator<SelectArgs> {
  for (const n of raggedSizes)
    for (const [a, b] of [
      [[n], [n]],
      [[n], []],
      [[1], [n]],
      [[], [1]],
    ] as Shape[][]) {
      const mask = Uint8Array.from(wave(n, 4), (x) => (x > 0 ? 1 : 0));
      yield [wave(n, 1), [n], mask, [n], wave(sizeOf(a), 2), a, wave(sizeOf(b), 3), b];
    }
}
