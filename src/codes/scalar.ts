/** The numeric contract of one number: what loops that choose codes one after another compute with. */

import { thresholds } from "../../kernels/fake-quantize/reference.ts";
import { OptionError, show } from "../errors.ts";
import { roundBy } from "./rounding.ts";
import { checkSpec, isSigns, type QuantSpec } from "./spec.ts";

/** Both ways between numbers and codes of a spec, as the contract has them to the bit. */
export interface ScalarCodes {
  /** The code of x; `draw`, in [0, 1), is for stochastic rounding alone. */
  codeOf(x: number, scale: number, zeroPoint: number, draw?: number): number;
  valueOf(code: number, scale: number, zeroPoint: number): number;
}

export function scalarCodes(spec: QuantSpec): ScalarCodes {
  const { qmin, qmax, codebook, rounding } = spec;
  if (isSigns(spec)) {
    return { codeOf: (x) => (x < 0 ? -1 : 1), valueOf: (code, scale) => Math.fround(code * scale) + 0 };
  }
  if (codebook) {
    const steps = Float32Array.from(codebook);
    const ends = thresholds(codebook);
    return {
      codeOf(x, scale) {
        const u = Math.fround(Math.fround(x) / scale);
        let code = 0;
        while (code < qmax && u > ends[code + 1]) code++;
        return code;
      },
      valueOf: (code, scale) => Math.fround(steps[code] * scale) + 0,
    };
  }
  const clamped = (q: number): number => Math.min(qmax, Math.max(qmin, q)) + 0;
  const valueOf = (code: number, scale: number, zero: number): number =>
    Math.fround(Math.fround(code - zero) * scale) + 0;
  if (spec.zeroPoint === "float") {
    return {
      codeOf: (x, scale, zero, draw) =>
        clamped(roundBy(rounding, Math.fround(Math.fround(Math.fround(x) / scale) + zero), draw)),
      valueOf,
    };
  }
  return {
    codeOf: (x, scale, zero, draw) =>
      clamped(roundBy(rounding, Math.fround(Math.fround(x) / scale), draw) + zero),
    valueOf,
  };
}

function checkNumbers(op: string, spec: QuantSpec, given: Readonly<Record<string, number>>): void {
  checkSpec(op, spec);
  for (const [name, value] of Object.entries(given)) {
    if (Number.isFinite(value)) continue;
    throw new OptionError(`${op}: ${name} must be a finite number, got ${show(value)}`);
  }
  const { scale } = given;
  if (Math.fround(scale) !== 0 || isSigns(spec)) return;
  throw new OptionError(`${op}: a scale must not be 0 in float32, got ${scale}`);
}

/**
 * The code that `quantize` gives one number; `draw`, a number in [0, 1), decides where rounding is stochastic. Throws
 * OptionError for numbers that are not finite and a scale of 0.
 *
 * @example
 * ```ts
 * import { dequantizeScalar, quantizeScalar, spec } from "bitgrad/quant";
 *
 * const uint4 = spec({ bits: 4, scheme: "affine" });
 * const code = quantizeScalar(0.26, uint4, 0.1, 5);
 * console.log(code, dequantizeScalar(code, uint4, 0.1, 5).toFixed(2)); // 8 0.30
 * ```
 */
export function quantizeScalar(x: number, spec: QuantSpec, scale: number, zeroPoint = 0, draw = 0): number {
  checkNumbers("quantizeScalar", spec, { x, scale, zeroPoint, draw });
  return scalarCodes(spec).codeOf(x, Math.fround(scale), Math.fround(zeroPoint), draw);
}

/**
 * The number that `dequantize` gives a code. Throws OptionError for a code outside the spec's range, numbers that are not
 * finite and a scale of 0.
 *
 * @example
 * ```ts
 * import { dequantizeScalar, spec } from "bitgrad/quant";
 *
 * console.log(dequantizeScalar(-3, spec({ bits: 4 }), 0.5)); // -1.5
 * ```
 */
export function dequantizeScalar(code: number, spec: QuantSpec, scale: number, zeroPoint = 0): number {
  checkNumbers("dequantizeScalar", spec, { code, scale, zeroPoint });
  const { qmin, qmax } = spec;
  if (Number.isInteger(code) && code >= qmin && code <= qmax && !(code === 0 && isSigns(spec))) {
    return scalarCodes(spec).valueOf(code, Math.fround(scale), Math.fround(zeroPoint));
  }
  throw new OptionError(`dequantizeScalar: codes lie in ${qmin} … ${qmax}, got ${show(code)}`);
}
