/**
 * Quantizer: x ≈ values(codes(x, params), params). Training runs through the same functions that storing does, so what is
 * trained is what is stored. The backward pass is straight-through.
 */

import { packBits, unpackBits } from "../../kernels/bits.ts";
import { ShapeError, show } from "../errors.ts";
import type { Transform } from "../nn/parameter.ts";
import { sizeOf } from "../shape.ts";
import { noGrad } from "../tape.ts";
import { type Tensor, wrap } from "../tensor.ts";
import type { Granularity } from "./scale.ts";

export interface QuantParams {
  /** The size of one code step, positive, in the shape that `granularity` gives it. */
  readonly scale: Tensor;
}

export interface Quantizer {
  /** What a stored tensor is read by: "int8", "ternary", "binary", … */
  readonly name: string;
  readonly granularity: Granularity;
  /** Every code, in the order of what is stored for it: level k is stored as k. */
  readonly levels: readonly number[];
  /** Bits of a stored code. */
  readonly bits: number;
  params(x: Tensor): QuantParams;
  /** Integer-valued codes; the gradient is that of x/scale. */
  codes(x: Tensor, params: QuantParams): Tensor;
  /** The numbers that codes stand for. */
  values(codes: Tensor, params: QuantParams): Tensor;
}

/** values(codes(x)): the numbers a quantized layer computes with, still differentiable. */
export function fakeQuantize(x: Tensor, quantizer: Quantizer): Tensor {
  const params = quantizer.params(x);
  return quantizer.values(quantizer.codes(x, params), params);
}

/** The transform that makes a parameter train through a quantizer. */
export interface QuantizedTransform extends Transform {
  readonly bits: number;
  readonly quantizer: Quantizer;
}

/** `parametrize(model, "blocks.**.weight", quantized(bwn()))`: layers see the quantized weight, the optimizer the latent one. */
export const quantized = (quantizer: Quantizer): QuantizedTransform => ({
  bits: quantizer.bits,
  quantizer,
  apply: (weight) => fakeQuantize(weight, quantizer),
});

/** A tensor as packed codes and scales. */
export interface QTensor {
  /** Codes, `bits` each, packed along the last axis: (rows, bytes) uint8. */
  readonly codes: Tensor;
  readonly scale: Tensor;
  readonly shape: readonly number[];
}

/** (rows, n) of a shape packed along its last axis. */
function rowsOf(shape: readonly number[]): [rows: number, n: number] {
  if (shape.length === 0) throw new ShapeError("quantize: a scalar has no axis to pack along, got ()");
  return [sizeOf(shape.slice(0, -1)), shape[shape.length - 1]];
}

/** The packed codes and the scales of x. */
export function quantize(x: Tensor, quantizer: Quantizer): QTensor {
  return noGrad(() => {
    const params = quantizer.params(x);
    const place = new Map(quantizer.levels.map((level, k) => [level, k]));
    const codes = Array.from(
      quantizer.codes(x, params).data as ArrayLike<number>,
      (code) => place.get(code + 0)!,
    );
    const [rows, n] = rowsOf(x.shape);
    const packed = packBits(codes, rows, n, quantizer.bits);
    return {
      codes: wrap(packed, [rows, rows === 0 ? 0 : packed.length / rows], "uint8"),
      scale: params.scale,
      shape: x.shape,
    };
  });
}

/** The float tensor that packed codes stand for: exactly `fakeQuantize` of what was quantized. */
export function dequantize(
  { codes, scale, shape }: QTensor,
  quantizer: Pick<Quantizer, "name" | "levels" | "bits" | "values">,
): Tensor {
  const [rows, n] = rowsOf(shape);
  const levels = Float32Array.from(unpackBits(codes.data as Uint8Array, rows, n, quantizer.bits), (k) => {
    if (k >= quantizer.levels.length) {
      throw new ShapeError(`dequantize: no such code for ${quantizer.name}, got ${show(k)}`);
    }
    return quantizer.levels[k];
  });
  return noGrad(() => quantizer.values(wrap(levels, shape, "float32"), { scale }));
}
