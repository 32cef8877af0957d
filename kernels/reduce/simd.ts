/**
 * SIMD reductions. Each function has the contract of reference.ts and returns false, nothing written, where it does not
 * apply.
 */

import type { TypedArray } from "../../src/dtype.ts";
import { times } from "../elementwise/arithmetic.ts";
import { isFloatArray } from "../floats.ts";
import { kindOf } from "../wasm/doubles.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inRows, type Run } from "../wasm/parallel.ts";
import { pays, staged } from "../wasm/staging.ts";
import {
  added,
  counted,
  type Folded,
  larger,
  type ReduceSizes,
  smaller,
  squared,
  timesWhole,
} from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

type Rows = (out: number, x: number, rows: number, n: number) => void;

/** What simd.as.ts exports. */
export interface ReduceExports {
  sumRows(out: number, x: number, rows: number, n: number, scale: number): void;
  sumColumns(out: number, x: number, outer: number, n: number, inner: number, scale: number): void;
  readonly fold: Run;
  readonly scan: Run;
  readonly maxRows: Rows;
  readonly minRows: Rows;
}

export const reduceExports = /* @__PURE__ */ wasmKernel<ReduceExports>(bytes);

// Plain arrays below this size stay in JavaScript.
const few = 1024;
// Vectors are of little use in so few columns, and two passes in fewer than these.
const fewColumns = 5;
const fewColumnsTwice = 12;
const narrow = ({ inner }: ReduceSizes, least = fewColumns): boolean => inner > 1 && inner < least;
/** The size from which sums and places of rows pay, where the loops of the reference are quick. */
const fewInRows = 2 ** 14;

/** Runs on the addresses of out and x. */
function run(
  out: TypedArray,
  x: TypedArray,
  { outer, n, inner }: ReduceSizes,
  kernel: (to: number, from: number) => boolean,
): boolean {
  if (!(out instanceof Float32Array && x instanceof Float32Array)) return false;
  return staged((staging) => {
    const from = staging.input(x, 0, outer * n * inner);
    const to = staging.output(out, 0, outer * inner, false);
    if (from === 0 || to === 0) return false;
    return kernel(to, from);
  });
}

/** out = scale · sum over n. */
export function sum(
  out: TypedArray,
  x: TypedArray,
  sizes: ReduceSizes,
  scale = 1,
  exports = reduceExports(),
): boolean {
  const { outer, n, inner } = sizes;
  if (exports === null) return false;
  if (!isFloatArray(x) || (out instanceof Float64Array && x instanceof Float32Array)) {
    const totals = new Float64Array(out.length);
    const least = isFloatArray(x) && inner === 1 ? fewInRows : few;
    if (narrow(sizes) || !pays(x.length, least, out, x) || !foldDoubles(exports, totals, x, sizes, 0, null))
      return false;
    for (let i = 0; i < out.length; i++) out[i] = totals[i] * scale;
    return true;
  }
  const nanoseconds = outer * n * inner * 0.2;
  return run(out, x, sizes, (to, from) => {
    if (inner === 1)
      return inRows(exports, "sumRows", outer, 1, nanoseconds, (row, count) => [
        to + row * 4,
        from + row * n * 4,
        count,
        n,
        scale,
      ]);
    return inRows(exports, "sumColumns", outer, 1, nanoseconds, (row, count) => [
      to + row * inner * 4,
      from + row * n * inner * 4,
      count,
      n,
      inner,
      scale,
    ]);
  });
}

// As fold.as.ts numbers them, and what each begins with.
const functions: readonly Folded[] = [added, larger, smaller, times, timesWhole, squared, counted];
const starts = [0, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, 1, 1, 0, 0];
// Of fold.as.ts: the columns of a block, and the scratch.
const columns = 512;
const scratch = 3 * columns * 8;

/** Rows, or blocks of columns. */
const tasks = (outer: number, inner: number) => (inner === 1 ? outer : outer * Math.ceil(inner / columns));

