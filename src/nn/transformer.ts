/** The blocks of Transformers: encoder and decoder layers around attention and the position-wise network. */

import { checkShare, OptionError, readOptions, show } from "../errors.ts";
import { dropout as drop } from "../ops/create.ts";
import type { Rng } from "../random/rng.ts";
import { sizeOf } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import {
  type AttentionOptions,
  MultiHeadAttention,
  type SelfAttentionCall,
  selfAttentionCall,
} from "./attention.ts";
import { type Activation, FeedForward } from "./feed-forward.ts";
import { inside } from "./inside.ts";
import { LayerNorm, RMSNorm } from "./norm.ts";
import type { PackedFields, Packer } from "./packing.ts";
import { checkSizes } from "./sizes.ts";
import { centers, type ResidualStream } from "./stream.ts";
import { inputs, outputs, pairsOf, type ScalePair, scalePair, type Units, unitsOf } from "./units.ts";

export interface TransformerLayerOptions extends AttentionOptions {
  /** Where the normalisation sits: before each sublayer (pre), or after its residual sum (post). */
  norm: "pre" | "post";
  normalization: "layer" | "rms";
  eps: number;
  activation: Activation;
  /** Biases of every projection; LayerNorm keeps its own. */
  bias: boolean;
  /** Share of the attention probabilities and of each sublayer's output dropped in training. */
  dropout: number;
}

const layerDefaults: TransformerLayerOptions = {
  norm: "post",
  normalization: "layer",
  eps: 1e-5,
  activation: "relu",
  bias: true,
  outBias: null,
  headSize: null,
  kvHeads: null,
  dropout: 0,
  rotary: null,
  rng: null,
};

const decoderDefaults: DecoderLayerOptions = { ...layerDefaults, memoryHeads: null };

function readLayer<T extends TransformerLayerOptions>(
  op: string,
  sizes: { dim: number; heads: number; hidden: number },
  options: Partial<T> | undefined,
  defaults: T,
): T {
  checkSizes(op, sizes);
  const settings = readOptions(op, options, defaults);
  const { norm, normalization } = settings;
  if (norm !== "pre" && norm !== "post") {
    throw new OptionError(`${op}: norm must be "pre" or "post", got ${show(norm)}`);
  }
  if (normalization !== "layer" && normalization !== "rms") {
    throw new OptionError(`${op}: normalization must be "layer" or "rms", got ${show(normalization)}`);
  }
  checkShare(op, "dropout", settings.dropout);
  return settings;
}

type Settings = Readonly<TransformerLayerOptions>;
type Norm = LayerNorm | RMSNorm;

const makeNorm = (dim: number, { normalization, eps }: Settings): Norm =>
  normalization === "rms" ? new RMSNorm(dim, { eps }) : new LayerNorm(dim, { eps });

const makeAttention = (
  dim: number,
  heads: number,
  { bias, outBias, headSize, kvHeads, dropout, rotary, rng }: Settings,
): MultiHeadAttention =>
  new MultiHeadAttention(dim, heads, { bias, outBias, headSize, kvHeads, dropout, rotary, rng });

/** x + sublayer(x), with the normalisation before the sublayer or after the sum. */
function residual(
  layer: { norm: "pre" | "post"; dropout: number; training: boolean },
  x: Tensor,
  norm: Norm,
  sublayer: (x: Tensor) => Tensor,
  rng: Rng | null,
): Tensor {
  const { dropout: p, training } = layer;
  if (layer.norm === "pre") return x.add(drop(sublayer(norm.forward(x)), { p, training, rng }));
  return norm.forward(x.add(drop(sublayer(x), { p, training, rng })));
}

/** What reads the input of a position-wise network. */
const readers = ({ gate }: FeedForward): string[] => (gate ? ["mlp.gate", "mlp.up"] : ["mlp.up"]);

/** A normalisation to the layers that read it: in the pre form only, since the post form passes it on beside them too. */
const normPair = (
  layer: { norm: "pre" | "post" },
  name: string,
  norm: Norm,
  consumers: readonly string[],
): ScalePair[] => {
  if (layer.norm === "post") return [];
  const places = consumers.map((consumer) => inputs(consumer));
  return scalePair(sizeOf(norm.normalizedShape), outputs(name, norm), "nothing", places);
};

