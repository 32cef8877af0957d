/** MixedInputQuantizer: codes of a layer's input, but of features with outliers, which stay float32. */

import type { BilinearProduct, WeightedLayer } from "../nn/packing.ts";
import { indexSelect } from "../ops/index-ops.ts";
import { visitor } from "../ops/shapes-only.ts";
import type { MixedInput, PackedInput } from "../packed/products/input.ts";
import { outliersOf } from "../packed/products/outliers.ts";
import { sizeOf } from "../shape.ts";
import { type Tensor, wrap } from "../tensor.ts";
import { checkFinite, givenFloats } from "./contract.ts";
import { SpecInputQuantizer } from "./input-quantizer.ts";
import type { QuantSpec } from "./spec.ts";

/** The layer of the codes of all other features, and the product of these added to it. */
export class MixedInputQuantizer extends SpecInputQuantizer {
  /** The magnitude above which a number is an outlier. */
  readonly threshold: number;

  constructor(spec: QuantSpec, threshold: number) {
    super(spec, null);
    this.threshold = threshold;
  }

  override run(given: Tensor, layer: WeightedLayer, product: BilinearProduct, axis: number): Tensor {
    if (visitor()) return super.run(given, layer, product, axis);
    const x = givenFloats("mixedInput", given).to("float32");
    const data = x.data as Float32Array;
    checkFinite(data, this.spec);
    const at = axis < 0 ? axis + x.rank : axis;
    const features = x.shape[at];
    const lies = { features, inner: sizeOf(x.shape.slice(at + 1)) };
    const some = outliersOf(data, lies, this.threshold);
    if (some.length === 0) return super.run(x, layer, product, axis);
    const held = Uint8Array.from({ length: features }, (_, f) => (some.includes(f) ? 1 : 0));
    const isOutlier = wrap(held, [features, ...x.shape.slice(at + 1).fill(1)], "bool");
    const y = super.run(isOutlier.where(0, x), layer, product, axis);
    const weight = layer.weight.effective();
    // Columns of a matrix go with features; other weights meet the whole, with 0 in all other features.
    if (weight.rank !== 2 || weight.shape[1] !== features)
      return y.add(product(isOutlier.where(x, 0), weight));
    const columns = wrap(Int32Array.from(some), [some.length], "int32");
    return y.add(product(indexSelect(x, columns, { axis: at }), indexSelect(weight, columns, { axis: 1 })));
  }

  override toPacked(): PackedInput {
    const { bits } = super.toPacked() as MixedInput;
    return { kind: "mixed", bits, threshold: this.threshold };
  }
}
