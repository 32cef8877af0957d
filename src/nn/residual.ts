/** Branches of a graph: sums around layers, and what images need on the way. */

import { OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { readPair } from "../ops/windows.ts";
import { broadcastsTo } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { inside } from "./inside.ts";
import type { PackedFields, Packer } from "./packing.ts";
import { applied, checkStep, type Step } from "./sequential.ts";
import { checkSizes } from "./sizes.ts";

export interface ResidualOptions {
  /** What x goes through beside the body; null, the default, leaves it as it is. */
  shortcut: Step | null;
  /** Default "sum". */
  join: "sum" | "product";
}

/**
 * body(x) + shortcut(x), or their product: in the shape of what the shortcut gives, to which the body's broadcasts.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { LayerNorm, Linear, Residual, Sequential } from "bitgrad/nn";
 *
 * const block = new Residual(new Sequential(new LayerNorm(8), new Linear(8, 8)));
 * console.log(block.forward(zeros([2, 8])).shape); // [2, 8]
 * ```
 */
export class Residual {
  body: Step;
  shortcut: Step | null;
  readonly join: "sum" | "product";

  constructor(body: Step, options?: Partial<ResidualOptions>) {
    const { shortcut, join } = readOptions<ResidualOptions>("Residual", options, {
      shortcut: null,
      join: "sum",
    });
    checkStep("Residual", body, "as the body");
    if (shortcut !== null) checkStep("Residual", shortcut, "as the shortcut");
    if (join !== "sum" && join !== "product") {
      throw new OptionError(`Residual: join must be "sum" or "product", got ${show(join)}`);
    }
    this.body = body;
    this.shortcut = shortcut;
    this.join = join;
  }

  /** Throws ShapeError where the two do not fit, and OptionError for one that gives no tensor or was replaced by no step. */
  forward(x: TensorLike): Tensor {
    const given = asTensor("Residual", x);
    return inside(this, () => {
      const y = applied("Residual", this, "body", this.body, given);
      const kept =
        this.shortcut === null ? given : applied("Residual", this, "shortcut", this.shortcut, given);
      if (!broadcastsTo(y.shape, kept.shape)) {
        throw new ShapeError(
          `Residual: the body must give what broadcasts to ${show(kept.shape)}, got ${show(y.shape)}; give it a shortcut`,
        );
      }
      return this.join === "sum" ? y.add(kept) : kept.mul(y);
    });
  }

  toPacked(packer: Packer): PackedFields {
    const { join, body, shortcut } = this;
    return {
      kind: "branch",
      join,
      body: packer.step(body),
      shortcut: shortcut === null ? null : packer.step(shortcut),
    };
  }
}

export interface SubsampleOptions {
  stride: number;
  /** Channels of zeros before and after those of x. */
  channels: readonly [before: number, after: number];
}

/**
 * Every `stride`-th pixel of (N, C, H, W), with channels of zeros: (N, before + C + after, ceil(H/stride), ceil(W/stride)).
 * The shortcut without weights of residual networks: He et al., 2015, arXiv:1512.03385, option A.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { Subsample } from "bitgrad/nn";
 *
 * console.log(new Subsample({ stride: 2 }).forward(zeros([1, 8, 6, 6])).shape); // [1, 8, 3, 3]
 * ```
 */
export class Subsample {
  readonly stride: number;
  readonly channels: readonly [before: number, after: number];

  constructor(options?: Partial<SubsampleOptions>) {
    const { stride, channels } = readOptions<SubsampleOptions>("Subsample", options, {
      stride: 1,
      channels: [0, 0],
    });
    checkSizes("Subsample", { stride });
    this.stride = stride;
    this.channels = readPair("Subsample", "channels", channels, 0);
  }

  /** Throws ShapeError for another rank. */
  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("Subsample", x);
      if (x.rank !== 4) throw new ShapeError(`Subsample: needs (N, C, H, W), got ${show(x.shape)}`);
      const { stride, channels } = this;
      return x
        .slice([null, null, [null, null, stride], [null, null, stride]])
        .pad([[0, 0], channels, [0, 0], [0, 0]]);
    });
  }

  toPacked(): PackedFields {
    return { kind: "subsample", stride: this.stride, channels: this.channels };
  }
}

export interface FlattenOptions {
  /** The first axis that is joined with others; negative ones count from the last. */
  startDim: number;
  endDim: number;
}

/**
 * Joins axes `startDim` to `endDim`, both among them: by default (N, …) -> (N, features).
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { Flatten } from "bitgrad/nn";
 *
 * console.log(new Flatten().forward(zeros([2, 8, 4, 4])).shape); // [2, 128]
 * ```
 */
export class Flatten {
  readonly startDim: number;
  readonly endDim: number;

  constructor(options?: Partial<FlattenOptions>) {
    const { startDim, endDim } = readOptions<FlattenOptions>("Flatten", options, { startDim: 1, endDim: -1 });
    for (const [name, axis] of Object.entries({ startDim, endDim })) {
      if (!Number.isInteger(axis))
        throw new OptionError(`Flatten: ${name} must be an integer, got ${show(axis)}`);
    }
    this.startDim = startDim;
    this.endDim = endDim;
  }

  /** Throws ShapeError for axes that x has not, and where the last comes before the first. */
  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("Flatten", x);
      if (x.rank === 0) throw new ShapeError("Flatten: needs (N, …), got 0 axes");
      return x.flatten({ start: this.startDim, end: this.endDim });
    });
  }

  toPacked(): PackedFields {
    const { startDim, endDim } = this;
    if (startDim === 1 && endDim === -1) return { kind: "function", name: "flatten" };
    return { kind: "flatten", startDim, endDim };
  }
}
