import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import { FormatError, ShapeError, show } from "../../errors.ts";
import { checkShape } from "../../shape.ts";
import { FieldReader, type Fields, type PackedLayer } from "../file/layer.ts";
import type { PackedWeight } from "../file/weight.ts";
import { checkInput, type PackedInput } from "../products/input.ts";
import { convWays, Product } from "../products/product.ts";
import { executor } from "../running.ts";
import { afford, checkValues, reshaped, type Values, work } from "../values.ts";

type Pair = readonly [number, number];

/** How many more outputs than inputs a side may have: a file of few bytes asks for no huge image. */
const most = 1024;
/** How many kinds of kernel may share a weight. */
const mostKernels = 8;

/**
 * Cross-correlation of (N, C, H, W) with rows of in/groups · height · width codes. Padding counts as 0, also between signs.
 *
 * @example
 * ```ts
 * import { PackedConv2d, PackedWeight } from "bitgrad/packed";
 *
 * const layer = new PackedConv2d({
 *   weight: PackedWeight.ofFloats(Float32Array.of(1, 1, 1, 1), 1, 4),
 *   bias: null,
 *   input: null,
 *   kernel: [2, 2],
 *   stride: [1, 1],
 *   padding: [[0, 0], [0, 0]],
 *   dilation: [1, 1],
 *   groups: 1,
 * });
 * console.log(Array.from(layer.forward({ data: Float32Array.of(1, 2, 3, 4), shape: [1, 1, 2, 2] }).data)); // [10]
 * ```
 */
export class PackedConv2d implements PackedLayer {
  static readonly kind: string = "conv2d";
  readonly kind: string = "conv2d";
  readonly weight: PackedWeight;
  readonly bias: Float32Array | null;
  readonly input: PackedInput | null;
  readonly kernel: Pair;
  readonly stride: Pair;
  /** [[top, bottom], [left, right]]. */
  readonly padding: readonly [Pair, Pair];
  readonly dilation: Pair;
  readonly groups: number;
  /** Not a field of the file. */
  readonly _product: Product<ConvGeometry>;

  constructor(fields: Fields) {
    const read = new FieldReader("conv2d", fields);
    this.weight = read.weight("weight");
    this.bias = read.floats("bias", this.weight.rows);
    this.input = checkInput(read.value("input"));
    this.kernel = read.pair("kernel", 1);
    this.stride = read.pair("stride", 1);
    this.padding = read.sides("padding");
    this.dilation = read.pair("dilation", 1);
    this.groups = read.count("groups");
    const { weight, kernel, groups } = this;
    if (weight.rows % groups !== 0 || weight.columns % (kernel[0] * kernel[1]) !== 0) {
      throw new FormatError(
        `conv2d: ${groups} groups and a kernel of ${show(kernel)} do not fit the weight, got (${weight.rows}, ${weight.columns})`,
      );
    }
    // Each kind is laid out apart: a file of few bytes asks for no large heap.
    weight.kernels.add([kernel, groups, this.dilation[1] > 1].join());
    if (weight.kernels.size > mostKernels) {
      throw new FormatError(
        `conv2d: one weight serves at most ${mostKernels} kinds of kernel, got ${weight.kernels.size}`,
      );
    }
    const added = this.padding.map(([a, b], axis) => a + b - this.dilation[axis] * (kernel[axis] - 1));
    if (Math.max(...added) > most) {
      throw new FormatError(
        `conv2d: padding must add at most ${most} outputs a side, got ${show(this.padding)}`,
      );
    }
    this._product = new Product(convWays, "conv2d", weight, this.input, this.bias);
  }

  /** Throws ShapeError for another rank or number of channels, and where the kernel is larger than the padded input. */
  forward(x: Values): Values {
    const geometry = this.geometry(checkValues("PackedConv2d", x).shape);
    const { n, o, oh, ow } = geometry;
    return { data: executor().conv(x, this._product, geometry), shape: [n, o, oh, ow] };
  }

  /** That of images (N, C, H, W); throws as `forward`. */
  geometry(given: readonly number[]): ConvGeometry {
    const shape = checkShape("PackedConv2d", given);
    const { weight, kernel, stride, padding, dilation, groups } = this;
    const channels = (weight.columns / (kernel[0] * kernel[1])) * groups;
    if (shape.length !== 4 || shape[1] !== channels) {
      throw new ShapeError(`PackedConv2d: needs (N, ${channels}, H, W), got ${show(shape)}`);
    }
    const [n, , h, w] = shape;
    const reach = (size: number, axis: 0 | 1): number =>
      Math.floor(
        (size + padding[axis][0] + padding[axis][1] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis],
      ) + 1;
    const [oh, ow] = [reach(h, 0), reach(w, 1)];
    if (oh < 1 || ow < 1) {
      throw new ShapeError(`PackedConv2d: the kernel must fit into the padded input, got ${show(shape)}`);
    }
    const framed = (h + padding[0][0] + padding[0][1]) * (w + padding[1][0] + padding[1][1]);
    // Kernels pad the channels of a group, and the reference lays windows out side by side.
    const apart = (channels / groups) * framed;
    if (apart >= 2 ** 28) {
      throw new ShapeError(
        `PackedConv2d: a padded image must have fewer than 2^28 numbers a group, got ${apart}`,
      );
    }
    afford(Math.max(apart, this.input ? 0 : weight.columns * oh * ow));
    work(n * weight.rows * oh * ow * weight.columns);
    return {
      n,
      c: channels,
      h,
      w,
      kh: kernel[0],
      kw: kernel[1],
      oh,
      ow,
      o: weight.rows,
      groups,
      strideH: stride[0],
      strideW: stride[1],
      dilationH: dilation[0],
      dilationW: dilation[1],
      padTop: padding[0][0],
      padLeft: padding[1][0],
    };
  }

  /** Gives back what it holds of the SIMD heap. */
  dispose(): void {
    this._product.free();
  }
}

/**
 * The same along one axis, (N, C, L), with kernels of height 1.
 *
 * @example
 * ```ts
 * import { PackedConv1d, PackedWeight } from "bitgrad/packed";
 *
 * const layer = new PackedConv1d({
 *   weight: PackedWeight.ofFloats(Float32Array.of(1, -1), 1, 2),
 *   bias: null,
 *   input: null,
 *   kernel: [1, 2],
 *   stride: [1, 1],
 *   padding: [[0, 0], [0, 0]],
 *   dilation: [1, 1],
 *   groups: 1,
 * });
 * console.log(Array.from(layer.forward({ data: Float32Array.of(1, 4, 9), shape: [1, 1, 3] }).data)); // [-3, -5]
 * ```
 */
export class PackedConv1d extends PackedConv2d {
  static override readonly kind = "conv1d";
  override readonly kind = "conv1d";

  /** Throws ShapeError as PackedConv2d does. */
  override forward(x: Values): Values {
    const [n, c, l] = checkValues("PackedConv1d", x).shape;
    if (x.shape.length !== 3) throw new ShapeError(`PackedConv1d: needs (N, C, L), got ${show(x.shape)}`);
    const y = super.forward(reshaped(x, [n, c, 1, l]));
    return reshaped(y, [n, y.shape[1], y.shape[3]]);
  }
}
