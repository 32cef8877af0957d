/** The quantizer of a layer's input, which everyone may put in its place: checked where it is used. */

import { OptionError, show, synchronous } from "../errors.ts";
import type { PackedInput } from "../packed/products/input.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import type { BilinearProduct, InputQuantizer, WeightedLayer } from "./packing.ts";

type Quantized = { readonly inputQuantizer: unknown };

/** Null where a layer has none. Throws OptionError where it lacks a method that is asked for. */
function quantizerOf<N extends "run" | "toPacked">(
  op: string,
  { inputQuantizer: given }: Quantized,
  method: N,
): Pick<InputQuantizer, N> | null {
  if (given === null || given === undefined) return null;
  if (typeof (given as Partial<InputQuantizer>)[method] === "function") return given as InputQuantizer;
  throw new OptionError(
    `${op}: inputQuantizer must have a method ${method}, got ${show(given)}; let prepare put it there`,
  );
}

/** What the layer gives by the quantizer of its input; null where it has none. Throws OptionError for what gives no tensor. */
export function ranByCodes(
  op: string,
  layer: WeightedLayer & Quantized,
  x: Tensor,
  product: BilinearProduct,
  axis: number,
): Tensor | null {
  const quantizer = quantizerOf(op, layer, "run");
  if (quantizer === null) return null;
  const y: unknown = synchronous(op, quantizer.run(x, layer, product, axis), "inputQuantizer");
  if (isTensor(y)) return y;
  throw new OptionError(`${op}: inputQuantizer must give a tensor, got ${show(y)}`);
}

/** How its packed layer makes codes of the input; null where it multiplies floats. */
export const packedInput = (layer: Quantized): PackedInput | null =>
  quantizerOf("pack", layer, "toPacked")?.toPacked() ?? null;
