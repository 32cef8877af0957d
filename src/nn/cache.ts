/** KVCache: the keys and values of one attention layer for the positions read so far. */

import { moveWithin } from "../backend.ts";
import { changing, repeatedRun } from "../changes.ts";
import { newArray, type TypedArray } from "../dtype.ts";
import { OptionError, ShapeError, StageError, show } from "../errors.ts";
import { concat } from "../ops/join.ts";
import { isPlaceholder, placeholder } from "../ops/shapes-only.ts";
import { own, pinArray, Storage, unpinArray } from "../storage.ts";
import { isTensor, Tensor } from "../tensor.ts";

/** What attention needs of a cache, so that others, such as a quantized one, can stand in. */
export interface KeyValueCache {
  /** Positions held. */
  readonly length: number;
  /** Adds (B, H, T, D) keys and values; returns all of them, (B, H, length, D). */
  append(keys: Tensor, values: Tensor): readonly [keys: Tensor, values: Tensor];
}

/**
 * Plain keys and values. What `append` returned last belongs to the cache: the next `append`, `truncate` or `clear` releases
 * it, unless a gradient may still need it.
 */
export class KVCache implements KeyValueCache {
  private readonly keys = new Held();
  private readonly values = new Held();

  get length(): number {
    return this.keys.tensor?.shape[2] ?? 0;
  }

  /** Throws ShapeError where batch, heads or head size differ from what is held. */
  append(keys: Tensor, values: Tensor): readonly [keys: Tensor, values: Tensor] {
    if (repeatedRun()) {
      throw new StageError(
        "KVCache: checkpoint runs its function twice, got keys to append; run the model without checkpoint",
      );
    }
    for (const t of [keys, values]) {
      if (!isTensor(t)) throw new OptionError(`KVCache: expected a tensor, got ${show(t)}`);
    }
    if (!this.keys.takes(keys) || !this.values.takes(values) || keys.shape[2] !== values.shape[2]) {
      const held = this.keys.tensor;
      throw new ShapeError(
        `KVCache: keys and values must be (B, H, T, D) like those held, got ${show(keys.shape)} and ${show(values.shape)}` +
          (held ? ` after ${show(held.shape)}` : ""),
      );
    }
    changing(this, saveLength);
    const before = this.length;
    const all = this.keys.append(keys);
    try {
      return [all, this.values.append(values)];
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
    this.keys.replace(null);
    this.values.replace(null);
  }
}

/** Positions that are cut or cleared away cannot be put back. */
const saveLength = (cache: KVCache) => {
  const { length } = cache;
  return () => cache.truncate(Math.min(length, cache.length));
};

/** One of the two. Without gradients it grows in place, in a block with room to spare. */
class Held {
  tensor: Tensor | null = null;
  private block: TypedArray | null = null;

  takes(t: Tensor): boolean {
    const { tensor } = this;
    return (
      t.rank === 4 && (tensor === null || [0, 1, 3].every((axis) => tensor.shape[axis] === t.shape[axis]))
    );
  }

  append(t: Tensor): Tensor {
    const { tensor } = this;
    if (isPlaceholder(t)) return this.lengthen(t);
    const isRecorded = t.requiresGrad || tensor?.requiresGrad || (tensor && tensor.dtype !== t.dtype);
    if (isRecorded) return this.replace(own(concat(tensor ? [tensor, t] : [t], { axis: 2 })));
    const [b, h, count, d] = t.shape;
    const before = tensor === null ? 0 : tensor.shape[2] * d;
    const row = before + count * d;
    const block = this.roomFor(b * h * row, t);
    const { data } = t;
    for (let i = b * h - 1; i >= 0; i--) {
      moveWithin(block, i * row, i * before, before);
      const to = i * row + before;
      for (let j = 0, from = i * count * d; j < count * d; j++) block[to + j] = data[from + j];
    }
    return this.replace(over(block, [b, h, before / d + count, d], t), block);
  }

  /** By shapes alone: keys that are held would be lost. */
  private lengthen(t: Tensor): Tensor {
    const { tensor } = this;
    if (tensor && !isPlaceholder(tensor)) {
      throw new StageError(
        `KVCache: shapesOnly has no numbers to add, got a cache of ${tensor.shape[2]} positions; begin with an empty one`,
      );
    }
    const [b, h, count, d] = t.shape;
    return this.replace(own(placeholder([b, h, (tensor?.shape[2] ?? 0) + count, d], t.dtype)));
  }

  truncate(length: number): void {
    const { tensor, block } = this;
    if (tensor === null || tensor.shape[2] <= length) return;
    if (length === 0) this.replace(null);
    else if (block === null) this.replace(own(tensor.slice([null, null, [0, length]])));
    else {
      const [b, h, count, d] = tensor.shape;
      for (let i = 1; i < b * h; i++) moveWithin(block, i * length * d, i * count * d, length * d);
      this.replace(over(block, [b, h, length, d], tensor), block);
    }
  }

  replace<T extends Tensor | null>(tensor: T, block: TypedArray | null = null): T {
    const before = this.tensor;
    if (before && !before.requiresGrad) before.dispose();
    if (this.block !== null && this.block !== block) unpinArray(this.block);
    this.tensor = tensor;
    this.block = block;
    return tensor;
  }

  /** The block with what it holds, or a larger one. */
  private roomFor(size: number, { dtype }: Tensor): TypedArray {
    const { block, tensor } = this;
    if (block !== null && block.length >= size) return block;
    const larger = pinArray(newArray(dtype, Math.max(2 * size, 1024)), dtype);
    if (tensor !== null) larger.set(tensor.data);
    return larger;
  }
}

/** The first elements of `block` as a tensor of `shape`, outside of every scope. */
const over = (block: TypedArray, shape: readonly number[], { dtype }: Tensor): Tensor => {
  const size = shape.reduce((product, n) => product * n, 1);
  return own(new Tensor(new Storage(block.subarray(0, size), dtype), shape, dtype));
};
