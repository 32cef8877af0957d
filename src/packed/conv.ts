import { conv2d } from "../backend.ts";
import { FormatError, ShapeError, show } from "../errors.ts";
import { checkInput, codesOf, type PackedInput } from "./input.ts";
import { FieldReader, type Fields, type PackedLayer } from "./layer.ts";
import { Product } from "./product.ts";
import { codeRoom, room, scaleRoom, type Values } from "./values.ts";
import type { PackedWeight } from "./weight.ts";

type Pair = readonly [number, number];

/** Cross-correlation of (N, C, H, W) with rows of in/groups · height · width codes. Padding counts as 0, also between signs. */
export class PackedConv2d implements PackedLayer {
  readonly kind = "conv2d";
  readonly weight: PackedWeight;
  readonly bias: Float32Array | null;
  readonly input: PackedInput | null;
  readonly kernel: Pair;
  readonly stride: Pair;
  /** [[top, bottom], [left, right]]. */
  readonly padding: readonly [Pair, Pair];
  readonly dilation: Pair;
  readonly groups: number;
  /** One a group; not a field of the file. */
  readonly _products: readonly Product[];

  constructor(fields: Fields) {
    const read = new FieldReader("conv2d", fields);
    this.weight = read.weight("weight");
    this.bias = read.floats("bias", this.weight.rows);
    this.input = checkInput(read.value("input"));
    this.kernel = read.pair("kernel", 1);
    this.stride = read.pair("stride", 1);
    const [rows, columns] = (read.value("padding") ?? []) as readonly unknown[];
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
    if (this.input === null && weight.coded !== null) {
      throw new FormatError("conv2d: integer weights need an input that is quantized, got null");
    }
    const each = weight.rows / groups;
    this._products = weight.floats
      ? []
      : Array.from({ length: groups }, (_, g) => {
          const [from, to] = [g * each, (g + 1) * each];
          const part = groups === 1 ? weight : weight.slice(from, to);
          return new Product("conv2d", part, this.input, this.bias?.subarray(from, to) ?? null);
        });
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
    const outShape = [n, weight.rows, oh, ow];
    return {
      data: this.input ? this.integer(data, [n, channels, h, w], oh, ow) : this.float(data, outShape, shape),
      shape: outShape,
    };
  }

  private integer(
    x: Float32Array,
    [n, channels, h, w]: readonly number[],
    oh: number,
    ow: number,
  ): Float32Array {
    const { weight, kernel, stride, padding, dilation, groups } = this;
    const { codes, zeroPoint, scale } = codesOf(x, 1, x.length, this.input!);
    const k = weight.columns;
    const rows = n * oh * ow;
    const perGroup = channels / groups;
    const outPerGroup = weight.rows / groups;
    const out = room(rows * weight.rows);
    const signed = codeRoom(rows * k);
    // One scale for all of the input, where the product has one a row.
    const scales = this.input!.kind === "dynamic" ? scaleRoom(rows).fill(scale![0]) : scale;
    const columns =
      codes instanceof Int8Array ? signed : new Uint8Array(signed.buffer, signed.byteOffset, rows * k);
    for (let g = 0; g < groups; g++) {
      columns.fill(zeroPoint);
      for (let image = 0; image < n; image++)
        for (let c = 0; c < perGroup; c++)
          for (let ky = 0; ky < kernel[0]; ky++)
            for (let kx = 0; kx < kernel[1]; kx++)
              for (let oy = 0; oy < oh; oy++) {
                const y = oy * stride[0] - padding[0][0] + ky * dilation[0];
                if (y < 0 || y >= h) continue;
                const from = ((image * channels + g * perGroup + c) * h + y) * w;
                let to = (image * oh + oy) * ow * k + (c * kernel[0] + ky) * kernel[1] + kx;
                for (let ox = 0; ox < ow; ox++, to += k) {
                  const at = ox * stride[1] - padding[1][0] + kx * dilation[1];
                  if (at >= 0 && at < w) columns[to] = codes[from + at];
                }
              }
      const product = this._products[g].ofCodes({ codes: columns, zeroPoint, scale: scales }, rows);
      for (let image = 0; image < n; image++)
        for (let f = 0; f < outPerGroup; f++)
          for (let p = 0; p < oh * ow; p++)
            out[(image * weight.rows + g * outPerGroup + f) * oh * ow + p] =
              product[(image * oh * ow + p) * outPerGroup + f];
    }
    return out;
  }

  private float(
    x: Float32Array,
    [n, filters, oh, ow]: readonly number[],
    shape: readonly number[],
  ): Float32Array {
    const { weight, bias, kernel, stride, padding, dilation, groups } = this;
    const out = room(n * filters * oh * ow);
    const [c, h, w] = shape.slice(1);
    conv2d(out, x, weight.floats!, {
      n,
      c,
      h,
      w,
      kh: kernel[0],
      kw: kernel[1],
      oh,
      ow,
      o: filters,
      groups,
      strideH: stride[0],
      strideW: stride[1],
      dilationH: dilation[0],
      dilationW: dilation[1],
      padTop: padding[0][0],
      padLeft: padding[1][0],
    });
    if (bias) for (let i = 0; i < out.length; i++) out[i] += bias[Math.floor(i / (oh * ow)) % filters];
    return out;
  }
}
