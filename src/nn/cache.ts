/** KVCache: the keys and values of one attention layer for the positions read so far. */

import { changing, repeatedRun } from "../changes.ts";
import { type DType, newArray } from "../dtype.ts";
import { OptionError, ShapeError, StageError, show } from "../errors.ts";
import { concat } from "../ops/join.ts";
import { isPlaceholder, placeholder } from "../ops/shapes-only.ts";
import { sizeOf } from "../shape.ts";
import { own, pin, Storage } from "../storage.ts";
import { isTensor, Tensor } from "../tensor.ts";

/** What attention needs of a cache, so that others, such as a quantized one, can stand in. */
export interface KeyValueCache {
  /** Positions held. */
  readonly length: number;
  /** Adds (B, H, T, D) keys and values; returns all of them, (B, H, length, D). */
  append(keys: Tensor, values: Tensor): readonly [keys: Tensor, values: Tensor];
  /**
   * The same without a copy of what is held: all of them with room behind, (B, H, R, D), whose first `length` positions are
   * held and whose others are zeros. Null, with nothing added, where it cannot, as with gradients.
   */
  extend?(keys: Tensor, values: Tensor): readonly [keys: Tensor, values: Tensor] | null;
}

/**
 * Plain keys and values, which grow in place without gradients. What `append` and `extend` returned belongs to the cache:
 * the next of them, `truncate` or `clear` changes or releases it, unless a gradient may still need it.
 *
 * @example
 * ```ts
 * import { randn } from "bitgrad";
 * import { evaluate, KVCache, MultiHeadAttention } from "bitgrad/nn";
 *
 * const attention = evaluate(new MultiHeadAttention(16, 4));
 * const cache = new KVCache();
 * for (let i = 0; i < 3; i++) attention.forward(randn([1, 1, 16]), { causal: true, cache });
 * console.log(cache.length); // 3
 * ```
 */
export class KVCache implements KeyValueCache {
  private readonly keys = new Held();
  private readonly values = new Held();

  get length(): number {
    return this.keys.length;
  }

  /** Throws ShapeError where batch, heads or head size differ from what is held. */
  append(keys: Tensor, values: Tensor): readonly [keys: Tensor, values: Tensor] {
    this.check(keys, values);
    return this.add(keys, values, (held, t) => held.append(t));
  }

  /** Throws what `append` does. */
  extend(keys: Tensor, values: Tensor): readonly [keys: Tensor, values: Tensor] | null {
    this.check(keys, values);
    if (!this.keys.roomy(keys) || !this.values.roomy(values)) return null;
    const rows = Math.max(this.keys.rows, this.values.rows);
    return this.add(keys, values, (held, t) => held.extend(t, rows));
  }

  private check(keys: Tensor, values: Tensor): void {
    if (repeatedRun()) {
      throw new StageError(
        "KVCache: checkpoint runs its function twice, got keys to append; run the model without checkpoint",
      );
    }
    for (const t of [keys, values]) {
      if (!isTensor(t)) throw new OptionError(`KVCache: expected a tensor, got ${show(t)}`);
    }
    if (!this.keys.takes(keys) || !this.values.takes(values) || keys.shape[2] !== values.shape[2]) {
      const { tensor, length } = this.keys;
      throw new ShapeError(
        `KVCache: keys and values must be (B, H, T, D) like those held, got ${show(keys.shape)} and ${show(values.shape)}` +
          (tensor ? ` after ${show(sized(tensor, length))}` : ""),
      );
    }
  }

  private add(
    keys: Tensor,
    values: Tensor,
    put: (held: Held, t: Tensor) => Tensor,
  ): readonly [keys: Tensor, values: Tensor] {
    changing(this, saveLength);
    const before = this.length;
    const all = put(this.keys, keys);
    try {
      return [all, put(this.values, values)];
    } catch (error) {
      this.keys.truncate(before);
      throw error;
    }
  }

  /** Keeps the first `length` positions. Throws OptionError for more than are held. */
  truncate(length: number): void {
    if (!Number.isInteger(length) || length < 0 || length > this.length) {
      throw new OptionError(`KVCache: can be cut to 0…${this.length} positions, got ${show(length)}`);
    }
    if (length === this.length) return;
    this.keys.truncate(length);
    this.values.truncate(length);
  }

  clear(): void {
    this.keys.replace(null, 0);
    this.values.replace(null, 0);
  }
}

/** Positions that are cut or cleared away cannot be put back. */
const saveLength = (cache: KVCache) => {
  const { length } = cache;
  return () => cache.truncate(Math.min(length, cache.length));
};

