/** What networks of images need beside convolutions: norms and slopes by channel, and branches that are joined again. */

import { type Binary, minus, plus, times } from "../../kernels/elementwise/arithmetic.ts";
import { layerNorm } from "../backend.ts";
import { FormatError, ShapeError, show } from "../errors.ts";
import { combined, perChannel } from "./elementwise.ts";
import { FieldReader, type Fields, type PackedStep, stepKinds } from "./layer.ts";
import { doubles, room, type Values } from "./values.ts";

const affine = (op: string, x: Values, weight: Float32Array | null, bias: Float32Array | null): Values => {
  const y = weight ? perChannel(op, x, weight, times) : x;
  return bias ? perChannel(op, y, bias, plus) : y;
};

/** A batch norm in evaluation: (x − mean) · factor + bias for every channel of (N, C, …). */
export class PackedBatchNorm implements PackedStep {
  readonly kind = "batchNorm";
  readonly mean: Float32Array;
  readonly factor: Float32Array;
  readonly bias: Float32Array | null;

  constructor(fields: Fields) {
    const read = new FieldReader("batchNorm", fields);
    const channels = (fields.mean as Float32Array | null)?.length ?? 0;
    const mean = read.floats("mean", channels);
    const factor = read.floats("factor", channels);
    if (!mean || !factor) throw new FormatError("batchNorm: needs mean and factor, got null");
    this.mean = mean;
    this.factor = factor;
    this.bias = read.floats("bias", channels);
  }

  /** What becomes of x in channel c. */
  at(x: number, c: number): number {
    const { mean, factor, bias } = this;
    const y = Math.fround(Math.fround(x - mean[c]) * factor[c]);
    return bias ? Math.fround(y + bias[c]) : y;
  }

  /** Throws ShapeError for other channels. */
  forward(x: Values): Values {
    return affine(
      "PackedBatchNorm",
      perChannel("PackedBatchNorm", x, this.mean, minus),
      this.factor,
      this.bias,
    );
  }
}

/** Normalises (N, C, …) over groups of channels together with all positions. */
export class PackedGroupNorm implements PackedStep {
  readonly kind = "groupNorm";
  readonly groups: number;
  readonly eps: number;
  readonly weight: Float32Array | null;
  readonly bias: Float32Array | null;

  constructor(fields: Fields) {
    const read = new FieldReader("groupNorm", fields);
    const channels = ((fields.weight ?? fields.bias) as Float32Array | null)?.length ?? 0;
    this.groups = read.count("groups");
    this.eps = read.number("eps");
    this.weight = read.floats("weight", channels);
    this.bias = read.floats("bias", channels);
  }

  /** Throws ShapeError for other channels, and where the groups do not divide them. */
  forward(x: Values): Values {
    const { groups, eps, weight, bias } = this;
    const { data, shape } = x;
    if (shape.length < 2 || shape[1] % groups !== 0) {
      throw new ShapeError(`PackedGroupNorm: needs (N, C, …) in ${groups} groups, got ${show(shape)}`);
    }
    const rows = shape[0] * groups;
    const out = room(data.length);
    const sizes = { rows, n: data.length / Math.max(1, rows) };
    layerNorm(out, doubles(rows), doubles(rows), data, null, null, sizes, eps);
    return affine("PackedGroupNorm", { data: out, shape }, weight, bias);
  }
}

const sloped: Binary = (x, slope) => (x > 0 ? x : x * slope);

/** x where x > 0, slope · x elsewhere, for one slope or one a channel of (N, C, …). */
export class PackedPReLU implements PackedStep {
  readonly kind = "prelu";
  readonly weight: Float32Array;

  constructor(fields: Fields) {
    const length = (fields.weight as Float32Array | null)?.length ?? 0;
    this.weight = new FieldReader("prelu", fields).floats("weight", length) ?? new Float32Array(1);
  }

  forward(x: Values): Values {
    const { weight } = this;
    return weight.length === 1
      ? combined("PackedPReLU", x, { data: weight, shape: [1] }, sloped)
      : perChannel("PackedPReLU", x, weight, sloped);
  }
}

/** Every `stride`-th pixel of (N, C, H, W), with channels of zeros before and after. */
export class PackedSubsample implements PackedStep {
  readonly kind = "subsample";
  readonly stride: number;
  readonly channels: readonly [before: number, after: number];

  constructor(fields: Fields) {
    const read = new FieldReader("subsample", fields);
    this.stride = read.count("stride");
    this.channels = read.pair("channels", 0);
  }

  forward({ data, shape }: Values): Values {
    const { stride, channels } = this;
    const [n, c, h, w] = shape;
    if (shape.length !== 4) throw new ShapeError(`PackedSubsample: needs (N, C, H, W), got ${show(shape)}`);
    const to = [n, channels[0] + c + channels[1], Math.ceil(h / stride), Math.ceil(w / stride)];
    const out = room(to[0] * to[1] * to[2] * to[3]).fill(0);
    for (let i = 0; i < n * c * to[2]; i++) {
      const y = i % to[2];
      const plane = (i - y) / to[2];
      const at = ((plane + Math.floor(plane / c) * (to[1] - c) + channels[0]) * to[2] + y) * to[3];
      for (let x = 0; x < to[3]; x++) out[at + x] = data[(plane * h + y * stride) * w + x * stride];
    }
    return { data: out, shape: to };
  }
}

/** body(x) and shortcut(x), which is x where there is none, added or multiplied: the body's result may broadcast. */
export class PackedBranch implements PackedStep {
  readonly kind = "branch";
  readonly join: "sum" | "product";
  readonly body: PackedStep;
  readonly shortcut: PackedStep | null;

  constructor(fields: Fields) {
    const read = new FieldReader("branch", fields);
    this.join = read.choice("join", ["sum", "product"]);
    this.body = read.layer("body", ...stepKinds);
    this.shortcut = read.optionalLayer("shortcut", ...stepKinds);
  }

  forward(x: Values): Values {
    const { join, body, shortcut } = this;
    const kept = shortcut ? shortcut.forward(x) : x;
    return combined("PackedBranch", kept, body.forward(x), join === "sum" ? plus : times);
  }
}
