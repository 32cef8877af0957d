/** Bert: the bidirectional encoder, with heads for masked tokens and for classification. */

import { checkShare, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { withoutDraws } from "../nn/blank.ts";
import { Embedding } from "../nn/embedding.ts";
import { inside } from "../nn/inside.ts";
import { Linear } from "../nn/linear.ts";
import { LayerNorm } from "../nn/norm.ts";
import type { PackedFields, Packer } from "../nn/packing.ts";
import { isParameter, type Parameter } from "../nn/parameter.ts";
import { checkLayerSizes, ofLayer, type PerLayer, plainConfig, readConfig, times } from "../nn/sizes.ts";
import { TransformerEncoderLayer } from "../nn/transformer.ts";
import { pairsOfAll, type ScalePair, type Units, unitsOfAll } from "../nn/units.ts";
import { gelu } from "../ops/activation.ts";
import { dropout as drop } from "../ops/create.ts";
import type { Rng } from "../random/rng.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import {
  checkContext,
  headPair,
  initNormal,
  type LanguageCall,
  languageCall,
  readIds,
  readStates,
  runBlocks,
  tiedLinear,
} from "./language.ts";

export interface BertConfig {
  vocabulary: number;
  /** Positions that can be read at once. */
  context?: number;
  /** Kinds of segments that ids can belong to. */
  segments?: number;
  /** Features a position. */
  dim: number;
  layers: number;
  /** Heads of a block, or a list of those of each. */
  heads: PerLayer;
  /** Features of a head; default: dim/heads of its block. */
  headSize?: number | null;
  /** Features within the position-wise networks, or a list of those of each; default 4·dim. */
  feedForward?: PerLayer | null;
  eps?: number;
  /** Share dropped in training of embeddings, attention probabilities, sublayer outputs and pooled states. */
  dropout?: number;
  /** What `forward` gives: logits of every token (maskedLm), of every class (classifier), or hidden states (none). */
  head?: "none" | "maskedLm" | "classifier";
  /** Classes of the classifier. */
  classes?: number;
  /** Deviation of the first weights; 0.02 suits wide models, about 1/√dim small ones. */
  initStd?: number;
  /** Draws the first weights from here. */
  rng?: Rng | null;
}

export interface BertCall extends LanguageCall {
  /** The segment of every id, (B, T); default: all of the first. */
  segments: TensorLike | null;
}

const bertCall: BertCall = { ...languageCall, segments: null };

const size = (layers: number, dim: number, heads: number): BertConfig => ({
  vocabulary: 30522,
  dim,
  layers,
  heads,
});

/**
 * norm(gelu(dense(x))) onto the token table, with a bias: hidden states (B, T, C) -> logits (B, T, V).
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { MaskedLmHead } from "bitgrad/models";
 * import { Parameter } from "bitgrad/nn";
 *
 * const head = new MaskedLmHead(new Parameter(zeros([10, 4])), { eps: 1e-12 });
 * console.log(head.forward(zeros([2, 3, 4])).shape); // [2, 3, 10]
 * ```
 */
export class MaskedLmHead {
  dense: Linear;
  norm: LayerNorm;
  decoder: Linear;

  constructor(table: Parameter, options: { eps: number }) {
    if (!isParameter(table) || table.shape.length !== 2) {
      throw new OptionError(`MaskedLmHead: needs a parameter (V, C), got ${show(table)}`);
    }
    const { eps } = readConfig("MaskedLmHead", options, ["eps"], {});
    const dim = table.shape[1];
    this.dense = new Linear(dim, dim);
    this.norm = new LayerNorm(dim, { eps });
    this.decoder = tiedLinear(table, { bias: true });
  }

  forward(x: Tensor): Tensor {
    return this.decoder.forward(this.norm.forward(this.dense.forward(x).gelu()));
  }

  toPacked(packer: Packer): PackedFields {
    return packer.sequence(this.dense, gelu, this.norm, this.decoder);
  }
}

