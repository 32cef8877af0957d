/** The product of a packed layer: codes of the input, exact integer sums, then the scales. */

import { plus } from "../../kernels/elementwise/arithmetic.ts";
import { binary, gemm } from "../backend.ts";
import { FormatError, show } from "../errors.ts";
import { type Codes, codesOf, type PackedInput } from "./input.ts";
import { room } from "./values.ts";
import { type PackedWeight, scalesPerRow } from "./weight.ts";

/** The largest magnitudes of the codes of an input. */
const codeBound = (input: PackedInput): number =>
  input.kind === "signs" ? 1 : input.kind === "dynamic" ? 127 : input.most - input.least;

/** Throws FormatError where sums of k products could leave int32. */
export function checkDepth(op: string, input: PackedInput | null, { bits, columns: k }: PackedWeight): void {
  const bound = input === null ? 0 : codeBound(input) * 2 ** (bits - 1) * k;
  if (bound > 2 ** 31 - 1) {
    throw new FormatError(`${op}: sums of ${k} products of such codes leave int32, got ${show(bits)} bits`);
  }
}

/**
 * (m, rows) from sums of codes: float32(sum) · scaleW · scaleX + bias, each step rounded to float32; with groups the scaled sums
 * are added in float32, group by group.
 */
export function integerProduct(
  out: Float32Array,
  { codes, zeroPoint, scale }: Codes,
  m: number,
  weight: PackedWeight,
  bias: Float32Array | null,
): void {
  const { rows: n, columns: k } = weight;
  const coded = weight.coded!;
  const values = weight.unpacked();
  const perRow = scalesPerRow(coded);
  const step = coded.group ?? Math.max(1, k);
  for (let r = 0; r < m; r++) {
    for (let c = 0; c < n; c++) {
      let f = 0;
      for (let from = 0, g = 0; g === 0 || from < k; from += step, g++) {
        let sum = 0;
        const end = Math.min(k, from + step);
        for (let i = from; i < end; i++) sum += (codes[r * k + i] - zeroPoint) * values[c * k + i];
        const scaled = Math.fround(Math.fround(sum) * coded.scale[perRow === 0 ? 0 : c * perRow + g]);
        f = g === 0 ? scaled : Math.fround(f + scaled);
      }
      if (scale) f = Math.fround(f * scale[scale.length === 1 ? 0 : r]);
      out[r * n + c] = bias ? Math.fround(f + bias[c]) : f;
    }
  }
}

/** x·weightᵀ of float32 x and codes: one row of the weight as float32 at a time, sums in double. */
function weightOnlyProduct(out: Float32Array, x: Float32Array, m: number, weight: PackedWeight): void {
  const { rows: n, columns: k } = weight;
  const row = new Float32Array(k);
  for (let c = 0; c < n; c++) {
    weight.readRow(row, c);
    for (let r = 0; r < m; r++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += x[r * k + i] * row[i];
      out[r * n + c] = sum;
    }
  }
}

/** out (m, rows) = x (m, columns)·weightᵀ + bias, the input made codes as `input` says. */
export function product(
  x: Float32Array,
  m: number,
  weight: PackedWeight,
  input: PackedInput | null,
  bias: Float32Array | null,
): Float32Array {
  const { rows: n, columns: k } = weight;
  const out = room(m * n);
  if (input !== null && weight.coded !== null) {
    integerProduct(out, codesOf(x, m, k, input), m, weight, bias);
    return out;
  }
  if (weight.floats) gemm(out, x, weight.floats, { m, k, n, transposeA: false, transposeB: true });
  else weightOnlyProduct(out, x, m, weight);
  return bias ? added(out, [m, n], bias, [n]) : out;
}

/** x + y, broadcast to the shape of x. */
export function added(
  x: Float32Array,
  shape: readonly number[],
  y: Float32Array,
  yShape: readonly number[],
): Float32Array {
  const out = room(x.length);
  binary(out, shape, x, shape, y, yShape, plus);
  return out;
}
