/** The same numbers elsewhere. */

import { permute as permuted, strided } from "../../backend.ts";
import { sizeOf } from "../../shape.ts";
import { room, type Values } from "../values.ts";

export function permute(x: Float32Array, shape: readonly number[], axes: readonly number[]): Float32Array {
  const out = room(x.length);
  permuted(out, x, shape, axes);
  return out;
}

export function pick(
  x: Float32Array,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
): Float32Array {
  const out = room(sizeOf(shape));
  strided(out, shape, x.subarray(offset), strides);
  return out;
}

export function gather(x: Float32Array, rows: number, places: readonly number[]): Float32Array {
  const n = x.length / Math.max(1, rows);
  const out = room(rows * places.length);
  for (let r = 0, at = 0; r < rows; r++) for (const place of places) out[at++] = x[r * n + place];
  return out;
}

export function pad({ data, shape }: Values, before: number, behind: number): Float32Array {
  const [n, c] = shape;
  const plane = sizeOf(shape, 2);
  const channels = before + c + behind;
  const out = room(n * channels * plane).fill(0);
  for (let i = 0; i < n; i++)
    out.set(data.subarray(i * c * plane, (i + 1) * c * plane), (i * channels + before) * plane);
  return out;
}