/** Folds into `doubles`, from what they hold. */
function foldDoubles(
  exports: ReduceExports,
  doubles: Float64Array,
  x: TypedArray,
  { outer, n, inner }: ReduceSizes,
  op: number,
  centers: Float64Array | null,
): boolean {
  return staged((staging) => {
    const from = staging.input(x, 0, outer * n * inner);
    const middle = centers === null ? 0 : staging.input(centers, 0, centers.length);
    const to = staging.output(doubles, 0, outer * inner, true);
    if (from === 0 || to === 0 || (centers !== null && middle === 0)) return false;
    return inRows(
      exports,
      "fold",
      tasks(outer, inner),
      1,
      outer * n * inner,
      (first, count, local) => [to, from, middle, first, count, n, inner, op, kindOf(x), local],
      scratch,
    );
  });
}

/** out = f(… f(f(initial, x₀), x₁) …) over n, for the functions of the reference from the value that each begins with. */
export function fold(
  out: TypedArray,
  x: TypedArray,
  sizes: ReduceSizes,
  initial: number,
  f: Folded,
  exports = reduceExports(),
): boolean {
  const op = functions.indexOf(f);
  if (exports === null || op < 0 || starts[op] !== initial || !pays(x.length, few, out, x)) return false;
  const { outer, n, inner } = sizes;
  const kind = f === larger ? "maxRows" : f === smaller ? "minRows" : null;
  if (kind !== null && inner === 1 && out instanceof Float32Array && x instanceof Float32Array)
    return run(out, x, sizes, (to, from) =>
      inRows(exports, kind, outer, 1, outer * n * 0.2, (row, count) => [
        to + row * 4,
        from + row * n * 4,
        count,
        n,
      ]),
    );
  const doubles = new Float64Array(out.length).fill(initial);
  if (!foldDoubles(exports, doubles, x, sizes, op, null)) return false;
  out.set(doubles);
  return true;
}

/** out = Σ (x − centers)² over n; both are (outer, inner). */
export function deviations(
  out: Float64Array,
  x: TypedArray,
  centers: Float64Array,
  sizes: ReduceSizes,
  exports = reduceExports(),
): boolean {
  if (exports === null || narrow(sizes) || !pays(x.length, few, out, x)) return false;
  return foldDoubles(exports, out.fill(0), x, sizes, functions.length, centers);
}

/** out = index along n of the first element that is what `f`, larger or smaller, leaves of all; not of narrow columns. */
export function argBest(
  out: TypedArray,
  x: TypedArray,
  sizes: ReduceSizes,
  f: Folded,
  exports = reduceExports(),
): boolean {
  const op = functions.indexOf(f);
  if (exports === null || op < 0 || !pays(x.length, sizes.inner === 1 ? fewInRows : few, out, x))
    return false;
  if (narrow(sizes, fewColumnsTwice)) return false;
  const best = new Float64Array(out.length).fill(starts[op]);
  const places = new Float64Array(out.length).fill(-1);
  const found =
    foldDoubles(exports, best, x, sizes, op, null) &&
    foldDoubles(exports, places, x, sizes, functions.length + 1, best);
  if (found) out.set(places);
  return found;
}

/** out[k] = f(out[k−1], x[k]) along n, for sums and products of floats or into doubles. */
export function scan(
  out: TypedArray,
  x: TypedArray,
  sizes: ReduceSizes,
  initial: number,
  f: Folded,
  exports = reduceExports(),
): boolean {
  const op = functions.indexOf(f);
  if (exports === null || !(f === added || f === times) || starts[op] !== initial || !isFloatArray(out))
    return false;
  if (narrow(sizes) || !pays(x.length, few, out, x)) return false;
  const { outer, n, inner } = sizes;
  return staged((staging) => {
    const from = staging.input(x, 0, x.length);
    const to = staging.output(out, 0, x.length, false);
    if (from === 0 || to === 0) return false;
    return inRows(
      exports,
      "scan",
      tasks(outer, inner),
      1,
      x.length * 1.5,
      (first, count, local) => [to, from, first, count, n, inner, op, kindOf(out), kindOf(x), local],
      scratch,
    );
  });
}
