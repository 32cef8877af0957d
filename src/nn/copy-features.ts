/** CopyFeatures: some features once more, for a weight that has a column more for each. */

import { OptionError, ShapeError, show } from "../errors.ts";
import { indexSelect } from "../ops/index-ops.ts";
import { concat } from "../ops/join.ts";
import { asTensor, type Tensor, type TensorLike, tensor } from "../tensor.ts";
import { inside } from "./inside.ts";
import type { PackedFields, Packer } from "./packing.ts";
import { checkSizes } from "./sizes.ts";

/**
 * The features, and behind them once more those that `copies` names: (…, C) -> (…, C + k). Among the `inputSteps` of a
 * linear layer it lets columns of the weight share an input, as `splitOutlierChannels` has them do. Throws OptionError for
 * copies of no feature.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { CopyFeatures } from "bitgrad/nn";
 *
 * console.log(new CopyFeatures(3, [2, 2]).forward(tensor([[1, 5, 7]])).toArray()); // [[1, 5, 7, 7, 7]]
 * ```
 */
export class CopyFeatures {
  readonly features: number;
  /** The feature that each copy is of: int32 (k). */
  copies: Tensor;

  constructor(features: number, copies: readonly number[]) {
    checkSizes("CopyFeatures", { features });
    const isFeature = (i: unknown): boolean =>
      Number.isInteger(i) && (i as number) >= 0 && (i as number) < features;
    if (!Array.isArray(copies) || !copies.every(isFeature)) {
      throw new OptionError(
        `CopyFeatures: copies must be a list of features from 0 to ${features - 1}, got ${show(copies)}`,
      );
    }
    this.features = features;
    this.copies = tensor(Int32Array.from(copies), { dtype: "int32" });
  }

  /** Throws ShapeError where x does not end in as many features. */
  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("CopyFeatures", x);
      if (x.shape.at(-1) !== this.features)
        throw new ShapeError(`CopyFeatures: x must end in ${this.features} features, got ${show(x.shape)}`);
      return concat([x, indexSelect(x, this.copies, { axis: -1 })], { axis: -1 });
    });
  }

  toPacked(_packer: Packer): PackedFields {
    return { kind: "copyFeatures", features: this.features, copies: Array.from(this.copies.data, Number) };
  }
}
