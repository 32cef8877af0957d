/** Transformer: the encoder-decoder with sinusoidal positions. */

import { checkShare, isPlainObject, OptionError, readOptions, show } from "../errors.ts";
import { type Capture, note } from "../nn/attention.ts";
import { type KeyValueCache, KVCache } from "../nn/cache.ts";
import { Embedding } from "../nn/embedding.ts";
import { normal, xavierUniform } from "../nn/init.ts";
import { inside } from "../nn/inside.ts";
import type { Linear } from "../nn/linear.ts";
import type { PackedFields, Packer } from "../nn/packing.ts";
import { checkLayerSizes, ofLayer, type PerLayer, plainConfig, readConfig, times } from "../nn/sizes.ts";
import { TransformerDecoderLayer, TransformerEncoderLayer } from "../nn/transformer.ts";
import { namedParameters } from "../nn/tree.ts";
import { pairsOfAll, type ScalePair, type Units, unitsOfAll } from "../nn/units.ts";
import { dropout as drop, sinusoidalPositions } from "../ops/create.ts";
import type { Rng } from "../random/rng.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import {
  cachedPositions,
  checkCaches,
  headMasks,
  keyMask,
  type LanguageCall,
  languageCall,
  readIds,
  readStates,
  runBlocks,
  tiedLinear,
} from "./language.ts";

export interface TransformerConfig {
  /** Tokens known, of source and target together. */
  vocabulary: number;
  /** Features a position. */
  dim: number;
  /** Blocks of the encoder and of the decoder. */
  layers: number;
  /** Heads of a block, or a list of those of each; by stack where they differ, `memory` being attention to the source. */
  heads: PerLayer | { readonly encoder: PerLayer; readonly decoder: PerLayer; readonly memory: PerLayer };
  /** Features of a head; default: dim/heads of its block. */
  headSize?: number | null;
  /** Features within the position-wise networks, or a list of those of each, by stack where they differ; default 4·dim. */
  feedForward?: PerLayer | { readonly encoder: PerLayer; readonly decoder: PerLayer } | null;
  eps?: number;
  /** Share dropped in training of embeddings, attention probabilities and sublayer outputs. */
  dropout?: number;
  /** Off: the encoder does not see the order of the source. */
  sourcePositions?: boolean;
  /** Draws the first weights from here. */
  rng?: Rng | null;
}

export interface DecodeCall extends LanguageCall {
  /** (B, S): true or 1 at source positions that may be read. */
  memoryMask: TensorLike | null;
  /** (layers, H): factors of the heads that attend to the source. */
  memoryHeadMask: TensorLike | null;
  /** Lists to fill with what the attention to the source computes. */
  memoryCapture: Capture | null;
  /** One cache a layer, from `newCache()`; the ids are then those after the cached ones. */
  cache: readonly KeyValueCache[] | null;
}

export interface StackCall extends Pick<DecodeCall, "cache" | "rng"> {
  /** The stack that reads the states; the encoder takes no cache. Default "decoder". */
  stack: "encoder" | "decoder";
}

export interface TransformerCall {
  /** (B, S): true or 1 at source positions that may be read, false at padding. */
  sourceMask: TensorLike | null;
  /**
   * Lists to fill: of the encoder, of the decoder's self-attention with its hidden states, and of its attention to the
   * source.
   */
  capture: { encoder?: Capture; decoder?: Capture; memory?: Capture } | null;
  /** Source of dropout. */
  rng: Rng | null;
}

const decodeCall: DecodeCall = {
  ...languageCall,
  memoryMask: null,
  memoryHeadMask: null,
  memoryCapture: null,
  cache: null,
};

/**
 * The encoder-decoder of Vaswani et al., 2017, arXiv:1706.03762: post-norm blocks with ReLU, and one table, times √dim on the
 * way in, for source, target and logits. Matrices begin as Xavier uniform, the table as N(0, 1/√dim).
 *
 * @example
 * ```ts
 * import { Transformer } from "bitgrad/models";
 *
 * const model = new Transformer({ vocabulary: 10, dim: 8, layers: 1, heads: 2 });
 * console.log(model.forward([[1, 2, 3]], [[4, 5]]).shape); // [1, 2, 10]
 * ```
 */
export class Transformer {
  /** Its name in files. */
  static readonly kind: string = "Transformer";
  static readonly configs = {
    base: { vocabulary: 37000, dim: 512, layers: 6, heads: 8, feedForward: 2048 },
    big: { vocabulary: 37000, dim: 1024, layers: 6, heads: 16, feedForward: 4096 },
  } as const satisfies Record<string, TransformerConfig>;

  /**
   * What the model was built from, defaults filled in, as plain JSON: `new Transformer(model.config)` has the same
   * parameters and names.
   */
  readonly config: Readonly<Omit<Required<TransformerConfig>, "rng">>;
  training = true;
  readonly dim: number;
  readonly dropout: number;
  readonly sourcePositions: boolean;
  token: Embedding;
  encoder: TransformerEncoderLayer[];
  decoder: TransformerDecoderLayer[];
  head: Linear;

