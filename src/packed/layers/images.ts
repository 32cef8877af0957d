/** What networks of images need beside convolutions: norms and slopes by channel, and branches that are joined again. */

import { ShapeError, show } from "../../errors.ts";
import { FieldReader, type Fields, type PackedStep } from "../file/layer.ts";
import { executor } from "../running.ts";
import { checkValues, type Values } from "../values.ts";
import { combined, perChannel } from "./elementwise.ts";

export const affine = (
  op: string,
  x: Values,
  weight: Float32Array | null,
  bias: Float32Array | null,
): Values => {
  const y = weight ? perChannel(op, x, weight, "times") : x;
  return bias ? perChannel(op, y, bias, "plus") : y;
};

/**
 * A batch norm in evaluation: (x − mean) · factor + bias for every channel of (N, C, …).
 *
 * @example
 * ```ts
 * import { PackedBatchNorm } from "bitgrad/packed";
 *
 * const norm = new PackedBatchNorm({
 *   mean: Float32Array.of(1, 2),
 *   factor: Float32Array.of(10, 100),
 *   bias: null,
 * });
 * console.log(Array.from(norm.forward({ data: Float32Array.of(2, 4), shape: [1, 2] }).data)); // [10, 200]
 * ```
 */
export class PackedBatchNorm implements PackedStep {
  static readonly kind = "batchNorm";
  readonly kind = "batchNorm";
  readonly mean: Float32Array;
  readonly factor: Float32Array;
  readonly bias: Float32Array | null;

  constructor(fields: Fields) {
    const read = new FieldReader("batchNorm", fields);
    this.mean = read.numbers("mean");
    this.factor = read.numbers("factor", this.mean.length);
    this.bias = read.floats("bias", this.mean.length);
  }

  /** What becomes of x in channel c. */
  at(x: number, c: number): number {
    const { mean, factor, bias } = this;
    const y = Math.fround(Math.fround(x - mean[c]) * factor[c]);
    return bias ? Math.fround(y + bias[c]) : y;
  }

  /** Throws ShapeError for other channels. */
  forward(x: Values): Values {
    checkValues("PackedBatchNorm", x);
    return affine(
      "PackedBatchNorm",
      perChannel("PackedBatchNorm", x, this.mean, "minus"),
      this.factor,
      this.bias,
    );
  }
}

/**
 * x where x > 0, slope · x elsewhere, for one slope or one a channel of (N, C, …).
 *
 * @example
 * ```ts
 * import { PackedPReLU } from "bitgrad/packed";
 *
 * const layer = new PackedPReLU({ weight: Float32Array.of(0.5) });
 * console.log(Array.from(layer.forward({ data: Float32Array.of(-2, 2), shape: [1, 2] }).data)); // [-1, 2]
 * ```
 */
export class PackedPReLU implements PackedStep {
  static readonly kind = "prelu";
  readonly kind = "prelu";
  readonly weight: Float32Array;

  constructor(fields: Fields) {
    this.weight = new FieldReader("prelu", fields).numbers("weight");
  }

  forward(x: Values): Values {
    checkValues("PackedPReLU", x);
    const { weight } = this;
    return weight.length === 1
      ? combined("PackedPReLU", x, { data: weight, shape: [1] }, "slope")
      : perChannel("PackedPReLU", x, weight, "slope");
  }
}

/**
 * Every `stride`-th pixel of (N, C, H, W), with channels of zeros before and after.
 *
 * @example
 * ```ts
 * import { PackedSubsample } from "bitgrad/packed";
 *
 * const layer = new PackedSubsample({ stride: 2, channels: [0, 1] });
 * const { data, shape } = layer.forward({ data: Float32Array.of(1, 2, 3, 4), shape: [1, 1, 2, 2] });
 * console.log(shape, Array.from(data)); // [1, 2, 1, 1] [1, 0]
 * ```
 */
export class PackedSubsample implements PackedStep {
  static readonly kind = "subsample";
  readonly kind = "subsample";
  readonly stride: number;
  readonly channels: readonly [before: number, after: number];

  constructor(fields: Fields) {
    const read = new FieldReader("subsample", fields);
    this.stride = read.count("stride");
    this.channels = read.pair("channels", 0);
  }

  forward(x: Values): Values {
    const { data, shape } = checkValues("PackedSubsample", x);
    const { stride, channels } = this;
    const [n, c, h, w] = shape;
    if (shape.length !== 4) throw new ShapeError(`PackedSubsample: needs (N, C, H, W), got ${show(shape)}`);
    const kept = [n, c, Math.ceil(h / stride), Math.ceil(w / stride)];
    const every = executor().pick(data, kept, [c * h * w, h * w, stride * w, stride], 0);
    const [before, behind] = channels;
    const out = executor().pad({ data: every, shape: kept }, before, behind);
    return { data: out, shape: [n, before + c + behind, kept[2], kept[3]] };
  }
}

/**
 * body(x) and shortcut(x), which is x where there is none, added or multiplied: the body's result may broadcast.
 *
 * @example
 * ```ts
 * import { PackedBranch, PackedFunction } from "bitgrad/packed";
 *
 * const body = new PackedFunction({ name: "relu" });
 * const layer = new PackedBranch({ join: "sum", body, shortcut: null });
 * console.log(Array.from(layer.forward({ data: Float32Array.of(-1, 2), shape: [1, 2] }).data)); // [-1, 4]
 * ```
 */
export class PackedBranch implements PackedStep {
  static readonly kind = "branch";
  readonly kind = "branch";
  readonly join: "sum" | "product";
  readonly body: PackedStep;
  readonly shortcut: PackedStep | null;

  constructor(fields: Fields) {
    const read = new FieldReader("branch", fields);
    this.join = read.choice("join", ["sum", "product"]);
    this.body = read.layer("body");
    this.shortcut = read.optionalLayer("shortcut");
  }

  forward(x: Values): Values {
    checkValues("PackedBranch", x);
    const { join, body, shortcut } = this;
    const kept = shortcut ? shortcut.forward(x) : x;
    return combined("PackedBranch", kept, body.forward(x), join === "sum" ? "plus" : "times");
  }
}
