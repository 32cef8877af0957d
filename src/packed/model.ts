/** PackedModel: a model for inference alone. */

import { FormatError, isPlainObject, OptionError, ShapeError, show } from "../errors.ts";
import {
  type GenerateOptions,
  generateFrom,
  type Reader,
  type StreamOptions,
  streamFrom,
} from "../generation.ts";
import { PackedAttention } from "./attention.ts";
import { PackedConv1d, PackedConv2d } from "./conv.ts";
import { readPacked, writePacked } from "./file.ts";
import { PackedBatchNorm, PackedBranch, PackedGroupNorm, PackedPReLU, PackedSubsample } from "./images.ts";
import { PackedLanguage } from "./language.ts";
import type { Fields, PackedLayer } from "./layer.ts";
import { PackedEmbedding, PackedLinear } from "./linear.ts";
import { PackedNorm } from "./norm.ts";
import { PackedFunction, PackedSequential, type PackedStep } from "./sequential.ts";
import { PackedBlock, PackedFeedForward } from "./transformer.ts";
import { checkValues, copied, inArena, inRoom, type Values } from "./values.ts";
import { PackedWeight } from "./weight.ts";

const kinds: Readonly<Record<string, new (fields: Fields) => PackedLayer>> = {
  linear: PackedLinear,
  embedding: PackedEmbedding,
  conv1d: PackedConv1d,
  conv2d: PackedConv2d,
  norm: PackedNorm,
  batchNorm: PackedBatchNorm,
  groupNorm: PackedGroupNorm,
  prelu: PackedPReLU,
  attention: PackedAttention,
  feedForward: PackedFeedForward,
  block: PackedBlock,
  function: PackedFunction,
  subsample: PackedSubsample,
  branch: PackedBranch,
  sequential: PackedSequential,
  language: PackedLanguage,
};

/** Makes layers of their fields, those below first. */
function assemble(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(assemble);
  if (!isPlainObject(value)) return value;
  const fields = Object.fromEntries(Object.entries(value).map(([name, field]) => [name, assemble(field)]));
  // The input of a product has a kind, and is no layer.
  const { kind } = fields;
  return typeof kind === "string" && Object.hasOwn(kinds, kind) ? new kinds[kind](fields) : fields;
}

/** A packed layer and all below it: runs on typed arrays, on the SIMD heap where there is one, without autograd. */
export class PackedModel {
  readonly root: PackedLayer;

  /** Takes a layer, or what it is made of. Throws FormatError for what is none. */
  constructor(layer: PackedLayer) {
    const root = assemble(layer) as PackedLayer | null;
    if (isPlainObject(root) || !Object.hasOwn(kinds, String(root?.kind))) {
      throw new FormatError(`PackedModel: needs a layer of a known kind, got ${show(root?.kind ?? root)}`);
    }
    this.root = root!;
  }

  /** Bytes of all codes, scales and float32 numbers, shared ones once: the size of a file but for its header. */
  get byteLength(): number {
    let sum = 0;
    walk(this.root, (item) => {
      if (item instanceof PackedWeight || item instanceof Float32Array) sum += item.byteLength;
    });
    return sum;
  }

  /** Gives back what the model's products hold of the SIMD heap; the next run lays them out again. */
  dispose(): void {
    walk(this.root, (item) => {
      if (item instanceof PackedLinear) item._product.dispose();
      else if (item instanceof PackedConv2d) item.dispose();
    });
  }

  /**
   * Runs the model on float32 values, or on ids: for a language model ids (B, T) give logits (B, T, V). Throws ShapeError for
   * shapes that do not fit, BitgradError for numbers that are not finite.
   */
  forward(x: Values | Ids): Values {
    const { root } = this;
    if (root instanceof PackedLanguage || root instanceof PackedEmbedding) {
      const { data, shape } = (x ?? {}) as Ids;
      if (!Array.isArray(shape) || typeof data?.length !== "number") {
        throw new ShapeError(`forward: needs ids as { data, shape }, got ${show(x)}`);
      }
      return inArena(() => root.forward(data, shape), copied);
    }
    const given = checkValues("forward", x as Values);
    return inArena(() => (root as PackedStep).forward(inRoom(given)), copied);
  }

  /** The tokens after the prompt, as `Gpt.stream` makes them, with a cache of keys and values. Throws OptionError for other models. */
  stream(
    prompt: ArrayLike<number>,
    options: Partial<StreamOptions> & Pick<StreamOptions, "maxTokens">,
  ): Generator<number, void, undefined> {
    return streamFrom(this.reader(), prompt, options);
  }

  /** The tokens after the prompt, all at once. */
  generate(
    prompt: ArrayLike<number>,
    options: Partial<GenerateOptions> & Pick<GenerateOptions, "maxTokens">,
  ): number[] {
    return generateFrom(this.reader(), prompt, options);
  }

  /** The file of this model, which `loadPacked` reads: docs/formats.md. */
  toBytes(): Uint8Array {
    return writePacked(this.root);
  }

  private reader(): Reader {
    const { root } = this;
    if (!(root instanceof PackedLanguage)) {
      throw new OptionError(`generate: needs a language model, got ${show(root.kind)}`);
    }
    const caches = root.newCache();
    return {
      context: root.context,
      get length() {
        return caches[0]?.length ?? 0;
      },
      read: (ids) => inArena(() => root.forward(ids, [1, ids.length], caches, true), copied).data,
      clear() {
        for (const cache of caches) cache.clear();
      },
    };
  }
}

/** Calls `visit` once for every object that is part of a layer. */
function walk(value: unknown, visit: (item: object) => void, seen = new Set<object>()): void {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  visit(value);
  if (value instanceof PackedWeight || ArrayBuffer.isView(value)) return;
  for (const [name, child] of Object.entries(value)) if (!name.startsWith("_")) walk(child, visit, seen);
}

/** Integers with a shape. */
export interface Ids {
  readonly data: ArrayLike<number>;
  readonly shape: readonly number[];
}

/**
 * The model of a file that `toBytes` wrote. No float weights are made on the way. Throws FormatError for a file that is
 * truncated, broken in any way, or of another version.
 */
export const loadPacked = (bytes: Uint8Array | ArrayBuffer): PackedModel =>
  new PackedModel(readPacked(bytes) as PackedLayer);
