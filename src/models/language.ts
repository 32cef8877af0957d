/** What the language models share: how they are called, read ids, tie weights and begin. */

import { OptionError, ShapeError, StageError, show } from "../errors.ts";
import { type Capture, note } from "../nn/attention.ts";
import { blank, withoutData } from "../nn/blank.ts";
import type { KeyValueCache } from "../nn/cache.ts";
import { normal, truncNormal, zeros } from "../nn/init.ts";
import { isLayer } from "../nn/layer.ts";
import { Linear } from "../nn/linear.ts";
import type { LayerNorm, RMSNorm } from "../nn/norm.ts";
import { Parameter } from "../nn/parameter.ts";
import { plainConfig } from "../nn/sizes.ts";
import { centers, type ResidualStream, streamOfAll } from "../nn/stream.ts";
import type { TransformerEncoderLayer } from "../nn/transformer.ts";
import { namedParameters } from "../nn/tree.ts";
import { inputs, outputs, type ScalePair, scalePair } from "../nn/units.ts";
import { readMask } from "../ops/attention.ts";
import type { Rng } from "../random/rng.ts";
import { sizeOf } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";

export interface LanguageCall {
  /**
   * (B, S): true or 1 at positions that may be read, false or 0 at padding; or what broadcasts to (B, H, T, S), floats to add
   * among it, as in attention. A position that may read nothing takes nothing from others.
   */
  mask: TensorLike | null;
  /** (layers, H): a factor of each head's probabilities. A layer of fewer than the most heads reads the first of its row. */
  headMask: TensorLike | null;
  /** Lists to fill with scores, probabilities and values of every layer and with hidden states. */
  capture: Capture | null;
  /** Source of dropout. */
  rng: Rng | null;
}

export interface CausalCall extends LanguageCall {
  /** One cache a layer, from `newCache()`; the ids are then those after the cached ones, and the mask covers both. */
  cache: readonly KeyValueCache[] | null;
}

/** What the embedding of ids reads of a call. */
export type EmbedCall = Pick<CausalCall, "cache" | "rng">;

export const embedCall: EmbedCall = { cache: null, rng: null };
export const languageCall: LanguageCall = { mask: null, headMask: null, capture: null, rng: null };
export const causalCall: CausalCall = { ...languageCall, cache: null };

/** Ids as an integer tensor (B, T); throws ShapeError for another rank. */
export function readIds(op: string, ids: TensorLike): Tensor {
  const given = asTensor(op, ids, "int32");
  if (given.rank !== 2) throw new ShapeError(`${op}: ids must be (B, T), got ${show(given.shape)}`);
  return given;
}

/** States (B, T, C), as the blocks take and give them; throws ShapeError for another rank. */
export function readStates(op: string, x: TensorLike): Tensor {
  const given = asTensor(op, x);
  if (given.rank !== 3) throw new ShapeError(`${op}: states must be (B, T, C), got ${show(given.shape)}`);
  return given;
}

/** The positions that the caches of all blocks hold: 0 without. Throws what `checkCaches` does. */
export function cachedPositions(op: string, cache: readonly KeyValueCache[] | null, blocks: number): number {
  checkCaches(op, cache, blocks);
  return cache?.[0]?.length ?? 0;
}

/** Throws ShapeError where positions from `start` on leave the context. */
export function checkContext(op: string, start: number, count: number, context: number): void {
  if (start + count > context) {
    throw new ShapeError(
      `${op}: the context holds ${context} positions, got ${start + count}; shorten the text or clear the cache`,
    );
  }
}

/** A (B, S) mask as attention takes it. */
export function keyMask(op: string, mask: TensorLike | null): Tensor | null {
  if (mask === null) return null;
  const given = readMask(op, mask);
  return given.rank === 2 ? given.reshape([given.shape[0], 1, 1, given.shape[1]]) : given;
}

/** The rows of a (layers, H) head mask, each as long as its layer has heads. */
export function headMasks(
  op: string,
  mask: TensorLike | null,
  heads: readonly number[],
): readonly Tensor[] | null {
  if (mask === null) return null;
  const given = asTensor(op, mask);
  if (given.rank !== 2 || given.shape[0] !== heads.length) {
    throw new ShapeError(`${op}: headMask must be (${heads.length}, H), got ${show(given.shape)}`);
  }
  const most = Math.max(...heads);
  return heads.map((count, i) => {
    const row = given.select(i);
    return row.size === most && count < most ? row.slice([[0, count]]) : row;
  });
}

