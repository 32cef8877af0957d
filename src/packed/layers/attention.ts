/** Multi-head attention between packed projections, with a cache of keys and values. */

import { undoing } from "../../changes.ts";
import { FormatError, OptionError, ShapeError, show } from "../../errors.ts";
import type { KeyValueCache } from "../executor.ts";
import { FieldReader, type Fields, type PackedLayer } from "../file/layer.ts";
import { executor } from "../running.ts";
import { checkValues, type Ids, readCall, type Values, work } from "../values.ts";
import type { PackedLinear } from "./linear.ts";

/** Throws OptionError for what is no cache. */
export function checkCaches(op: string, caches: readonly KeyValueCache<Float32Array>[]): void {
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
  readonly cache?: KeyValueCache<Float32Array> | null;
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
      // Steps say themselves what they take.
      (out.inputSteps.length > 0 || out.inputs === head * heads) &&
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
      const { rotary } = this;
      const turned = (x: Float32Array, t: number): Float32Array =>
        rotary ? executor().rotary(x, { t, d, offset, base: rotary.base, style: rotary.style }) : x;
      const q = turned(apart(this.query.forward(x), h, turns), tq);
      // Those of a context that a cache holds stay as they are.
      const held = cache !== null && context !== null && offset > 0;
      const from = context ?? x;
      const t = held ? 0 : from.shape[1];
      if (!held && (from.shape.length !== 3 || from.shape[0] !== b)) {
        throw new ShapeError(`PackedAttention: the context must be (${b}, S, C), got ${show(from.shape)}`);
      }
      const [splitsKeys, splitsValues] = [turns || cache !== null, d === 1 || cache !== null];
      const k = held ? none : turned(apart(this.key.forward(from), hkv, splitsKeys), t);
      const v = held ? none : apart(this.value.forward(from), hkv, splitsValues);
      const [keys, values, rows] = cache === null ? [k, v, t] : cache.append(k, v, hkv, t, d);
      const tk = cache === null ? t : cache.length;
      work(2 * b * h * tq * tk * d);
      const beside = { q: !turns, k: !splitsKeys, v: !splitsValues, out: d > 1 };
      const flags = mask && checkMask(mask, b, tk);
      const sizes = { b, h, hkv, tq, tk, d, rows, beside, causal, mask: flags };
      const mixed = executor().attention(q, keys, values, sizes);
      const data = beside.out ? mixed : swapped(mixed, b, h, tq, d);
      return this.out.forward({ data, shape: [b, tq, h * d] });
    });
  }
}

const none = /* @__PURE__ */ new Float32Array(0);

/** The flags of a mask. Throws ShapeError for one that is not of b texts and s keys, OptionError where a flag is none. */
function checkMask({ data, shape }: Ids, b: number, s: number): Ids["data"] {
  if (shape.join() !== [b, 1, 1, s].join() || data.length !== b * s) {
    throw new ShapeError(`PackedAttention: a mask must be (${b}, 1, 1, ${s}), got ${show(shape)}`);
  }
  for (let i = 0; i < data.length; i++) {
    const flag: unknown = data[i];
    if (flag !== 0 && flag !== 1 && typeof flag !== "boolean")
      throw new OptionError(`PackedAttention: a mask must hold 0 and 1, got ${show(data[i])}`);
  }
  return data;
}

/** (B, T, H·D) -> (B, H, T, D). */
const split = ({ data, shape: [b, t, c] }: Values, h: number): Float32Array => swapped(data, b, t, h, c / h);

/** (B, T, H, D) -> (B, H, T, D), or back. */
function swapped(x: Float32Array, b: number, t: number, h: number, d: number): Float32Array {
  return t === 1 || h === 1 ? x : executor().permute(x, [b, t, h, d], [0, 2, 1, 3]);
}
