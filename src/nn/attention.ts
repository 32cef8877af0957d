/** Multi-head attention: projections around `scaledDotProductAttention`, with a path that shows its insides. */

import { changing, repeatedRun } from "../changes.ts";
import {
  checkShare,
  isPlainObject,
  OptionError,
  readOptions,
  ShapeError,
  StageError,
  show,
} from "../errors.ts";
import {
  additiveMask,
  attend,
  attendValues,
  attentionProbabilities,
  attentionScores,
  joinHeads,
  splitHeads,
} from "../ops/attention.ts";
import { dropout as drop } from "../ops/create.ts";
import { type RotaryOptions, readRotary, rotary as rotate } from "../ops/rotary.ts";
import type { Rng } from "../random/rng.ts";
import { broadcastsTo, type Shape } from "../shape.ts";
import { asTensor, isTensor, type Tensor, type TensorLike } from "../tensor.ts";
import type { KeyValueCache } from "./cache.ts";
import type { RngOption } from "./init.ts";
import { inside } from "./inside.ts";
import { Linear, stepsOf } from "./linear.ts";
import type { PackedFields, Packer } from "./packing.ts";
import { checkSizes } from "./sizes.ts";
import { inputs, outputs, type ScalePair, scalePair, type Units } from "./units.ts";

const op = "MultiHeadAttention";

/**
 * What a forward pass writes down: every list that is present gets one tensor a layer, in order. `{ scores: [], hidden: [] }`
 * asks for these two.
 */
export interface Capture {
  /** Attention scores before the softmax (B, H, Tq, Tk): scaled, masked, −Infinity where causality hides a key. */
  scores?: Tensor[];
  /** Attention probabilities (B, H, Tq, Tk), before dropout and head masks. */
  probabilities?: Tensor[];
  /** Values of every key head (B, Hkv, Tk, D). */
  values?: Tensor[];
  /** Hidden states (B, T, C): the input of the first block, then the output of every block. Filled by models. */
  hidden?: Tensor[];
}

/** Writes down what a capture asks for. */
export function note(list: Tensor[] | undefined, tensor: Tensor): void {
  if (!list) return;
  if (repeatedRun()) {
    throw new StageError(
      "capture: checkpoint releases what is computed inside, got a list to fill; run the model without checkpoint",
    );
  }
  changing(list, () => {
    const { length } = list;
    return () => {
      list.length = length;
    };
  });
  list.push(tensor);
}

export interface AttentionOptions extends RngOption {
  /** Biases of the query, key and value projections. */
  bias: boolean;
  /** Bias of the output projection; default: as `bias`. */
  outBias: boolean | null;
  /** Features of a head; default: dim/heads, of which heads must then be a divisor. */
  headSize: number | null;
  /** Key and value heads, each shared by heads/kvHeads query heads; default: one a query head. */
  kvHeads: number | null;
  /** Share of the probabilities dropped in training. */
  dropout: number;
  /** Rotary positions of queries and keys, counted on from what a cache holds; true for the usual base of 10000. */
  rotary: boolean | Partial<Omit<RotaryOptions, "offset">> | null;
}

export interface AttentionCall {
  /** Where keys and values come from, (B, S, C), or a pair of them; default: x itself. */
  context: Tensor | readonly [keys: Tensor, values: Tensor] | null;
  /** Hide keys after the query; the last query is level with the last key. */
  causal: boolean;
  /** Broadcast to (B, H, Tq, Tk): bool or integers, true or 1 where a key may be attended to, or floats added to the scores. */
  mask: TensorLike | null;
  /** Factors of the heads' probabilities: (H), or anything that broadcasts to (B, H, Tq, Tk). */
  headMask: TensorLike | null;
  /** Keys and values of earlier positions; this call's are appended. */
  cache: KeyValueCache | null;
  capture: Capture | null;
  /** Source of dropout. */
  rng: Rng | null;
}

/** What self-attention can be told. */
export type SelfAttentionCall = Omit<AttentionCall, "context">;

export const selfAttentionCall: SelfAttentionCall = {
  causal: false,
  mask: null,
  headMask: null,
  cache: null,
  capture: null,
  rng: null,
};

/**
 * Multi-head attention, (B, T, C) -> (B, T, C): softmax(q·kᵀ/√D)·v in `heads` heads of D = headSize, C/heads unless told
 * otherwise, between the projections query, key, value and out, whose weights say how many heads there are. Vaswani et al.,
 * 2017, arXiv:1706.03762; grouped queries: Ainslie et al., 2023, arXiv:2305.13245. The scores are never kept unless capture,
 * a head mask or dropout needs them.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { MultiHeadAttention } from "bitgrad/nn";
 *
 * const attention = new MultiHeadAttention(16, 4);
 * console.log(attention.forward(zeros([2, 5, 16]), { causal: true }).shape); // [2, 5, 16]
 * ```
 */
