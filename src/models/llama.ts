/** Llama: the decoder-only Transformer with RMS normalisation, rotary positions, SwiGLU and grouped queries. */

import { checkShare, readOptions } from "../errors.ts";
import { withoutDraws } from "../nn/blank.ts";
import { KVCache } from "../nn/cache.ts";
import { Embedding } from "../nn/embedding.ts";
import { inside } from "../nn/inside.ts";
import { Linear } from "../nn/linear.ts";
import { RMSNorm } from "../nn/norm.ts";
import type { PackedFields, Packer } from "../nn/packing.ts";
import { checkLayerSizes, ofLayer, type PerLayer, plainConfig, readConfig, times } from "../nn/sizes.ts";
import type { ResidualStream } from "../nn/stream.ts";
import { TransformerEncoderLayer } from "../nn/transformer.ts";
import { pairsOfAll, type ScalePair, type Units, unitsOfAll } from "../nn/units.ts";
import { dropout as drop } from "../ops/create.ts";
import type { Rng } from "../random/rng.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { type GenerateOptions, generate, type StreamOptions, stream } from "./generate.ts";
import {
  branchEnds,
  type CausalCall,
  cachedPositions,
  causalCall,
  checkContext,
  type EmbedCall,
  embedCall,
  headPair,
  initNormal,
  readIds,
  readStates,
  runBlocks,
  streamOf,
  tiedLinear,
  untie,
} from "./language.ts";

export interface LlamaConfig {
  /** Tokens known. */
  vocabulary: number;
  /** Positions that can be read at once. */
  context: number;
  /** Features a position. */
  dim: number;
  layers: number;
  /** Heads of a block, or a list of those of each. */
  heads: PerLayer;
  /** Features of a head; default: dim/heads of its block. */
  headSize?: number | null;
  /** Key and value heads of a block, or a list of those of each; default: as many as query heads. */
  kvHeads?: PerLayer | null;
  /** Features within the position-wise networks, or a list of those of each. */
  feedForward: PerLayer;
  eps?: number;
  /** Base of the rotary angles. */
  ropeBase?: number;
  /** Pairs (2j, 2j + 1) as in Llama's own code, or (j, j + D/2) as in Hugging Face's checkpoints. */
  ropeStyle?: "interleaved" | "half";
  /** Share dropped in training of embeddings, attention probabilities and sublayer outputs. */
  dropout?: number;
  /** Whether the head shares the token table. */
  tied?: boolean;
  /** Deviation of the first weights; 0.02 suits wide models, about 1/√dim small ones. */
  initStd?: number;
  /** Draws the first weights from here. */
  rng?: Rng | null;
}

/**
 * Token embeddings, causal pre-norm blocks without biases, and a head: ids (B, T) -> logits (B, T, V). Touvron et al., 2023,
 * arXiv:2302.13971. Weights begin as N(0, initStd), those that end a residual branch divided by √(2·layers).
 *
 * @example
 * ```ts
 * import { Llama } from "bitgrad/models";
 *
 * const model = new Llama({ vocabulary: 50, context: 32, dim: 16, layers: 2, heads: 4, kvHeads: 2, feedForward: 32 });
 * console.log(model.forward([[1, 2, 3]]).shape); // [1, 3, 50]
 * ```
 */
export class Llama {
  /** Its name in files. */
  static readonly kind: string = "Llama";
  static readonly configs = {
    stories260k: {
      vocabulary: 512,
      context: 512,
      dim: 64,
      layers: 5,
      heads: 8,
      kvHeads: 4,
      feedForward: 172,
    },
  } as const satisfies Record<string, LlamaConfig>;

  /**
   * What the model was built from, defaults filled in, as plain JSON: `new Llama(model.config)` has the same parameters and
   * names.
   */
  readonly config: Readonly<Omit<Required<LlamaConfig>, "rng">>;
  training = true;
  readonly context: number;
  readonly dropout: number;
  token: Embedding;
  blocks: TransformerEncoderLayer[];
  norm: RMSNorm;
  head: Linear;