/**
 * Token, learned position and segment embeddings, normalised, and post-norm blocks that read in both directions: ids (B, T)
 * -> what `head` says. Devlin et al., 2018, arXiv:1810.04805. Weights begin as N(0, initStd), cut at two deviations.
 *
 * @example
 * ```ts
 * import { Bert } from "bitgrad/models";
 *
 * const model = new Bert({ vocabulary: 30, dim: 16, layers: 2, heads: 2 });
 * console.log(model.forward([[2, 7, 3]]).shape); // [1, 3, 16]
 * ```
 */
export class Bert {
  /** Its name in files. */
  static readonly kind: string = "Bert";
  /** The published sizes, without a head. */
  static readonly configs = {
    tiny: size(2, 128, 2),
    mini: size(4, 256, 4),
    small: size(4, 512, 8),
    medium: size(8, 512, 8),
    base: size(12, 768, 12),
    large: size(24, 1024, 16),
  } as const satisfies Record<string, BertConfig>;

  /**
   * What the model was built from, defaults filled in, as plain JSON: `new Bert(model.config)` has the same parameters and
   * names.
   */
  readonly config: Readonly<Omit<Required<BertConfig>, "rng">>;
  training = true;
  readonly context: number;
  readonly dropout: number;
  token: Embedding;
  position: Embedding;
  segment: Embedding;
  norm: LayerNorm;
  blocks: TransformerEncoderLayer[];
  /** For `pool`; none beside a masked-token head. */
  pooler: Linear | null;
  maskedLm: MaskedLmHead | null;
  classifier: Linear | null;

  constructor(config: BertConfig) {
    const settings: Required<BertConfig> = readConfig(
      "Bert",
      config,
      ["vocabulary", "dim", "layers", "heads"],
      {
        context: 512,
        segments: 2,
        headSize: null,
        feedForward: null,
        eps: 1e-12,
        dropout: 0,
        head: "none",
        classes: 2,
        initStd: 0.02,
        rng: null,
      },
    );
    const { vocabulary, context, segments, dim, layers, heads, headSize, eps, dropout } = settings;
    const { head, classes, initStd, rng } = settings;
    const hidden = settings.feedForward ?? 4 * dim;
    const sizes = { vocabulary, context, segments, dim, layers, classes, headSize: headSize ?? 1 };
    checkLayerSizes("Bert", layers, sizes, { heads, feedForward: settings.feedForward ?? 1 });
    checkShare("Bert", "dropout", dropout);
    if (!["none", "maskedLm", "classifier"].includes(head)) {
      throw new OptionError(`Bert: head must be "none", "maskedLm" or "classifier", got ${show(head)}`);
    }
    this.context = context;
    this.dropout = dropout;
    this.token = withoutDraws(() => new Embedding(vocabulary, dim));
    this.position = withoutDraws(() => new Embedding(context, dim));
    this.segment = withoutDraws(() => new Embedding(segments, dim));
    this.norm = new LayerNorm(dim, { eps });
    const block = { norm: "post", activation: "gelu", eps, dropout, headSize } as const;
    this.config = plainConfig({ ...settings, feedForward: hidden });
    this.blocks = times(layers, (i) =>
      withoutDraws(() => new TransformerEncoderLayer(dim, ofLayer(heads, i), ofLayer(hidden, i), block)),
    );
    this.pooler = head === "maskedLm" ? null : withoutDraws(() => new Linear(dim, dim));
    this.maskedLm =
      head === "maskedLm" ? withoutDraws(() => new MaskedLmHead(this.token.weight, { eps })) : null;
    this.classifier = head === "classifier" ? withoutDraws(() => new Linear(dim, classes)) : null;
    initNormal(this, { std: initStd, truncated: true, rng });
  }

  /**
   * Logits (B, T, V) or (B, classes), or hidden states (B, T, C), as the head is. Throws ShapeError for ids that are not (B, T)
   * or that go beyond the context.
   */
  forward(ids: TensorLike, options?: Partial<BertCall>): Tensor {
    return inside(this, () => {
      const call = readOptions("Bert", options, bertCall);
      return this.finish(this.encode(ids, call), { rng: call.rng });
    });
  }

