/** Gpt: the decoder-only Transformer, in GPT-1's and GPT-2's forms. */

import { checkShare, readOptions } from "../errors.ts";
import { withoutDraws } from "../nn/blank.ts";
import { KVCache } from "../nn/cache.ts";
import { Embedding } from "../nn/embedding.ts";
import type { Activation } from "../nn/feed-forward.ts";
import { normal } from "../nn/init.ts";
import { inside } from "../nn/inside.ts";
import { Linear } from "../nn/linear.ts";
import { LayerNorm } from "../nn/norm.ts";
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

export interface GptConfig {
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
  /** Features within the position-wise networks, or a list of those of each; default 4·dim. */
  feedForward?: PerLayer | null;
  /** "pre" as in GPT-2, with a last normalisation after the blocks; "post" as in GPT-1. */
  norm?: "pre" | "post";
  activation?: Activation;
  eps?: number;
  /** Share dropped in training of embeddings, attention probabilities and sublayer outputs. */
  dropout?: number;
  /** Biases of the projections. */
  bias?: boolean;
  /** Whether the head shares the token table. */
  tied?: boolean;
  /** Deviation of the first weights; 0.02 suits wide models, about 1/√dim small ones. */
  initStd?: number;
  /** Draws the first weights from here. */
  rng?: Rng | null;
}

const gpt2 = (layers: number, dim: number, heads: number): GptConfig => ({
  vocabulary: 50257,
  context: 1024,
  dim,
  layers,
  heads,
});

/**
 * Token and learned position embeddings, causal blocks, and a head without bias: ids (B, T) -> logits (B, T, V). Radford et
 * al., 2018 and 2019. Weights begin as N(0, initStd), those that end a residual branch divided by √(2·layers) in the pre form,
 * positions with half of it there, as in GPT-2.
 *
 * @example
 * ```ts
 * import { Gpt } from "bitgrad/models";
 * import { parameterCount } from "bitgrad/nn";
 *
 * const model = new Gpt({ vocabulary: 50, context: 32, dim: 16, layers: 2, heads: 2 });
 * console.log(model.forward([[1, 2, 3]]).shape); // [1, 3, 50]
 * console.log(parameterCount(() => new Gpt(Gpt.configs.gpt2))); // 124439808
 * ```
 */
export class Gpt {
  /** Its name in files. */
  static readonly kind: string = "Gpt";
  /** The published sizes. GPT-1's single table of tokens and positions is two tables here. */
  static readonly configs = {
    gpt1: { vocabulary: 40478, context: 512, dim: 768, layers: 12, heads: 12, norm: "post" },
    gpt2: gpt2(12, 768, 12),
    gpt2Medium: gpt2(24, 1024, 16),
    gpt2Large: gpt2(36, 1280, 20),
    gpt2Xl: gpt2(48, 1600, 25),
  } as const satisfies Record<string, GptConfig>;

  /**
   * What the model was built from, defaults filled in, as plain JSON: `new Gpt(model.config)` has the same parameters and
   * names.
   */
  readonly config: Readonly<Omit<Required<GptConfig>, "rng">>;
  training = true;
  readonly context: number;
  readonly dropout: number;
  token: Embedding;
  position: Embedding;
  blocks: TransformerEncoderLayer[];
  norm: LayerNorm | null;
  head: Linear;

  constructor(config: GptConfig) {
    const settings: Required<GptConfig> = readConfig(
      "Gpt",
      config,
      ["vocabulary", "context", "dim", "layers", "heads"],
      {
        headSize: null,
        feedForward: null,
        norm: "pre",
        activation: "geluTanh",
        eps: 1e-5,
        dropout: 0,
        bias: true,
        tied: true,
        initStd: 0.02,
        rng: null,
      },
    );
    const { vocabulary, context, dim, layers, heads, headSize, norm, activation } = settings;
    const { eps, dropout, bias, initStd, rng } = settings;
    const hidden = settings.feedForward ?? 4 * dim;
    checkLayerSizes(
      "Gpt",
      layers,
      { vocabulary, context, dim, layers, headSize: headSize ?? 1 },
      { heads, feedForward: settings.feedForward ?? 1 },
    );
    checkShare("Gpt", "dropout", dropout);
    this.context = context;
    this.dropout = dropout;
    this.token = withoutDraws(() => new Embedding(vocabulary, dim));
    this.position = withoutDraws(() => new Embedding(context, dim));
    const block = { norm, activation, eps, dropout, bias, headSize };
    this.config = plainConfig({ ...settings, feedForward: hidden });
    this.blocks = times(layers, (i) =>
      withoutDraws(() => new TransformerEncoderLayer(dim, ofLayer(heads, i), ofLayer(hidden, i), block)),
    );
    this.norm = norm === "pre" ? new LayerNorm(dim, { eps }) : null;
    this.head = settings.tied
      ? tiedLinear(this.token.weight)
      : withoutDraws(() => new Linear(dim, vocabulary, { bias: false }));
    const scale = norm === "pre" ? 1 / Math.sqrt(2 * layers) : 1;
    initNormal(this, { std: initStd, scale, residual: branchEnds, rng });
    if (norm === "pre") normal(this.position.weight, { std: initStd / 2, rng });
  }

  /** Throws ShapeError for ids that are not (B, T) or that go beyond the context. */
  forward(ids: TensorLike, options?: Partial<CausalCall>): Tensor {
    return inside(this, () => {
      const call = readOptions("Gpt", options, causalCall);
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
      const { cache, rng } = readOptions("Gpt", options, embedCall);
      const given = readIds("Gpt", ids);
      const start = cachedPositions("Gpt", cache, this.blocks.length);
      const length = given.shape[1];
      checkContext("Gpt", start, length, this.context);
      const places = this.position.weight.effective().slice([[start, start + length]]);
      const { dropout: p, training } = this;
      return drop(this.token.forward(given).add(places), { p, training, rng });
    });
  }

  /** States through all blocks, (B, T, C) -> (B, T, C). Takes the options of `forward`. */
  runBlocks(x: TensorLike, options?: Partial<CausalCall>): Tensor {
    return inside(this, () =>
      runBlocks("Gpt", this.blocks, readStates("Gpt", x), readOptions("Gpt", options, causalCall)),
    );
  }

  /** Logits of states that left the last block, (B, T, C) -> (B, T, V). */
  finish(x: TensorLike): Tensor {
    const y = readStates("Gpt", x);
    return this.head.forward(this.norm ? this.norm.forward(y) : y);
  }

  /** What may be scaled against one another; states between blocks stay as they are. */
  scalePairs(): ScalePair[] {
    const { norm, head, token } = this;
    const last = norm ? headPair(token.weight, ["norm", norm], ["head", head]) : [];
    return [...pairsOfAll("blocks", this.blocks), ...last];
  }

  /** What may be taken out: heads of attention, and neurons of the position-wise networks. */
  units(): Units[] {
    return unitsOfAll("blocks", this.blocks, { kvHeads: null });
  }

  /** What all blocks read and add to, for `rotate`; null in the post form. */
  residualStream(): ResidualStream | null {
    return streamOf(["token", "position"], this.blocks, this.norm);
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
      position: packer.layer(this.position),
      blocks: this.blocks.map((block) => packer.layer(block)),
      norm: this.norm && packer.layer(this.norm),
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
