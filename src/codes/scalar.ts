/** The numeric contract of one number: what loops that choose codes one after another compute with. */

import { thresholds } from "../../kernels/fake-quantize/reference.ts";
import { OptionError, show } from "../errors.ts";
import { roundBy } from "./rounding.ts";
import { checkSpec, isSigns, type QuantSpec } from "./spec.ts";

/** Both ways between numbers and codes of a spec, as the contract has them to the bit. Scales and zeros are float32. */
export interface ScalarCodes {
  /** The code of x, which counts as float32; `draw`, in [0, 1), is for stochastic rounding alone. */
  codeOf(x: number, scale: number, zeroPoint: number, draw?: number): number;
  valueOf(code: number, scale: number, zeroPoint: number): number;
}

export function scalarCodes(spec: QuantSpec): ScalarCodes {
  const { qmin, qmax, codebook, rounding } = spec;
  if (isSigns(spec)) {
    return {
      codeOf: (x) => (Math.fround(x) < 0 ? -1 : 1),
      valueOf: (code, scale) => Math.fround(code * scale) + 0,
    };
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

/** As float32 holds it; NaN for what is no number. */
const asFloat = (value: unknown): number => (typeof value === "number" ? Math.fround(value) : Number.NaN);

/** Throws OptionError for a scale and a zero point that `quantize` would refuse; both come back as float32. */
function checkScale(op: string, spec: QuantSpec, scale: number, zeroPoint: number): [number, number] {
  checkSpec(op, spec);
  const { scheme, qmin, qmax } = spec;
  const [unit, zero] = [asFloat(scale), asFloat(zeroPoint)];
  if (!Number.isFinite(unit) || (unit === 0 && !isSigns(spec))) {
    throw new OptionError(`${op}: a scale must be finite and not 0 in float32, got ${show(scale)}`);
  }
  const isCode = Number.isInteger(zero) && zero >= qmin && zero <= qmax;
  const wants = {
    none: [zero === 0, `0 for ${scheme} codes`],
    int: [isCode, `an integer from ${qmin} to ${qmax}`],
    float: [Number.isFinite(zero), "finite"],
  } as const;
  const [fits, want] = wants[spec.zeroPoint];
  if (!fits) throw new OptionError(`${op}: a zero point must be ${want}, got ${show(zeroPoint)}`);
  return [unit, zero];
}

/**
 * The code that `quantize` gives one number of float32; `draw`, in [0, 1), decides where rounding is stochastic. Throws
 * OptionError for what is no number, infinity unless the spec clamps it, and a scale or zero point that `quantize` refuses.
 *
 * @example
 * ```ts
 * import { dequantizeScalar, quantizeScalar, spec } from "bitgrad/quant";
 *
 * const uint4 = spec({ bits: 4, scheme: "affine" });
 * const code = quantizeScalar(0.26, uint4, 0.1, 5);
 * console.log(code, dequantizeScalar(code, uint4, 0.1, 5)); // 8 0.3
 * ```
 */
export function quantizeScalar(x: number, spec: QuantSpec, scale: number, zeroPoint = 0, draw = 0): number {
  const op = "quantizeScalar";
  const [unit, zero] = checkScale(op, spec, scale, zeroPoint);
  const given = asFloat(x);
  if (Number.isNaN(given) || (Math.abs(given) === Infinity && spec.onNonFinite === "throw")) {
    const hint = Number.isNaN(given) ? "" : '; for infinities use onNonFinite: "clamp"';
    throw new OptionError(`${op}: a number must be finite in float32, got ${show(x)}${hint}`);
  }
  if (!(typeof draw === "number" && draw >= 0 && draw < 1)) {
    throw new OptionError(`${op}: draw must lie in [0, 1), got ${show(draw)}`);
  }
  return scalarCodes(spec).codeOf(given, unit, zero, draw);
}

/**
 * The number that `dequantize` gives a code. Throws OptionError for a code outside the spec's range, and for a scale or a
 * zero point that `dequantize` refuses.
 *
 * @example
 * ```ts
 * import { dequantizeScalar, spec } from "bitgrad/quant";
 *
 * console.log(dequantizeScalar(-3, spec({ bits: 4 }), 0.5)); // -1.5
 * ```
 */
export function dequantizeScalar(code: number, spec: QuantSpec, scale: number, zeroPoint = 0): number {
  const op = "dequantizeScalar";
  const [unit, zero] = checkScale(op, spec, scale, zeroPoint);
  const { qmin, qmax } = spec;
  if (Number.isInteger(code) && code >= qmin && code <= qmax && !(code === 0 && isSigns(spec))) {
    return scalarCodes(spec).valueOf(code, unit, zero);
  }
  throw new OptionError(`${op}: codes lie in ${qmin} … ${qmax}, got ${show(code)}`);
}
