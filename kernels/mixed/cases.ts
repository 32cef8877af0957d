/** What mixed types are tried on: every type as output and as each operand, with numbers at the ends of its range. */

import { type DType, newArray, type TypedArray } from "../../src/dtype.ts";
import { type Shape, sizeOf } from "../../src/shape.ts";
import * as plain from "../elementwise/arithmetic.ts";
import { roundEven } from "../elementwise/special.ts";

export type BinaryArgs = [
  out: TypedArray,
  shape: Shape,
  a: TypedArray,
  aShape: Shape,
  b: TypedArray,
  bShape: Shape,
  f: plain.Binary,
];
export type UnaryArgs = [out: TypedArray, x: TypedArray, f: plain.Unary];
export type CastArgs = [out: TypedArray, x: TypedArray];

const types = ["float32", "float64", "int32", "uint32", "int8", "uint8"] as const;
const integers = ["int32", "uint32", "int8", "uint8"] as const;
const sizes = [0, 1, 3, 4, 5, 15, 16, 17, 33, 511, 512, 513, 1100];

const ends: { readonly [type in DType]: readonly number[] } = {
  float32: [0, -0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 1e-45, -1e-40, 3e38, 2.5],
  float64: [
    0,
    -0,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.NaN,
    5e-324,
    -1e300,
    1e-50,
    0.1,
  ],
  int32: [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 65537, -65536, 2],
  uint32: [0, 1, 2 ** 32 - 1, 2 ** 31, 65537, 3],
  int8: [0, 1, -1, 127, -128, 3],
  uint8: [0, 1, 255, 128, 2],
  bool: [0, 1],
};

/** Its ends in turn, out of step with other types, and numbers in between. */
export const filled = (type: DType, size: number, seed: number): TypedArray =>
  newArray(type, size).map((_, i) =>
    (i + seed) % 3 === 0
      ? Math.floor(40 * Math.abs(Math.sin(i + seed)))
      : ends[type][(i * (seed + 1) + seed) % ends[type].length],
  ) as TypedArray;

const arithmetic = [plain.plus, plain.minus, plain.times, plain.over, Math.max, Math.min];
const divisions = [plain.floored, plain.truncated, plain.modulo, plain.modFloored];
const tests = [
  ...[plain.equals, plain.differs, plain.below, plain.atMost, plain.above, plain.atLeast],
  ...[plain.both, plain.either, plain.one, plain.sizeBelow, plain.sizeEquals],
];

const whole = [Math.imul, plain.bitAnd, plain.bitOr, plain.bitXor];

function* operands(): Generator<[shape: Shape, a: Shape, b: Shape]> {
  for (const n of sizes)
    yield* [
      [[n], [n], [n]],
      [[n], [n], []],
      [[n], [1], [n]],
    ] as [Shape, Shape, Shape][];
  yield [
    [3, 33],
    [3, 33],
    [3, 1],
  ];
  yield [
    [2, 3, 4, 5],
    [2, 1, 4, 1],
    [3, 1, 5],
  ];
}

export function* binaryCases(): Generator<BinaryArgs> {
  let turn = 0;
  // A type for the second operand, out of step with those of the first.
  const next = () => types[(++turn + Math.floor(turn / 6)) % 6];
  const make = (
    out: DType,
    a: DType,
    b: DType,
    [shape, aShape, bShape]: [Shape, Shape, Shape],
    f: plain.Binary,
  ) =>
    [
      ...[newArray(out, sizeOf(shape)).fill(7), shape, filled(a, sizeOf(aShape), 1), aShape],
      ...[filled(b, sizeOf(bShape), 2), bShape, f],
    ] as BinaryArgs;
  for (const shapes of operands()) {
    for (const f of [...arithmetic, ...divisions])
      for (const a of types) yield make(turn % 2 ? "float32" : "float64", a, next(), shapes, f);
    for (const f of tests) for (const a of types) yield make("uint8", a, next(), shapes, f);
    for (const f of [...whole, plain.plus, plain.minus, Math.max, Math.min])
      for (const a of integers) yield make(integers[turn % 4], a, integers[(++turn >> 2) % 4], shapes, f);
  }
  // Quotients of integers, which cannot be divided by 0.
  for (const f of divisions)
    for (const type of integers)
      for (const n of sizes) {
        const divisor = filled(type, n, 2).map((value) => value || 1) as TypedArray;
        yield [newArray(type, n), [n], filled(type, n, 1), [n], divisor, [n], f];
      }
}

const kept = [Math.abs, plain.negative, plain.signOf, plain.rectified, Math.floor, Math.ceil, Math.trunc];
const singles = [
  ...kept,
  plain.fraction,
  roundEven,
  Math.sqrt,
  plain.reciprocal,
  plain.reciprocalSqrt,
  plain.square,
];

export function* unaryCases(): Generator<UnaryArgs> {
  for (const n of sizes)
    for (const type of types) {
      const x = filled(type, n, 1);
      if (type === "float32") {
        yield [new Float32Array(n), x, plain.fraction];
        continue;
      }
      const out = () => newArray(type, n).fill(7);
      for (const f of type === "float64" ? singles : kept) yield [out(), x, f];
      for (const f of singles) yield [new Float32Array(n), x, f];
      for (const f of [plain.held(0, 100), plain.held(3, Number.POSITIVE_INFINITY)]) yield [out(), x, f];
      yield [out(), x, plain.held(Number.NEGATIVE_INFINITY, 1)];
    }
}

/** Numbers that the type of the result holds, with fractions where there may be. */
export function* castCases(): Generator<CastArgs> {
  for (const n of sizes)
    for (const from of types)
      for (const to of integers) {
        const x = filled(from, n, 1);
        filled(to, n, 3).forEach((whole, i) => {
          x[i] = whole;
          if (Math.trunc(x[i]) !== whole) x[i] = i % 100;
          else if (Math.abs(whole) < 100) x[i] = whole < 0 ? whole - 0.75 : whole + 0.75;
        });
        yield [newArray(to, n).fill(7), x];
      }
}
