/** KVCache: the keys and values of one attention layer for the positions read so far. */

import { OptionError, ShapeError, show } from "../errors.ts";
import { concat } from "../ops/join.ts";
import { own } from "../storage.ts";
import type { Tensor } from "../tensor.ts";

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
  private keys: Tensor | null = null;
  private values: Tensor | null = null;

  get length(): number {
    return this.keys?.shape[2] ?? 0;
  }

  /** Throws ShapeError where batch, heads or head size differ from what is held. */
  append(keys: Tensor, values: Tensor): readonly [keys: Tensor, values: Tensor] {
    const { keys: heldKeys, values: heldValues } = this;
    const fits = (held: Tensor | null, t: Tensor) =>
      t.rank === 4 && (held === null || [0, 1, 3].every((axis) => held.shape[axis] === t.shape[axis]));
    if (!fits(heldKeys, keys) || !fits(heldValues, values) || keys.shape[2] !== values.shape[2]) {
      throw new ShapeError(
        `KVCache: keys and values must be (B, H, T, D) like those held, got ${show(keys.shape)} and ${show(values.shape)}` +
          (heldKeys ? ` after ${show(heldKeys.shape)}` : ""),
      );
    }
    const join = (held: Tensor | null, t: Tensor) => own(concat(held ? [held, t] : [t], { axis: 2 }));
    this.replace(join(heldKeys, keys), join(heldValues, values));
    return [this.keys!, this.values!];
  }

  /** Keeps the first `length` positions. Throws OptionError for more than are held. */
  truncate(length: number): void {
    if (!Number.isInteger(length) || length < 0 || length > this.length) {
      throw new OptionError(`KVCache: can be cut to 0…${this.length} positions, got ${show(length)}`);
    }
    if (length === this.length) return;
    const cut = (held: Tensor | null) =>
      held && length > 0 ? own(held.slice([null, null, [0, length]])) : null;
    this.replace(cut(this.keys), cut(this.values));
  }

  clear(): void {
    this.replace(null, null);
  }

  private replace(keys: Tensor | null, values: Tensor | null): void {
    for (const held of [this.keys, this.values]) if (held && !held.requiresGrad) held.dispose();
    this.keys = keys;
    this.values = values;
  }
}
