/** Multi-head attention between packed projections, with a cache of keys and values. */

import { type AttentionMask, attention as inDouble } from "../../../kernels/attention/reference.ts";
import { attention, permute } from "../../backend.ts";
import { changing, undoing } from "../../changes.ts";
import { isFloat32Array } from "../../dtype.ts";
import { checkInteger, FormatError, OptionError, ShapeError, show } from "../../errors.ts";
import { FieldReader, type Fields, type PackedLayer } from "../file/layer.ts";
import {
  checkValues,
  doubles,
  giveBack,
  type Ids,
  lasting,
  mended,
  readCall,
  room,
  type Values,
  work,
} from "../values.ts";
import type { PackedLinear } from "./linear.ts";

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
export class PackedCache {
  length = 0;
  /** Those of an encoder's states, which are the same at every position. */
  context: PackedCache | null = null;
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

/** Throws OptionError for what is no cache. */
export function checkCaches(op: string, caches: readonly PackedCache[]): void {
  for (const cache of caches) {
    if (typeof cache?.append === "function") continue;
    throw new OptionError(`${op}: a cache must be a PackedCache, got ${show(cache)}; newCache() makes them`);
  }
}

export interface PackedAttentionCall {
  /** Hide keys after the query. */
  readonly causal?: boolean;
  /** (B, 1, 1, S): 1 at keys that may be read, 0 at those that are hidden. */
  readonly mask?: Ids | null;
  /** Where keys and values come from, (B, S, C); default: x itself. A cache keeps those of its first call. */
  readonly context?: Values | null;
  readonly cache?: PackedCache | null;
}

/**
 * Multi-head attention, (B, T, C) -> (B, T, C); a cache serves one batch.
 *
 * @example
 * ```ts
 * import { PackedAttention, PackedLinear, PackedWeight } from "bitgrad/packed";
 *
 * const weight = PackedWeight.ofFloats(Float32Array.of(1, 0, 0, 1), 2, 2);
 * const same = new PackedLinear({ weight, bias: null, input: null });
 * const parts = { query: same, key: same, value: same, out: same };
 * const layer = new PackedAttention({ heads: 1, kvHeads: 1, rotary: null, ...parts });
 * // One position reads itself alone.
 * console.log(Array.from(layer.forward({ data: Float32Array.of(1, 2), shape: [1, 1, 2] }).data)); // [1, 2]
 * ```
 */
export class PackedAttention implements PackedLayer {
  static readonly kind = "attention";
  static readonly options = { causal: false, mask: "ids", context: "values" };
  readonly kind = "attention";
  readonly heads: number;
  readonly kvHeads: number;
  readonly rotary: { readonly base: number; readonly style: "interleaved" | "half" } | null;
  readonly query: PackedLinear;
  readonly key: PackedLinear;
  readonly value: PackedLinear;
  readonly out: PackedLinear;

  constructor(fields: Fields) {
    const read = new FieldReader("attention", fields);
    this.heads = read.count("heads");
    this.kvHeads = read.count("kvHeads");
    this.query = read.layer("query", "linear");
    this.key = read.layer("key", "linear");
    this.value = read.layer("value", "linear");
    this.out = read.layer("out", "linear");
    const rotary = read.value("rotary") as Fields | null;
    if (rotary !== null) {
      const turns = new FieldReader("attention.rotary", rotary ?? {});
      this.rotary = { base: turns.number("base", 1), style: turns.choice("style", ["interleaved", "half"]) };
    } else this.rotary = null;
    const { heads, kvHeads, query, key, value, out } = this;
    const head = query.weight.rows / heads;
    const fits =
      Number.isInteger(head) &&
      heads % kvHeads === 0 &&
      key.weight.rows === head * kvHeads &&
      value.weight.rows === head * kvHeads &&
      out.inputs === head * heads &&
      (this.rotary === null || head % 2 === 0);
    if (!fits) {
      throw new FormatError(
        `attention: the projections do not fit ${heads} heads, got ${show([query, key, value, out].map(({ weight }) => weight.rows))} rows`,
      );
    }
  }