  constructor(config: TransformerConfig) {
    const settings: Required<TransformerConfig> = readConfig(
      "Transformer",
      config,
      ["vocabulary", "dim", "layers", "heads"],
      {
        headSize: null,
        feedForward: null,
        eps: 1e-5,
        dropout: 0,
        sourcePositions: true,
        rng: null,
      },
    );
    const { vocabulary, dim, layers, headSize, eps, dropout, sourcePositions, rng } = settings;
    const hidden = settings.feedForward ?? 4 * dim;
    const heads = byStack("heads", settings.heads, ["encoder", "decoder", "memory"]);
    const features = byStack("feedForward", hidden, ["encoder", "decoder"]);
    const perLayer = {
      ...named("heads", settings.heads, heads),
      ...named("feedForward", settings.feedForward ?? 1, features),
    };
    checkLayerSizes("Transformer", layers, { vocabulary, dim, layers, headSize: headSize ?? 1 }, perLayer);
    checkShare("Transformer", "dropout", dropout);
    this.dim = dim;
    this.dropout = dropout;
    this.sourcePositions = sourcePositions;
    this.token = new Embedding(vocabulary, dim, { rng });
    this.config = plainConfig({ ...settings, feedForward: hidden });
    const block = { norm: "post", activation: "relu", eps, dropout, headSize, rng } as const;
    this.encoder = times(
      layers,
      (i) => new TransformerEncoderLayer(dim, ofLayer(heads.encoder, i), ofLayer(features.encoder, i), block),
    );
    this.decoder = times(layers, (i) => {
      const memoryHeads = ofLayer(heads.memory, i);
      const [own, inner] = [ofLayer(heads.decoder, i), ofLayer(features.decoder, i)];
      return new TransformerDecoderLayer(dim, own, inner, { ...block, memoryHeads });
    });
    this.head = tiedLinear(this.token.weight);
    for (const [, parameter] of namedParameters({ encoder: this.encoder, decoder: this.decoder })) {
      if (parameter.shape.length === 2) xavierUniform(parameter, { rng });
    }
    normal(this.token.weight, { std: 1 / Math.sqrt(dim), rng });
  }

  /** Logits (B, T, V) of what follows each target position, for a source (B, S) and a target (B, T). */
  forward(source: TensorLike, target: TensorLike, options?: Partial<TransformerCall>): Tensor {
    return inside(this, () => {
      const { sourceMask, capture, rng } = readOptions<TransformerCall>("Transformer", options, {
        sourceMask: null,
        capture: null,
        rng: null,
      });
      if (capture !== null && !isPlainObject(capture)) {
        throw new OptionError(`Transformer: capture must hold lists by name, got ${show(capture)}`);
      }
      const { encoder = null, decoder = null, memory = null } = capture ?? {};
      const states = this.encode(source, { mask: sourceMask, capture: encoder, rng });
      return this.decode(target, states, {
        memoryMask: sourceMask,
        capture: decoder,
        memoryCapture: memory,
        rng,
      });
    });
  }

  /** The source's states, (B, S) -> (B, S, C). */
  encode(source: TensorLike, options?: Partial<LanguageCall>): Tensor {
    return inside(this, () => {
      const call = readOptions("Transformer", options, languageCall);
      return this.runEncoder(this.embed(source, { rng: call.rng, stack: "encoder" }), call);
    });
  }

  /** The source's states through the blocks of the encoder, (B, S, C) -> (B, S, C). Takes the options of `encode`. */
  runEncoder(x: TensorLike, options?: Partial<LanguageCall>): Tensor {
    return inside(this, () => {
      const call = readOptions("Transformer", options, languageCall);
      return runBlocks("Transformer", this.encoder, readStates("Transformer", x), call, false);
    });
  }

  /** Logits (B, T, V) for target ids (B, T) and a source's states (B, S, C). */
  decode(target: TensorLike, memory: Tensor, options?: Partial<DecodeCall>): Tensor {
    return inside(this, () => {
      const call = readOptions("Transformer", options, decodeCall);
      const { cache, rng } = call;
      return this.finish(this.runDecoder(this.embed(target, { cache, rng, stack: "decoder" }), memory, call));
    });
  }

