/** The blocks of Transformers from packed layers. */

import { gelu, geluTanh, silu } from "../../kernels/elementwise/activation.ts";
import { rectified, times, type Unary } from "../../kernels/elementwise/arithmetic.ts";
import { binary, unary } from "../backend.ts";
import type { PackedAttention, PackedAttentionCall } from "./attention.ts";
import { FieldReader, type Fields, type PackedLayer } from "./layer.ts";
import type { PackedLinear } from "./linear.ts";
import type { PackedNorm } from "./norm.ts";
import { added } from "./product.ts";
import { room, type Values } from "./values.ts";

const activations = { relu: rectified, gelu, geluTanh, silu, swiglu: silu } as const;
type Activation = keyof typeof activations;
const activationNames = Object.keys(activations) as Activation[];

export function mapped(x: Values, f: Unary): Values {
  const data = room(x.data.length);
  unary(data, x.data, f);
  return { data, shape: x.shape };
}

/** down(activation(up(x))), for "swiglu" down(silu(gate(x)) · up(x)). */
export class PackedFeedForward implements PackedLayer {
  readonly kind = "feedForward";
  readonly activation: Activation;
  readonly gate: PackedLinear | null;
  readonly up: PackedLinear;
  readonly down: PackedLinear;

  constructor(fields: Fields) {
    const read = new FieldReader("feedForward", fields);
    this.activation = read.choice("activation", activationNames);
    this.gate = read.optionalLayer("gate", "linear");
    this.up = read.layer("up", "linear");
    this.down = read.layer("down", "linear");
  }

  forward(x: Values): Values {
    const act = activations[this.activation];
    const up = this.up.forward(x);
    if (!this.gate) return this.down.forward(mapped(up, act));
    const gate = mapped(this.gate.forward(x), act);
    const data = room(up.data.length);
    binary(data, up.shape, gate.data, up.shape, up.data, up.shape, times);
    return this.down.forward({ data, shape: up.shape });
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
    const sum = (y: Values): Values => ({ data: added(x.data, x.shape, y.data, y.shape), shape: x.shape });
    return this.norm === "pre" ? sum(sublayer(norm.forward(x))) : norm.forward(sum(sublayer(x)));
  }
}
