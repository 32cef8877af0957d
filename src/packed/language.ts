/** A packed causal language model. */

import { plus } from "../../kernels/elementwise/arithmetic.ts";
import { ShapeError, show } from "../errors.ts";
import { PackedCache } from "./attention.ts";
import { combined } from "./elementwise.ts";
import { FieldReader, type Fields, type PackedLayer } from "./layer.ts";
import type { PackedEmbedding, PackedLinear } from "./linear.ts";
import type { PackedNorm } from "./norm.ts";
import type { PackedBlock } from "./transformer.ts";
import { room, type Values } from "./values.ts";

/** Token and, where learned, position embeddings, causal blocks and a head: ids (B, T) -> logits (B, T, V). */
export class PackedLanguage implements PackedLayer {
  readonly kind = "language";
  readonly context: number;
  readonly token: PackedEmbedding;
  readonly position: PackedEmbedding | null;
  readonly blocks: readonly PackedBlock[];
  readonly norm: PackedNorm | null;
  readonly head: PackedLinear;

  constructor(fields: Fields) {
    const read = new FieldReader("language", fields);
    this.context = read.count("context");
    this.token = read.layer("token", "embedding");
    this.position = read.optionalLayer("position", "embedding");
    this.blocks = read.layers("blocks", "block");
    this.norm = read.optionalLayer("norm", "norm");
    this.head = read.layer("head", "linear");
  }

  newCache(): PackedCache[] {
    return this.blocks.map(() => new PackedCache());
  }

  /**
   * Logits of ids (B, T); with caches (1, T), the positions after those cached. `last` gives those of the last position alone.
   * Throws ShapeError for another rank, for ids that are not in the table, and beyond the context.
   */
  forward(
    ids: ArrayLike<number>,
    shape: readonly number[],
    cache: readonly PackedCache[] | null = null,
    last = false,
  ): Values {
    if (shape.length !== 2 || shape[0] * shape[1] !== ids.length) {
      throw new ShapeError(`PackedLanguage: ids must be (B, T), got ${show(shape)} for ${ids.length} ids`);
    }
    if (cache && cache.length !== this.blocks.length) {
      throw new ShapeError(
        `PackedLanguage: needs a cache for each of ${this.blocks.length} blocks, got ${cache.length}`,
      );
    }
    const t = shape[1];
    const start = cache?.[0]?.length ?? 0;
    if (start + t > this.context) {
      throw new ShapeError(
        `PackedLanguage: the context holds ${this.context} positions, got ${start + t}; shorten the text or clear the cache`,
      );
    }
    let x = this.token.forward(ids, shape);
    if (this.position) {
      const places = this.position.forward(Int32Array.from({ length: t }, (_, i) => start + i));
      x = combined("PackedLanguage", x, places, plus);
    }
    this.blocks.forEach((block, i) => {
      x = block.forward(x, { causal: true, cache: cache?.[i] ?? null });
    });
    // All positions, as the unpacked model: a norm of few numbers may take another kernel than one of many.
    if (this.norm) x = this.norm.forward(x);
    return this.head.forward(last && t > 1 ? lastPositions(x) : x);
  }
}

/** (B, T, C) -> (B, 1, C). */
function lastPositions({ data, shape: [b, t, c] }: Values): Values {
  const out = room(b * c);
  for (let i = 0; i < b; i++) out.set(data.subarray((i * t + t - 1) * c, (i + 1) * t * c), i * c);
  return { data: out, shape: [b, 1, c] };
}
