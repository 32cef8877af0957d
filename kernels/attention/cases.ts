/** What every attention is tried on: sizes around the vector and the block, grouped queries, causal order, masks. */

import {
  type AttentionMask,
  type AttentionOptions,
  type AttentionSizes,
  attention,
  type attentionGrad,
  layoutOf,
  type Steps,
} from "./reference.ts";

type Inputs = [q: Float32Array, k: Float32Array, v: Float32Array];
type Settings = [sizes: AttentionSizes, options: AttentionOptions];
/** results: out, then lse. */
export type ForwardArgs = [results: Float32Array, ...Inputs, ...Settings];
/** results: dq, dk, dv. */
export type BackwardArgs = [
  results: Float32Array,
  dOut: Float32Array,
  ...Inputs,
  out: Float32Array,
  lse: Float64Array,
  ...Settings,
];

export const forward =
  (run: typeof attention) =>
  (...[results, q, k, v, sizes, options]: ForwardArgs): void => {
    const cut = sizes.b * sizes.h * sizes.tq * sizes.dv;
    const lse = new Float64Array(results.length - cut);
    run(results.subarray(0, cut), lse, q, k, v, sizes, options);
    results.set(lse, cut);
  };

export const backward =
  (run: typeof attentionGrad) =>
  (...[results, dOut, q, k, v, ...rest]: BackwardArgs): void => {
    const cut = q.length + k.length;
    const [dq, dk, dv] = [
      results.subarray(0, q.length),
      results.subarray(q.length, cut),
      results.subarray(cut),
    ];
    run(dq, dk, dv, dOut, q, k, v, ...rest);
  };

const wave = (size: number, seed: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => 2 * Math.sin(12.9898 * (i + 1) + 78.233 * seed));

/** Masks of each broadcast form; some keys are hidden, and with `hides` all keys of the second row. */
function maskOf({ b, h, tq, tk }: AttentionSizes, form: number, hides: boolean): AttentionMask | null {
  if (form === 0) return null;
  const full = [h * tq * tk, tq * tk, tk, 1] as const;
  const strides = [full, [0, 0, tk, 1], [tk, 0, 0, 1], [tq, 0, 1, 0], [0, 0, 1, tq]][form - 1];
  const data = wave(b * h * tq * tk, 7).map((x) => (x > 1.7 ? Number.NEGATIVE_INFINITY : x));
  if (hides && form < 3) data.fill(Number.NEGATIVE_INFINITY, tk, 2 * tk);
  return { data, strides: strides as [number, number, number, number] };
}

export function attentionArgs(
  sizes: AttentionSizes,
  causal: boolean,
  maskForm: number,
  hides = false,
): ForwardArgs {
  const { b, h, hkv, tq, tk, d, dv, rows = tk } = sizes;
  const options = { scale: d === 0 ? 1 : 1 / Math.sqrt(d), causal, mask: maskOf(sizes, maskForm, hides) };
  const inputs: Inputs = [wave(b * h * tq * d, 1), wave(b * hkv * rows * d, 2), wave(b * hkv * rows * dv, 3)];
  return [wave(b * h * tq * (dv + 1), 4), ...inputs, sizes, options];
}

export function* attentionCases(): Generator<ForwardArgs> {
  let turn = 0;
  for (const tq of [0, 1, 2, 3, 5, 8, 31, 33])
    for (const tk of [0, 1, 3, 4, 5, 8, 17, 34])
      for (const [d, dv] of [
        [1, 4],
        [4, 3],
        [5, 8],
        [8, 0],
        [0, 2],
        [9, 17],
      ]) {
        const [h, hkv] = turn % 3 === 0 ? [2, 1] : turn % 3 === 1 ? [1, 1] : [4, 2];
        const b = turn % 4 === 0 ? 2 : 1;
        yield attentionArgs({ b, h, hkv, tq, tk, d, dv }, turn % 2 === 0, turn % 6, turn % 5 === 0);
        turn++;
      }
  for (const form of [0, 1, 2, 3, 4, 5])
    for (const causal of [true, false])
      yield attentionArgs({ b: 1, h: 2, hkv: 1, tq: 65, tk: 70, d: 16, dv: 12 }, causal, form, true);
  yield attentionArgs({ b: 1, h: 1, hkv: 1, tq: 20, tk: 600, d: 260, dv: 5 }, true, 0);
  yield attentionArgs({ b: 1, h: 1, hkv: 1, tq: 70, tk: 7, d: 4, dv: 5 }, true, 0);
}