const attentionInputs = ["attention.query", "attention.key", "attention.value"];

/**
 * Self-attention and a position-wise network, each with a residual sum and a normalisation, (B, T, C) -> (B, T, C). With
 * `causal` in the call it is the block of a decoder-only model.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { TransformerEncoderLayer } from "bitgrad/nn";
 *
 * console.log(new TransformerEncoderLayer(16, 4, 64, { norm: "pre" }).forward(zeros([1, 5, 16])).shape); // [1, 5, 16]
 * ```
 */
export class TransformerEncoderLayer {
  training = true;
  readonly norm: "pre" | "post";
  readonly dropout: number;
  attention: MultiHeadAttention;
  mlp: FeedForward;
  norm1: Norm;
  norm2: Norm;

  constructor(dim: number, heads: number, hidden: number, options?: Partial<TransformerLayerOptions>) {
    const settings = readLayer("TransformerEncoderLayer", { dim, heads, hidden }, options, layerDefaults);
    const { activation, bias, rng } = settings;
    this.norm = settings.norm;
    this.dropout = settings.dropout;
    this.attention = makeAttention(dim, heads, settings);
    this.mlp = new FeedForward(dim, hidden, { activation, bias, rng });
    this.norm1 = makeNorm(dim, settings);
    this.norm2 = makeNorm(dim, settings);
  }

  /** Takes the options of `MultiHeadAttention.forward`, but for `context`. */
  forward(x: TensorLike, options?: Partial<SelfAttentionCall>): Tensor {
    return inside(this, () => {
      x = asTensor("TransformerEncoderLayer", x);
      const call = readOptions("TransformerEncoderLayer", options, selfAttentionCall);
      const y = residual(this, x, this.norm1, (z) => this.attention.forward(z, call), call.rng);
      return residual(this, y, this.norm2, (z) => this.mlp.forward(z), call.rng);
    });
  }

  /** Those of its parts, and in the pre form each normalisation to what reads it. */
  scalePairs(): ScalePair[] {
    return [
      ...normPair(this, "norm1", this.norm1, attentionInputs),
      ...pairsOf("attention", this.attention),
      ...normPair(this, "norm2", this.norm2, readers(this.mlp)),
      ...pairsOf("mlp", this.mlp),
    ];
  }

  /** In the pre form the states that it reads and adds to; null in the post form, which normalises them themselves. */
  residualStream(): ResidualStream | null {
    const { attention, mlp, norm1, norm2 } = this;
    if (this.norm === "post") return null;
    return {
      features: sizeOf(norm1.normalizedShape),
      writers: [...outputs("attention.out", attention.out), ...outputs("mlp.down", mlp.down)],
      norms: [
        { name: "norm1", readers: attentionInputs },
        { name: "norm2", readers: readers(mlp) },
      ],
      centered: centers(norm1) || centers(norm2),
    };
  }

  /** Heads and neurons of its parts. */
  units(): Units[] {
    return [...unitsOf("attention", this.attention), ...unitsOf("mlp", this.mlp)];
  }

  toPacked(packer: Packer): PackedFields {
    return {
      kind: "block",
      norm: this.norm,
      attention: packer.layer(this.attention),
      mlp: packer.layer(this.mlp),
      norm1: packer.layer(this.norm1),
      norm2: packer.layer(this.norm2),
    };
  }
}

export interface DecoderLayerOptions extends TransformerLayerOptions {
  /** Heads of the attention to the memory; default: as many as those of the layer. */
  memoryHeads: number | null;
}

export interface DecoderCall extends SelfAttentionCall {
  /** Which of the memory's positions may be read, broadcast to (B, H, T, S), as `mask` is. */
  memoryMask: SelfAttentionCall["mask"];
  /** Factors of the heads of the attention to the memory. */
  memoryHeadMask: SelfAttentionCall["headMask"];
  /** What the attention to the memory writes down. */
  memoryCapture: SelfAttentionCall["capture"];
}

