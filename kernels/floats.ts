/**
 * Float views of operands. V8 compiles a loop for the array types it has met, and past four of them falls back to a lookup
 * an element, some 25 times slower, for floats too. So loops meet floats alone and other types pass through a double copy.
 */

import type { FloatArray, TypedArray } from "../src/dtype.ts";

export const isFloatArray = (array: TypedArray): array is FloatArray =>
  array instanceof Float32Array || array instanceof Float64Array;

/** The array itself when it holds floats, else its values as doubles. */
export const asFloats = (array: TypedArray): FloatArray =>
  isFloatArray(array) ? array : new Float64Array(array);

/** Runs `write` on `out`, or on doubles that are then stored into an integer `out`, wrapping as a single store does. */
export function writeFloats(out: TypedArray, write: (out: FloatArray) => void): void {
  if (isFloatArray(out)) {
    write(out);
    return;
  }
  const doubles = new Float64Array(out.length);
  write(doubles);
  out.set(doubles);
}