export class MultiHeadAttention {
  training = true;
  readonly headSize: number;
  readonly dropout: number;
  readonly rotary: Partial<Omit<RotaryOptions, "offset">> | null;
  query: Linear;
  key: Linear;
  value: Linear;
  out: Linear;

  constructor(dim: number, heads: number, options?: Partial<AttentionOptions>) {
    const { bias, outBias, headSize, kvHeads, dropout, rotary, rng } = readOptions<AttentionOptions>(
      op,
      options,
      {
        bias: true,
        outBias: null,
        headSize: null,
        kvHeads: null,
        dropout: 0,
        rotary: null,
        rng: null,
      },
    );
    checkSizes(op, { dim, heads, headSize: headSize ?? 1, kvHeads: kvHeads ?? 1 });
    if ((headSize === null && dim % heads !== 0) || heads % (kvHeads ?? heads) !== 0) {
      throw new OptionError(
        `${op}: heads must divide dim, and kvHeads heads, got dim ${dim}, heads ${heads} and kvHeads ${kvHeads ?? heads}`,
      );
    }
    checkShare(op, "dropout", dropout);
    if (outBias !== null && typeof outBias !== "boolean") {
      throw new OptionError(`${op}: outBias must be true, false or null, got ${show(outBias)}`);
    }
    if (rotary !== null && typeof rotary !== "boolean" && !isPlainObject(rotary)) {
      throw new OptionError(
        `${op}: rotary must be true, false or options such as { base: 10000 }, got ${show(rotary)}`,
      );
    }
    const size = headSize ?? dim / heads;
    this.headSize = size;
    this.dropout = dropout;
    this.rotary = rotary === true ? {} : rotary || null;
    if (this.rotary) readRotary(op, this.rotary);
    if (this.rotary && size % 2 !== 0) {
      throw new OptionError(`${op}: rotary positions need an even head size, got ${size}`);
    }
    const kvDim = size * (kvHeads ?? heads);
    this.query = new Linear(dim, size * heads, { bias, rng });
    this.key = new Linear(dim, kvDim, { bias, rng });
    this.value = new Linear(dim, kvDim, { bias, rng });
    this.out = new Linear(size * heads, dim, { bias: outBias ?? bias, rng });
  }

  /** Query heads, by the rows of the query's weight. */
  get heads(): number {
    return this.query.outFeatures / this.headSize;
  }

  /** Key and value heads, by the rows of the key's weight. */
  get kvHeads(): number {
    return this.key.outFeatures / this.headSize;
  }

  /** Throws ShapeError where shapes do not fit; with a cache, x holds the positions after those cached. */
  forward(x: TensorLike, options?: Partial<AttentionCall>): Tensor {
    return inside(this, () => {
      x = asTensor(op, x);
      const call = readOptions<AttentionCall>(op, options, {
        ...selfAttentionCall,
        context: null,
      });
      const { cache, capture } = call;
      if (
        cache !== null &&
        [cache.append, cache.extend ?? cache.append].some((f) => typeof f !== "function")
      ) {
        throw new OptionError(`${op}: cache must be a KVCache or null, got ${show(cache)}`);
      }
      if (capture !== null && !isPlainObject(capture)) {
        throw new OptionError(`${op}: capture must be lists by name, got ${show(capture)}`);
      }
      if (x.rank !== 3) throw new ShapeError(`${op}: needs (B, T, C), got ${show(x.shape)}`);
      const [keySource, valueSource] = sources(call.context, x);
      const offset = call.cache?.length ?? 0;
      const { scores, probabilities, values } = call.capture ?? {};
      const open = scores || probabilities || call.headMask !== null || (this.training && this.dropout > 0);
      // Heads get an axis of their own only where something reads it.
      const turned = (x: Tensor): Tensor =>
        this.rotary ? rotate(this.split(x), { ...this.rotary, offset }) : open ? this.split(x) : x;
      const apart = (x: Tensor): Tensor => (x.rank === 3 && (open || cache || values) ? this.split(x) : x);
      const projected = [this.query.forward(x), this.key.forward(keySource), this.value.forward(valueSource)];
      this.checkFeatures(projected);
      const q = turned(projected[0]);
      let k = apart(turned(projected[1]));
      let v = apart(projected[2]);
      const roomy = !open && !values && !q.requiresGrad ? cache?.extend?.(k, v) : null;
      if (cache) [k, v] = roomy ?? cache.append(k, v);
      note(values, v);
      const { causal, mask } = call;
      return this.out.forward(
        open
          ? joinHeads(this.attendOpenly(q, k, v, call))
          : attend(q, k, v, { causal, mask, heads: this.heads }, roomy ? cache!.length : null),
      );
    });
  }