/** Which operands hold heads side by side: all, those that no cache holds, and those that are not turned by position. */
export const besides = [
  { q: true, k: true, v: true, out: true },
  { q: true, out: true },
  { v: true, out: true },
];

function* besideCases(): Generator<ForwardArgs> {
  let turn = 0;
  for (const beside of besides)
    for (const [tq, tk, d, dv] of [
      [0, 3, 4, 4],
      [2, 0, 4, 4],
      [1, 9, 8, 5],
      [3, 5, 1, 1],
      [33, 34, 9, 1],
      [40, 90, 1, 6],
      [65, 70, 16, 12],
      [5, 3, 0, 2],
      [5, 3, 2, 0],
    ]) {
      const sizes = { b: 1 + (turn % 2), h: 4, hkv: turn % 3 === 0 ? 4 : 2, tq, tk, d, dv, beside };
      yield attentionArgs(sizes, turn % 2 === 0, turn % 6, turn % 5 === 0);
      turn++;
    }
  yield attentionArgs({ b: 1, h: 2, hkv: 1, tq: 20, tk: 600, d: 260, dv: 1, beside: besides[0] }, true, 0);
}

/** Keys and values with room behind those of each head. */
function* roomyCases(): Generator<ForwardArgs> {
  for (const [tq, tk, rows] of [
    [1, 0, 4],
    [1, 1, 2],
    [1, 70, 96],
    [3, 5, 9],
    [40, 41, 64],
  ])
    for (const beside of [undefined, ...besides])
      yield attentionArgs({ b: 2, h: 4, hkv: 2, tq, tk, d: 9, dv: 6, rows, beside }, tq > 1, tq % 2);
}

export function* forwardCases(): Generator<ForwardArgs> {
  yield* attentionCases();
  yield* besideCases();
  yield* roomyCases();
}

export function backwardArgs(...[results, q, k, v, sizes, options]: ForwardArgs): BackwardArgs {
  const { b, h, tq, dv } = sizes;
  const out = new Float32Array(b * h * tq * dv);
  const lse = new Float64Array(b * h * tq);
  attention(out, lse, q, k, v, sizes, options);
  return [
    new Float32Array(q.length + k.length + v.length).fill(results.length),
    wave(out.length, 5),
    q,
    k,
    v,
    out,
    lse,
    sizes,
    options,
  ];
}

export function* backwardCases(): Generator<BackwardArgs> {
  for (const args of attentionCases()) yield backwardArgs(...args);
  for (const args of besideCases()) yield backwardArgs(...args);
}

const unit = 2 ** -24;
const expError = 3e-7;

interface Entry {
  /** The row among those of all heads. */
  query: number;
  /** Where the rows of the operands begin. */
  at: Record<"q" | "k" | "v" | "out", number>;
  score: number;
  /** Bound on the error of the score. */
  error: number;
}

const rowAt = (steps: Steps, batch: number, head: number, row: number): number =>
  batch * steps.batch + head * steps.head + row * steps.row;

