/** Scaled dot-product attention. */

import type { AttentionMask, AttentionSizes } from "../../kernels/attention/reference.ts";
import { attention, attentionGrad } from "../backend.ts";
import { type DType, type FloatArray, isFloat } from "../dtype.ts";
import {
  checkInteger,
  DTypeError,
  isPlainObject,
  OptionError,
  readOptions,
  ShapeError,
  show,
} from "../errors.ts";
import { broadcastStrides, broadcastsTo, type Shape } from "../shape.ts";
import { asTensor, isTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { defineMultiOp } from "./op.ts";
import { isPlaceholder, knownNumbers, placeholder, visitor } from "./shapes-only.ts";
import { floats, numbers, softmax } from "./softmax.ts";

export interface AttentionSettings {
  causal: boolean;
  scale: number;
  /** Read so many of the first keys and values alone, without gradients; null for all. */
  keys: number | null;
  /** Tensors of rank 3 are (B, T, H·D) of so many query heads, as is the result; null: all are (B, H, T, D). */
  heads: number | null;
}

type QKV = [q: Tensor, k: Tensor, v: Tensor, mask?: Tensor | null];

type Form = readonly [batch: number, heads: number, rows: number, width: number];

/** The shapes that q, k and v have as (B, H, T, D); of sizes that do not fit, not whole numbers. */
function formsOf(q: Tensor, k: Tensor, v: Tensor, heads: number | null): readonly Form[] {
  const form = ({ rank, shape }: Tensor, count: number): Form =>
    rank === 4 ? (shape as unknown as Form) : [shape[0], count, shape[1], shape[2] / count];
  const queries = form(q, heads ?? 1);
  const [, h, , d] = queries;
  const keys = form(k, d === 0 ? h : k.shape[2] / d);
  return [queries, keys, form(v, keys[1])];
}

function sizesOf(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { heads, keys }: Pick<AttentionSettings, "heads" | "keys">,
): AttentionSizes {
  const [[b, h, tq, d], [, hkv, rows], [, , , dv]] = formsOf(q, k, v, heads);
  const beside = { q: q.rank === 3, k: k.rank === 3, v: v.rank === 3, out: heads !== null };
  return { b, h, hkv, tq, tk: keys ?? rows, d, dv, rows, beside };
}

function kernelMask(mask: Tensor | null | undefined, { b, h, tq, tk }: AttentionSizes): AttentionMask | null {
  if (!mask) return null;
  const strides = broadcastStrides(mask.shape, [b, h, tq, tk]);
  return { data: numbers(mask), strides: strides as [number, number, number, number] };
}

/** (B, T, H·D) -> (B, H, T, D). */
export const splitHeads = (x: Tensor, heads: number): Tensor =>
  x.reshape([x.shape[0], x.shape[1], heads, x.shape[2] / heads]).transpose(1, 2);

/** q, k and v as (B, H, T, D). */
function apart(q: Tensor, k: Tensor, v: Tensor, heads: number | null): readonly Tensor[] {
  const forms = formsOf(q, k, v, heads);
  return [q, k, v].map((t, i) => (t.rank === 4 ? t : splitHeads(t, forms[i][1])));
}

/** (B, H, T, D) -> (B, T, H·D). */
export const joinHeads = (x: Tensor): Tensor =>
  x.transpose(1, 2).reshape([x.shape[0], x.shape[2], x.shape[1] * x.shape[3]]);

const gradOp = defineMultiOp<
  [grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, mask?: Tensor | null],
  AttentionSettings
>("attentionGrad", {
  writesAll: true,
  arity: [6, 7],
  shape: ([, q, k, v]) => [q, k, v],
  dtype: ([, q, k, v]) => [q.dtype, k.dtype, v.dtype],
  forward([dq, dk, dv], [grad, q, k, v, out, lse, mask], options) {
    const sizes = sizesOf(q, k, v, options);
    attentionGrad(
      dq as FloatArray,
      dk as FloatArray,
      dv as FloatArray,
      numbers(grad),
      numbers(q),
      numbers(k),
      numbers(v),
      numbers(out),
      numbers(lse),
      sizes,
      { ...options, mask: kernelMask(mask, sizes) },
    );
  },
});

/** Scores (B, H, Tq, Tk) before the softmax: scale · q·kᵀ + mask, −Infinity where causal order hides a key. */
export function attentionScores(
  q: Tensor,
  k: Tensor,
  mask: Tensor | null | undefined,
  { causal, scale }: Pick<AttentionSettings, "causal" | "scale">,
): Tensor {
  const heads = q.shape[1] / k.shape[1];
  const keys = heads === 1 ? k : k.repeatInterleave(heads, { axis: 1 });
  let scores = q.matmul(keys, { transposeB: true }).mul(scale);
  if (mask) scores = scores.add(mask);
  return causal ? hidden(q.shape[2], k.shape[2]).where(Number.NEGATIVE_INFINITY, scores) : scores;
}

/** (Tq, Tk) bool: keys that come after the query, the last query being level with the last key. */
function hidden(tq: number, tk: number): Tensor {
  if (visitor()) return placeholder([tq, tk], "bool");
  const data = new Uint8Array(tq * tk);
  for (let i = 0; i < tq; i++) for (let j = i + tk - tq + 1; j < tk; j++) if (j >= 0) data[i * tk + j] = 1;
  return wrap(data, [tq, tk], "bool");
}

/** The softmax of scores (…, Tq, Tk) over the keys; zeros for a query whose every key is hidden by −Infinity. */
export function attentionProbabilities(scores: Tensor): Tensor {
  if (scores.size === 0) return scores;
  const hides = scores.detach().max({ axis: -1, keepDims: true }).equal(Number.NEGATIVE_INFINITY);
  if (isPlaceholder(hides) || !hides.data.includes(1)) return softmax(scores);
  return hides.where(0, softmax(hides.where(0, scores)));
}

/** probabilities (B, H, Tq, Tk) · v, each query head reading its group's values. */
export function attendValues(probabilities: Tensor, v: Tensor): Tensor {
  const heads = probabilities.shape[1] / v.shape[1];
  return probabilities.matmul(heads === 1 ? v : v.repeatInterleave(heads, { axis: 1 }));
}

/** Attention in smaller ops, by the first `keys` positions. */
function composed([q, k, v, mask]: QKV, options: AttentionSettings): Tensor {
  const { heads, keys } = options;
  const read = (t: Tensor) => (keys === null ? t : t.slice([null, null, [0, keys]]));
  const [a, b, c] = apart(q, k, v, heads);
  const out = attendValues(attentionProbabilities(attentionScores(a, read(b), mask, options)), read(c));
  return heads === null ? out : joinHeads(out);
}

const attentionOp = defineMultiOp<QKV, AttentionSettings>("scaledDotProductAttention", {
  writesAll: true,
  options: { causal: false, scale: 1, keys: null, heads: null },
  arity: [3, 4],
  shape([q, k, v], options) {
    const { b, h, tq, dv } = sizesOf(q, k, v, options);
    return [options.heads === null ? [b, h, tq, dv] : [b, tq, h * dv], [b, h, tq]];
  },
  dtype: ([q]) => [q.dtype, "float64"],
  forward([out, lse], [q, k, v, mask], options) {
    const sizes = sizesOf(q, k, v, options);
    attention(out as FloatArray, lse as FloatArray, numbers(q), numbers(k), numbers(v), sizes, {
      ...options,
      mask: kernelMask(mask, sizes),
    });
  },
  composed,
  fusedVjp: ([grad], { inputs: [q, k, v, mask], outputs: [out, lse] }, options) => [
    ...gradOp(grad!, q, k, v, out, lse, mask, options),
    null,
  ],
});

export interface AttentionOptions {
  /** Hide keys after the query; the last query is level with the last key, so cached decoding works. */
  causal: boolean;
  /** Broadcast to (B, H, Tq, Tk): bool or integers, true or 1 where a key may be attended to, or floats added to the scores. */
  mask: TensorLike | null;
  /** Default 1/√D. */
  scale: number | null;
  /** Query heads of tensors that hold them side by side, (B, T, H·D); null where heads have an axis of their own. */
  heads: number | null;
}

/**
 * A mask as bool or as floats; integers count as bool. Throws DTypeError for integers but 0 and 1, and for lists of plain numbers
 * 0 and 1, which may be meant as either.
 */
export function readMask(op: string, mask: TensorLike): Tensor {
  const given = asTensor(op, mask);
  const { dtype } = given;
  const data = knownNumbers(given);
  const other = () => data.find((x: number) => x !== 0 && x !== 1);
  if (isFloat(dtype)) {
    if (!isTensor(mask) && !ArrayBuffer.isView(mask) && data.includes(1) && other() === undefined) {
      throw new DTypeError(
        `${op}: a mask of plain numbers 0 and 1 may be flags or terms, got ${show(given.shape)}; give true and false, or a tensor`,
      );
    }
    return given;
  }
  if (dtype === "bool") return given;
  const odd = other();
  if (odd !== undefined) {
    throw new DTypeError(
      `${op}: a mask of integers must hold 0 and 1, got ${odd}; give bool, or floats to add to the scores`,
    );
  }
  return given.notEqual(0);
}

/**
 * A mask as something to add to scores of shape `full`: 0 and −Infinity for bool. Throws ShapeError where it does not
 * broadcast.
 */
export function additiveMask(op: string, mask: TensorLike, dtype: DType, full: Shape): Tensor {
  const given = readMask(op, mask);
  if (!broadcastsTo(given.shape, full)) {
    throw new ShapeError(
      `${op}: the mask must broadcast to (B, H, Tq, Tk), got ${show(given.shape)} for ${show(full)}`,
    );
  }
  return (given.dtype === "bool" ? given.where(0, Number.NEGATIVE_INFINITY) : given).to(dtype);
}

/**
 * softmax(scale · q·kᵀ + mask)·v without keeping the scores: q (B, H, Tq, D), k (B, Hkv, Tk, D), v (B, Hkv, Tk, Dv) ->
 * (B, H, Tq, Dv). Fewer key heads than query heads are shared by groups of H/Hkv. Tensors of rank 2 and 3 stand for one
 * batch or one head. With `heads`, tensors of rank 3 are (B, T, H·D), as a projection gives them, those of rank 4 as before,
 * and the result is (B, Tq, H·Dv). A query with every key hidden gives 0 and takes part in no gradient. Throws ShapeError
 * where shapes do not fit. Vaswani et al., 2017, arXiv:1706.03762; grouped queries: Ainslie et al., 2023, arXiv:2305.13245.
 */
export const scaledDotProductAttention = (
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options?: Partial<AttentionOptions>,
): Tensor => attend(q, k, v, options);

/** The same, by the first `keys` positions of k and v alone where that is a number: then nothing is differentiated. */
export function attend(
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options?: Partial<AttentionOptions>,
  keys: number | null = null,
): Tensor {
  const op = "scaledDotProductAttention";
  q = asTensor(op, q);
  k = asTensor(op, k);
  v = asTensor(op, v);
  const { causal, mask, scale, heads } = readOptions<AttentionOptions>(op, options, {
    causal: false,
    mask: null,
    scale: null,
    heads: null,
  });
  if (heads !== null) checkInteger(op, "heads", heads, 1);
  const ranks = [q.rank, k.rank, v.rank];
  if (
    heads === null ? ranks.some((r) => r !== q.rank || r < 2 || r > 4) : ranks.some((r) => r < 3 || r > 4)
  ) {
    const needs = heads === null ? "equal ranks of 2 to 4" : "ranks of 3 or 4 with `heads`";
    throw new ShapeError(
      `${op}: q, k and v need ${needs}, got ${show(q.shape)}, ${show(k.shape)} and ${show(v.shape)}`,
    );
  }
  const four = (t: Tensor) => {
    if (heads !== null) return floats(t);
    const wide = t.rank === 4 ? t : t.rank === 3 ? t.unsqueeze(1) : t.reshape([1, 1, ...t.shape]);
    return floats(wide);
  };
  const [a, b, c] = [four(q), four(k), four(v)];
  const forms = formsOf(a, b, c, heads);
  const [queries, keyForm, values] = forms;
  if (
    forms.some((form) => !form.every(Number.isInteger)) ||
    (heads !== null && queries[1] !== heads) ||
    queries[3] !== keyForm[3] ||
    keyForm[2] !== values[2] ||
    keyForm[2] < (keys ?? 0) ||
    keyForm[1] !== values[1] ||
    queries[0] !== keyForm[0] ||
    keyForm[0] !== values[0] ||
    queries[1] % keyForm[1] !== 0
  ) {
    throw new ShapeError(
      `${op}: shapes do not fit together, got q ${show(q.shape)}, k ${show(k.shape)} and v ${show(v.shape)}${heads === null ? "" : ` in ${heads} heads`}; k and v share batch, heads and length, q and k the head size`,
    );
  }
  if (scale !== null && !Number.isFinite(scale)) {
    throw new OptionError(`${op}: scale must be a finite number or null, got ${show(scale)}`);
  }
  // The kernel takes another path for columns of their own than for columns among others.
  const narrow = heads !== null && (queries[3] === 1 || values[3] === 1);
  const settings = { causal, scale: scale ?? 1 / Math.sqrt(queries[3]), keys, heads: narrow ? null : heads };
  const own = mask === null ? null : readMask(op, mask);
  const extra =
    own &&
    additiveMask(op, own.rank === 3 && q.rank === 3 && heads === null ? own.unsqueeze(1) : own, a.dtype, [
      ...queries.slice(0, 3),
      keys ?? keyForm[2],
    ]);
  const [d, e, f] = narrow ? apart(a, b, c, heads) : [a, b, c];
  const out = extra?.requiresGrad
    ? composed([d, e, f, extra], settings)
    : attentionOp(d, e, f, extra, settings)[0];
  if (heads === null) return out.reshape([...q.shape.slice(0, -1), v.shape[v.rank - 1]]);
  return narrow ? joinHeads(out) : out;
}

/**
 * Causal attention in which groups of query heads share a key head, as decoders with grouped queries use it:
 * `scaledDotProductAttention` with `causal` on unless told otherwise. q (B, H, Tq, D), k and v (B, Hkv, Tk, D) ->
 * (B, H, Tq, D); query head i reads key head floor(i / (H/Hkv)). Ainslie et al., 2023, arXiv:2305.13245.
 */
export const groupedQuery = (
  q: TensorLike,
  k: Tensor,
  v: Tensor,
  options?: Partial<AttentionOptions>,
): Tensor =>
  scaledDotProductAttention(
    q,
    k,
    v,
    options === undefined || isPlainObject(options) ? { causal: true, ...options } : options,
  );

export { attentionOp };