const decoderCall: DecoderCall = {
  ...selfAttentionCall,
  causal: true,
  memoryMask: null,
  memoryHeadMask: null,
  memoryCapture: null,
};

/**
 * Causal self-attention, attention to an encoder's output (the memory) and a position-wise network, (B, T, C) -> (B, T, C).
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { TransformerDecoderLayer } from "bitgrad/nn";
 *
 * const layer = new TransformerDecoderLayer(16, 4, 64);
 * console.log(layer.forward(zeros([1, 5, 16]), zeros([1, 9, 16])).shape); // [1, 5, 16]
 * ```
 */
export class TransformerDecoderLayer {
  training = true;
  readonly norm: "pre" | "post";
  readonly dropout: number;
  attention: MultiHeadAttention;
  crossAttention: MultiHeadAttention;
  mlp: FeedForward;
  norm1: Norm;
  norm2: Norm;
  norm3: Norm;

  constructor(dim: number, heads: number, hidden: number, options?: Partial<DecoderLayerOptions>) {
    const settings = readLayer("TransformerDecoderLayer", { dim, heads, hidden }, options, decoderDefaults);
    const { activation, bias, memoryHeads, rng } = settings;
    checkSizes("TransformerDecoderLayer", { memoryHeads: memoryHeads ?? 1 });
    this.norm = settings.norm;
    this.dropout = settings.dropout;
    this.attention = makeAttention(dim, heads, settings);
    this.crossAttention = makeAttention(dim, memoryHeads ?? heads, { ...settings, rotary: false });
    this.mlp = new FeedForward(dim, hidden, { activation, bias, rng });
    this.norm1 = makeNorm(dim, settings);
    this.norm2 = makeNorm(dim, settings);
    this.norm3 = makeNorm(dim, settings);
  }

  /** x (B, T, C) attends to itself, causally unless told otherwise, and to the memory (B, S, C). */
  forward(x: TensorLike, memory: TensorLike, options?: Partial<DecoderCall>): Tensor {
    return inside(this, () => {
      x = asTensor("TransformerDecoderLayer", x);
      const { memoryMask, memoryHeadMask, memoryCapture, ...call } = readOptions(
        "TransformerDecoderLayer",
        options,
        decoderCall,
      );
      const { rng } = call;
      const cross = {
        context: asTensor("TransformerDecoderLayer", memory),
        mask: memoryMask,
        headMask: memoryHeadMask,
        capture: memoryCapture,
        rng,
      };
      const y = residual(this, x, this.norm1, (z) => this.attention.forward(z, call), rng);
      const z = residual(this, y, this.norm2, (w) => this.crossAttention.forward(w, cross), rng);
      return residual(this, z, this.norm3, (w) => this.mlp.forward(w), rng);
    });
  }

  /** Those of its parts, and in the pre form each normalisation to what reads it; keys and values of the memory are not. */
  scalePairs(): ScalePair[] {
    return [
      ...normPair(this, "norm1", this.norm1, attentionInputs),
      ...pairsOf("attention", this.attention),
      ...normPair(this, "norm2", this.norm2, ["crossAttention.query"]),
      ...pairsOf("crossAttention", this.crossAttention),
      ...normPair(this, "norm3", this.norm3, readers(this.mlp)),
      ...pairsOf("mlp", this.mlp),
    ];
  }

  /** Heads and neurons of its parts; heads of the attention to the memory count as `memoryHeads`. */
  units(): Units[] {
    const cross = unitsOf("crossAttention", this.crossAttention, null, {
      heads: "memoryHeads",
      kvHeads: null,
    });
    return [...unitsOf("attention", this.attention), ...cross, ...unitsOf("mlp", this.mlp)];
  }

  toPacked(packer: Packer): PackedFields {
    return {
      kind: "block",
      norm: this.norm,
      attention: packer.layer(this.attention),
      crossAttention: packer.layer(this.crossAttention),
      mlp: packer.layer(this.mlp),
      norm1: packer.layer(this.norm1),
      norm2: packer.layer(this.norm2),
      norm3: packer.layer(this.norm3),
    };
  }
}
