/** What every sort is tried on: each type, ties, NaN, infinities and both zeros, few elements and many, parts of orders. */

import { type DType, newArray, type TypedArray } from "../../src/dtype.ts";
import { wave } from "../elementwise/cases.ts";
import type { ReduceSizes } from "../reduce/reference.ts";
import type { Places } from "./reference.ts";

export type SortArgs = [out: Int32Array, x: TypedArray, sizes: ReduceSizes, places: Places];

const specials = [
  0,
  -0,
  Number.NaN,
  Infinity,
  -Infinity,
  1e-40,
  -1e-40,
  5e-324,
  1,
  1 + 2 ** -40,
  1 - 2 ** -53,
];
// NaN of the other sign, and with other bits.
const strange = new Float32Array(Uint32Array.of(0xffc00000, 0x7fc00001, 0xff800001).buffer);

function numbers(dtype: DType, length: number, ties: boolean): TypedArray {
  const x = newArray(dtype, length);
  const values = wave(length, 3, dtype === "float64" ? 1e-3 : 1e3);
  for (let i = 0; i < length; i++) {
    const value = ties ? Math.trunc(values[i] / 200) : values[i] * (1 + i * 2 ** -40);
    x[i] = dtype.startsWith("float") ? value : Math.trunc(value * (dtype.endsWith("8") ? 0.1 : 2 ** 21));
    if (dtype.startsWith("float") && i % 5 === 2) x[i] = specials[((i / 5) | 0) % specials.length];
    if (dtype === "float32" && i % 31 === 7) x[i] = strange[i % 3];
  }
  return x;
}

export function* sortCases(): Generator<SortArgs> {
  for (const dtype of ["float32", "float64", "int32", "uint32", "int8", "uint8"] as const)
    for (const [outer, n, inner] of [
      [1, 1, 1],
      [0, 4, 2],
      [3, 7, 1],
      [2, 40, 3],
      [2, 41, 1],
      [3, 300, 2],
      [1, 5003, 1],
    ])
      for (const ties of [false, true]) {
        const x = numbers(dtype, outer * n * inner, ties);
        for (const descending of [false, true])
          for (const [first, last] of [
            [0, n],
            [0, 0],
            [0, Math.min(n, 5)],
            [0, Math.ceil(n * 0.7)],
            [n - 1, n],
            [n >> 1, (n >> 1) + 1],
            [n >> 2, n - (n >> 3)],
          ]) {
            const out = new Int32Array(outer * (last - first) * inner);
            yield [out, x, { outer, n, inner }, { descending, first, last }];
          }
      }
}