  constructor(config: LlamaConfig) {
    const settings: Required<LlamaConfig> = readConfig(
      "Llama",
      config,
      ["vocabulary", "context", "dim", "layers", "heads", "feedForward"],
      {
        headSize: null,
        kvHeads: null,
        eps: 1e-5,
        ropeBase: 10000,
        ropeStyle: "interleaved",
        dropout: 0,
        tied: true,
        initStd: 0.02,
        rng: null,
      },
    );
    const { vocabulary, context, dim, layers, heads, headSize, feedForward, eps, dropout } = settings;
    const { initStd, rng } = settings;
    const kvHeads = settings.kvHeads ?? heads;
    checkLayerSizes(
      "Llama",
      layers,
      { vocabulary, context, dim, layers, headSize: headSize ?? 1 },
      { heads, feedForward, kvHeads: settings.kvHeads ?? 1 },
    );
    checkShare("Llama", "dropout", dropout);
    this.config = plainConfig({ ...settings, kvHeads });
    this.context = context;
    this.dropout = dropout;
    this.token = withoutDraws(() => new Embedding(vocabulary, dim));
    const block = {
      norm: "pre",
      normalization: "rms",
      activation: "swiglu",
      rotary: { base: settings.ropeBase, style: settings.ropeStyle },
      bias: false,
      headSize,
      eps,
      dropout,
    } as const;
    this.blocks = times(layers, (i) => {
      const options = { ...block, kvHeads: ofLayer(kvHeads, i) };
      return withoutDraws(
        () => new TransformerEncoderLayer(dim, ofLayer(heads, i), ofLayer(feedForward, i), options),
      );
    });
    this.norm = new RMSNorm(dim, { eps });
    this.head = settings.tied
      ? tiedLinear(this.token.weight)
      : withoutDraws(() => new Linear(dim, vocabulary, { bias: false }));
    initNormal(this, { std: initStd, scale: 1 / Math.sqrt(2 * layers), residual: branchEnds, rng });
  }

  /** Throws ShapeError for ids that are not (B, T) or that go beyond the context. */
  forward(ids: TensorLike, options?: Partial<CausalCall>): Tensor {
    return inside(this, () => {
      const call = readOptions("Llama", options, causalCall);
      const { cache, rng } = call;
      return this.finish(this.runBlocks(this.embed(ids, { cache, rng }), call));
    });
  }

  /**
   * What the first block reads: ids (B, T), of the positions after those that caches hold -> states (B, T, C). `forward` is
   * `finish(runBlocks(embed(ids)))`. Throws ShapeError for ids that are not (B, T) or that go beyond the context.
   */
  embed(ids: TensorLike, options?: Partial<EmbedCall>): Tensor {
    return inside(this, () => {
      const { cache, rng } = readOptions("Llama", options, embedCall);
      const given = readIds("Llama", ids);
      const start = cachedPositions("Llama", cache, this.blocks.length);
      checkContext("Llama", start, given.shape[1], this.context);
      const { dropout: p, training } = this;
      return drop(this.token.forward(given), { p, training, rng });
    });
  }

  /** States through all blocks, (B, T, C) -> (B, T, C). Takes the options of `forward`. */
  runBlocks(x: TensorLike, options?: Partial<CausalCall>): Tensor {
    return inside(this, () =>
      runBlocks("Llama", this.blocks, readStates("Llama", x), readOptions("Llama", options, causalCall)),
    );
  }

  /** Logits of states that left the last block, (B, T, C) -> (B, T, V). */
  finish(x: TensorLike): Tensor {
    return this.head.forward(this.norm.forward(readStates("Llama", x)));
  }

  /** What may be scaled against one another; states between blocks stay as they are. */
  scalePairs(): ScalePair[] {
    const last = headPair(this.token.weight, ["norm", this.norm], ["head", this.head]);
    return [...pairsOfAll("blocks", this.blocks), ...last];
  }

  /** What may be taken out: key heads with their query heads, and neurons of the position-wise networks. */
  units(): Units[] {
    return unitsOfAll("blocks", this.blocks);
  }

  /** What all blocks read and add to, for `rotate`. */
  residualStream(): ResidualStream | null {
    return streamOf(["token"], this.blocks, this.norm);
  }

  /**
   * Gives the head a table of its own where it shares that of the tokens, as `config.tied` then says. Throws StageError for
   * a table that is masked or prepared.
   */
  untie(): void {
    untie(this);
  }

  toPacked(packer: Packer): PackedFields {
    return {
      kind: "language",
      context: this.context,
      token: packer.layer(this.token),
      position: null,
      blocks: this.blocks.map((block) => packer.layer(block)),
      norm: packer.layer(this.norm),
      head: packer.layer(this.head),
    };
  }

  /** An empty cache for every block. */
  newCache(): KVCache[] {
    return this.blocks.map(() => new KVCache());
  }

  /** See `stream`: the tokens after the prompt as they are made. */
  stream(
    prompt: ArrayLike<number>,
    options: Partial<StreamOptions> & Pick<StreamOptions, "maxTokens">,
  ): Generator<number, void, undefined> {
    return stream(this, prompt, options);
  }

  /** The tokens after the prompt, all at once; `onToken` sees each as it is made, which a tokenizer's decoder makes text. */
  generate(
    prompt: ArrayLike<number>,
    options: Partial<GenerateOptions> & Pick<GenerateOptions, "maxTokens">,
  ): number[] {
    return generate(this, prompt, options);
  }
}
