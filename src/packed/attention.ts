/** Multi-head attention between packed projections, with a cache of keys and values. */

import { attention } from "../backend.ts";
import { FormatError, ShapeError, show } from "../errors.ts";
import { FieldReader, type Fields, type PackedLayer } from "./layer.ts";
import type { PackedLinear } from "./linear.ts";
import { doubles, giveBack, lasting, room, type Values } from "./values.ts";

/** The keys and values of one layer for the positions read so far, in memory that grows by doubling. */
export class PackedCache {
  length = 0;
  private room = 0;
  private keys: Float32Array = new Float32Array(0);
  private values: Float32Array = new Float32Array(0);

  /** Adds (H, T, D) keys and values. */
  append(keys: Float32Array, values: Float32Array, heads: number, t: number, d: number): void {
    const wanted = this.length + t;
    if (wanted > this.room) this.grow(Math.max(wanted, 2 * this.room, 16), heads, d);
    for (let h = 0; h < heads; h++) {
      const to = (h * this.room + this.length) * d;
      this.keys.set(keys.subarray(h * t * d, (h + 1) * t * d), to);
      this.values.set(values.subarray(h * t * d, (h + 1) * t * d), to);
    }
    this.length = wanted;
  }

  /** The keys and values of one head, (length, D) each. */
  head(h: number, d: number): readonly [keys: Float32Array, values: Float32Array] {
    const from = h * this.room * d;
    const to = from + this.length * d;
    return [this.keys.subarray(from, to), this.values.subarray(from, to)];
  }

  clear(): void {
    this.length = 0;
    this.room = 0;
    giveBack(this.keys);
    giveBack(this.values);
  }

  private grow(positions: number, heads: number, d: number): void {
    const moved = (from: Float32Array): Float32Array => {
      const to = lasting(heads * positions * d);
      for (let h = 0; h < heads; h++) {
        const start = h * this.room * d;
        to.set(from.subarray(start, start + this.length * d), h * positions * d);
      }
      giveBack(from);
      return to;
    };
    this.keys = moved(this.keys);
    this.values = moved(this.values);
    this.room = positions;
  }
}

export interface PackedAttentionCall {
  /** Hide keys after the query. */
  readonly causal: boolean;
  readonly cache: PackedCache | null;
}

/** Self-attention, (B, T, C) -> (B, T, C); a cache serves one batch. */
export class PackedAttention implements PackedLayer {
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
      this.rotary = { base: turns.number("base"), style: turns.choice("style", ["interleaved", "half"]) };
    } else this.rotary = null;
    const { heads, kvHeads, query, key, value, out } = this;
    const head = query.weight.rows / heads;
    const fits =
      Number.isInteger(head) &&
      heads % kvHeads === 0 &&
      key.weight.rows === head * kvHeads &&
      value.weight.rows === head * kvHeads &&
      out.weight.columns === head * heads &&
      (this.rotary === null || head % 2 === 0);
    if (!fits) {
      throw new FormatError(
        `attention: the projections do not fit ${heads} heads, got ${show([query, key, value, out].map(({ weight }) => weight.rows))} rows`,
      );
    }
  }

  /** Throws ShapeError unless x is (B, T, C), with a cache (1, T, C). */
  forward(x: Values, { causal, cache }: PackedAttentionCall): Values {
    const { shape } = x;
    if (shape.length !== 3 || (cache && shape[0] !== 1)) {
      throw new ShapeError(`PackedAttention: needs ${cache ? "(1, T, C)" : "(B, T, C)"}, got ${show(shape)}`);
    }
    const [b, tq] = shape;
    const { heads: h, kvHeads: hkv } = this;
    const d = this.query.weight.rows / h;
    const offset = cache?.length ?? 0;
    const q = this.rotated(split(this.query.forward(x), h), tq, d, offset);
    const k = this.rotated(split(this.key.forward(x), hkv), tq, d, offset);
    const v = split(this.value.forward(x), hkv);
    const mixed = room(b * h * tq * d);
    const lse = doubles(b * h * tq);
    const options = { scale: 1 / Math.sqrt(d), causal, mask: null };
    if (cache === null) attention(mixed, lse, q, k, v, { b, h, hkv, tq, tk: tq, d, dv: d }, options);
    else {
      cache.append(k, v, hkv, tq, d);
      const group = h / hkv;
      const sizes = { b: 1, h: group, hkv: 1, tq, tk: cache.length, d, dv: d };
      for (let i = 0; i < hkv; i++) {
        const [from, to] = [i * group * tq, (i + 1) * group * tq];
        const rows = (all: Float32Array) => all.subarray(from * d, to * d);
        attention(rows(mixed), lse.subarray(from, to), rows(q), ...cache.head(i, d), sizes, options);
      }
    }
    return this.out.forward({ data: joined(mixed, b, h, tq, d), shape: [b, tq, h * d] });
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

/** (B, T, H·D) -> (B, H, T, D). */
function split({ data, shape }: Values, h: number): Float32Array {
  const [b, t, c] = shape;
  if (t === 1 || h === 1) return data;
  const d = c / h;
  const out = room(data.length);
  for (let i = 0; i < b; i++)
    for (let j = 0; j < h; j++)
      for (let p = 0; p < t; p++) {
        const from = (i * t + p) * c + j * d;
        out.set(data.subarray(from, from + d), ((i * h + j) * t + p) * d);
      }
  return out;
}

/** (B, H, T, D) -> (B, T, H·D). */
function joined(x: Float32Array, b: number, h: number, t: number, d: number): Float32Array {
  if (t === 1 || h === 1) return x;
  const out = room(x.length);
  for (let i = 0; i < b; i++)
    for (let j = 0; j < h; j++)
      for (let p = 0; p < t; p++) {
        const from = ((i * h + j) * t + p) * d;
        out.set(x.subarray(from, from + d), ((i * t + p) * h + j) * d);
      }
  return out;
}
