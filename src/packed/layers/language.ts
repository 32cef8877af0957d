/** Packed models of text: encoders, causal models, and the two together. */

import { undoing } from "../../changes.ts";
import { isPlainObject, OptionError, ShapeError, show } from "../../errors.ts";
import type { KeyValueCache } from "../executor.ts";
import { FieldReader, type Fields, type PackedLayer, type PackedStep } from "../file/layer.ts";
import { executor } from "../running.ts";
import { checkValues, type Ids, readCall, room, type Values } from "../values.ts";
import { checkCaches } from "./attention.ts";
import { combined, mapped } from "./elementwise.ts";
import type { PackedEmbedding, PackedLinear } from "./linear.ts";
import type { PackedNorm } from "./norm.ts";
import { writeSinusoids } from "./positions.ts";
import type { PackedBlock } from "./transformer.ts";

export interface PackedLanguageCall {
  /** (B, T): 1 at positions that may be read, 0 at padding. */
  readonly mask?: Ids | null;
  /** The segment of every id, (B, T); default: all of the first. */
  readonly segments?: Ids | null;
  /** The states that a decoder attends to, (B, S, C), and (B, S): 1 at those that may be read. */
  readonly memory?: Values | null;
  readonly memoryMask?: Ids | null;
  /** One a block: the ids, (1, T), are then those after the cached ones. */
  readonly cache?: readonly KeyValueCache<Float32Array>[] | null;
  /** Give what follows the last position alone. */
  readonly last?: boolean;
}

/** What a run of a whole model cannot be told. */
const states = { memory: "values", memoryMask: "ids" };
const unstored = { cache: null, last: false };

/** A (B, S) mask as attention takes it. */
function keyMask(mask: Ids | null = null): Ids | null {
  if (mask?.shape.length !== 2) return mask;
  const [b, s] = mask.shape;
  return { data: mask.data, shape: [b, 1, 1, s] };
}

/** What a file need not have beside layers. */
const defaults = { causal: true, scale: 1 };

/**
 * Token embeddings with learned, sinusoidal or no positions and with segments where there are any, blocks and a head: ids
 * (B, T) -> logits (B, T, V), with a pooler (B, classes), and without a head hidden states (B, T, C).
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
 * console.log(root.forward({ data: [1, 2, 3], shape: [1, 3] }).shape); // [1, 3, 8]
 * ```
 */
export class PackedLanguage implements PackedLayer {
  static readonly kind = "language";
  static readonly options = { mask: "ids", segments: "ids" };
  readonly kind = "language";
  readonly causal: boolean;
  /** Positions that can be read at once; null for any number. */
  readonly context: number | null;
  readonly token: PackedEmbedding;
  /** What rows of the table are multiplied by. */
  readonly scale: number;
  readonly position: PackedEmbedding | "sinusoidal" | null;
  readonly segment: PackedEmbedding | null;
  readonly inputNorm: PackedNorm | null;
  readonly blocks: readonly PackedBlock[];
  readonly norm: PackedNorm | null;
  /** A projection of the first position, before the head. */
  readonly pooler: PackedLinear | null;
  readonly head: PackedStep | null;

  constructor(fields: Fields) {
    const read = new FieldReader("language", isPlainObject(fields) ? { ...defaults, ...fields } : fields);
    this.causal = read.flag("causal");
    this.context = fields.context === null ? null : read.count("context");
    this.token = read.layer("token", "embedding");
    this.scale = read.number("scale", 0);
    this.position =
      fields.position === "sinusoidal"
        ? "sinusoidal"
        : read.optionalLayer<PackedEmbedding>("position", "embedding");
    this.segment = read.optionalLayer("segment", "embedding");
    this.inputNorm = read.optionalLayer("inputNorm", "norm");
    this.blocks = read.layers("blocks", "block");
    this.norm = read.optionalLayer("norm", "norm");
    this.pooler = read.optionalLayer("pooler", "linear");
    this.head = read.optionalLayer("head");
  }

  get idWidth(): number {
    return this.token.idWidth;
  }

  newCache(): KeyValueCache<Float32Array>[] {
    return this.blocks.map(() => executor().newCache());
  }

  /**
   * Throws ShapeError for another rank, for ids that are not in the table, for masks and segments of another shape, and beyond
   * the context.
   */
  forward(ids: Ids, call?: PackedLanguageCall): Values {
    return undoing(() => {
      const { head, pooler } = this;
      const x = this.encode(ids, call);
      if (!head) return x;
      if (pooler) return head.forward(this.pool(x));
      return head.forward(call?.last && x.shape[1] > 1 ? positionOf(x, x.shape[1] - 1) : x);
    });
  }

  /** tanh of a projection of the first position: hidden states (B, T, C) -> (B, C). */
  pool(hidden: Values): Values {
    if (!this.pooler) throw new OptionError("PackedLanguage: has no pooler, got none");
    checkValues("PackedLanguage", hidden);
    if (hidden.shape.length !== 3 || hidden.shape[1] === 0)
      throw new ShapeError(`PackedLanguage: hidden states must be (B, T, C), got ${show(hidden.shape)}`);
    const { data, shape } = positionOf(hidden, 0);
    return mapped(this.pooler.forward({ data, shape: [shape[0], shape[2]] }), "tanh");
  }