  /**
   * Values to out: every value feature is read by the query heads that share its key head; none where steps stand in front
   * of out.
   */
  scalePairs(): ScalePair[] {
    if (stepsOf("scalePairs", this.out).length > 0) return [];
    const { heads, kvHeads, headSize, value } = this;
    const shared = { repeat: heads / kvHeads, size: headSize };
    return scalePair(value.outFeatures, outputs("value", value), "attention", [inputs("out", shared)]);
  }

  /** Its heads: rows of query, key and value, and columns of out; none where steps stand in front of out. */
  units(): Units[] {
    if (stepsOf("units", this.out).length > 0) return [];
    const { heads, kvHeads, headSize, query, key, value } = this;
    const shared = heads / kvHeads;
    const [wide, narrow] = [{ repeat: shared * headSize }, { repeat: headSize }];
    const places = [
      ...outputs("query", query, wide),
      ...outputs("key", key, narrow),
      ...outputs("value", value, narrow),
      inputs("out", wide),
    ];
    const sizes = { heads: shared, kvHeads: 1 };
    return [{ name: "", kind: "heads", count: kvHeads, places, sizes, layer: null, keeps: { headSize } }];
  }

  toPacked(packer: Packer): PackedFields {
    const { heads, kvHeads, rotary } = this;
    return {
      kind: "attention",
      heads,
      kvHeads,
      rotary: rotary && { base: rotary.base ?? 10000, style: rotary.style ?? "interleaved" },
      query: packer.layer(this.query),
      key: packer.layer(this.key),
      value: packer.layer(this.value),
      out: packer.layer(this.out),
    };
  }

  /** Throws ShapeError for queries, keys or values that are not of whole heads, and for values of more heads than keys. */
  private checkFeatures(projected: readonly Tensor[]): void {
    const [q, k, v] = projected.map(({ shape }) => shape[shape.length - 1]);
    if (q % this.headSize === 0 && k % this.headSize === 0 && v === k) return;
    throw new ShapeError(
      `${op}: queries, keys and values do not fit heads of ${this.headSize} features, got ${q}, ${k} and ${v}`,
    );
  }

  /** (B, T, H·D) -> (B, H, T, D). */
  private split(x: Tensor): Tensor {
    return splitHeads(x, x.shape[2] / this.headSize);
  }

  private attendOpenly(q: Tensor, k: Tensor, v: Tensor, call: AttentionCall): Tensor {
    const { causal, mask, headMask, capture, rng } = call;
    const full = [...q.shape.slice(0, 3), k.shape[2]];
    const factors = headMask === null ? null : perHead(headMask, full);
    const scores = attentionScores(q, k, mask === null ? null : additiveMask(op, mask, q.dtype, full), {
      causal,
      scale: 1 / Math.sqrt(q.shape[3]),
    });
    note(capture?.scores, scores);
    let probabilities = attentionProbabilities(scores);
    note(capture?.probabilities, probabilities);
    probabilities = drop(probabilities, { p: this.dropout, training: this.training, rng });
    return attendValues(factors ? probabilities.mul(factors) : probabilities, v);
  }
}

function sources(context: AttentionCall["context"], x: Tensor): readonly [Tensor, Tensor] {
  if (context === null) return [x, x];
  if (isTensor(context)) return [context, context];
  const pair: unknown = context;
  if (!Array.isArray(pair) || pair.length !== 2 || !pair.every(isTensor)) {
    throw new OptionError(`${op}: context must be a tensor or a pair of them, got ${show(pair)}`);
  }
  return context;
}

function perHead(mask: TensorLike, full: Shape): Tensor {
  const given = asTensor(op, mask);
  const wide = given.rank === 1 ? given.reshape([1, given.size, 1, 1]) : given;
  if (!broadcastsTo(wide.shape, full)) {
    throw new ShapeError(
      `${op}: headMask must be (H) or broadcast to (B, H, Tq, Tk), got ${show(given.shape)} for ${show(full)}`,
    );
  }
  return wide;
}
