/** The position-wise network of Transformers, and its activations. */

import { OptionError, readOptions, show } from "../errors.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import type { RngOption } from "./init.ts";
import { inside } from "./inside.ts";
import { Linear, stepsOf } from "./linear.ts";
import type { PackedFields, Packer } from "./packing.ts";
import { checkSizes } from "./sizes.ts";
import { inputs, outputs, type ScalePair, scalePair, type Units } from "./units.ts";

const activations = {
  relu: (x: Tensor) => x.relu(),
  gelu: (x: Tensor) => x.gelu(),
  geluTanh: (x: Tensor) => x.gelu({ approximate: "tanh" }),
  silu: (x: Tensor) => x.silu(),
  swiglu: (x: Tensor) => x.silu(),
};

/** What up meets on its way to down, where scaling passes it. */
const passes: Partial<Record<Activation, ScalePair["between"]>> = { relu: "relu", swiglu: "gate" };

/** "geluTanh" is GPT's approximation; "swiglu" multiplies silu(gate(x)) and up(x). */
export type Activation = keyof typeof activations;

export interface FeedForwardOptions extends RngOption {
  activation: Activation;
  bias: boolean;
}

/**
 * down(activation(up(x))), (…, C) -> (…, C), with `hidden` features between; for "swiglu" down(silu(gate(x)) · up(x)),
 * Shazeer, 2020, arXiv:2002.05202.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { FeedForward } from "bitgrad/nn";
 *
 * console.log(new FeedForward(16, 64, { activation: "gelu" }).forward(zeros([2, 5, 16])).shape); // [2, 5, 16]
 * ```
 */
export class FeedForward {
  readonly activation: Activation;
  gate: Linear | null;
  up: Linear;
  down: Linear;

  constructor(dim: number, hidden: number, options?: Partial<FeedForwardOptions>) {
    const { activation, bias, rng } = readOptions<FeedForwardOptions>("FeedForward", options, {
      activation: "relu",
      bias: true,
      rng: null,
    });
    checkSizes("FeedForward", { dim, hidden });
    if (!Object.hasOwn(activations, activation)) {
      throw new OptionError(
        `FeedForward: unknown activation, got ${show(activation)}; known are ${Object.keys(activations).join(", ")}`,
      );
    }
    checkSizes("FeedForward", { dim, hidden });
    this.activation = activation;
    this.gate = activation === "swiglu" ? new Linear(dim, hidden, { bias, rng }) : null;
    this.up = new Linear(dim, hidden, { bias, rng });
    this.down = new Linear(hidden, dim, { bias, rng });
  }

  /** Features between the two products. */
  get hidden(): number {
    return this.up.outFeatures;
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("FeedForward", x);
      const act = activations[this.activation];
      const inner = this.gate ? act(this.gate.forward(x)).mul(this.up.forward(x)) : act(this.up.forward(x));
      return this.down.forward(inner);
    });
  }

  /**
   * Up to down, through a ReLU or beside a gate; none through another activation, which scaling does not pass, nor where
   * steps stand in front of down.
   */
  scalePairs(): ScalePair[] {
    if (stepsOf("scalePairs", this.down).length > 0) return [];
    const between = passes[this.activation];
    return between ? scalePair(this.hidden, outputs("up", this.up), between, [inputs("down")]) : [];
  }

  /** Its neurons: rows of up and of the gate, and columns of down; none where steps stand in front of down. */
  units(): Units[] {
    if (stepsOf("units", this.down).length > 0) return [];
    const { gate, up, hidden: count } = this;
    const places = [...(gate ? outputs("gate", gate) : []), ...outputs("up", up), inputs("down")];
    return [{ name: "", kind: "neurons", count, places, sizes: { feedForward: 1 }, layer: null, keeps: {} }];
  }

  toPacked(packer: Packer): PackedFields {
    return {
      kind: "feedForward",
      activation: this.activation,
      gate: this.gate && packer.layer(this.gate),
      up: packer.layer(this.up),
      down: packer.layer(this.down),
    };
  }
}
