/**
 * Quantizer: a spec, and how its scales are found. Everything else is the numeric contract, so what is trained, what is stored
 * and what packed inference computes with are the same numbers.
 */

import { OptionError, StageError, show } from "../errors.ts";
import type { Parameter, Transform } from "../nn/parameter.ts";
import type { TransformFactory } from "../nn/parametrize.ts";
import { packCodes } from "../packed/codes.ts";
import { noHalf, PackedWeight } from "../packed/weight.ts";
import { sizeOf } from "../shape.ts";
import { isInstance } from "../state.ts";
import { own } from "../storage.ts";
import { noGrad } from "../tape.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { dequantize, fakeQuantize, type QTensor, quantize } from "./contract.ts";
import type { QuantParams } from "./params.ts";
import type { QuantSpec } from "./spec.ts";

export interface Quantizer {
  /** "int8", "ternary", "binary", …: for people. */
  readonly name: string;
  readonly spec: QuantSpec;
  /** "mask": no gradient where the code is clamped, as PyTorch does; "through": the gradient passes everywhere. */
  readonly gradient: "mask" | "through";
  /** The scales that fit x, constants to its gradient. */
  params(x: Tensor): QuantParams;
}

/** The numbers a quantized layer computes with, differentiable: `fakeQuantize` with the quantizer's own scales and gradient. */
export const throughQuantizer = (x: Tensor, quantizer: Quantizer, params = quantizer.params(x)): Tensor =>
  fakeQuantize(x, quantizer.spec, params, { mask: quantizer.gradient === "mask" });

/** The codes and scales that training with a quantizer stands for. */
export const quantizeBy = (x: Tensor, quantizer: Quantizer): QTensor =>
  quantize(x as TensorLike, quantizer.spec, quantizer.params(x));

const brand: unique symbol = Symbol.for("bitgrad.quantizedTransform") as never;

/** The transform that makes a parameter train through a quantizer, and holds its codes once they are frozen. */
export class QuantizedTransform implements Transform {
  readonly quantizer: Quantizer;
  /** Private to the tree, so that a state holds latent weights alone: the codes of a frozen weight, and what they are of. */
  private _codes: QTensor | null = null;
  private _parameter: Parameter | null = null;
  private _version = 0;

  constructor(quantizer: Quantizer) {
    this.quantizer = quantizer;
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(this, QuantizedTransform, brand, value);
  }

  get [brand](): true {
    return true;
  }

  get bits(): number {
    return this.quantizer.spec.bits;
  }

  apply(weight: Tensor): Tensor {
    return this.codes ? dequantize(this.codes) : throughQuantizer(weight, this.quantizer);
  }

  /** Fixes the codes at those of a parameter, on which this transform is, until the parameter is written. */
  freeze(parameter: Parameter): void {
    this._parameter = parameter;
    this._version = parameter.version;
    this._codes = noGrad(() => {
      let weight = parameter.value;
      for (const transform of parameter.transforms) {
        if (transform === this) break;
        weight = transform.apply(weight);
      }
      return quantizeBy(weight, this.quantizer);
    });
    for (const t of [this._codes.codes, this._codes.scale, this._codes.zeroPoint]) if (t) own(t as Tensor);
  }

  /** The codes of a frozen weight, those of its present value; null before `freeze`. */
  get codes(): QTensor | null {
    if (this._parameter && this._parameter.version !== this._version) this.freeze(this._parameter);
    return this._codes;
  }

  /** Throws StageError before it is frozen, OptionError for codes that no packed layer reads. */
  pack(): PackedWeight {
    if (!this.codes)
      throw new StageError("pack: the weights must be frozen, got live quantizers; call freeze first");
    return packedWeight(this.codes);
  }
}

/** `parametrize(model, "blocks.**.weight", quantized(bwn()))`: layers see the quantized weight, the optimizer the latent one. */
export const quantized =
  (quantizer: Quantizer): TransformFactory =>
  () =>
    new QuantizedTransform(quantizer);

export const quantizedTransform = ({ transforms }: Parameter): QuantizedTransform | null =>
  transforms.find((t): t is QuantizedTransform => t instanceof QuantizedTransform) ?? null;

/** The codes that `freeze` fixed, or null. */
export const frozenCodes = (parameter: Parameter): QTensor | null =>
  quantizedTransform(parameter)?.codes ?? null;

/** Whether a weight (out, …) has no zero points, and a scale for all of it, a row, or a group of a row. */
function isByRows({ zeroPoint, spec: { granularity, axis }, shape }: QTensor): boolean {
  const byRow = granularity === "channel" ? axis % shape.length === 0 : shape.length === 2;
  return !zeroPoint && (granularity === "tensor" || byRow);
}

/** Whether products with the codes of an input are sums of integers, times scales. */
export const servesIntegers = (weight: QTensor): boolean => isByRows(weight) && !weight.spec.codebook;

/** A quantized weight (out, …) as rows of packed codes. */
export function packedWeight(weight: QTensor): PackedWeight {
  const { codes, scale, spec, shape } = weight;
  const { granularity, bits, qmin, codebook, scaleDtype } = spec;
  const rows = shape[0] ?? 1;
  const columns = sizeOf(shape.slice(1));
  const grouped = typeof granularity === "object";
  if (!isByRows(weight)) {
    throw new OptionError(
      `pack: weights need symmetric codes with a scale a tensor, a row or a group of a matrix, got ${spec.scheme} codes of ${show(shape)}`,
    );
  }
  const signed = qmin < 0;
  const scales = Float32Array.from(scale.data as ArrayLike<number>);
  return PackedWeight.ofCodes({
    rows,
    columns,
    bits,
    signed,
    codes: packCodes(codes.data as Int8Array, rows, columns, { bits, signed }),
    scale: scales,
    group: grouped ? granularity.group : null,
    scaleType: noHalf(scales) < 0 ? scaleDtype : "float32",
    codebook: codebook && Array.from({ length: 2 ** bits }, (_, k) => codebook[k] ?? 0),
  });
}