/** The finite scores of every row, each with the dot-product bound d · 2⁻²⁴ · Σ|q||k|. */
function* scoresOf(q: Float32Array, k: Float32Array, ...[sizes, options]: Settings): Generator<Entry[]> {
  const { b, h, hkv, tq, tk, d } = sizes;
  const { scale, causal, mask } = options;
  const lie = layoutOf(sizes);
  for (let query = 0; query < b * h * tq; query++) {
    const [i, head, batch] = [query % tq, Math.floor(query / tq) % h, Math.floor(query / tq / h)];
    const keyHead = Math.floor((head * hkv) / h);
    const row: Entry[] = [];
    for (let j = 0; j < (causal ? Math.min(tk, i + 1 + tk - tq) : tk); j++) {
      const at = {
        q: rowAt(lie.q, batch, head, i),
        k: rowAt(lie.k, batch, keyHead, j),
        v: rowAt(lie.v, batch, keyHead, j),
        out: rowAt(lie.out, batch, head, i),
      };
      let [sum, size] = [0, 0];
      for (let c = 0; c < d; c++) {
        const term = q[at.q + c] * k[at.k + c];
        sum += term;
        size += Math.abs(term);
      }
      const [stepB, stepH, stepQ, stepK] = mask?.strides ?? [0, 0, 0, 0];
      const added = mask?.data[batch * stepB + head * stepH + i * stepQ + j * stepK] ?? 0;
      if (!Number.isFinite(added)) continue;
      const error = (d + 3) * unit * (Math.abs(scale) * size + Math.abs(added));
      row.push({ query, at, score: scale * sum + added, error });
    }
    yield row;
  }
}

/** Errors of the scores and of exp carried through the softmax, and the bound of the product with v. */
export function attentionTolerance(...[results, q, k, v, sizes, options]: ForwardArgs): Float64Array {
  const { b, h, tq, tk, dv } = sizes;
  const bound = new Float64Array(results.length).fill(1e-36);
  const lse = b * h * tq * dv;
  for (const row of scoresOf(q, k, sizes, options)) {
    const max = Math.max(...row.map(({ score }) => score));
    const sum = row.reduce((total, { score }) => total + Math.exp(score - max), 0);
    let relative = 0;
    const shares = row.map(({ score, error }) => {
      const p = Math.exp(score - max) / sum;
      const off = error + (max - score) * unit + expError;
      relative += p * off;
      return [p, off];
    });
    row.forEach(({ at }, r) => {
      const [p, off] = shares[r];
      for (let c = 0; c < dv; c++)
        bound[at.out + c] += p * Math.abs(v[at.v + c]) * (off + relative + 2 * (tk + 4) * unit);
    });
    if (row.length > 0)
      bound[lse + row[0].query] += relative + (tk + 2 + 4 * Math.abs(max) + 4 * Math.log(tk + 1)) * unit;
  }
  return bound;
}

/** The same for the gradients, with lse and out as they are given. */
export function backwardTolerance(...args: BackwardArgs): Float64Array {
  const [results, dOut, q, k, v, out, lse, sizes, options] = args;
  const { h, hkv, tq, tk, d, dv } = sizes;
  const bound = new Float64Array(results.length).fill(1e-36);
  const [keyStart, valueStart] = [q.length, q.length + k.length];
  const rows = (tq * h) / hkv;
  for (const row of scoresOf(q, k, sizes, options))
    for (const { query, at, score, error } of row) {
      const p = Math.exp(score - lse[query]);
      const off = error + (Math.abs(score - lse[query]) + Math.abs(lse[query])) * unit + expError;
      let size = 0;
      for (let c = 0; c < dv; c++) {
        const g = Math.abs(dOut[at.out + c]);
        size += g * (Math.abs(v[at.v + c]) + Math.abs(out[at.out + c]));
        bound[valueStart + at.v + c] += p * g * (off + (rows + 3) * unit);
      }
      const slope = Math.abs(options.scale) * p * size;
      for (let c = 0; c < d; c++) {
        bound[at.q + c] += slope * Math.abs(k[at.k + c]) * (off + (dv + tk + 8) * unit);
        bound[keyStart + at.k + c] += slope * Math.abs(q[at.q + c]) * (off + (dv + rows + 8) * unit);
      }
    }
  return bound;
}