  /** The last hidden states (B, T, C), whatever the head; those of all positions. */
  encode(ids: Ids, call?: PackedLanguageCall): Values {
    checkValues("PackedLanguage", ids, true);
    const told = readCall("PackedLanguage", call, { ...PackedLanguage.options, ...states }, unstored);
    return undoing(() => {
      const { blocks, causal, inputNorm, norm } = this;
      const { segments, cache, memory } = told;
      const mask = keyMask(told.mask);
      const memoryMask = keyMask(told.memoryMask);
      if (ids.shape.length !== 2)
        throw new ShapeError(`PackedLanguage: ids must be (B, T), got ${show(ids.shape)}`);
      if (cache !== null && !Array.isArray(cache))
        throw new OptionError(`PackedLanguage: cache must be a list of caches, got ${show(cache)}`);
      if (cache) checkCaches("PackedLanguage", cache);
      const own = new Set(cache).size;
      if (cache && (cache.length !== blocks.length || own !== blocks.length)) {
        throw new ShapeError(`PackedLanguage: needs a cache for each of ${blocks.length} blocks, got ${own}`);
      }
      let x = this.embedded(ids, cache?.[0]?.length ?? 0, segments);
      if (inputNorm) x = inputNorm.forward(x);
      blocks.forEach((block, i) => {
        x = block.forward(x, { causal, mask, memory, memoryMask, cache: cache?.[i] });
      });
      // All positions, as the unpacked model: a norm of few numbers may take another kernel than one of many.
      return norm ? norm.forward(x) : x;
    });
  }

  private embedded(ids: Ids, start: number, segments: Ids | null): Values {
    const { context, token, scale, position, segment } = this;
    const t = ids.shape[1];
    if (context !== null && start + t > context) {
      throw new ShapeError(
        `PackedLanguage: the context holds ${context} positions, got ${start + t}; shorten the text or clear the cache`,
      );
    }
    const add = (y: Values): Values => combined("PackedLanguage", x, y, "plus");
    let x = token.forward(ids);
    if (scale !== 1) {
      const factor = { data: executor().bring(Float32Array.of(scale)), shape: [1] };
      x = combined("PackedLanguage", x, factor, "times");
    }
    if (position === "sinusoidal") {
      const c = x.shape[2];
      const places = room(t * c);
      writeSinusoids(places, c, start);
      x = add({ data: executor().bring(places), shape: [t, c] });
    } else if (position) {
      const places = Int32Array.from({ length: t }, (_, i) => start + i);
      x = add(position.forward({ data: places, shape: [t] }));
    }
    if (segments && (!segment || segments.shape.join() !== ids.shape.join())) {
      throw new ShapeError(
        `PackedLanguage: ${segment ? "segments must have the shape of the ids" : "the model has no segments"}, got ${show(segments.shape)} for ${show(ids.shape)}`,
      );
    }
    return segment ? add(segment.forward(segments ?? { data: [0], shape: [1] })) : x;
  }
}

/** Position `at` of (B, T, C), (B, 1, C). */
function positionOf({ data, shape: [b, t, c] }: Values, at: number): Values {
  return { data: executor().pick(data, [b, 1, c], [t * c, c, 1], at * c), shape: [b, 1, c] };
}

export interface PackedSeq2SeqCall {
  /** Ids (B, T) of the target. */
  readonly target?: Ids | null;
  /** (B, S): 1 at positions of the source that may be read, 0 at padding. */
  readonly sourceMask?: Ids | null;
}

/**
 * An encoder, and a decoder that attends to its states.
 *
 * @example
 * ```ts
 * import { Transformer } from "bitgrad/models";
 * import { evaluate } from "bitgrad/nn";
 * import type { PackedSeq2Seq } from "bitgrad/packed";
 * import { pack } from "bitgrad/quant";
 *
 * const model = new Transformer({ vocabulary: 8, dim: 4, layers: 1, heads: 1 });
 * const root = pack(evaluate(model)).root as PackedSeq2Seq;
 * const target = { data: [0], shape: [1, 1] };
 * console.log(root.forward({ data: [1, 2], shape: [1, 2] }, { target }).shape); // [1, 1, 8]
 * ```
 */
export class PackedSeq2Seq implements PackedLayer {
  static readonly kind = "seq2seq";
  static readonly options = { target: "ids", sourceMask: "ids" };
  readonly kind = "seq2seq";
  readonly encoder: PackedLanguage;
  readonly decoder: PackedLanguage;

  constructor(fields: Fields) {
    const read = new FieldReader("seq2seq", fields);
    this.encoder = read.layer("encoder", "language");
    this.decoder = read.layer("decoder", "language");
  }

  get idWidth(): number {
    return Math.max(this.encoder.idWidth, this.decoder.idWidth);
  }

  /** Logits (B, T, V) of what follows each target position, for a source (B, S). Throws OptionError without a target. */
  forward(source: Ids, call?: PackedSeq2SeqCall): Values {
    checkValues("PackedSeq2Seq", source, true);
    const { target, sourceMask } = readCall("PackedSeq2Seq", call, PackedSeq2Seq.options);
    if (!target) throw new OptionError("PackedSeq2Seq: needs target ids, got none");
    const memory = this.encoder.forward(source, { mask: sourceMask });
    return this.decoder.forward(target, { memory, memoryMask: sourceMask });
  }
}