  /**
   * The target's states through the blocks of the decoder, (B, T, C) and a source's states (B, S, C) -> (B, T, C). Takes the
   * options of `decode`.
   */
  runDecoder(x: TensorLike, memory: Tensor, options?: Partial<DecodeCall>): Tensor {
    return inside(this, () => {
      const call = readOptions("Transformer", options, decodeCall);
      const { capture, memoryCapture, cache, rng } = call;
      const layers = this.decoder.length;
      checkCaches("Transformer", cache, layers);
      const masks = {
        mask: keyMask("Transformer", call.mask),
        memoryMask: keyMask("Transformer", call.memoryMask),
      };
      const counts = (of: "attention" | "crossAttention") => this.decoder.map((block) => block[of].heads);
      const heads = headMasks("Transformer", call.headMask, counts("attention"));
      const memoryHeads = headMasks("Transformer", call.memoryHeadMask, counts("crossAttention"));
      let y = readStates("Transformer", x);
      note(capture?.hidden, y);
      this.decoder.forEach((block, i) => {
        y = block.forward(y, memory, {
          ...masks,
          headMask: heads?.[i] ?? null,
          memoryHeadMask: memoryHeads?.[i] ?? null,
          cache: cache?.[i] ?? null,
          capture,
          memoryCapture,
          rng,
        });
        note(capture?.hidden, y);
      });
      return y;
    });
  }

  /** Logits of states that left the decoder, (B, T, C) -> (B, T, V). */
  finish(x: TensorLike): Tensor {
    return this.head.forward(readStates("Transformer", x));
  }

  /**
   * What the first block of a stack reads: ids (B, T) -> states (B, T, C), in the decoder of the positions after those that
   * caches hold. `decode` is `finish` of `runDecoder` of it, `encode` `runEncoder`.
   */
  embed(ids: TensorLike, options?: Partial<StackCall>): Tensor {
    return inside(this, () => {
      const { stack, cache, rng } = readOptions<StackCall>("Transformer", options, {
        stack: "decoder",
        cache: null,
        rng: null,
      });
      if (stack !== "encoder" && stack !== "decoder") {
        throw new OptionError(`Transformer: stack must be "encoder" or "decoder", got ${show(stack)}`);
      }
      if (stack === "encoder" && cache !== null)
        throw new OptionError(`Transformer: the encoder takes no cache, got ${show(cache)}`);
      const given = readIds("Transformer", ids);
      const start = cachedPositions("Transformer", cache, this.decoder.length);
      const end = start + given.shape[1];
      let x = this.token.forward(given).mul(Math.sqrt(this.dim));
      if (stack === "decoder" || this.sourcePositions)
        x = x.add(sinusoidalPositions(end, this.dim).slice([[start, end]]));
      return drop(x, { p: this.dropout, training: this.training, rng });
    });
  }

  /** An empty cache for every block of the decoder. */
  newCache(): KVCache[] {
    return this.decoder.map(() => new KVCache());
  }

  /** What may be scaled against one another; states between blocks stay as they are. */
  scalePairs(): ScalePair[] {
    return [...pairsOfAll("encoder", this.encoder), ...pairsOfAll("decoder", this.decoder)];
  }

  /** What may be taken out: heads of attention, and neurons of the position-wise networks. */
  units(): Units[] {
    const sizes = (stack: string) => ({
      heads: `heads.${stack}`,
      kvHeads: null,
      memoryHeads: "heads.memory",
      feedForward: `feedForward.${stack}`,
    });
    return [
      ...unitsOfAll("encoder", this.encoder, sizes("encoder")),
      ...unitsOfAll("decoder", this.decoder, sizes("decoder")),
    ];
  }

  toPacked(packer: Packer): PackedFields {
    const stack = (
      blocks: readonly object[],
      position: "sinusoidal" | null,
      head: PackedFields | null,
    ): PackedFields => ({
      kind: "language",
      causal: head !== null,
      context: null,
      token: packer.layer(this.token),
      scale: Math.fround(Math.sqrt(this.dim)),
      position,
      blocks: blocks.map((block) => packer.layer(block)),
      norm: null,
      head,
    });
    return {
      kind: "seq2seq",
      encoder: stack(this.encoder, this.sourcePositions ? "sinusoidal" : null, null),
      decoder: stack(this.decoder, "sinusoidal", packer.layer(this.head)),
    };
  }
}

/** Sizes by stack: those given so, or the same for all. Throws OptionError for other names. */
function byStack<K extends string>(name: string, given: unknown, stacks: readonly K[]): Record<K, PerLayer> {
  const all = isPlainObject(given) ? given : Object.fromEntries(stacks.map((stack) => [stack, given]));
  if (Object.keys(all).length !== stacks.length || !stacks.every((stack) => Object.hasOwn(all, stack))) {
    throw new OptionError(
      `Transformer: ${name} by stack needs ${stacks.join(", ")}, got ${show(Object.keys(all))}`,
    );
  }
  return all as Record<K, PerLayer>;
}

/** Sizes as the configuration names them: `heads`, or `heads.encoder` and so on. */
const named = (
  name: string,
  given: unknown,
  sizes: Readonly<Record<string, PerLayer>>,
): Record<string, unknown> =>
  isPlainObject(given)
    ? Object.fromEntries(Object.entries(sizes).map(([stack, size]) => [`${name}.${stack}`, size]))
    : { [name]: given };
