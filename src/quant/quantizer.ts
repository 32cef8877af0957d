/**
 * Quantizer: a spec, and how its scales are found. Everything else is the numeric contract, so what is trained, what is stored
 * and what packed inference computes with are the same numbers.
 */

import type { Transform } from "../nn/parameter.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { fakeQuantize, type QTensor, quantize } from "./contract.ts";
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

/** The transform that makes a parameter train through a quantizer. */
export interface QuantizedTransform extends Transform {
  readonly bits: number;
  readonly quantizer: Quantizer;
}

/** The numbers a quantized layer computes with, differentiable: `fakeQuantize` with the quantizer's own scales and gradient. */
export const throughQuantizer = (x: Tensor, quantizer: Quantizer, params = quantizer.params(x)): Tensor =>
  fakeQuantize(x, quantizer.spec, params, { mask: quantizer.gradient === "mask" });

/** The codes and scales that training with a quantizer stands for. */
export const quantizeBy = (x: Tensor, quantizer: Quantizer): QTensor =>
  quantize(x as TensorLike, quantizer.spec, quantizer.params(x));

/** `parametrize(model, "blocks.**.weight", quantized(bwn()))`: layers see the quantized weight, the optimizer the latent one. */
export const quantized = (quantizer: Quantizer): QuantizedTransform => ({
  bits: quantizer.spec.bits,
  quantizer,
  apply: (weight) => throughQuantizer(weight, quantizer),
});
