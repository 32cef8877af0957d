import { isFunction, OptionError, readOptions, show } from "../errors.ts";
import { relu, sigmoid } from "../ops/activation.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { Conv2d } from "./conv.ts";
import type { RngOption } from "./init.ts";
import { inside } from "./inside.ts";
import type { PackedFields, Packer } from "./packing.ts";
import { applied } from "./sequential.ts";
import { checkSizes } from "./sizes.ts";

export interface SqueezeExciteOptions extends RngOption {
  activation: (x: Tensor) => Tensor;
  /** Makes the factor of each channel. */
  gate: (x: Tensor) => Tensor;
}

/**
 * Scales each channel of (N, C, H, W) by gate(fc2(activation(fc1(its average)))), fc1 and fc2 being 1×1 convolutions to
 * `squeezed` channels and back; relu and sigmoid unless told otherwise. Hu et al., 2017, arXiv:1709.01507.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { SqueezeExcite } from "bitgrad/nn";
 *
 * console.log(new SqueezeExcite(16, 4).forward(zeros([1, 16, 8, 8])).shape); // [1, 16, 8, 8]
 * ```
 */
export class SqueezeExcite {
  fc1: Conv2d;
  fc2: Conv2d;
  readonly activation: (x: Tensor) => Tensor;
  readonly gate: (x: Tensor) => Tensor;

  constructor(channels: number, squeezed: number, options?: Partial<SqueezeExciteOptions>) {
    const { activation, gate, rng } = readOptions<SqueezeExciteOptions>("SqueezeExcite", options, {
      activation: relu,
      gate: sigmoid,
      rng: null,
    });
    checkSizes("SqueezeExcite", { channels, squeezed });
    for (const [name, f] of Object.entries({ activation, gate })) {
      if (!isFunction(f)) {
        throw new OptionError(`SqueezeExcite: option ${name} must be a function, got ${show(f)}`);
      }
    }
    this.fc1 = new Conv2d(channels, squeezed, 1, { rng });
    this.fc2 = new Conv2d(squeezed, channels, 1, { rng });
    this.activation = activation;
    this.gate = gate;
  }

  /** Throws OptionError for an activation or a gate that gives no tensor. */
  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("SqueezeExcite", x);
      const run = (name: "fc1" | "activation" | "fc2" | "gate", y: Tensor): Tensor =>
        applied("SqueezeExcite", this, name, this[name], y);
      const average = x.adaptiveAvgPool2d(1);
      return x.mul(run("gate", run("fc2", run("activation", run("fc1", average)))));
    });
  }

  /** Throws OptionError for an activation or a gate that is not one of `bitgrad`. */
  toPacked(packer: Packer): PackedFields {
    const average = { kind: "function", name: "average" };
    const body = packer.sequence(average, this.fc1, this.activation, this.fc2, this.gate);
    return { kind: "branch", join: "product", body, shortcut: null };
  }
}
