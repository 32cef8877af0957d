/** What every copy is tried on: each order of axes with sizes around the vector, slices, flips and repeats. */

import type { TypedArray } from "../../src/dtype.ts";
import { broadcastStrides, type Shape, stridesOf } from "../../src/shape.ts";
import type { RowSizes } from "./reference.ts";

export type StridedArgs = [
  out: TypedArray,
  shape: Shape,
  x: TypedArray,
  strides: readonly number[],
  offset: number,
];
export type ScatterArgs = [
  out: Float32Array,
  g: Float32Array,
  shape: Shape,
  strides: readonly number[],
  offset: number,
];

const wave = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed));

interface Walk {
  shape: Shape;
  strides: readonly number[];
  offset: number;
  /** Elements of what is walked. */
  length: number;
}

const orders: readonly (readonly number[])[] = [
  [0],
  [1, 0],
  [0, 2, 1],
  [2, 1, 0],
  [1, 2, 0],
  [0, 2, 1, 3],
  [0, 2, 3, 1],
  [3, 2, 1, 0],
  [1, 0, 4, 3, 2],
  [5, 1, 3, 0, 2, 4],
];

export function* walks(): Generator<Walk> {
  const product = (shape: Shape): number => shape.reduce((n, size) => n * size, 1);
  const sizes = [1, 3, 4, 5, 8, 9, 17, 2, 7, 33];
  for (const order of orders)
    for (let turn = 0; turn < (order.length < 5 ? 10 : 3); turn++) {
      const limit = order.length < 5 ? 40 : 5;
      const from = order.map((_, axis) => Math.min(limit, sizes[(turn + axis * 3) % sizes.length]));
      const strides = stridesOf(from);
      yield {
        shape: order.map((k) => from[k]),
        strides: order.map((k) => strides[k]),
        offset: 0,
        length: product(from),
      };
    }
  yield { shape: [], strides: [], offset: 2, length: 3 };
  yield { shape: [0, 3], strides: [3, 1], offset: 0, length: 0 };
  // Every second row backwards, columns from the third.
  yield { shape: [4, 9], strides: [-24, 1], offset: 74, length: 96 };
  yield { shape: [3, 5], strides: [5, -1], offset: 4, length: 15 };
  yield { shape: [6, 600], strides: [601, 1], offset: 1, length: 3607 };
  yield { shape: [70, 65], strides: [1, 70], offset: 0, length: 4550 };
  yield { shape: [21, 512], strides: [1, 21], offset: 0, length: 21 * 512 };
  yield { shape: [13, 1024], strides: [1, 13], offset: 0, length: 13 * 1024 };
  for (const [from, to] of [
    [[5], [3, 5]],
    [
      [3, 1],
      [3, 9],
    ],
    [
      [2, 1, 4, 1],
      [2, 3, 4, 5],
    ],
    [[1], [2, 7]],
  ])
    yield { shape: to, strides: broadcastStrides(from, to), offset: 0, length: product(from) };
}

export function* stridedCases(): Generator<StridedArgs> {
  for (const { shape, strides, offset, length } of walks()) {
    const out = wave(shape.reduce((n, size) => n * size, 1) + 1, 2);
    yield [out, shape, wave(length, 1), strides, offset];
    const integers = Int32Array.from({ length }, (_, i) => (i * 2654435761) | 0);
    yield [new Int32Array(out.length), shape, integers, strides, offset];
  }
}

export function* scatterCases(): Generator<ScatterArgs> {
  for (const { shape, strides, offset, length } of walks()) {
    const g = wave(
      shape.reduce((n, size) => n * size, 1),
      1,
    );
    yield [wave(length, 2), g, shape, strides, offset];
  }
}

export function* clearCases(): Generator<[array: TypedArray]> {
  for (const length of [0, 1, 3, 4, 17]) {
    yield [wave(length, 1).fill(Number.NaN)];
    yield [new Uint8Array(length).fill(7)];
  }
}

export type RowArgs = [out: TypedArray, x: TypedArray, index: Int32Array, sizes: RowSizes];

/** Rows around the vector's width, named out of order, twice and not at all. */
function* rowCases(build: (rows: Float32Array, table: Float32Array) => [TypedArray, TypedArray]) {
  for (const inner of [0, 1, 3, 4, 5, 8, 15, 17, 64])
    for (const [outer, n, count] of [
      [1, 7, 12],
      [3, 5, 4],
      [2, 1, 9],
      [1, 4, 0],
    ]) {
      const rows = wave(outer * count * inner, 1);
      const table = wave(outer * n * inner, 2);
      [Number.NaN, -0, Number.NEGATIVE_INFINITY].forEach((v, i) => {
        if (i < table.length) table[i] = v;
      });
      const index = Int32Array.from({ length: count }, (_, i) => (i * i + n - 1) % n);
      yield [...build(rows, table), index, { outer, n, inner }] satisfies RowArgs;
    }
}

export function* takeRowsCases(): Generator<RowArgs> {
  yield* rowCases((rows, table) => [rows, table]);
  yield* rowCases((rows, table) => [new Int32Array(rows.length), Int32Array.from(table, (v) => v * 1e6)]);
}

export const addRowsCases = (): Generator<RowArgs> => rowCases((rows, table) => [table, rows]);
