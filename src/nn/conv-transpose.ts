import { readOptions } from "../errors.ts";
import { type Pair, readPadding, readPair } from "../ops/windows.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import type { Conv2dOptions } from "./conv.ts";
import { inside } from "./inside.ts";
import { weightAndBias } from "./linear.ts";
import type { PackedFields, Packer } from "./packing.ts";
import type { Parameter } from "./parameter.ts";
import { checkGroups, checkSizes } from "./sizes.ts";

export interface ConvTranspose2dOptions extends Conv2dOptions {
  /** Rows and columns that are added behind, as several sizes of an image give one after a stride. */
  outputPadding: number | readonly [number, number];
}

/**
 * The transpose of Conv2d, which makes images larger: (N, in, H, W) with a weight (in, out/groups, height, width) -> (N,
 * out, Oh, Ow), Oh = (H − 1)·stride − padding + dilation·(height − 1) + outputPadding + 1. Its weights may be quantized, one
 * scale per input channel, and are packed as codes; its input stays float32. So a plan whose default quantizes inputs leaves
 * it alone: name it in a rule with a weight-only config.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { ConvTranspose2d } from "bitgrad/nn";
 *
 * console.log(new ConvTranspose2d(8, 3, 2, { stride: 2 }).forward(zeros([1, 8, 16, 16])).shape); // [1, 3, 32, 32]
 * ```
 */
export class ConvTranspose2d {
  weight: Parameter;
  bias: Parameter | null;
  readonly stride: Pair;
  /** [[top, bottom], [left, right]] that are cut off. */
  readonly padding: readonly [Pair, Pair];
  readonly dilation: Pair;
  readonly outputPadding: Pair;
  readonly groups: number;

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number | Pair,
    options?: Partial<ConvTranspose2dOptions>,
  ) {
    const settings = readOptions<ConvTranspose2dOptions>("ConvTranspose2d", options, {
      stride: [1, 1],
      padding: [0, 0],
      dilation: [1, 1],
      outputPadding: [0, 0],
      groups: 1,
      bias: true,
      dtype: "float32",
      rng: null,
    });
    const { groups } = settings;
    checkSizes("ConvTranspose2d", { inChannels, outChannels });
    checkGroups("ConvTranspose2d", groups, { inChannels, outChannels });
    const kernel = readPair("ConvTranspose2d", "kernelSize", kernelSize);
    const [top, bottom, left, right] = readPadding("ConvTranspose2d", settings.padding);
    this.stride = readPair("ConvTranspose2d", "stride", settings.stride);
    this.padding = [
      [top, bottom],
      [left, right],
    ];
    this.dilation = readPair("ConvTranspose2d", "dilation", settings.dilation);
    this.outputPadding = readPair("ConvTranspose2d", "outputPadding", settings.outputPadding, 0);
    this.groups = groups;
    const shape = [inChannels, outChannels / groups, ...kernel];
    const drawn = weightAndBias("ConvTranspose2d", shape, settings, outChannels);
    this.weight = drawn.weight;
    this.bias = drawn.bias;
  }

  /** Throws ShapeError for other channels, and where padding leaves nothing. */
  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      const { stride, padding, dilation, outputPadding, groups } = this;
      const options = { stride, padding, dilation, outputPadding, groups };
      return asTensor("ConvTranspose2d", x).conv2dTranspose(
        this.weight.effective(),
        this.bias?.effective(),
        options,
      );
    });
  }

  toPacked(packer: Packer): PackedFields {
    const { weight, bias, stride, padding, dilation, outputPadding, groups } = this;
    return {
      kind: "convTranspose2d",
      weight: packer.weight(weight),
      bias: packer.floats(bias),
      kernel: weight.shape.slice(2),
      stride,
      padding,
      dilation,
      outputPadding,
      groups,
    };
  }
}
