import type { ConvGeometry } from "../../kernels/conv/reference.ts";
import { plus } from "../../kernels/elementwise/arithmetic.ts";
import { conv2d, permute } from "../backend.ts";
import { FormatError, ShapeError, show } from "../errors.ts";
import { BitConv } from "./bit-conv.ts";
import { perChannel } from "./elementwise.ts";
import { checkInput, codesOf, type PackedInput } from "./input.ts";
import { FieldReader, type Fields, type PackedLayer } from "./layer.ts";
import { checkSums, Product } from "./product.ts";
import { codeRoom, reshaped, room, scaleRoom, type Values } from "./values.ts";
import type { PackedWeight } from "./weight.ts";

type Pair = readonly [number, number];

/** Cross-correlation of (N, C, H, W) with rows of in/groups · height · width codes. Padding counts as 0, also between signs. */
export class PackedConv2d implements PackedLayer {
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
  /** One a group, made at first use; not a field of the file. */
  _products: readonly Product[] | null = null;
  /** Where input and weights are signs. */
  readonly _bits: BitConv | null;

  constructor(fields: Fields) {
    const read = new FieldReader("conv2d", fields);
    this.weight = read.weight("weight");
    this.bias = read.floats("bias", this.weight.rows);
    this.input = checkInput(read.value("input"));
    this.kernel = read.pair("kernel", 1);
    this.stride = read.pair("stride", 1);
    const padding = read.value("padding");
    const [rows, columns] = Array.isArray(padding) ? padding : [];
    const side = (pair: unknown) => new FieldReader("conv2d", { padding: pair }).pair("padding", 0);
    this.padding = [side(rows), side(columns)];
    this.dilation = read.pair("dilation", 1);
    this.groups = read.count("groups");
    const { weight, kernel, groups } = this;
    if (weight.rows % groups !== 0 || weight.columns % (kernel[0] * kernel[1]) !== 0) {
      throw new FormatError(
        `conv2d: ${groups} groups and a kernel of ${show(kernel)} do not fit the weight, got (${weight.rows}, ${weight.columns})`,
      );
    }
    if (this.input !== null) checkSums("conv2d", weight, this.input);
    const signs = this.input?.kind === "signs" && weight.bits === 1;
    this._bits = signs ? new BitConv(weight, this.bias) : null;
  }