  /** Throws ShapeError unless x is (B, T, C), with a cache (1, T, C), and where context or mask do not fit it. */
  forward(x: Values, call?: PackedAttentionCall): Values {
    const { shape } = checkValues("PackedAttention", x);
    const { causal, mask, context, cache } = readCall("PackedAttention", call, PackedAttention.options, {
      cache: null,
    });
    if (cache !== null) checkCaches("PackedAttention", [cache]);
    return undoing(() => {
      if (shape.length !== 3 || (cache && shape[0] !== 1)) {
        throw new ShapeError(
          `PackedAttention: needs ${cache ? "(1, T, C)" : "(B, T, C)"}, got ${show(shape)}`,
        );
      }
      const [b, tq] = shape;
      const { heads: h, kvHeads: hkv } = this;
      const d = this.query.weight.rows / h;
      const offset = cache?.length ?? 0;
      // As MultiHeadAttention: heads get an axis of their own where a cache or positions read it, and where D is 1.
      const turns = this.rotary !== null || d === 1;
      const apart = (y: Values, count: number, splits: boolean) => (splits ? split(y, count) : y.data);
      const q = this.rotated(apart(this.query.forward(x), h, turns), tq, d, offset);
      // Those of a context that a cache holds stay as they are.
      const held = cache !== null && context !== null && offset > 0;
      const from = context ?? x;
      const t = held ? 0 : from.shape[1];
      if (!held && (from.shape.length !== 3 || from.shape[0] !== b)) {
        throw new ShapeError(`PackedAttention: the context must be (${b}, S, C), got ${show(from.shape)}`);
      }
      const [splitsKeys, splitsValues] = [turns || cache !== null, d === 1 || cache !== null];
      const k = held ? none : this.rotated(apart(this.key.forward(from), hkv, splitsKeys), t, d, offset);
      const v = held ? none : apart(this.value.forward(from), hkv, splitsValues);
      const [keys, values, rows] = cache === null ? [k, v, t] : cache.append(k, v, hkv, t, d);
      const tk = cache === null ? t : cache.length;
      work(2 * b * h * tq * tk * d);
      const mixed = room(b * h * tq * d);
      const lse = doubles(b * h * tq);
      const options = { scale: 1 / Math.sqrt(d), causal, mask: mask && additive(mask, b, tk) };
      const beside = { q: !turns, k: !splitsKeys, v: !splitsValues, out: d > 1 };
      const sizes = { b, h, hkv, tq, tk, d, dv: d, rows, beside };
      attention(mixed, lse, q, keys, values, sizes, options);
      // Scores that overflow leave a sum of none, which is right only for a query that may read nothing.
      const reads = (at: number): boolean => {
        let key = Math.floor(at / (h * tq)) * tk;
        const end = key + (causal ? tk - tq + (at % tq) + 1 : tk);
        while (key < end && mask && !mask.data[key]) key++;
        return key < end;
      };
      const odd = () => lse.some((sum, at) => !(Math.abs(sum) < Infinity) && reads(at));
      mended(mixed, () => inDouble(mixed, lse, q, keys, values, sizes, options), odd);
      const data = beside.out ? mixed : swapped(mixed, b, h, tq, d);
      return this.out.forward({ data, shape: [b, tq, h * d] });
    });
  }

  /** Turns pairs of (…, T, D) by their positions, as the op `rotary` does. */
  private rotated(x: Float32Array, t: number, d: number, offset: number): Float32Array {
    if (this.rotary === null) return x;
    const { base, style } = this.rotary;
    const half = d / 2;
    const [step, gap] = style === "half" ? [1, half] : [2, 1];
    const out = room(x.length);
    for (let p = 0; p < t; p++) {
      for (let j = 0; j < half; j++) {
        const angle = (p + offset) * base ** ((-2 * j) / d);
        const cos = Math.cos(angle);
        const sin = Math.sin(angle);
        for (let i = p * d + j * step; i < x.length; i += t * d) {
          const a = x[i];
          const c = x[i + gap];
          out[i] = a * cos - c * sin;
          out[i + gap] = a * sin + c * cos;
        }
      }
    }
    return out;
  }
}

const none = /* @__PURE__ */ new Float32Array(0);

/** What is added to the scores of hidden keys. */
function additive({ data, shape }: Ids, b: number, s: number): AttentionMask {
  if (shape.join() !== [b, 1, 1, s].join() || data.length !== b * s) {
    throw new ShapeError(`PackedAttention: a mask must be (${b}, 1, 1, ${s}), got ${show(shape)}`);
  }
  const out = room(b * s);
  for (let i = 0; i < out.length; i++) {
    const flag: unknown = data[i];
    if (flag !== 0 && flag !== 1 && typeof flag !== "boolean")
      throw new OptionError(`PackedAttention: a mask must hold 0 and 1, got ${show(data[i])}`);
    out[i] = flag ? 0 : -Infinity;
  }
  return { data: out, strides: [s, 0, 0, 1] };
}

/** (B, T, H·D) -> (B, H, T, D). */
const split = ({ data, shape: [b, t, c] }: Values, h: number): Float32Array => swapped(data, b, t, h, c / h);

/** (B, T, H, D) -> (B, H, T, D), or back. */
function swapped(x: Float32Array, b: number, t: number, h: number, d: number): Float32Array {
  if (t === 1 || h === 1) return x;
  const out = room(x.length);
  permute(out, x, [b, t, h, d], [0, 2, 1, 3]);
  return out;
}
