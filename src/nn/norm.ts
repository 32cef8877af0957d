/**
 * Normalisation over features of a position, LayerNorm and RMSNorm, or over channels of a sample, GroupNorm and
 * InstanceNorm2d. Batch norms are in `batch-norm.ts`.
 */

import type { DType } from "../dtype.ts";
import { readOptions, ShapeError, show } from "../errors.ts";
import { checkShape, sizeOf } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { blank } from "./blank.ts";
import { ones, zeros } from "./init.ts";
import { inside } from "./inside.ts";
import type { PackedFields, Packer } from "./packing.ts";
import { Parameter } from "./parameter.ts";
import { checkFloat, checkGroups, checkSizes } from "./sizes.ts";

export interface NormOptions {
  /** Added to the variance (or the mean square). */
  eps: number;
  /** Learn a weight, from 1. */
  affine: boolean;
  /** Learn a bias, from 0, where there is a weight. */
  bias: boolean;
  dtype: DType;
}

/** The weight of ones and the bias of zeros that a normalisation starts with. */
export function unitAffine(
  op: string,
  shape: readonly number[],
  { affine, bias, dtype }: Pick<NormOptions, "affine" | "bias" | "dtype">,
): { weight: Parameter | null; bias: Parameter | null } {
  checkFloat(op, dtype);
  return {
    weight: affine ? ones(new Parameter(blank(shape, dtype))) : null,
    bias: affine && bias ? zeros(new Parameter(blank(shape, dtype))) : null,
  };
}

const toShape = (op: string, size: number | readonly number[]): readonly number[] => {
  const shape = typeof size === "number" ? [size] : [...checkShape(op, size)];
  if (shape.length === 0)
    throw new ShapeError(`${op}: needs at least one axis to normalise, got ${show(shape)}`);
  checkSizes(op, Object.fromEntries(shape.map((n, i) => [`axis ${i} of the normalised shape`, n])));
  return shape;
};

/**
 * (x − mean)/√(variance + eps) · weight + bias over the last axes, (…, C). Ba et al., 2016, arXiv:1607.06450.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { LayerNorm } from "bitgrad/nn";
 *
 * console.log(new LayerNorm(2).forward(tensor([[1, 3]])).toArray()); // [[-1.000, 1.000]]
 * ```
 */
export class LayerNorm {
  readonly kind = "norm";
  private readonly _shape: readonly number[];
  readonly eps: number;
  weight: Parameter | null;
  bias: Parameter | null;

  constructor(normalizedShape: number | readonly number[], options?: Partial<NormOptions>) {
    const settings = readOptions<NormOptions>("LayerNorm", options, {
      eps: 1e-5,
      affine: true,
      bias: true,
      dtype: "float32",
    });
    this._shape = toShape("LayerNorm", normalizedShape);
    this.eps = settings.eps;
    const made = unitAffine("LayerNorm", this._shape, settings);
    this.weight = made.weight;
    this.bias = made.bias;
  }

  /** That of the weight, where there is one. */
  get normalizedShape(): readonly number[] {
    return this.weight?.shape ?? this._shape;
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("LayerNorm", x);
      const { eps, normalizedShape } = this;
      return x.layerNorm(this.weight?.effective(), this.bias?.effective(), { eps, normalizedShape });
    });
  }

  toPacked(packer: Packer): PackedFields {
    return packedNorm("layer", this, this.bias, packer);
  }
}

/**
 * x/√(mean(x²) + eps) · weight over the last axes, (…, C). Zhang and Sennrich, 2019, arXiv:1910.07467.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { RMSNorm } from "bitgrad/nn";
 *
 * console.log(new RMSNorm(2).forward(tensor([[3, 3]])).toArray()); // [[1.000, 1.000]]
 * ```
 */
export class RMSNorm {
  readonly kind = "norm";
  private readonly _shape: readonly number[];
  readonly eps: number;
  weight: Parameter | null;

  constructor(normalizedShape: number | readonly number[], options?: Partial<Omit<NormOptions, "bias">>) {
    const { eps, affine, dtype } = readOptions<Omit<NormOptions, "bias">>("RMSNorm", options, {
      eps: 1e-6,
      affine: true,
      dtype: "float32",
    });
    this._shape = toShape("RMSNorm", normalizedShape);
    this.eps = eps;
    this.weight = unitAffine("RMSNorm", this._shape, { affine, bias: false, dtype }).weight;
  }