  /** The last hidden states (B, T, C), whatever the head. */
  encode(ids: TensorLike, options?: Partial<BertCall>): Tensor {
    return inside(this, () => {
      const { segments, ...call } = readOptions("Bert", options, bertCall);
      return this.runBlocks(this.embed(ids, { segments, rng: call.rng }), call);
    });
  }

  /**
   * What the first block reads: ids (B, T) -> states (B, T, C). `forward` is
   * `finish(runBlocks(embed(ids)))`.
   */
  embed(ids: TensorLike, options?: Partial<Pick<BertCall, "segments" | "rng">>): Tensor {
    return inside(this, () => {
      const { segments, rng } = readOptions("Bert", options, {
        segments: bertCall.segments,
        rng: bertCall.rng,
      });
      const given = readIds("Bert", ids);
      const length = given.shape[1];
      checkContext("Bert", 0, length, this.context);
      const kinds = segments === null ? [0] : readSegments(segments, given);
      const sum = this.token
        .forward(given)
        .add(this.position.weight.effective().slice([[0, length]]))
        .add(this.segment.forward(kinds));
      const { dropout: p, training } = this;
      return drop(this.norm.forward(sum), { p, training, rng });
    });
  }

  /** States through all blocks, (B, T, C) -> (B, T, C). */
  runBlocks(x: TensorLike, options?: Partial<LanguageCall>): Tensor {
    return inside(this, () => {
      const call = readOptions("Bert", options, languageCall);
      return runBlocks("Bert", this.blocks, readStates("Bert", x), call, false);
    });
  }

  /** What the head makes of states that left the last block: logits (B, T, V) or (B, classes), or the states themselves. */
  finish(x: TensorLike, options?: Partial<Pick<BertCall, "rng">>): Tensor {
    return inside(this, () => {
      const { rng } = readOptions("Bert", options, { rng: bertCall.rng });
      const hidden = readStates("Bert", x);
      if (this.maskedLm) return this.maskedLm.forward(hidden);
      if (!this.classifier) return hidden;
      const { dropout: p, training } = this;
      return this.classifier.forward(drop(this.pool(hidden), { p, training, rng }));
    });
  }

  /** tanh of a projection of the first position: hidden states (B, T, C) -> (B, C). */
  pool(hidden: Tensor): Tensor {
    if (!this.pooler) {
      throw new OptionError('Bert: has no pooler with a masked-token head, got head "maskedLm"');
    }
    hidden = asTensor("Bert", hidden);
    return this.pooler.forward(hidden.select(0, { axis: 1 })).tanh();
  }

  /** What may be scaled against one another; states between blocks stay as they are. */
  scalePairs(): ScalePair[] {
    const { maskedLm, token } = this;
    const last = maskedLm
      ? headPair(token.weight, ["maskedLm.norm", maskedLm.norm], ["maskedLm.decoder", maskedLm.decoder])
      : [];
    return [...pairsOfAll("blocks", this.blocks), ...last];
  }

  /** What may be taken out: heads of attention, and neurons of the position-wise networks. */
  units(): Units[] {
    return unitsOfAll("blocks", this.blocks, { kvHeads: null });
  }

  toPacked(packer: Packer): PackedFields {
    const head = this.maskedLm ?? this.classifier;
    return {
      kind: "language",
      causal: false,
      context: this.context,
      token: packer.layer(this.token),
      position: packer.layer(this.position),
      segment: packer.layer(this.segment),
      inputNorm: packer.layer(this.norm),
      blocks: this.blocks.map((block) => packer.layer(block)),
      norm: null,
      pooler: this.pooler && packer.layer(this.pooler),
      head: head && packer.layer(head),
    };
  }
}

function readSegments(segments: TensorLike, ids: Tensor): Tensor {
  const given = asTensor("Bert", segments, "int32");
  if (given.rank !== 2 || given.shape.some((n, axis) => n !== ids.shape[axis])) {
    throw new ShapeError(
      `Bert: segments must have the shape of the ids, got ${show(given.shape)} for ${show(ids.shape)}`,
    );
  }
  return given;
}
