import { readOptions, ShapeError, show } from "../errors.ts";
import { unfold } from "../ops/conv.ts";
import { type Padding, type Pair, readPadding, readPair } from "../ops/windows.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { packedInput, ranByCodes } from "./input-quantizer.ts";
import { inside } from "./inside.ts";
import { type LinearOptions, weightAndBias } from "./linear.ts";
import type { InputQuantizer, PackedFields, Packer } from "./packing.ts";
import type { Parameter } from "./parameter.ts";
import { checkGroups, checkSizes } from "./sizes.ts";

export interface Conv1dOptions extends LinearOptions {
  stride: number;
  /** Zeros on both sides, or [before, after]. */
  padding: number | readonly [number, number];
  dilation: number;
  groups: number;
}

export interface Conv2dOptions extends LinearOptions {
  stride: number | readonly [number, number];
  /** A number, [height, width], or [[top, bottom], [left, right]]. */
  padding: Padding;
  dilation: number | readonly [number, number];
  groups: number;
}

const defaults = { groups: 1, bias: true, dtype: "float32", rng: null } as const;

/**
 * Cross-correlation of (N, C, L) with a weight (out, in/groups, kernel).
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { Conv1d } from "bitgrad/nn";
 *
 * console.log(new Conv1d(3, 8, 5, { padding: 2 }).forward(zeros([1, 3, 100])).shape); // [1, 8, 100]
 * ```
 */
export class Conv1d {
  weight: Parameter;
  bias: Parameter | null;
  readonly stride: number;
  readonly padding: readonly [before: number, after: number];
  readonly dilation: number;
  /** Of a depthwise convolution it must follow its weight's rows, where those change. */
  groups: number;
  /** Makes codes of the input, where it is quantized. */
  inputQuantizer: InputQuantizer | null = null;

  constructor(inChannels: number, outChannels: number, kernelSize: number, options?: Partial<Conv1dOptions>) {
    const settings = readOptions<Conv1dOptions>("Conv1d", options, {
      ...defaults,
      stride: 1,
      padding: [0, 0],
      dilation: 1,
    });
    const { stride, padding, dilation, groups } = settings;
    checkSizes("Conv1d", { inChannels, outChannels, kernelSize, stride, dilation });
    checkGroups("Conv1d", groups, { inChannels, outChannels });
    const sides: Pair = typeof padding === "number" ? [padding, padding] : padding;
    const [, , before, after] = readPadding("Conv1d", [[0, 0], sides]);
    this.stride = stride;
    this.padding = [before, after];
    this.dilation = dilation;
    this.groups = groups;
    const drawn = weightAndBias("Conv1d", [outChannels, inChannels / groups, kernelSize], settings);
    this.weight = drawn.weight;
    this.bias = drawn.bias;
  }

  get inChannels(): number {
    return this.weight.shape[1] * this.groups;
  }

  get outChannels(): number {
    return this.weight.shape[0];
  }

  get kernelSize(): number {
    return this.weight.shape[2];
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("Conv1d", x);
      const { stride, padding, dilation, groups } = this;
      const options = { stride, padding, dilation, groups };
      return (
        ranByCodes("Conv1d", this, x, (a, w) => a.conv1d(w, null, options), 1) ??
        x.conv1d(this.weight.effective(), this.bias?.effective(), options)
      );
    });
  }

  /** The input as the matrices that the weight multiplies: (N, C, L) -> (groups, N·windows, C/groups·kernel). */
  inputMatrix(x: TensorLike): Tensor {
    x = asTensor("inputMatrix", x);
    const { stride, padding, dilation, kernelSize } = this;
    return windowMatrix(this, x.rank === 3 ? x.unsqueeze(2) : x, {
      kernelSize: [1, kernelSize],
      stride: [1, stride],
      padding: [[0, 0], padding],
      dilation: [1, dilation],
    });
  }

  toPacked(packer: Packer): PackedFields {
    const { stride, padding, dilation } = this;
    return packedConv("conv1d", this, packer, {
      kernel: [1, this.weight.shape[2]],
      stride: [1, stride],
      padding: [[0, 0], padding],
      dilation: [1, dilation],
    });
  }
}

