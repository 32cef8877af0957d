/** Pooling layers, as PyTorch names them. */

import { readOptions, ShapeError, show } from "../errors.ts";
import { type AvgPoolOptions, type MaxPoolOptions, poolDefaults, readPool } from "../ops/pool.ts";
import type { Pair, WindowOptions } from "../ops/windows.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { inside } from "./inside.ts";
import type { PackedFields } from "./packing.ts";

type Sizes = number | Pair;
type Sides = readonly [rows: Pair, columns: Pair];

const sidesOf = ({ pads: [top, bottom, left, right] }: WindowOptions): Sides => [
  [top, bottom],
  [left, right],
];

/**
 * The largest of every window of (N, C, H, W).
 *
 * @example
 * ```ts
 * import { arange } from "bitgrad";
 * import { MaxPool2d } from "bitgrad/nn";
 *
 * console.log(new MaxPool2d(2).forward(arange(16).reshape([1, 1, 4, 4])).toArray()); // [[[[5, 7], [13, 15]]]]
 * ```
 */
export class MaxPool2d {
  readonly kernelSize: Pair;
  readonly stride: Pair;
  readonly padding: Sides;
  readonly dilation: Pair;
  readonly ceilMode: boolean;

  /** `stride` is the kernel's size unless told otherwise. Throws OptionError for padding of more than half the kernel. */
  constructor(kernelSize: Sizes, options?: Partial<Omit<MaxPoolOptions, "kernelSize">>) {
    const { kernelSize: _, ...known } = { ...poolDefaults, dilation: [1, 1] };
    const given = readOptions<Omit<MaxPoolOptions, "kernelSize">>("MaxPool2d", options, known);
    const defaults: MaxPoolOptions = { ...poolDefaults, dilation: [1, 1] };
    const { windows, ceilMode } = readPool("MaxPool2d", { ...given, kernelSize }, defaults);
    this.kernelSize = windows.kernel;
    this.stride = windows.stride;
    this.padding = sidesOf(windows);
    this.dilation = windows.dilation;
    this.ceilMode = ceilMode;
  }

  /** Throws ShapeError for another rank, and where the window is larger than the padded image. */
  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      const { kernelSize, stride, padding, dilation, ceilMode } = this;
      return asTensor("MaxPool2d", x).maxPool2d({ kernelSize, stride, padding, dilation, ceilMode });
    });
  }

  toPacked(): PackedFields {
    const { kernelSize: kernel, stride, padding, dilation, ceilMode } = this;
    return { kind: "pool", type: "max", kernel, stride, padding, dilation, ceilMode, countIncludePad: true };
  }
}

/**
 * The mean of every window of (N, C, H, W).
 *
 * @example
 * ```ts
 * import { arange } from "bitgrad";
 * import { AvgPool2d } from "bitgrad/nn";
 *
 * console.log(new AvgPool2d(2).forward(arange(16).reshape([1, 1, 4, 4])).toArray()); // [[[[2.5, 4.5], [10.5, 12.5]]]]
 * ```
 */
export class AvgPool2d {
  readonly kernelSize: Pair;
  readonly stride: Pair;
  readonly padding: Sides;
  readonly ceilMode: boolean;
  /** Whether zeros of the padding are counted. */
  readonly countIncludePad: boolean;

  /** `stride` is the kernel's size unless told otherwise. Throws OptionError for padding of more than half the kernel. */
  constructor(kernelSize: Sizes, options?: Partial<Omit<AvgPoolOptions, "kernelSize">>) {
    const { kernelSize: _, ...known } = { ...poolDefaults, countIncludePad: true };
    const given = readOptions<Omit<AvgPoolOptions, "kernelSize">>("AvgPool2d", options, known);
    const defaults: AvgPoolOptions = { ...poolDefaults, countIncludePad: true };
    const { windows, ceilMode, countIncludePad } = readPool("AvgPool2d", { ...given, kernelSize }, defaults);
    this.kernelSize = windows.kernel;
    this.stride = windows.stride;
    this.padding = sidesOf(windows);
    this.ceilMode = ceilMode;
    this.countIncludePad = countIncludePad;
  }

  /** Throws ShapeError for another rank, and where the window is larger than the padded image. */
  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      const { kernelSize, stride, padding, ceilMode, countIncludePad } = this;
      return asTensor("AvgPool2d", x).avgPool2d({ kernelSize, stride, padding, ceilMode, countIncludePad });
    });
  }

  toPacked(): PackedFields {
    const { kernelSize: kernel, stride, padding, ceilMode, countIncludePad } = this;
    return {
      kind: "pool",
      type: "average",
      kernel,
      stride,
      padding,
      dilation: [1, 1],
      ceilMode,
      countIncludePad,
    };
  }
}

/**
 * The mean of every channel, (N, C, H, W) -> (N, C, 1, 1).
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { GlobalAvgPool2d } from "bitgrad/nn";
 *
 * console.log(new GlobalAvgPool2d().forward(zeros([2, 8, 7, 7])).shape); // [2, 8, 1, 1]
 * ```
 */
export class GlobalAvgPool2d {
  /** Throws ShapeError for another rank. */
  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      const images = asTensor("GlobalAvgPool2d", x);
      if (images.rank !== 4)
        throw new ShapeError(`GlobalAvgPool2d: needs (N, C, H, W), got ${show(images.shape)}`);
      return images.adaptiveAvgPool2d(1);
    });
  }

  toPacked(): PackedFields {
    return { kind: "function", name: "average" };
  }
}