/** One of the two, (B, H, R, D), of which the first `length` positions are held; the others are room, zeros. */
class Held {
  tensor: Tensor | null = null;
  length = 0;
  /** What `append` returned last. */
  private given: Tensor | null = null;

  get rows(): number {
    return this.tensor?.shape[2] ?? 0;
  }

  takes(t: Tensor): boolean {
    const { tensor } = this;
    return (
      t.rank === 4 && (tensor === null || [0, 1, 3].every((axis) => tensor.shape[axis] === t.shape[axis]))
    );
  }

  /** Whether it grows in place by t: there are numbers, and nothing is differentiated, nor promoted. */
  roomy(t: Tensor): boolean {
    const { tensor } = this;
    return (
      !isPlaceholder(t) &&
      !t.requiresGrad &&
      (tensor === null || (!tensor.requiresGrad && tensor.dtype === t.dtype))
    );
  }

  append(t: Tensor): Tensor {
    const { tensor, length } = this;
    const total = length + t.shape[2];
    if (isPlaceholder(t)) return this.lengthen(t);
    if (!this.roomy(t))
      return this.replace(own(concat(tensor ? [first(tensor, length), t] : [t], { axis: 2 })), total);
    const all = this.extend(t);
    this.given = own(zeroed(sized(t, total), t.dtype));
    put(this.given, 0, all, total);
    return this.given;
  }

  /** In room for `least` positions at least. */
  extend(t: Tensor, least = 0): Tensor {
    const { tensor, given, length } = this;
    const total = length + t.shape[2];
    const all = this.roomFor(total, least, t);
    put(all, length, t, t.shape[2]);
    // Only now, as t may be one of them.
    if (all !== tensor) return this.replace(all, total);
    given?.dispose();
    this.length = total;
    return all;
  }

  /** By shapes alone: keys that are held would be lost. */
  private lengthen(t: Tensor): Tensor {
    const { tensor, length } = this;
    if (tensor && !isPlaceholder(tensor)) {
      throw new StageError(
        `KVCache: shapesOnly has no numbers to add, got a cache of ${length} positions; begin with an empty one`,
      );
    }
    const total = length + t.shape[2];
    return this.replace(own(placeholder(sized(t, total), t.dtype)), total);
  }

  truncate(length: number): void {
    const { tensor } = this;
    if (tensor === null || this.length <= length) return;
    if (length === 0) this.replace(null, 0);
    // One without room may be what `append` returned.
    else if (this.length === tensor.shape[2]) this.replace(own(first(tensor, length)), length);
    else {
      const [b, h, rows, d] = tensor.shape;
      tensor.storage.write((data) => {
        for (let i = 0; i < b * h; i++) data.fill(0, (i * rows + length) * d, (i * rows + this.length) * d);
      }, "KVCache");
      this.given?.dispose();
      this.length = length;
    }
  }

  replace<T extends Tensor | null>(tensor: T, length: number): T {
    this.given?.dispose();
    const before = this.tensor;
    if (before && !before.requiresGrad) before.dispose();
    this.tensor = tensor;
    this.length = length;
    return tensor;
  }

  /** The tensor with room for `total` positions: a larger one with what is held, where that is full. */
  private roomFor(total: number, least: number, { dtype, shape: [b, h, , d] }: Tensor): Tensor {
    const { tensor, rows, length } = this;
    if (tensor !== null && rows >= Math.max(total, least)) return tensor;
    const shape = [b, h, total > least ? Math.max(2 * total, 16) : least, d];
    const larger = pin(zeroed(shape, dtype));
    if (tensor !== null) put(larger, 0, tensor, length);
    return larger;
  }
}

const sized = ({ shape: [b, h, , d] }: Tensor, length: number): number[] => [b, h, length, d];

const zeroed = (shape: readonly number[], dtype: DType): Tensor =>
  new Tensor(new Storage(newArray(dtype, sizeOf(shape)), dtype), shape, dtype);

/** The first positions of (B, H, R, D), in a tensor of their own. */
const first = (t: Tensor, length: number): Tensor => t.slice([null, null, [0, length]]);

/** Writes the first `count` positions of `from` to those of `to` from `at` on. */
function put(to: Tensor, at: number, from: Tensor, count: number): void {
  const [b, h, rows, d] = to.shape;
  const { data: source } = from;
  const step = from.shape[2] * d;
  to.storage.write((data) => {
    for (let i = 0; i < b * h; i++)
      data.set(source.subarray(i * step, i * step + count * d), (i * rows + at) * d);
  }, "KVCache");
}
