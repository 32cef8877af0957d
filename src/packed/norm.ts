import { layerNorm, rmsNorm } from "../backend.ts";
import { ShapeError, show } from "../errors.ts";
import { FieldReader, type Fields, type PackedLayer } from "./layer.ts";
import { doubles, room, type Values } from "./values.ts";

/** Layer or root-mean-square normalisation over the last axis, in float32. */
export class PackedNorm implements PackedLayer {
  readonly kind = "norm";
  readonly type: "layer" | "rms";
  readonly size: number;
  readonly eps: number;
  readonly weight: Float32Array | null;
  readonly bias: Float32Array | null;

  constructor(fields: Fields) {
    const read = new FieldReader("norm", fields);
    this.type = read.choice("type", ["layer", "rms"]);
    this.size = read.count("size");
    this.eps = read.number("eps");
    this.weight = read.floats("weight", this.size);
    this.bias = read.floats("bias", this.size);
  }

  forward({ data, shape }: Values): Values {
    const { size: n, eps, weight, bias } = this;
    if (shape[shape.length - 1] !== n) {
      throw new ShapeError(`PackedNorm: x must end in ${n} features, got ${show(shape)}`);
    }
    const sizes = { rows: data.length / n, n };
    const out = room(data.length);
    if (this.type === "rms") rmsNorm(out, doubles(sizes.rows), data, weight, sizes, eps);
    else layerNorm(out, doubles(sizes.rows), doubles(sizes.rows), data, weight, bias, sizes, eps);
    return { data: out, shape };
  }
}
