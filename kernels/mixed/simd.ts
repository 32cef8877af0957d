/**
 * SIMD elementwise loops over arrays of any types, in doubles. Each function has the contract of the reference and returns
 * false, nothing written, where it does not apply.
 */

import type { TypedArray } from "../../src/dtype.ts";
import type { Shape } from "../../src/shape.ts";
import * as plain from "../elementwise/arithmetic.ts";
import { isFloatArray } from "../floats.ts";
import { zipRows } from "../elementwise/simd.ts";
import { roundEven } from "../elementwise/special.ts";
import { kindOf } from "../wasm/doubles.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inRows, type Run } from "../wasm/parallel.ts";
import { pays, staged } from "../wasm/staging.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface MixedExports {
  readonly zip: Run;
  readonly cast: Run;
}

export const mixedExports = /* @__PURE__ */ wasmKernel<MixedExports>(bytes);

// Plain arrays below this size stay in JavaScript.
const few = 512;
// Three parts of 512 doubles, and where threads begin: at whole parts.
const scratch = 3 * 4096;
const part = 512;

// As simd.as.ts numbers them, those of one number too.
const functions: readonly plain.Binary[] = [
  ...[plain.plus, plain.minus, plain.times, plain.over, Math.max, Math.min],
  ...[plain.floored, plain.truncated, Math.imul],
  ...[plain.equals, plain.differs, plain.below, plain.atMost, plain.above, plain.atLeast],
  ...[plain.both, plain.either, plain.one, plain.sizeBelow, plain.sizeEquals],
  ...[Math.abs, plain.negative, plain.signOf, plain.rectified, Math.floor, Math.ceil, Math.trunc, roundEven],
  ...[Math.sqrt, plain.reciprocal, plain.reciprocalSqrt, plain.square],
  ...[plain.bitAnd, plain.bitOr, plain.bitXor, plain.fraction, plain.modulo, plain.modFloored],
];
// What those from here on make of floats is whole, or goes to floats alone.
const firstTest = 9;

/** `op` is the number of the function. */
function zip(
  exports: MixedExports,
  out: TypedArray,
  shape: Shape,
  a: TypedArray,
  aShape: Shape,
  b: TypedArray,
  bShape: Shape,
  op: number,
): boolean {
  const kinds = [out, a, b].map(kindOf);
  return zipRows(exports, "zip", 1.5, out, shape, a, aShape, b, bShape, scratch, op, ...kinds);
}

/** out (shape) = f(a broadcast to shape, b broadcast to shape). */
export function binary(
  out: TypedArray,
  shape: Shape,
  a: TypedArray,
  aShape: Shape,
  b: TypedArray,
  bShape: Shape,
  f: plain.Binary,
  exports = mixedExports(),
): boolean {
  const op = functions.indexOf(f);
  // Integers are made of integers and of tests alone: what else floats give may not be whole.
  const whole = op >= firstTest || !(isFloatArray(a) || isFloatArray(b));
  if (exports === null || op < 0 || !(whole || isFloatArray(out))) return false;
  // The reference has loops of its own for sums and products of floats.
  const least =
    isFloatArray(a) && isFloatArray(b) && plain.binaryLoops.has(f) ? Number.POSITIVE_INFINITY : few;
  return pays(out.length, least, out, a, b) && zip(exports, out, shape, a, aShape, b, bShape, op);
}

/** out = f(x), element by element, where those are not float32. */
export function unary(
  out: TypedArray,
  x: TypedArray,
  f: plain.Unary & Partial<plain.Tuned>,
  exports = mixedExports(),
): boolean {
  if (
    exports === null ||
    (x instanceof Float32Array && f !== plain.fraction) ||
    !pays(out.length, few, out, x)
  )
    return false;
  const shape = [out.length];
  const run = (from: TypedArray, beside: TypedArray, op: number) =>
    zip(exports, out, shape, from, shape, beside, [1], op);
  if (f.loop === "clip") {
    const [min, max] = f.numbers!;
    return (
      run(x, Float64Array.of(min), functions.indexOf(Math.max)) &&
      run(out, Float64Array.of(max), functions.indexOf(Math.min))
    );
  }
  const op = functions.indexOf(f);
  // Squares of integers may leave the range where doubles are whole.
  if (op < 0 || (f === plain.square && !isFloatArray(out))) return false;
  return run(x, x.subarray(0, 1), op);
}

/** out = x; false, with anything written, also where the integers of `out` cannot hold a number. */
export function cast(out: TypedArray, x: TypedArray, exports = mixedExports()): boolean {
  const n = out.length;
  if (exports === null || isFloatArray(out) || !pays(n, few, out, x)) return false;
  const lost = new Int32Array(1);
  return (
    staged((staging) => {
      const from = staging.input(x, 0, n);
      const to = staging.output(out, 0, n, false);
      const flag = staging.output(lost, 0, 1, true);
      if (from === 0 || to === 0 || flag === 0) return false;
      return inRows(
        exports,
        "cast",
        n,
        part,
        n,
        (i, count, local) => [
          to + i * out.BYTES_PER_ELEMENT,
          from + i * x.BYTES_PER_ELEMENT,
          count,
          local,
          kindOf(out),
          kindOf(x),
          flag,
        ],
        part * 8 + 64,
      );
    }) && lost[0] === 0
  );
}