/**
 * Cross-correlation of (N, C, H, W) with a weight (out, in/groups, height, width).
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { Conv2d } from "bitgrad/nn";
 *
 * console.log(new Conv2d(3, 8, 3, { padding: 1, stride: 2 }).forward(zeros([1, 3, 32, 32])).shape); // [1, 8, 16, 16]
 * ```
 */
export class Conv2d {
  weight: Parameter;
  bias: Parameter | null;
  readonly stride: Pair;
  /** [[top, bottom], [left, right]], however it was given. */
  readonly padding: readonly [Pair, Pair];
  readonly dilation: Pair;
  /** Of a depthwise convolution it must follow its weight's rows, where those change. */
  groups: number;
  /** Makes codes of the input, where it is quantized. */
  inputQuantizer: InputQuantizer | null = null;

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number | readonly [number, number],
    options?: Partial<Conv2dOptions>,
  ) {
    const settings = readOptions<Conv2dOptions>("Conv2d", options, {
      ...defaults,
      stride: [1, 1],
      padding: [0, 0],
      dilation: [1, 1],
    });
    const { stride, padding, dilation, groups } = settings;
    checkSizes("Conv2d", { inChannels, outChannels });
    checkGroups("Conv2d", groups, { inChannels, outChannels });
    const kernel = readPair("Conv2d", "kernelSize", kernelSize);
    const [top, bottom, left, right] = readPadding("Conv2d", padding);
    this.stride = readPair("Conv2d", "stride", stride);
    this.padding = [
      [top, bottom],
      [left, right],
    ];
    this.dilation = readPair("Conv2d", "dilation", dilation);
    this.groups = groups;
    const drawn = weightAndBias("Conv2d", [outChannels, inChannels / groups, ...kernel], settings);
    this.weight = drawn.weight;
    this.bias = drawn.bias;
  }

  get inChannels(): number {
    return this.weight.shape[1] * this.groups;
  }

  get outChannels(): number {
    return this.weight.shape[0];
  }

  get kernelSize(): Pair {
    const [, , height, width] = this.weight.shape;
    return [height, width];
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("Conv2d", x);
      const { stride, padding, dilation, groups } = this;
      const options = { stride, padding, dilation, groups };
      return (
        ranByCodes("Conv2d", this, x, (a, w) => a.conv2d(w, null, options), 1) ??
        x.conv2d(this.weight.effective(), this.bias?.effective(), options)
      );
    });
  }

  /** The input as the matrices that the weight multiplies: (N, C, H, W) -> (groups, N·windows, C/groups·kh·kw). */
  inputMatrix(x: TensorLike): Tensor {
    const { stride, padding, dilation, kernelSize } = this;
    return windowMatrix(this, asTensor("inputMatrix", x), { kernelSize, stride, padding, dilation });
  }

  toPacked(packer: Packer): PackedFields {
    const { stride, padding, dilation } = this;
    return packedConv("conv2d", this, packer, {
      kernel: this.weight.shape.slice(2),
      stride,
      padding,
      dilation,
    });
  }
}

/** Every window as a row, those of each group by themselves. */
function windowMatrix(
  { inChannels, groups }: Conv1d | Conv2d,
  x: Tensor,
  windows: Parameters<typeof unfold>[1],
): Tensor {
  if (x.rank !== 4 || x.shape[1] !== inChannels) {
    throw new ShapeError(`inputMatrix: needs ${inChannels} channels along axis 1, got ${show(x.shape)}`);
  }
  const columns = unfold(x, windows);
  const [n, size, count] = columns.shape;
  return columns
    .reshape([n, groups, size / groups, count])
    .permute([1, 0, 3, 2])
    .reshape([groups, n * count, size / groups]);
}

const packedConv = (kind: string, layer: Conv1d | Conv2d, packer: Packer, windows: object): PackedFields => ({
  kind,
  weight: packer.weight(layer.weight),
  bias: packer.floats(layer.bias),
  input: packedInput(layer),
  ...windows,
  groups: layer.groups,
});
