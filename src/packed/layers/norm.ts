import { FormatError, ShapeError, show } from "../../errors.ts";
import { sizeOf } from "../../shape.ts";
import { FieldReader, type Fields, type PackedLayer } from "../file/layer.ts";
import { executor } from "../running.ts";
import { checkValues, type Values } from "../values.ts";
import { affine } from "./images.ts";

/**
 * Layer or root-mean-square normalisation over the last axes, or over groups of channels of (N, C, …), in float32.
 *
 * @example
 * ```ts
 * import { PackedNorm } from "bitgrad/packed";
 *
 * const norm = new PackedNorm({ type: "layer", size: 2, eps: 0, weight: null, bias: null });
 * console.log(Array.from(norm.forward({ data: Float32Array.of(1, 3), shape: [1, 2] }).data)); // [-1, 1]
 * ```
 */
export class PackedNorm implements PackedLayer {
  static readonly kind = "norm";
  readonly kind = "norm";
  readonly type: "layer" | "rms" | "group";
  /** Features, or groups. */
  readonly size: number;
  /** The last axes, whose product is the features, where they are several. */
  readonly axes: readonly number[] | null;
  readonly eps: number;
  readonly weight: Float32Array | null;
  readonly bias: Float32Array | null;

  constructor(fields: Fields) {
    const read = new FieldReader("norm", fields);
    this.type = read.choice("type", ["layer", "rms", "group"]);
    this.size = read.count("size");
    this.axes = (fields.axes ?? null) as number[] | null;
    const isCount = (n: unknown): boolean => Number.isInteger(n) && (n as number) > 0;
    const fits = Array.isArray(this.axes) && this.axes.every(isCount) && sizeOf(this.axes) === this.size;
    if (this.axes !== null && !fits) {
      throw new FormatError(`norm: axes must hold ${this.size} features, got ${show(this.axes)}`);
    }
    this.eps = read.number("eps", 0);
    this.weight = read.floats("weight", this.type === "group" ? undefined : this.size);
    this.bias = read.floats("bias", this.type === "group" ? this.weight?.length : this.size);
    if (this.type === "rms" && this.bias) throw new FormatError("norm: rms has no bias, got one");
  }

  /** Throws ShapeError for another number of features or channels, and where the groups do not divide them. */
  forward(x: Values): Values {
    const { data, shape } = checkValues("PackedNorm", x);
    const { type, size, axes, eps, weight, bias } = this;
    const grouped = type === "group";
    const last = axes ?? [size];
    const fits = grouped
      ? shape.length > 1 && shape[1] % size === 0
      : last.join() === shape.slice(-last.length).join();
    if (!fits) {
      const want = grouped ? `be (N, C, …) in ${size} groups` : `end in ${last.join(" x ")} features`;
      throw new ShapeError(`PackedNorm: x must ${want}, got ${show(shape)}`);
    }
    const rows = grouped ? shape[0] * size : data.length / size;
    const n = grouped ? data.length / Math.max(1, rows) : size;
    const [w, b] = grouped ? [null, null] : [weight, bias];
    const call = { type: type === "rms" ? type : ("layer" as const), rows, n, eps, weight: w, bias: b };
    const y = { data: executor().norm(x, call), shape };
    return grouped ? affine("PackedNorm", y, weight, bias) : y;
  }
}
