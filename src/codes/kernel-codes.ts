/** Codes of a layer's input by the kernels that packed layers use: those that `quantize` gives, bit for bit. */

import { anyNonFinite, quantizeBy, quantizeRows } from "../backend.ts";
import { type Shape, sizeOf } from "../shape.ts";
import { empty, type Tensor, wrap } from "../tensor.ts";
import type { QTensor } from "./contract.ts";
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
 * The codes of x by given scales, or by those that fit it; null where no kernel serves it, or `quantize` throws: for signs,
 * codebooks, scales of other runs than rows or samples, and numbers that are not finite.
 */
export function codesByKernel(x: Tensor, spec: QuantSpec, params: QuantParams | null): QTensor | null {
  const { data, size, shape } = x;
  if (!(data instanceof Float32Array) || size === 0 || isSigns(spec)) return null;
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
