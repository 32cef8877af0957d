/**
 * Quantizer: a spec, and how its scales are found. Everything else is the numeric contract, so what is trained, what is stored
 * and what packed inference computes with are the same numbers.
 */

import { OptionError, show } from "../errors.ts";
import { sizeOf } from "../shape.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { type QTensor, quantize } from "./contract.ts";
import { fakeQuantize } from "./fake-quantize.ts";
import type { QuantParams } from "./params.ts";
import type { QuantSpec } from "./spec.ts";

export interface Quantizer {
  /** "int8", "ternary", "binary", …: for people. */
  readonly name: string;
  readonly spec: QuantSpec;
  /** "mask": no gradient where the code is clamped, as PyTorch does; "through": the gradient passes everywhere. */
  readonly gradient: "mask" | "through";
  /** The scales that fit x, constants to its gradient; `mask` is false where a mask before the quantizer has made x 0. */
  params(x: Tensor, context?: QuantContext): QuantParams;
}

export interface QuantContext {
  readonly mask?: Tensor | null;
}

/** The numbers a quantized layer computes with, differentiable: `fakeQuantize` with the quantizer's own scales and gradient. */
export function throughQuantizer(weight: Tensor, quantizer: Quantizer, context?: QuantContext): Tensor {
  const [x, seen] = asRows(weight, quantizer, context);
  const options = { mask: quantizer.gradient === "mask" };
  const values = fakeQuantize(x, quantizer.spec, quantizer.params(x, seen), options);
  return x === weight ? values : values.reshape(weight.shape);
}

/** The codes and scales that training with a quantizer stands for; where they are grouped, of a matrix. */
export function quantizeBy(weight: Tensor, quantizer: Quantizer, context?: QuantContext): QTensor {
  const [x, seen] = asRows(weight, quantizer, context);
  return quantize(x as TensorLike, quantizer.spec, quantizer.params(x, seen));
}

/** A weight (out, …) as a matrix where scales are by groups: those run along its rows, whatever axes they are of. */
function asRows(
  weight: Tensor,
  { spec: { granularity } }: Quantizer,
  context?: QuantContext,
): [Tensor, QuantContext | undefined] {
  if (typeof granularity !== "object" || weight.shape.length < 3) return [weight, context];
  const matrix = [weight.shape[0], sizeOf(weight.shape.slice(1))];
  return [weight.reshape(matrix), { ...context, mask: context?.mask?.reshape(matrix) }];
}

export function checkQuantizer(quantizer: Quantizer): Quantizer {
  if (typeof quantizer?.params === "function") return quantizer;
  const hint = typeof quantizer === "function" ? "; call it" : "";
  throw new OptionError(`quantized: needs a quantizer such as bwn(), got ${show(quantizer)}${hint}`);
}
