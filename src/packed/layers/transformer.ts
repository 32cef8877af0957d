/** The blocks of Transformers from packed layers. */

import { undoing } from "../../changes.ts";
import { OptionError } from "../../errors.ts";
import { activationNames } from "../executor.ts";
import { FieldReader, type Fields, type PackedLayer } from "../file/layer.ts";
import { executor } from "../running.ts";
import { checkValues, type Ids, readCall, type Values } from "../values.ts";
import { checkCaches, type PackedAttention, type PackedAttentionCall } from "./attention.ts";
import { combined, isActivation, mapped } from "./elementwise.ts";
import type { PackedLinear } from "./linear.ts";
import type { PackedNorm } from "./norm.ts";

/**
 * down(activation(up(x))), for "swiglu" down(silu(gate(x)) · up(x)).
 *
 * @example
 * ```ts
 * import { PackedFeedForward, PackedLinear, PackedWeight } from "bitgrad/packed";
 *
 * const weight = PackedWeight.ofFloats(Float32Array.of(1, 0, 0, 1), 2, 2);
 * const same = new PackedLinear({ weight, bias: null, input: null });
 * const layer = new PackedFeedForward({ activation: "relu", gate: null, up: same, down: same });
 * console.log(Array.from(layer.forward({ data: Float32Array.of(-1, 2), shape: [1, 2] }).data)); // [0, 2]
 * ```
 */
export class PackedFeedForward implements PackedLayer {
  static readonly kind = "feedForward";
  readonly kind = "feedForward";
  /** The name of one, or "swiglu". */
  readonly activation: string;
  readonly gate: PackedLinear | null;
  readonly up: PackedLinear;
  readonly down: PackedLinear;

  constructor(fields: Fields) {
    const read = new FieldReader("feedForward", fields);
    this.activation = read.choice("activation", ["swiglu", ...activationNames]);
    this.gate = read.optionalLayer("gate", "linear");
    this.up = read.layer("up", "linear");
    this.down = read.layer("down", "linear");
  }

  forward(x: Values): Values {
    checkValues("PackedFeedForward", x);
    const act = isActivation(this.activation) ? this.activation : "silu";
    const up = this.up.forward(x);
    if (!this.gate) return this.down.forward(mapped(up, act));
    const gate = mapped(this.gate.forward(x), act);
    return this.down.forward(combined("PackedFeedForward", gate, up, "times"));
  }
}

export interface PackedBlockCall extends Omit<PackedAttentionCall, "context"> {
  /** What a decoder's block attends to, (B, S, C), and (B, S): 1 where that may be read. */
  readonly memory?: Values | null;
  readonly memoryMask?: Ids | null;
}

/**
 * Self-attention, in a decoder attention to an encoder's states, and a position-wise network, each with a residual sum and a
 * normalisation.
 *
 * @example
 * ```ts
 * import { Gpt } from "bitgrad/models";
 * import { evaluate } from "bitgrad/nn";
 * import type { PackedLanguage } from "bitgrad/packed";
 * import { pack } from "bitgrad/quant";
 *
 * const gpt = pack(evaluate(new Gpt({ vocabulary: 8, context: 4, dim: 4, layers: 1, heads: 1 })));
 * const root = gpt.root as PackedLanguage;
 * const x = { data: new Float32Array(8), shape: [1, 2, 4] };
 * console.log(root.blocks[0].forward(x, { causal: true }).shape); // [1, 2, 4]
 * ```
 */
export class PackedBlock implements PackedLayer {
  static readonly kind = "block";
  static readonly options = { causal: undefined, mask: "ids", memory: "values", memoryMask: "ids" };
  readonly kind = "block";
  readonly norm: "pre" | "post";
  readonly attention: PackedAttention;
  readonly crossAttention: PackedAttention | null;
  readonly mlp: PackedFeedForward;
  readonly norm1: PackedNorm;
  readonly norm2: PackedNorm;
  /** Of the position-wise network, where norm2 is that of the attention to the encoder. */
  readonly norm3: PackedNorm | null;

  constructor(fields: Fields) {
    const read = new FieldReader("block", fields);
    this.norm = read.choice("norm", ["pre", "post"]);
    this.attention = read.layer("attention", "attention");
    this.crossAttention = read.optionalLayer("crossAttention", "attention");
    this.mlp = read.layer("mlp", "feedForward");
    this.norm1 = read.layer("norm1", "norm");
    this.norm2 = read.layer("norm2", "norm");
    this.norm3 = this.crossAttention ? read.layer<PackedNorm>("norm3", "norm") : null;
  }

  /** Causal unless told otherwise where it is a decoder's. Throws OptionError for a decoder's block without memory. */
  forward(x: Values, call?: PackedBlockCall): Values {
    checkValues("PackedBlock", x);
    const { crossAttention: cross, norm1, norm2, norm3 } = this;
    const { causal, mask, memory, memoryMask, cache } = readCall("PackedBlock", call, PackedBlock.options, {
      causal: cross !== null,
      cache: null,
    });
    if (cache !== null) checkCaches("PackedBlock", [cache]);
    return undoing(() => {
      let y = this.residual(x, norm1, (z) => this.attention.forward(z, { causal, mask, cache }));
      if (cross) {
        if (!memory) throw new OptionError("PackedBlock: a decoder needs memory, got none");
        if (cache) cache.context ??= executor().newCache();
        const there = { mask: memoryMask, context: memory, cache: cache?.context };
        y = this.residual(y, norm2, (z) => cross.forward(z, there));
      }
      return this.residual(y, norm3 ?? norm2, (z) => this.mlp.forward(z));
    });
  }

  private residual(x: Values, norm: PackedNorm, sublayer: (x: Values) => Values): Values {
    const sum = (y: Values): Values => combined("PackedBlock", x, y, "plus");
    return this.norm === "pre" ? sum(sublayer(norm.forward(x))) : norm.forward(sum(sublayer(x)));
  }
}
