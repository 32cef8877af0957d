/** Windows over images that are no products, and axes that are joined. */

import type { AverageWindows } from "../../../kernels/pool/reference.ts";
import { meetPixels, windowsOf } from "../../../kernels/windows.ts";
import { FormatError, ShapeError, show } from "../../errors.ts";
import { sizeOf } from "../../shape.ts";
import { FieldReader, type Fields, type PackedStep } from "../file/layer.ts";
import { executor } from "../running.ts";
import { checkValues, reshaped, type Values, work } from "../values.ts";

type Pair = readonly [number, number];

/**
 * The largest or the mean of every window of (N, C, H, W).
 *
 * @example
 * ```ts
 * import { PackedPool } from "bitgrad/packed";
 *
 * const pool = new PackedPool({
 *   type: "max",
 *   kernel: [2, 2],
 *   stride: [2, 2],
 *   padding: [[0, 0], [0, 0]],
 *   dilation: [1, 1],
 *   ceilMode: false,
 *   countIncludePad: true,
 * });
 * console.log(Array.from(pool.forward({ data: Float32Array.of(1, 4, 3, 2), shape: [1, 1, 2, 2] }).data)); // [4]
 * ```
 */
export class PackedPool implements PackedStep {
  static readonly kind = "pool";
  readonly kind = "pool";
  readonly type: "max" | "average";
  readonly kernel: Pair;
  readonly stride: Pair;
  /** [[top, bottom], [left, right]]. */
  readonly padding: readonly [Pair, Pair];
  readonly dilation: Pair;
  /** Whether a last window may reach beyond the padded image. */
  readonly ceilMode: boolean;
  /** Whether a mean counts the zeros of the padding. */
  readonly countIncludePad: boolean;

  constructor(fields: Fields) {
    const read = new FieldReader("pool", fields);
    this.type = read.choice("type", ["max", "average"]);
    this.kernel = read.pair("kernel", 1);
    this.stride = read.pair("stride", 1);
    this.padding = read.sides("padding");
    this.dilation = read.pair("dilation", 1);
    this.ceilMode = read.flag("ceilMode");
    this.countIncludePad = read.flag("countIncludePad");
    const { kernel, padding, type, dilation } = this;
    if (padding.some((sides, axis) => 2 * Math.max(...sides) > kernel[axis])) {
      throw new FormatError(
        `pool: padding must be at most half the kernel, got ${show(padding)} for ${show(kernel)}`,
      );
    }
    if (type === "average" && Math.max(...dilation) > 1) {
      throw new FormatError(`pool: averages have no dilation, got ${show(dilation)}`);
    }
  }

  /** Throws ShapeError for another rank, and where a window is larger than the padded image or meets no pixel. */
  forward(x: Values): Values {
    const { shape } = checkValues("PackedPool", x);
    if (shape.length !== 4) throw new ShapeError(`PackedPool: needs (N, C, H, W), got ${show(shape)}`);
    const windows = this.windows(shape);
    const { n, c, kh, kw, oh, ow } = windows;
    work(n * c * oh * ow * kh * kw);
    if (this.type === "max" && !meetPixels(windows))
      throw new ShapeError(`PackedPool: every window must meet a pixel, got ${show(shape)}`);
    return { data: executor().pool(x, windows, this.type), shape: [n, c, oh, ow] };
  }

  private windows(shape: readonly number[]): AverageWindows {
    const { kernel, stride, padding, dilation, ceilMode, countIncludePad } = this;
    const [[top, bottom], [left, right]] = padding;
    const options = { kernel, stride, pads: [top, bottom, left, right] as const, dilation };
    const windows = windowsOf(shape, options, ceilMode);
    if (windows.oh < 1 || windows.ow < 1) {
      throw new ShapeError(`PackedPool: the window must fit into the padded image, got ${show(shape)}`);
    }
    return { ...windows, padBottom: bottom, padRight: right, countIncludePad };
  }
}

/**
 * Joins the axes from `startDim` to `endDim`, both among them; negative ones count from the last.
 *
 * @example
 * ```ts
 * import { PackedFlatten } from "bitgrad/packed";
 *
 * const flatten = new PackedFlatten({ startDim: 1, endDim: -1 });
 * console.log(flatten.forward({ data: new Float32Array(24), shape: [2, 3, 4] }).shape); // [2, 12]
 * ```
 */
export class PackedFlatten implements PackedStep {
  static readonly kind = "flatten";
  readonly kind = "flatten";
  readonly startDim: number;
  readonly endDim: number;

  constructor(fields: Fields) {
    const read = new FieldReader("flatten", fields);
    this.startDim = read.count("startDim", -64);
    this.endDim = read.count("endDim", -64);
  }

  /** Throws ShapeError for axes that x has not, and where the last comes before the first. */
  forward(x: Values): Values {
    const { shape } = checkValues("PackedFlatten", x);
    const [from, to] = [this.startDim, this.endDim].map((axis) => (axis < 0 ? axis + shape.length : axis));
    if (!(from >= 0 && from <= to && to < shape.length)) {
      throw new ShapeError(
        `PackedFlatten: needs axes ${this.startDim} to ${this.endDim}, got ${show(shape)}`,
      );
    }
    const joined = sizeOf(shape.slice(from, to + 1));
    return reshaped(x, [...shape.slice(0, from), joined, ...shape.slice(to + 1)]);
  }
}