  /** Throws ShapeError for another rank or number of channels, and where the kernel is larger than the padded input. */
  forward({ data, shape }: Values): Values {
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
    const geometry: ConvGeometry = {
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
    const result = this.input
      ? (this._bits?.run(data, geometry) ?? this.integer(data, geometry))
      : this.float(data, geometry);
    return { data: result, shape: [n, weight.rows, oh, ow] };
  }

  /** Gives back what it holds of the SIMD heap. */
  dispose(): void {
    for (const product of this._products ?? []) product.dispose();
    this._bits?.dispose();
  }

  /** The products of the groups, with the columns of a filter in the order (height, width, channel). */
  private products(): readonly Product[] {
    if (this._products) return this._products;
    const { weight, kernel, groups, input, bias } = this;
    const each = weight.rows / groups;
    const taps = kernel[0] * kernel[1];
    const channels = weight.columns / taps;
    const given = weight.unpacked();
    const codes = given.slice();
    for (let r = 0; r < weight.rows; r++)
      for (let c = 0; c < channels; c++)
        for (let t = 0; t < taps; t++)
          codes[r * weight.columns + t * channels + c] = given[r * weight.columns + c * taps + t];
    const reordered = weight.withCodes(codes);
    this._products = Array.from({ length: groups }, (_, g) => {
      const [from, to] = [g * each, (g + 1) * each];
      return new Product("conv2d", reordered.slice(from, to), input, bias?.subarray(from, to) ?? null);
    });
    return this._products;
  }

  /** Image by image: its codes channel by channel last, the columns of all windows, and their product with the filters. */
  private integer(x: Float32Array, { n, c: channels, h, w, oh, ow }: ConvGeometry): Float32Array {
    const { weight, groups } = this;
    const { codes, zeroPoint, scale } = codesOf(x, 1, x.length, this.input!);
    const [k, windows, pixels, filters] = [weight.columns, oh * ow, h * w, weight.rows];
    const out = room(n * filters * windows);
    // One array for both, so that a stretch of bytes can be copied from one to the other by copyWithin.
    const bytes = codeRoom(channels * pixels + windows * k);
    const [image, columns] = [bytes.subarray(0, channels * pixels), bytes.subarray(channels * pixels)];
    const typed =
      codes instanceof Int8Array
        ? columns
        : new Uint8Array(columns.buffer, columns.byteOffset, columns.length);
    // One scale for all of the input, where the product has one a row.
    const scales = this.input!.kind === "dynamic" ? scaleRoom(windows).fill(scale![0]) : scale;
    const each = filters / groups;
    const product = room(windows * each);
    for (let i = 0; i < n; i++) {
      const first = i * channels * pixels;
      for (let c = 0; c < channels; c++)
        for (let p = 0; p < pixels; p++) image[p * channels + c] = codes[first + c * pixels + p];
      for (const [g, part] of this.products().entries()) {
        this.windows(bytes, columns, zeroPoint, g, [channels, h, w], oh, ow);
        part.ofCodes({ codes: typed, zeroPoint, scale: scales }, windows, product);
        const to = (i * filters + g * each) * windows;
        permute(out.subarray(to, to + each * windows), product, [windows, each], [1, 0]);
      }
    }
    return out;
  }

  /** Writes the columns (windows, height · width · channels) of one group of an image (H, W, C) at the start of `bytes`. */
  private windows(
    bytes: Int8Array,
    columns: Int8Array,
    padding: number,
    g: number,
    [channels, h, w]: readonly number[],
    oh: number,
    ow: number,
  ): void {
    const { kernel, stride, dilation, groups } = this;
    const [[top], [left]] = this.padding;
    const c = channels / groups;
    const k = this.weight.columns;
    const start = h * w * channels;
    // Taps of a row lie side by side where nothing is left out between them.
    const joined = groups === 1 && dilation[1] === 1;
    if (this.padding.some((side) => side.some((size) => size > 0))) columns.fill(padding);
    for (let oy = 0; oy < oh; oy++)
      for (let ky = 0; ky < kernel[0]; ky++) {
        const y = oy * stride[0] - top + ky * dilation[0];
        if (y < 0 || y >= h) continue;
        for (let ox = 0; ox < ow; ox++) {
          const at = ox * stride[1] - left;
          const to = start + (oy * ow + ox) * k + ky * kernel[1] * c;
          if (joined) {
            const first = Math.max(0, -at);
            const from = (y * w + at + first) * c;
            bytes.copyWithin(to + first * c, from, from + (Math.min(kernel[1], w - at) - first) * c);
            continue;
          }
          for (let kx = 0; kx < kernel[1]; kx++) {
            const column = at + kx * dilation[1];
            if (column < 0 || column >= w) continue;
            const from = (y * w + column) * channels + g * c;
            bytes.copyWithin(to + kx * c, from, from + c);
          }
        }
      }
  }

  private float(x: Float32Array, geometry: ConvGeometry): Float32Array {
    const { n, o, oh, ow } = geometry;
    const { weight, bias } = this;
    const out = room(n * o * oh * ow);
    conv2d(out, x, weight.coded ? weight.dequantized() : weight.operand, geometry);
    return bias ? perChannel("PackedConv2d", { data: out, shape: [n, o, oh * ow] }, bias, plus).data : out;
  }
}

/** The same along one axis, (N, C, L), with kernels of height 1. */
export class PackedConv1d extends PackedConv2d {
  override readonly kind = "conv1d";

  /** Throws ShapeError as PackedConv2d does. */
  override forward(x: Values): Values {
    const [n, c, l] = x.shape;
    if (x.shape.length !== 3) throw new ShapeError(`PackedConv1d: needs (N, C, L), got ${show(x.shape)}`);
    const y = super.forward(reshaped(x, [n, c, 1, l]));
    return reshaped(y, [n, y.shape[1], y.shape[3]]);
  }
}
