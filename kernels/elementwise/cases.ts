/** What every elementwise loop is tried on: sizes around the vector width, and each way of broadcasting. */

import { newArray, type TypedArray } from "../../src/dtype.ts";
import { type Shape, sizeOf } from "../../src/shape.ts";
import { gelu, geluTanh, silu } from "./activation.ts";
import { type Binary, exponentialLinear, held, leaky, softplusTo, type Unary } from "./arithmetic.ts";
import * as reference from "./reference.ts";
import { simdBinary, simdSlopes, simdTests, simdUnary } from "./simd-loops.ts";
import { roundEven } from "./special.ts";

export type UnaryArgs = [out: Float32Array, x: Float32Array, f: Unary];
export type GradArgs = [
  out: Float32Array,
  grad: Float32Array,
  x: Float32Array,
  y: Float32Array,
  slope: Binary,
];
export type BinaryArgs = [
  out: Float32Array | Uint8Array,
  shape: Shape,
  a: Float32Array,
  aShape: Shape,
  b: Float32Array,
  bShape: Shape,
  f: Binary,
];
export type SelectArgs = [
  out: TypedArray,
  shape: Shape,
  c: Uint8Array,
  cShape: Shape,
  a: TypedArray,
  aShape: Shape,
  b: TypedArray,
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

const functions: readonly Unary[] = [
  ...simdUnary.keys(),
  ...[held(-1, 2), held(Number.NEGATIVE_INFINITY, 0.1), held(2, 1)],
  ...[leaky(0.01), leaky(2), leaky(-0.5), exponentialLinear(1), exponentialLinear(0.3)],
  ...[softplusTo(20), softplusTo(3)],
];

export function* unaryCases(): Generator<UnaryArgs> {
  for (const f of functions) yield [new Float32Array(sweep().length), sweep(), f];
  for (const f of functions)
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
  for (const f of simdTests.keys())
    for (const [shape, a, b] of pairs) {
      // Of few values, so that many are equal, and some are not a number.
      const [x, y] = [wave(sizeOf(a), 2, 3), wave(sizeOf(b), 3, 3)].map((v) => v.map(roundEven));
      for (let i = 5; i < x.length; i += 7) x[i] = Number.NaN;
      yield [new Uint8Array(sizeOf(shape)), shape, x, a, y, b, f];
    }
}

/** Each in float32, and in turn in another type, a choice of a third among them. */
export function* selectCases(): Generator<SelectArgs> {
  let turn = 0;
  for (const args of floatSelects()) {
    yield args;
    const [out, shape, c, cShape, a, aShape, b, bShape] = args;
    const type = (["int8", "float64", "int32", "uint8", "uint32"] as const)[turn++ % 5];
    const of = (x: TypedArray): TypedArray => {
      const y = newArray(type, x.length);
      y.set(Array.from(x, (value) => 100 * Math.abs(value)));
      return y;
    };
    const second = turn % 3 === 0 ? Uint8Array.from(b, Math.abs) : of(b);
    yield [of(out), shape, c, cShape, of(a), aShape, second, bShape];
  }
}

function* floatSelects(): Generator<SelectArgs> {
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
  // A mask of a matrix, of a column and of a row, and choices that are broadcast otherwise.
  for (const [shape, c, a, b] of [
    [[3, 17, 33], [17, 33], [3, 17, 33], []],
    [[5, 9], [5, 1], [5, 9], [9]],
    [[5, 9], [9], [5, 1], [5, 9]],
    [
      [2, 3, 4, 5],
      [2, 1, 4, 1],
      [3, 1, 5],
      [2, 3, 4, 5],
    ],
    [[], [], [], []],
  ] as Shape[][]) {
    const mask = Uint8Array.from(wave(sizeOf(c), 4), (x) => (x > 0 ? 1 : 0));
    yield [wave(sizeOf(shape), 1), shape, mask, c, wave(sizeOf(a), 2), a, wave(sizeOf(b), 3), b];
  }
}
