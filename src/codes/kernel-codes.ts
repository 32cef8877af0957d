/** Codes of a layer's input by the kernels that packed layers use: those that `quantize` gives, bit for bit. */

import { anyNonFinite, quantizeBy, quantizeRows, signRuns, uniformRows } from "../backend.ts";
import { type Shape, sizeOf } from "../shape.ts";
import { empty, type Tensor, wrap } from "../tensor.ts";
import type { QTensor, Written } from "./contract.ts";
import type { QuantParams } from "./params.ts";
import { scaleShape } from "./runs.ts";
import { isSigns, type QuantSpec } from "./spec.ts";

/** How many rows have a scale of their own, which the kernel finds as `chooseParams` does; null where it does not. */
function rowsOf({ scheme, range, scaleDtype, granularity, axis }: QuantSpec, shape: Shape): number | null {
  if (scheme !== "symmetric" || range !== "narrow" || scaleDtype !== "float32" || shape.length === 0)
    return null;
  if (granularity === "token") return sizeOf(shape.slice(0, -1));
  return granularity === "channel" && axis === 0 ? shape[0] : null;
}

/**
 * The values of codes of x by the scales that fit its rows, in one pass, which leaves no number out of the range; null where
 * no kernel serves it, or `chooseParams` throws or clamps.
 */
export function valuesByRows(x: Tensor, spec: QuantSpec): Tensor | null {
  const { data, size, shape } = x;
  if (!(data instanceof Float32Array) || size === 0 || isSigns(spec) || spec.rounding !== "half-even")
    return null;
  const rows = rowsOf(spec, shape);
  if (rows === null) return null;
  const values = empty(shape, "float32", false);
  const seen = new Uint8Array(2);
  uniformRows(values.data, data, seen, { rows, n: size / rows }, spec.qmax);
  return seen[1] === 0 ? values : null;
}

/** Signs as values or codes, with a mark where a number lies within −1 … 1; false where one is not finite. */
export function writeSigns(x: Float32Array, out: Written): boolean {
  const seen = new Uint8Array(2);
  signRuns({ ...out, seen }, x, Float32Array.of(1), { rows: 1, n: x.length, step: x.length });
  return seen[1] === 0;
}

/**
 * The codes of x by given scales, or by those that fit it; signs have scales of 1. Null where no kernel serves it, or
 * `quantize` throws: for codebooks, scales of other runs than rows or samples, and numbers that are not finite.
 */
export function codesByKernel(x: Tensor, spec: QuantSpec, params: QuantParams | null): QTensor | null {
  const { data, size, shape } = x;
  if (!(data instanceof Float32Array) || size === 0) return null;
  if (isSigns(spec)) {
    const codes = empty(shape, "int8", false);
    const of = scaleShape(spec, shape);
    const scale = wrap(new Float32Array(sizeOf(of)).fill(1), of, "float32");
    const done = writeSigns(data, { values: null, codes: codes.data, inside: null });
    return done ? { codes, scale, zeroPoint: null, spec, shape } : null;
  }
  if (spec.rounding !== "half-even" || spec.zeroPoint === "float" || spec.codebook) return null;
  const rows = params === null ? rowsOf(spec, shape) : spec.granularity === "tensor" ? 1 : null;
  if (rows === null || anyNonFinite(data, size)) return null;
  const codes = spec.qmin < 0 ? empty(shape, "int8", false) : empty(shape, "uint8", false);
  if (params === null) {
    const scales = new Float32Array(rows);
    quantizeRows(codes.data as Int8Array, scales, data, spec.qmax, rows, size / rows);
    return { codes, scale: wrap(scales, scaleShape(spec, shape), "float32"), zeroPoint: null, spec, shape };
  }
  const [scale, zero] = [params.scale.item(), params.zeroPoint?.item() ?? 0];
  quantizeBy(codes.data as Int8Array, data, { scale, zero, least: spec.qmin, most: spec.qmax }, 1, size);
  return { codes, ...params, spec, shape };
}
