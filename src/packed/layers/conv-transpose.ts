import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import { FormatError, ShapeError, show } from "../../errors.ts";
import { FieldReader, type Fields, type PackedStep } from "../file/layer.ts";
import type { PackedWeight } from "../file/weight.ts";
import { executor } from "../running.ts";
import { afford, checkValues, type Values, work } from "../values.ts";
import { perChannel } from "./elementwise.ts";

type Pair = readonly [number, number];

/**
 * The transpose of a convolution, of float32 with the values of rows of out/groups · height · width codes, one per input
 * channel.
 *
 * @example
 * ```ts
 * import { PackedConvTranspose2d, PackedWeight } from "bitgrad/packed";
 *
 * const layer = new PackedConvTranspose2d({
 *   weight: PackedWeight.ofFloats(Float32Array.of(1, 2, 3, 4), 1, 4),
 *   bias: null,
 *   kernel: [2, 2],
 *   stride: [2, 2],
 *   padding: [[0, 0], [0, 0]],
 *   outputPadding: [0, 0],
 *   dilation: [1, 1],
 *   groups: 1,
 * });
 * const { data } = layer.forward({ data: Float32Array.of(5), shape: [1, 1, 1, 1] });
 * console.log(Array.from(data)); // [5, 10, 15, 20]
 * ```
 */
export class PackedConvTranspose2d implements PackedStep {
  static readonly kind = "convTranspose2d";
  readonly kind = "convTranspose2d";
  readonly weight: PackedWeight;
  readonly bias: Float32Array | null;
  readonly kernel: Pair;
  readonly stride: Pair;
  /** [[top, bottom], [left, right]] that are cut off. */
  readonly padding: readonly [Pair, Pair];
  readonly dilation: Pair;
  readonly outputPadding: Pair;
  readonly groups: number;

  constructor(fields: Fields) {
    const read = new FieldReader("convTranspose2d", fields);
    this.weight = read.weight("weight");
    this.kernel = read.pair("kernel", 1);
    this.stride = read.pair("stride", 1);
    this.padding = read.sides("padding");
    this.dilation = read.pair("dilation", 1);
    this.outputPadding = read.pair("outputPadding", 0);
    this.groups = read.count("groups");
    const { weight, kernel, groups } = this;
    if (weight.rows % groups !== 0 || weight.columns % (kernel[0] * kernel[1]) !== 0) {
      throw new FormatError(
        `convTranspose2d: ${groups} groups and a kernel of ${show(kernel)} do not fit the weight, got (${weight.rows}, ${weight.columns})`,
      );
    }
    this.bias = read.floats("bias", this.outChannels);
  }

  private get outChannels(): number {
    return (this.weight.columns / (this.kernel[0] * this.kernel[1])) * this.groups;
  }

  /** Throws ShapeError for another rank or number of channels, and where padding leaves nothing. */
  forward(x: Values): Values {
    const { shape } = checkValues("PackedConvTranspose2d", x);
    const { weight, bias, kernel, stride, padding, dilation, outputPadding, groups } = this;
    const [n, c, h, w] = shape;
    if (shape.length !== 4 || c !== weight.rows) {
      throw new ShapeError(`PackedConvTranspose2d: needs (N, ${weight.rows}, H, W), got ${show(shape)}`);
    }
    const [oh, ow] = [h, w].map((size, i) => {
      const reach = dilation[i] * (kernel[i] - 1) + outputPadding[i] + 1;
      return (size - 1) * stride[i] - padding[i][0] - padding[i][1] + reach;
    });
    if (oh < 1 || ow < 1) {
      throw new ShapeError(`PackedConvTranspose2d: nothing is left, got an output of ${show([oh, ow])}`);
    }
    const o = this.outChannels;
    // The windows of the convolution that this is the transpose of.
    const geometry: ConvGeometry = {
      n,
      c: o,
      h: oh,
      w: ow,
      kh: kernel[0],
      kw: kernel[1],
      oh: h,
      ow: w,
      o: c,
      groups,
      strideH: stride[0],
      strideW: stride[1],
      dilationH: dilation[0],
      dilationW: dilation[1],
      padTop: padding[0][0],
      padLeft: padding[1][0],
    };
    afford(weight.columns * h * w);
    work(n * c * h * w * weight.columns);
    const y = { data: executor().convTranspose(x, weight, geometry), shape: [n, o, oh, ow] };
    return bias ? perChannel("PackedConvTranspose2d", y, bias, "plus") : y;
  }
}
