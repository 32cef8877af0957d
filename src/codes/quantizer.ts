/**
 * Quantizer: a spec, how its scales are found, and where it differs from the numeric contract, its codes and its surrogate.
 * What is trained, what is stored and what packed inference computes with are the same numbers.
 */

import { DTypeError, isFunction, OptionError, ShapeError, show, synchronous } from "../errors.ts";
import { type Shape, sameShape, sizeOf } from "../shape.ts";
import { noGrad } from "../tape.ts";
import { isTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { checkFinite, checkParams, inFloat32, keptParams, type QTensor, quantize } from "./contract.ts";
import { type Boundary, checkBoundary, surrogate } from "./fake-quantize.ts";
import { floatsOf } from "./loops.ts";
import { type QuantParams, roundedZero, storedScale } from "./params.ts";
import { blockOf, checkSpec, groupOf, isSigns, type QuantSpec } from "./spec.ts";

/**
 * How weights become codes: `{ name, spec, params: (x) => chooseParams(x, spec) }` is one. One whose params are learned
 * holds them as Parameters, which then belong to the model; a function in the plan makes one for each weight.
 */
export interface Quantizer {
  /** "int8", "ternary", "binary", …: for people. */
  readonly name: string;
  readonly spec: QuantSpec;
  /**
   * The scales, and zero points, for x. They may require gradients, so those found from x by ops are found from
   * `x.detach()` where they are constants. Scales are rounded to the type that the spec stores, integer zero points to
   * codes. `mask` is false where a mask before the quantizer has made x 0.
   */
  params(x: Tensor, context?: QuantContext): QuantParams;
  /** The codes of x, of int8, or uint8 where none is negative; left out, the rounding of the spec. Not differentiated. */
  codes?(x: Tensor, params: QuantParams): Tensor;
  /**
   * What is differentiated in the place of the codes' values, in ops of x and of params that are learned; of x's shape. `(x)
   * => x` passes the gradient everywhere. Left out, it passes where no code is clamped, and params get PyTorch's gradient.
   */
  soft?(x: Tensor, params: QuantParams): Tensor;
  /** Where `soft` is left out: whether a number on an end code counts as clamped. "inside", the default, is PyTorch's. */
  readonly boundary?: Boundary;
}

export interface QuantContext {
  readonly mask?: Tensor | null;
}

/** Throws OptionError for what is no quantizer. */
export function checkQuantizer(op: string, quantizer: Quantizer): Quantizer {
  if (!isFunction(quantizer?.params)) {
    const hint = isFunction(quantizer) ? "; call it" : "";
    throw new OptionError(`${op}: needs a quantizer such as bwn(), got ${show(quantizer)}${hint}`);
  }
  checkSpec(op, quantizer.spec);
  for (const name of ["codes", "soft"] as const) {
    if (quantizer[name] === undefined || isFunction(quantizer[name])) continue;
    throw new OptionError(`${op}: a quantizer's ${name} must be a function, got ${show(quantizer[name])}`);
  }
  checkBoundary(op, quantizer.boundary ?? "inside");
  return quantizer;
}

/** What a quantizer gives for x, as it is stored: scales are rounded to their type here, zero points to codes. */
function paramsBy(quantizer: Quantizer, x: Tensor, context?: QuantContext): QuantParams {
  const params = synchronous("quantize", quantizer.params(x, context), "params of a quantizer");
  const { spec } = quantizer;
  checkParams("quantize", params, spec, x.shape, true);
  const scale = storedScale(params.scale, spec);
  return inFloat32({ scale, zeroPoint: roundedZero(params.zeroPoint ?? null, spec) });
}

/** The codes that a quantizer brings itself; undefined where they are those of the spec. */
function ownCodes(quantizer: Quantizer, x: Tensor, params: QuantParams): Int8Array | Uint8Array | undefined {
  const { name, spec } = quantizer;
  if (!quantizer.codes) return undefined;
  checkFinite(floatsOf(x), spec);
  const codes = noGrad(() =>
    synchronous("quantize", quantizer.codes!(x.detach(), params), "codes of a quantizer"),
  );
  const op = `quantize: the codes of ${show(name)}`;
  if (!isTensor(codes) || (codes.dtype !== "int8" && codes.dtype !== "uint8")) {
    const got = isTensor(codes) ? codes.dtype : show(codes);
    throw new DTypeError(`${op} must be int8 or uint8, got ${got}; end with .to("int8")`);
  }
  if (!sameShape(codes.shape, x.shape)) {
    throw new ShapeError(`${op} must have the shape ${show(x.shape)} of x, got ${show(codes.shape)}`);
  }
  const odd = (codes.data as Int8Array).find(
    (q) => q < spec.qmin || q > spec.qmax || (q === 0 && isSigns(spec)),
  );
  if (odd !== undefined) throw new OptionError(`${op} lie in ${spec.qmin} … ${spec.qmax}, got ${odd}`);
  return spec.qmin < 0 ? Int8Array.from(codes.data) : Uint8Array.from(codes.data);
}

/** The numbers a quantized layer computes with, differentiable by the quantizer's surrogate. */
export function throughQuantizer(weight: Tensor, quantizer: Quantizer, context?: QuantContext): Tensor {
  const [x, seen] = asRows(weight, quantizer, context);
  const params = paramsBy(quantizer, x, seen);
  const { spec, boundary = "inside" } = quantizer;
  const own = { codes: ownCodes(quantizer, x, params), soft: quantizer.soft?.bind(quantizer) };
  const values = surrogate(x, spec, params, { rng: null, mask: true, boundary }, own);
  return x === weight ? values : values.reshape(weight.shape);
}

/** The codes and scales that training with a quantizer stands for; where they are grouped, of a matrix. */
export function quantizeBy(weight: Tensor, quantizer: Quantizer, context?: QuantContext): QTensor {
  const [x, seen] = asRows(weight, quantizer, context);
  const { spec } = quantizer;
  const params = paramsBy(quantizer, x, seen);
  const codes = ownCodes(quantizer, x, params);
  if (!codes) return quantize(x as TensorLike, spec, params);
  return {
    codes: codes instanceof Int8Array ? wrap(codes, x.shape, "int8") : wrap(codes, x.shape, "uint8"),
    ...keptParams(params),
    spec,
    shape: x.shape,
  };
}

/** The shape that codes of a weight (out, …) have: a matrix where scales are by blocks, or by groups along its rows. */
export function shapeOfCodes(spec: QuantSpec, shape: Shape): Shape {
  const asMatrix = blockOf(spec) !== null || (groupOf(spec) !== null && spec.axis === -1);
  return asMatrix && shape.length > 2 ? [shape[0], sizeOf(shape.slice(1))] : shape;
}

/** A weight in the shape of its codes, and its mask. */
function asRows(
  weight: Tensor,
  { spec }: Quantizer,
  context?: QuantContext,
): [Tensor, QuantContext | undefined] {
  const shape = shapeOfCodes(spec, weight.shape);
  if (shape === weight.shape) return [weight, context];
  return [weight.reshape(shape), { ...context, mask: context?.mask?.reshape(shape) }];
}