  /** That of the weight, where there is one. */
  get normalizedShape(): readonly number[] {
    return this.weight?.shape ?? this._shape;
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("RMSNorm", x);
      const { eps, normalizedShape } = this;
      return x.rmsNorm(this.weight?.effective(), { eps, normalizedShape });
    });
  }

  toPacked(packer: Packer): PackedFields {
    return packedNorm("rms", this, null, packer);
  }
}

function packedNorm(
  type: "layer" | "rms",
  { normalizedShape, eps, weight }: LayerNorm | RMSNorm,
  bias: Parameter | null,
  packer: Packer,
): PackedFields {
  const size = sizeOf(normalizedShape);
  const axes = normalizedShape.length === 1 ? null : normalizedShape;
  return { kind: "norm", type, size, axes, eps, weight: packer.floats(weight), bias: packer.floats(bias) };
}

/**
 * Normalises (N, C, …) over groups of channels together with all positions. Wu and He, 2018, arXiv:1803.08494.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { GroupNorm } from "bitgrad/nn";
 *
 * console.log(new GroupNorm(2, 8).forward(zeros([1, 8, 4, 4])).shape); // [1, 8, 4, 4]
 * ```
 */
export class GroupNorm {
  readonly kind = "norm";
  readonly groups: number;
  readonly eps: number;
  weight: Parameter | null;
  bias: Parameter | null;

  constructor(groups: number, channels: number, options?: Partial<NormOptions>) {
    checkSizes("GroupNorm", { channels });
    checkGroups("GroupNorm", groups, { channels });
    const settings = readOptions<NormOptions>("GroupNorm", options, {
      eps: 1e-5,
      affine: true,
      bias: true,
      dtype: "float32",
    });
    this.groups = groups;
    this.eps = settings.eps;
    const made = unitAffine("GroupNorm", [channels], settings);
    this.weight = made.weight;
    this.bias = made.bias;
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("GroupNorm", x);
      const { groups, eps } = this;
      return x.groupNorm(this.weight?.effective(), this.bias?.effective(), { groups, eps });
    });
  }

  toPacked(packer: Packer): PackedFields {
    const { groups, eps } = this;
    const [weight, bias] = [packer.floats(this.weight), packer.floats(this.bias)];
    return { kind: "norm", type: "group", size: groups, eps, weight, bias };
  }
}

/**
 * Normalises every channel of every sample of (N, C, H, W) over its positions, in training and in evaluation alike. Ulyanov
 * et al., 2016, arXiv:1607.08022.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { InstanceNorm2d } from "bitgrad/nn";
 *
 * console.log(new InstanceNorm2d(3).forward(zeros([2, 3, 8, 8])).shape); // [2, 3, 8, 8]
 * ```
 */
export class InstanceNorm2d {
  readonly kind = "norm";
  private readonly _channels: number;
  readonly eps: number;
  weight: Parameter | null;
  bias: Parameter | null;

  /** As in PyTorch there is no weight and no bias unless `affine` is set. */
  constructor(channels: number, options?: Partial<NormOptions>) {
    checkSizes("InstanceNorm2d", { channels });
    const settings = readOptions<NormOptions>("InstanceNorm2d", options, {
      eps: 1e-5,
      affine: false,
      bias: true,
      dtype: "float32",
    });
    this._channels = channels;
    this.eps = settings.eps;
    const made = unitAffine("InstanceNorm2d", [channels], settings);
    this.weight = made.weight;
    this.bias = made.bias;
  }

  /** That of the weight, where there is one. */
  get channels(): number {
    return this.weight?.shape[0] ?? this._channels;
  }

  forward(x: TensorLike): Tensor {
    x = asTensor("InstanceNorm2d", x);
    const { channels, eps } = this;
    if (x.rank !== 4 || x.shape[1] !== channels)
      throw new ShapeError(`InstanceNorm2d: needs (N, ${channels}, H, W), got ${show(x.shape)}`);
    return x.instanceNorm(this.weight?.effective(), this.bias?.effective(), { eps });
  }

  toPacked(packer: Packer): PackedFields {
    const { channels, eps } = this;
    const [weight, bias] = [packer.floats(this.weight), packer.floats(this.bias)];
    return { kind: "norm", type: "group", size: channels, eps, weight, bias };
  }
}
