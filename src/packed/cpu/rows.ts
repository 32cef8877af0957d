/** What is done to rows: norms, sums, transforms. */

import { hadamard as transform } from "../../../kernels/linalg/hadamard.ts";
import { layerNorm, rmsNorm, sum } from "../../backend.ts";
import type { HadamardCall, NormCall } from "../executor.ts";
import type { PackedWeight } from "../file/weight.ts";
import { doubles, type Ids, room, type Values } from "../values.ts";

export function norm({ data }: Values, { type, rows, n, eps, weight, bias }: NormCall): Float32Array {
  const out = room(data.length);
  const sizes = { rows, n };
  if (type === "rms") rmsNorm(out, doubles(rows), data, weight, sizes, eps);
  else layerNorm(out, doubles(rows), doubles(rows), data, weight, bias, sizes, eps);
  return out;
}

export function average(x: Float32Array, rows: number, n: number): Float32Array {
  const out = room(rows);
  sum(out, x, { outer: rows, n, inner: 1 }, 1 / n);
  return out;
}

export function hadamard({ data }: Values, { features, block, signs }: HadamardCall): Float32Array {
  const out = room(data.length);
  const row = new Float64Array(features);
  for (let from = 0; from < data.length; from += features) {
    for (let i = 0; i < features; i++) row[i] = signs ? data[from + i] * signs[i] : data[from + i];
    transform(row, block);
    out.set(row, from);
  }
  return out;
}

export function rows(weight: PackedWeight, ids: Ids["data"]): Float32Array {
  const { columns } = weight;
  const out = room(ids.length * columns);
  for (let i = 0; i < ids.length; i++) weight.readRow(out.subarray(i * columns, (i + 1) * columns), ids[i]);
  return out;
}