/** Throws ShapeError unless there is a cache for every block, and all hold the same positions. */
export function checkCaches(op: string, cache: readonly KeyValueCache[] | null, blocks: number): void {
  if (cache === null) return;
  if (!Array.isArray(cache)) {
    throw new ShapeError(
      `${op}: needs a list of caches, one for each of ${blocks} blocks, got ${show(cache)}`,
    );
  }
  const own = new Set(cache).size;
  if (cache.length !== blocks || own !== blocks) {
    throw new ShapeError(`${op}: needs a cache for each of ${blocks} blocks, got ${own} in ${show(cache)}`);
  }
  const lengths = cache.map(({ length }) => length);
  if (new Set(lengths).size > 1)
    throw new ShapeError(`${op}: caches must hold equally many positions, got ${show(lengths)}; clear them`);
}

/** Runs x through blocks of self-attention, causal unless told otherwise, and captures the hidden states. */
export function runBlocks(
  op: string,
  blocks: readonly TransformerEncoderLayer[],
  x: Tensor,
  call: LanguageCall & Partial<CausalCall>,
  causal = true,
): Tensor {
  const { capture, rng, cache = null } = call;
  checkCaches(op, cache, blocks.length);
  for (const [i, block] of blocks.entries()) {
    if (isLayer(block) && isLayer(block.attention)) continue;
    throw new OptionError(`${op}: a block must be a layer with attention, got ${show(block)} at place ${i}`);
  }
  const mask = keyMask(op, call.mask);
  const heads = headMasks(
    op,
    call.headMask,
    blocks.map(({ attention }) => attention.heads),
  );
  note(capture?.hidden, x);
  blocks.forEach((block, i) => {
    x = block.forward(x, {
      causal,
      mask,
      headMask: heads?.[i] ?? null,
      cache: cache?.[i] ?? null,
      capture,
      rng,
    });
    note(capture?.hidden, x);
  });
  return x;
}

/** A projection to the vocabulary that shares the (V, C) table of an embedding. */
export function tiedLinear(table: Parameter, options: { bias: boolean } = { bias: false }): Linear {
  const [vocabulary, dim] = table.shape;
  const head = withoutData(() => new Linear(dim, vocabulary, { bias: false }));
  head.weight = table;
  head.bias = options.bias ? zeros(new Parameter(blank([vocabulary], table.value.dtype))) : null;
  return head;
}

/** The last normalisation to the head that reads it; none to a head that shares the token table, which is read elsewhere. */
export function headPair(
  table: Parameter,
  [name, norm]: readonly [string, LayerNorm | RMSNorm],
  [head, { weight }]: readonly [string, Linear],
): ScalePair[] {
  if (weight === table) return [];
  return scalePair(sizeOf(norm.normalizedShape), outputs(name, norm), "nothing", [inputs(head)]);
}

/** The residual stream of a model: its tables, its blocks, and its last normalisation, which the head reads. */
export function streamOf(
  tables: readonly string[],
  blocks: readonly TransformerEncoderLayer[],
  norm: LayerNorm | RMSNorm | null,
): ResidualStream | null {
  const all = streamOfAll("blocks", blocks);
  if (!all || !norm) return null;
  return {
    features: sizeOf(norm.normalizedShape),
    writers: [...tables.map((name) => inputs(name)), ...all.writers],
    norms: [...all.norms, { name: "norm", readers: ["head"] }],
    centered: all.centered || centers(norm),
  };
}

/** Gives a head that shares the token table a copy of its own, and says so in the configuration. */
export function untie(model: {
  readonly config: { readonly tied: boolean; readonly rng?: never };
  readonly token: { readonly weight: Parameter };
  readonly head: { weight: Parameter };
}): void {
  const { token, head, config } = model;
  if (head.weight !== token.weight) return;
  const { transforms, store, trainable } = token.weight;
  if (transforms.length > 0) {
    throw new StageError(
      "untie: the table must be free of transforms, got some; untie before it is prepared or masked",
    );
  }
  const { data, shape, dtype } = token.weight.value;
  head.weight = new Parameter(wrap(data.slice(), shape, dtype), { store });
  head.weight.trainable = trainable;
  Object.assign(model, { config: plainConfig({ ...config, tied: false }) });
}

/**
 * Draws every weight of rank 2 or more from N(0, std), those named in `residual` from N(0, std·scale), and sets biases to 0.
 * `truncated` cuts at two deviations. Weights of normalisations stay 1.
 */
export function initNormal(
  model: object,
  options: { std: number; scale?: number; residual?: RegExp; truncated?: boolean; rng: Rng | null },
): void {
  const { std, scale = 1, residual, truncated = false, rng } = options;
  for (const [name, parameter] of namedParameters(model)) {
    if (name.endsWith("bias")) zeros(parameter);
    else if (parameter.shape.length >= 2) {
      const deviation = residual?.test(name) ? std * scale : std;
      if (truncated) {
        truncNormal(parameter, { std: deviation, low: -2 * deviation, high: 2 * deviation, rng });
      } else normal(parameter, { std: deviation, rng });
    }
  }
}

/** The projections that end a residual branch. */
export const branchEnds = /\.(out|down)\.weight$/;
