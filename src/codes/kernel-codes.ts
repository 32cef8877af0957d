/** Codes of a layer's input by kernels that need no further pass: those that `quantize` gives, bit for bit. */

import { signRuns, uniformRows, uniformRuns } from "../backend.ts";
import { type Shape, sizeOf } from "../shape.ts";
import { empty, type Tensor, wrap } from "../tensor.ts";
import { inFloat32 } from "./contract.ts";
import type { Integers } from "./integer.ts";
import { leastScale, type QuantParams } from "./params.ts";
import { runsOf, scaleShape } from "./runs.ts";
import { isSigns, type QuantSpec } from "./spec.ts";

/** How many rows have a scale of their own, which the kernel finds as `chooseParams` does; null where it does not. */
function rowsOf(spec: QuantSpec, shape: Shape): number | null {
  const { scheme, range, scaleDtype, eps, granularity, axis } = spec;
  if (scheme !== "symmetric" || range !== "narrow" || shape.length === 0) return null;
  if (scaleDtype !== "float32" || eps > leastScale) return null;
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

/**
 * Writes signs, and where there is room for marks, which numbers lie within −1 … 1. False where one is not finite.
 */
export function writeSigns(x: Float32Array, values: Float32Array, inside: Uint8Array | null): boolean {
  const seen = new Uint8Array(2);
  const out = { values, codes: null, inside, seen };
  signRuns(out, x, Float32Array.of(1), { rows: 1, n: x.length, step: x.length });
  return seen[1] === 0;
}

/**
 * The integers behind the codes of x by given scales, or by those that fit it; signs have scales of 1. Null where no kernel
 * serves it, or `quantize` throws: for codebooks, scales of other runs than rows or samples, and numbers that are not
 * finite.
 */
export function integersByKernel(x: Tensor, spec: QuantSpec, params: QuantParams | null): Integers | null {
  const { data, size, shape } = x;
  if (!(data instanceof Float32Array) || size === 0) return null;
  const signs = isSigns(spec);
  if (!signs && (spec.rounding !== "half-even" || spec.zeroPoint === "float" || spec.codebook)) return null;
  const rows = signs || params ? 1 : rowsOf(spec, shape);
  if (rows === null || (params && spec.granularity !== "tensor")) return null;
  const ints = empty(shape, "float32", false);
  const seen = new Uint8Array(2);
  const of = scaleShape(spec, shape);
  const scales = new Float32Array(sizeOf(of)).fill(1);
  const found = params ?? { scale: wrap(scales, of, "float32"), zeroPoint: null };
  const given = { ints, ...found, spec, shape };
  if (signs) return writeSigns(data, ints.data, null) ? given : null;
  if (params) {
    const { scale, zeroPoint } = inFloat32(params);
    const out = { values: ints.data, codes: null, inside: null, seen };
    const [by, zeros] = [scale.data, zeroPoint?.data ?? null] as [Float32Array, Float32Array | null];
    uniformRuns(out, data, by, zeros, runsOf(spec, shape), spec.qmin, spec.qmax, true);
  } else uniformRows(ints.data, data, seen, { rows, n: size / rows }, spec.qmax, scales);
  return seen[1] === 0 ? given : null;
}
