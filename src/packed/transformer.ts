/** The blocks of Transformers from packed layers. */

import { plus, times } from "../../kernels/elementwise/arithmetic.ts";
import type { PackedAttention, PackedAttentionCall } from "./attention.ts";
import { activations, combined, mapped } from "./elementwise.ts";
import { FieldReader, type Fields, type PackedLayer } from "./layer.ts";
import type { PackedLinear } from "./linear.ts";
import type { PackedNorm } from "./norm.ts";
import type { Values } from "./values.ts";

/** down(activation(up(x))), for "swiglu" down(silu(gate(x)) · up(x)). */
export class PackedFeedForward implements PackedLayer {
  readonly kind = "feedForward";
  /** The name of one, or "swiglu". */
  readonly activation: string;
  readonly gate: PackedLinear | null;
  readonly up: PackedLinear;
  readonly down: PackedLinear;

  constructor(fields: Fields) {
    const read = new FieldReader("feedForward", fields);
    this.activation = read.choice("activation", ["swiglu", ...Object.keys(activations)]);
    this.gate = read.optionalLayer("gate", "linear");
    this.up = read.layer("up", "linear");
    this.down = read.layer("down", "linear");
  }

  forward(x: Values): Values {
    const act = activations[this.activation] ?? activations.silu;
    const up = this.up.forward(x);
    if (!this.gate) return this.down.forward(mapped(up, act));
    const gate = mapped(this.gate.forward(x), act);
    return this.down.forward(combined("PackedFeedForward", gate, up, times));
  }
}

/** Self-attention and a position-wise network, each with a residual sum and a normalisation. */
export class PackedBlock implements PackedLayer {
  readonly kind = "block";
  readonly norm: "pre" | "post";
  readonly attention: PackedAttention;
  readonly mlp: PackedFeedForward;
  readonly norm1: PackedNorm;
  readonly norm2: PackedNorm;

  constructor(fields: Fields) {
    const read = new FieldReader("block", fields);
    this.norm = read.choice("norm", ["pre", "post"]);
    this.attention = read.layer("attention", "attention");
    this.mlp = read.layer("mlp", "feedForward");
    this.norm1 = read.layer("norm1", "norm");
    this.norm2 = read.layer("norm2", "norm");
  }

  forward(x: Values, call: PackedAttentionCall = { causal: false, cache: null }): Values {
    const y = this.residual(x, this.norm1, (z) => this.attention.forward(z, call));
    return this.residual(y, this.norm2, (z) => this.mlp.forward(z));
  }

  private residual(x: Values, norm: PackedNorm, sublayer: (x: Values) => Values): Values {
    const sum = (y: Values): Values => combined("PackedBlock", x, y, plus);
    return this.norm === "pre" ? sum(sublayer(norm.forward(x))) : norm.forward(sum(sublayer(x)));
  }
}
