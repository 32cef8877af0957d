/**
 * The numeric contract: codes = clamp(round(x/scale) + zeroPoint, qmin, qmax) and values = (code − zeroPoint) · scale, every
 * step in float32. Training, storing and packed inference all go through it, so that they agree to the bit.
 */

import { forEachRun, type Quantized, type Runs } from "../../kernels/fake-quantize/reference.ts";
import { levelRuns, signRuns, uniformRuns } from "../backend.ts";
import type { FloatArray } from "../dtype.ts";
import { DTypeError, isPlainObject, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { placeholder, visitor } from "../ops/shapes-only.ts";
import { defaultRng } from "../random/default.ts";
import type { Rng } from "../random/rng.ts";
import { checkShape, type Shape, sameShape, sizeOf } from "../shape.ts";
import { asTensor, empty, isTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { floatsOf, notFinite } from "./loops.ts";
import { chooseParams, nonFinite, type QuantParams, roundedZero } from "./params.ts";
import { roundBy } from "./rounding.ts";
import { forRuns, perRun, runsOf, scaleShape } from "./runs.ts";
import { checkSpec, isSigns, type QuantSpec } from "./spec.ts";

/** A quantized tensor: its codes, unpacked, and what they stand for. */
export interface QTensor {
  /** In the shape of the tensor: int8, or uint8 where no code is negative. */
  readonly codes: Tensor<"int8"> | Tensor<"uint8">;
  /** Scale and zero point are float32; those of another dtype are read as such. */
  readonly scale: Tensor;
  readonly zeroPoint: Tensor | null;
  readonly spec: QuantSpec;
  readonly shape: Shape;
}

export interface QuantizeOptions {
  /** Draws for stochastic rounding; the default generator unless told otherwise. */
  rng: Rng | null;
}

/**
 * Throws ShapeError unless scale and zero point have the shape that the spec gives them for a tensor of `shape`, OptionError
 * for numbers that they cannot be: a zero point is a code where it is an integer. One that is `learned` is rounded on its
 * way (`roundedZero`).
 */
export function checkParams(
  op: string,
  params: QuantParams,
  spec: QuantSpec,
  shape: Shape,
  learned = false,
): void {
  if (!isPlainObject(params)) {
    throw new OptionError(`${op}: params must be { scale, zeroPoint }, got ${show(params)}`);
  }
  const { scale, zeroPoint } = params;
  checkTensor(op, "scale", scale);
  if (zeroPoint !== null && zeroPoint !== undefined) checkTensor(op, "zeroPoint", zeroPoint);
  const want = scaleShape(spec, shape);
  for (const [name, t] of Object.entries({ scale, zeroPoint })) {
    // An empty tensor takes any.
    if (t === null || t === undefined || sizeOf(shape) === 0) continue;
    if (!sameShape(t.shape, want)) {
      throw new ShapeError(`${op}: ${name} must be ${show(want)} for ${show(shape)}, got ${show(t.shape)}`);
    }
  }
  if (zeroPoint && spec.zeroPoint === "none") {
    throw new OptionError(`${op}: ${spec.scheme} codes have no zero point, got ${show(zeroPoint)}`);
  }
  if (visitor()) return;
  const isCode = (z: number) => Number.isInteger(z) && z >= spec.qmin && z <= spec.qmax;
  const rounds = spec.zeroPoint !== "int" || learned || zeroPoint?.requiresGrad;
  const fits = rounds ? Number.isFinite : isCode;
  const odd = (zeroPoint?.data as Float32Array | undefined)?.find((z) => !fits(z));
  if (odd !== undefined) {
    const want = fits === isCode ? `an integer from ${spec.qmin} to ${spec.qmax}` : "finite";
    throw new OptionError(`${op}: a zero point must be ${want}, got ${odd}`);
  }
  const { data } = scale;
  // There may be one for every few numbers: a call for each takes longer than to quantize those.
  for (let k = 0; k < data.length; k++) {
    const s = Math.abs(Math.fround(data[k]));
    if (s < Infinity && (s > 0 || isSigns(spec))) continue;
    throw new OptionError(`${op}: a scale must be finite and not 0 in float32, got ${data[k]}`);
  }
}

/** Scales and zero points in float32, as all are computed with and stored; their gradients pass. */
export const inFloat32 = ({ scale, zeroPoint }: QuantParams): QuantParams => ({
  scale: scale.to("float32"),
  zeroPoint: zeroPoint?.to("float32") ?? null,
});

/** The same as copies: a write to a scale that is learned does not reach codes that were made by it. */
export const keptParams = ({ scale, zeroPoint }: QuantParams): QuantParams => ({
  scale: copyOf(scale),
  zeroPoint: zeroPoint && copyOf(zeroPoint),
});

const copyOf = ({ data, shape }: Tensor): Tensor =>
  wrap(Float32Array.from(data as ArrayLike<number>), shape, "float32");

function checkTensor(op: string, name: string, value: unknown): void {
  if (!isTensor(value)) throw new OptionError(`${op}: ${name} must be a tensor, got ${show(value)}`);
}

/** round(x/scale) + zeroPoint of one element before it is clamped, where no kernel does it. */
function rounder(spec: QuantSpec, rng: Rng | null): (x: number, scale: number, zero: number) => number {
  const { rounding } = spec;
  const draw = rounding === "stochastic" ? (rng ?? defaultRng()) : null;
  if (spec.zeroPoint === "float") {
    return (x, scale, zero) => roundBy(rounding, Math.fround(Math.fround(x / scale) + zero), draw?.next());
  }
  return (x, scale, zero) => roundBy(rounding, Math.fround(x / scale), draw?.next()) + zero;
}

/** Throws for NaN, and for infinity unless it is to be clamped. */
export function checkFinite(data: Float32Array | Float64Array, { onNonFinite }: QuantSpec): void {
  const odd = notFinite(data, 0, data.length);
  if (odd < 0) return;
  if (onNonFinite === "throw") throw nonFinite(data, odd);
  const missing = data.findIndex(Number.isNaN);
  if (missing >= 0) throw nonFinite(data, missing);
}

/** What is written of a tensor, each of its size; null for what is not. */
export type Written = Omit<Quantized, "seen">;

/**
 * Writes the codes of x, what they stand for, and which of them would lie in range without being clamped (PyTorch's gradient
 * mask); all of signs do. Returns whether one does not.
 */
export function quantizeInto(
  out: Written,
  x: Tensor,
  spec: QuantSpec,
  { scale, zeroPoint }: QuantParams,
  rng: Rng | null,
): boolean {
  const data = floatsOf(x);
  const scales = perRun(scale.data as Float32Array, spec, x.shape);
  const zeros = zeroPoint && perRun(zeroPoint.data as Float32Array, spec, x.shape);
  const runs = runsOf(spec, x.shape);
  const to = { ...out, seen: new Uint8Array(2) };
  const { qmin, qmax, codebook } = spec;
  if (isSigns(spec)) signRuns({ ...to, inside: null }, data, scales, runs);
  else if (codebook) levelRuns(to, data, scales, runs, codebook);
  else if (spec.rounding === "half-even" && spec.zeroPoint !== "float")
    uniformRuns(to, data, scales, zeros, runs, qmin, qmax);
  else {
    checkFinite(data, spec);
    roundInto(to, data, spec, scales, zeros, runs, rounder(spec, rng));
  }
  if (to.seen[1] === 1) checkFinite(data, spec);
  return to.seen[0] === 1 && !isSigns(spec);
}

function roundInto(
  { values, codes, inside, seen }: Quantized,
  x: FloatArray,
  { qmin, qmax }: QuantSpec,
  scales: Float32Array,
  zeros: Float32Array | null,
  runs: Runs,
  round: ReturnType<typeof rounder>,
): void {
  forEachRun(runs, (from, to, run) => {
    const scale = scales[run % scales.length];
    const zero = zeros ? zeros[run % scales.length] : 0;
    for (let i = from; i < to; i++) {
      const q = round(x[i], scale, zero);
      const code = Math.min(qmax, Math.max(qmin, q));
      if (code !== q) seen[0] = 1;
      if (values) values[i] = Math.fround(Math.fround(code - zero) * scale) + 0;
      if (codes) codes[i] = code;
      if (inside) inside[i] = code === q ? 1 : 0;
    }
  });
}

/** Room for the codes of x. */
export const codeRoom = (x: Tensor, { qmin }: QuantSpec): QTensor["codes"] =>
  qmin < 0 ? empty(x.shape, "int8", false) : empty(x.shape, "uint8", false);

/** What codes stand for, in float32. */
export function valuesOf(
  codes: Int8Array | Uint8Array,
  shape: Shape,
  spec: QuantSpec,
  params: QuantParams,
): Tensor<"float32"> {
  const levels = spec.codebook && Float32Array.from(spec.codebook);
  const values = empty(shape, "float32", false);
  const out = values.data;
  const scales = params.scale.data;
  const zeros = params.zeroPoint?.data;
  forRuns(spec, shape, (from, to, k) => {
    const [scale, zero] = [scales[k], zeros ? zeros[k] : 0];
    if (levels) for (let i = from; i < to; i++) out[i] = Math.fround(levels[codes[i]] * scale) + 0;
    // Adding 0 turns the −0 of a zero code under a negative scale into 0.
    else for (let i = from; i < to; i++) out[i] = Math.fround(Math.fround(codes[i] - zero) * scale) + 0;
  });
  return values;
}

const readRng = (op: string, options: Partial<QuantizeOptions> | undefined): Rng | null =>
  readOptions<QuantizeOptions>(op, options, { rng: null }).rng;

export function givenFloats(op: string, x: TensorLike): Tensor {
  const given = asTensor(op, x);
  if (given.dtype === "bool") throw new DTypeError(`${op}: needs numbers, got bool`);
  return given;
}

/**
 * The codes of x, with the scales they are read by: those given, or those that fit x. Not differentiable. Throws ShapeError for
 * params of another granularity, and for NaN and infinity as `chooseParams` does.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { dequantize, quantize, spec } from "bitgrad/quant";
 *
 * const q = quantize(tensor([[0.5, -1, 0.26]]), spec({ bits: 3, granularity: "channel" }));
 * console.log(q.codes.toArray(), dequantize(q).toArray()); // [[2, -3, 1]] [[0.667, -1, 0.333]]
 * ```
 */
export function quantize(
  x: TensorLike,
  spec: QuantSpec,
  params?: QuantParams | null,
  options?: Partial<QuantizeOptions>,
): QTensor {
  const given = givenFloats("quantize", x);
  checkSpec("quantize", spec);
  const found = params ?? chooseParams(given, spec);
  checkParams("quantize", found, spec, given.shape);
  const rng = readRng("quantize", options);
  const { shape } = given;
  const made = (codes: Tensor, held: QuantParams): QTensor => ({
    codes: codes as QTensor["codes"],
    ...held,
    spec,
    shape,
  });
  if (visitor()) return made(placeholder(shape, spec.qmin < 0 ? "int8" : "uint8"), inFloat32(found));
  const kept = keptParams({ ...found, zeroPoint: roundedZero(found.zeroPoint ?? null, spec) });
  const codes = codeRoom(given, spec);
  quantizeInto({ values: null, codes: codes.data, inside: null }, given, spec, kept, rng);
  return made(codes, kept);
}

/**
 * The float32 numbers that codes stand for. Throws OptionError for a code outside the spec's range.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { dequantize, quantize, spec } from "bitgrad/quant";
 *
 * console.log(dequantize(quantize(tensor([[1, -1, 0.1]]), spec({ bits: 1, granularity: "channel" }))).toArray());
 * // [[0.7, -0.7, 0.7]]
 * ```
 */
export function dequantize(quantized: QTensor): Tensor {
  if (!isPlainObject(quantized)) {
    throw new OptionError(`dequantize: needs what quantize gives, got ${show(quantized)}`);
  }
  const { codes, scale, zeroPoint, spec, shape } = quantized;
  checkTensor("dequantize", "codes", codes);
  checkSpec("dequantize", spec);
  checkShape("dequantize", shape);
  const { dtype } = codes as Tensor;
  if (dtype !== "int8" && dtype !== "uint8") {
    throw new DTypeError(`dequantize: codes must be int8 or uint8, got ${dtype}`);
  }
  if (codes.size !== sizeOf(shape)) {
    throw new ShapeError(`dequantize: needs ${sizeOf(shape)} codes for ${show(shape)}, got ${codes.size}`);
  }
  checkParams("dequantize", { scale, zeroPoint }, spec, shape);
  if (visitor()) return placeholder(shape, "float32");
  const data = codes.data as Int8Array | Uint8Array;
  const odd = data.find((q) => q < spec.qmin || q > spec.qmax || (q === 0 && isSigns(spec)));
  if (odd !== undefined) {
    throw new OptionError(`dequantize: codes lie in ${spec.qmin} … ${spec.qmax}, got ${odd}`);
  }
  return valuesOf(data, shape, spec, keptParams({ scale, zeroPoint }));
}
