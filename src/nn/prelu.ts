import type { DType } from "../dtype.ts";
import { readOptions, ShapeError, show } from "../errors.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { blank } from "./blank.ts";
import { constant } from "./init.ts";
import { inside } from "./inside.ts";
import type { PackedFields, Packer } from "./packing.ts";
import { Parameter } from "./parameter.ts";
import { checkFloat, checkSizes } from "./sizes.ts";

/**
 * x where x > 0, slope · x elsewhere, for one slope or one a channel of (N, C, …).
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { prelu } from "bitgrad/nn";
 *
 * console.log(prelu(tensor([-2, 3]), tensor([0.5])).toArray()); // [-1, 3]
 * ```
 */
export function prelu(x: TensorLike, slope: TensorLike): Tensor {
  x = asTensor("prelu", x);
  slope = asTensor("prelu", slope);
  if (slope.size !== 1 && slope.size !== (x.rank > 1 ? x.shape[1] : x.size)) {
    throw new ShapeError(
      `prelu: needs one slope or one a channel, got ${show(slope.shape)} for ${show(x.shape)}`,
    );
  }
  const wide =
    slope.size === 1 ? slope : slope.reshape([slope.size, ...Array(Math.max(0, x.rank - 2)).fill(1)]);
  return x.greater(0).where(x, x.mul(wide));
}

/**
 * `prelu` with learned slopes, one or one a channel. He et al., 2015, arXiv:1502.01852.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { PReLU } from "bitgrad/nn";
 *
 * console.log(new PReLU().forward(tensor([-2, 3])).toArray()); // [-0.5, 3]
 * ```
 */
export class PReLU {
  weight: Parameter;

  constructor(count = 1, options?: Partial<{ initial: number; dtype: DType }>) {
    checkSizes("PReLU", { count });
    const { initial, dtype } = readOptions("PReLU", options, { initial: 0.25, dtype: "float32" as DType });
    checkFloat("PReLU", dtype);
    this.weight = constant(new Parameter(blank([count], dtype)), initial);
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      return prelu(x, this.weight.effective());
    });
  }

  toPacked(packer: Packer): PackedFields {
    return { kind: "prelu", weight: packer.floats(this.weight) };
  }
}
