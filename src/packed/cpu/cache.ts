import { changing } from "../../changes.ts";
import { isFloat32Array } from "../../dtype.ts";
import { checkInteger, ShapeError, show } from "../../errors.ts";
import type { KeyValueCache } from "../executor.ts";
import { giveBack, lasting } from "../values.ts";

/**
 * The keys and values of one layer for the positions read so far, (H, R, D): memory with room for R positions of each head,
 * zeros behind those that are held, which doubles where it is full.
 *
 * @example
 * ```ts
 * import { PackedCache } from "bitgrad/packed";
 *
 * const cache = new PackedCache();
 * cache.append(Float32Array.of(1, 2), Float32Array.of(3, 4), 1, 1, 2); // a head, a position, two features
 * console.log(cache.length); // 1
 * ```
 */
export class PackedCache implements KeyValueCache<Float32Array> {
  length = 0;
  /** Those of an encoder's states, which are the same at every position. */
  context: KeyValueCache<Float32Array> | null = null;
  private keys: Float32Array = new Float32Array(0);
  private values: Float32Array = new Float32Array(0);
  private rows = 0;

  /**
   * Adds keys and values (H, T, D) in place; returns all of them, (H, R, D), and R, of which the first `length` are held.
   * Throws ShapeError for others, also than those held.
   */
  append(
    keys: Float32Array,
    values: Float32Array,
    heads: number,
    t: number,
    d: number,
  ): readonly [keys: Float32Array, values: Float32Array, rows: number] {
    for (const [name, count] of Object.entries({ heads, t, d })) checkInteger("PackedCache", name, count, 0);
    for (const more of [keys, values]) {
      if (isFloat32Array(more) && more.length === heads * t * d) continue;
      throw new ShapeError(`PackedCache: needs float32 numbers (${heads}, ${t}, ${d}), got ${show(more)}`);
    }
    const { length, rows: before } = this;
    if (this.keys.length !== heads * before * d) {
      throw new ShapeError(
        `PackedCache: holds ${show(this.keys.length / before)} numbers a position, got (${heads}, ${t}, ${d})`,
      );
    }
    changing(this, () => () => this.truncate(length, heads, d));
    const rows = before >= length + t ? before : Math.max(2 * (length + t), 16);
    const roomy = (held: Float32Array): Float32Array => {
      if (rows === before) return held;
      const larger = lasting(heads * rows * d).fill(0);
      for (let h = 0; h < heads; h++)
        larger.set(held.subarray(h * before * d, (h * before + length) * d), h * rows * d);
      return larger;
    };
    // Both before either goes, so that what throws leaves them as they were.
    const rooms = [roomy(this.keys), roomy(this.values)];
    if (rows !== before) for (const held of [this.keys, this.values]) giveBack(held);
    [this.keys, this.values] = rooms;
    this.rows = rows;
    for (const [to, more] of [
      [this.keys, keys],
      [this.values, values],
    ])
      for (let h = 0; h < heads; h++)
        to.set(more.subarray(h * t * d, (h + 1) * t * d), (h * rows + length) * d);
    this.length += t;
    return [this.keys, this.values, rows];
  }

  /** Keeps the first `length` positions, of (H, R, D). */
  private truncate(length: number, heads: number, d: number): void {
    for (const held of [this.keys, this.values])
      for (let h = 0; h < heads; h++)
        held.fill(0, (h * this.rows + length) * d, (h * this.rows + this.length) * d);
    this.length = length;
  }

  clear(): void {
    this.length = 0;
    giveBack(this.keys);
    giveBack(this.values);
    this.keys = new Float32Array(0);
    this.values = this.keys;
    this.rows = 0;
    this.context?.clear();
  }
}
