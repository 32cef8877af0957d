import { layerNorm, rmsNorm } from "../backend.ts";
import { ShapeError, show } from "../errors.ts";
import { affine } from "./images.ts";
import { FieldReader, type Fields, type PackedLayer } from "./layer.ts";
import { doubles, room, type Values } from "./values.ts";

/** Layer or root-mean-square normalisation over the last axis, or over groups of channels of (N, C, …), in float32. */
export class PackedNorm implements PackedLayer {
  readonly kind = "norm";
  readonly type: "layer" | "rms" | "group";
  /** Features, or groups. */
  readonly size: number;
  readonly eps: number;
  readonly weight: Float32Array | null;
  readonly bias: Float32Array | null;

  constructor(fields: Fields) {
    const read = new FieldReader("norm", fields);
    this.type = read.choice("type", ["layer", "rms", "group"]);
    this.size = read.count("size");
    this.eps = read.number("eps");
    this.weight = read.floats("weight", this.type === "group" ? undefined : this.size);
    this.bias = read.floats("bias", this.type === "group" ? this.weight?.length : this.size);
  }

  /** Throws ShapeError for another number of features or channels, and where the groups do not divide them. */
  forward({ data, shape }: Values): Values {
    const { type, size, eps, weight, bias } = this;
    const grouped = type === "group";
    if (grouped ? shape.length < 2 || shape[1] % size !== 0 : shape[shape.length - 1] !== size) {
      const want = grouped ? `be (N, C, …) in ${size} groups` : `end in ${size} features`;
      throw new ShapeError(`PackedNorm: x must ${want}, got ${show(shape)}`);
    }
    const rows = grouped ? shape[0] * size : data.length / size;
    const sizes = { rows, n: grouped ? data.length / Math.max(1, rows) : size };
    const out = room(data.length);
    const [w, b] = grouped ? [null, null] : [weight, bias];
    if (type === "rms") rmsNorm(out, doubles(rows), data, w, sizes, eps);
    else layerNorm(out, doubles(rows), doubles(rows), data, w, b, sizes, eps);
    const y = { data: out, shape };
    return grouped ? affine("PackedNorm", y, weight, bias) : y;
  }
}
