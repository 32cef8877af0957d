/**
 * SIMD fake quantization of float32. Each function has the contract of reference.ts and returns false, nothing written,
 * where it does not apply.
 */

import type { FloatArray, TypedArray } from "../../src/dtype.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inRows } from "../wasm/parallel.ts";
import { type Staging, staged } from "../wasm/staging.ts";
import { type Quantized, type Runs, rangeSize, thresholds } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

type Run = (...numbers: number[]) => void;

/** What simd.as.ts exports. */
export interface FakeQuantizeExports {
  readonly ranges: Run;
  readonly uniform: Run;
  readonly levels: Run;
  readonly signs: Run;
  readonly rows: Run;
}

export const fakeQuantizeExports = /* @__PURE__ */ wasmKernel<FakeQuantizeExports>(bytes);

const runsOfRow = ({ n, step }: Runs): number => (n === 0 ? 0 : Math.ceil(n / step));

export function ranges(
  out: Float64Array,
  x: FloatArray,
  runs: Runs,
  sums: boolean,
  exports = fakeQuantizeExports(),
): boolean {
  if (exports === null || !(x instanceof Float32Array)) return false;
  const { rows, n, step } = runs;
  const perRow = runsOfRow(runs);
  return staged((staging) => {
    const from = staging.input(x, 0, rows * n);
    const to = staging.output(out, 0, rows * perRow * rangeSize, false);
    if (from === 0 || to === 0) return false;
    inRows(exports, "ranges", rows, 1, rows * n * 0.4, (row, count) => [
      to + row * perRow * rangeSize * 8,
      from + row * n * 4,
      count,
      n,
      step,
      Number(sums),
    ]);
    return true;
  });
}

// Vectors of four and whole cache lines of bytes.
const whole = 64;

/** Calls an export on parts of x; `more` are its arguments behind those that all have. */
function run(
  name: "uniform" | "levels" | "signs",
  { values, codes, inside, seen }: Quantized,
  x: FloatArray,
  scales: Float32Array,
  runs: Runs,
  exports: FakeQuantizeExports | null,
  more: (staging: Staging) => { before?: number; after: readonly number[] } | null,
): boolean {
  if (exports === null || !(x instanceof Float32Array)) return false;
  const { rows, n, step } = runs;
  const size = rows * n;
  if (size === 0) return true;
  return staged((staging) => {
    let lacks = false;
    const place = (array: TypedArray | null, keep = false): number => {
      const at = array === null ? 0 : staging.output(array, 0, array.length, keep);
      if (array !== null && at === 0) lacks = true;
      return at;
    };
    const outs = [place(values), place(codes), place(inside)];
    const seenAt = place(seen, true);
    const from = staging.input(x, 0, size);
    const by = staging.input(scales, 0, scales.length);
    const rest = more(staging);
    if (lacks || from === 0 || by === 0 || rest === null) return false;
    const call = (at: number, count: number, width: number, part: number, first: number): number[] => [
      outs[0] && outs[0] + at * 4,
      outs[1] && outs[1] + at,
      outs[2] && outs[2] + at,
      seenAt,
      from + at * 4,
      by,
      ...(rest.before === undefined ? [] : [rest.before]),
      count,
      width,
      part,
      first,
      scales.length,
      ...rest.after,
    ];
    // A run may be parted where it is all there is.
    if (rows === 1 && step >= n)
      inRows(exports, name, n, whole, size * 0.5, (at, count) => call(at, 1, count, count, 0));
    else
      inRows(exports, name, rows, 1, size * 0.5, (row, count) =>
        call(row * n, count, n, step, row * runsOfRow(runs)),
      );
    return true;
  });
}

export function uniform(
  out: Quantized,
  x: FloatArray,
  scales: Float32Array,
  zeros: Float32Array | null,
  runs: Runs,
  least: number,
  most: number,
  whole = false,
  exports = fakeQuantizeExports(),
): boolean {
  return run("uniform", out, x, scales, runs, exports, (staging) => {
    const before = zeros === null ? 0 : staging.input(zeros, 0, zeros.length);
    return zeros !== null && before === 0 ? null : { before, after: [least, most, Number(whole)] };
  });
}

/** The largest float32 up to each number: a float32 exceeds it where it exceeds the number. */
const roundedDown = (numbers: Float64Array): Float32Array =>
  Float32Array.from(numbers, (given) => {
    const near = Math.fround(given);
    if (near <= given) return near;
    const bits = new Int32Array(Float32Array.of(near).buffer);
    bits[0] += near > 0 ? -1 : 1;
    return new Float32Array(bits.buffer)[0];
  });

export function levels(
  out: Quantized,
  x: FloatArray,
  scales: Float32Array,
  runs: Runs,
  codebook: readonly number[],
  exports = fakeQuantizeExports(),
): boolean {
  return run("levels", out, x, scales, runs, exports, (staging) => {
    const ends = roundedDown(thresholds(codebook));
    const table = staging.input(Float32Array.from(codebook), 0, codebook.length);
    const endsAt = staging.input(ends, 0, ends.length);
    return table === 0 || endsAt === 0 ? null : { after: [table, endsAt, codebook.length - 1] };
  });
}

export function signs(
  out: Quantized,
  x: FloatArray,
  scales: Float32Array,
  runs: Runs,
  exports = fakeQuantizeExports(),
): boolean {
  return run("signs", out, x, scales, runs, exports, () => ({ after: [] }));
}

export function rows(
  values: Float32Array,
  x: Float32Array,
  seen: Uint8Array,
  { rows, n }: Pick<Runs, "rows" | "n">,
  top: number,
  scales: Float32Array | null = null,
  exports = fakeQuantizeExports(),
): boolean {
  if (exports === null) return false;
  return staged((staging) => {
    const from = staging.input(x, 0, rows * n);
    const to = staging.output(values, 0, rows * n, false);
    const seenAt = staging.output(seen, 0, seen.length, true);
    const scalesAt = scales === null ? 0 : staging.output(scales, 0, rows, false);
    if (from === 0 || to === 0 || seenAt === 0 || (scales !== null && scalesAt === 0)) return false;
    inRows(exports, "rows", rows, 1, rows * n * 0.7, (row, count) => [
      to + row * n * 4,
      scalesAt && scalesAt + row * 4,
      from + row * n * 4,
      seenAt,
      count,
      n,
      top,
    ]);
    return true;
  });
}
