import { describe, expect, it } from "vitest";
import {
  type AttentionMask,
  type AttentionOptions,
  type AttentionSizes,
  attention,
  attentionGrad,
} from "../../kernels/attention/reference.ts";
import { dot, expectClose, numericGrad, values } from "./check.ts";

const inputs = ({ b, h, hkv, tq, tk, d, dv }: AttentionSizes) => ({
  q: values(b * h * tq * d, 1),
  k: values(b * hkv * tk * d, 2),
  v: values(b * hkv * tk * dv, 3),
});

/** The definition, one query at a time. */
function naive(sizes: AttentionSizes, { scale, causal, mask }: AttentionOptions) {
  const { b, h, hkv, tq, tk, d, dv } = sizes;
  const { q, k, v } = inputs(sizes);
  const out = new Float64Array(b * h * tq * dv);
  const lse = new Float64Array(b * h * tq);
  for (let batch = 0; batch < b; batch++)
    for (let head = 0; head < h; head++)
      for (let i = 0; i < tq; i++) {
        const row = (batch * h + head) * tq + i;
        const keys = (batch * hkv + Math.floor(head / (h / hkv))) * tk;
        const scores = Array.from({ length: tk }, (_, j) => {
          if (causal && j > i + tk - tq) return Number.NEGATIVE_INFINITY;
          const at = mask?.strides.reduce((sum, step, axis) => sum + step * [batch, head, i, j][axis], 0);
          const bias = mask ? mask.data[at ?? 0] : 0;
          const query = q.subarray(row * d, (row + 1) * d);
          return scale * dot(query, k.subarray((keys + j) * d, (keys + j + 1) * d)) + bias;
        });
        const max = Math.max(...scores);
        const sum = scores.reduce((total, s) => total + Math.exp(s - max), 0);
        lse[row] = max + Math.log(sum);
        for (let j = 0; j < tk; j++)
          for (let e = 0; e < dv; e++)
            out[row * dv + e] += (Math.exp(scores[j] - max) / sum) * v[(keys + j) * dv + e];
      }
  return { out, lse };
}

function run(sizes: AttentionSizes, options: AttentionOptions, { q, k, v } = inputs(sizes)) {
  const out = new Float64Array(sizes.b * sizes.h * sizes.tq * sizes.dv).fill(9);
  const lse = new Float64Array(sizes.b * sizes.h * sizes.tq).fill(9);
  attention(out, lse, q, k, v, sizes, options);
  return { out, lse };
}

const base: AttentionSizes = { b: 2, h: 2, hkv: 2, tq: 4, tk: 5, d: 3, dv: 2 };
const plain: AttentionOptions = { scale: 0.7, causal: false, mask: null };

const perKey = (sizes: AttentionSizes): AttentionMask => ({
  data: values(sizes.b * sizes.tk, 9).map((v, i) => (i % 3 === 2 ? Number.NEGATIVE_INFINITY : v)),
  strides: [sizes.tk, 0, 0, 1],
});

const full = ({ b, h, tq, tk }: AttentionSizes): AttentionMask => ({
  data: values(b * h * tq * tk, 9),
  strides: [h * tq * tk, tq * tk, tk, 1],
});

const variants: [string, AttentionSizes, AttentionOptions][] = [
  ["without a mask", base, plain],
  ["with every query head on one key head", { ...base, h: 3, hkv: 1 }, plain],
  ["with grouped queries and causality", { ...base, h: 6, hkv: 2 }, { ...plain, causal: true }],
  ["with one query, causal", { ...base, tq: 1, tk: 7 }, { ...plain, causal: true }],
  ["with a mask a key, hiding some", base, { ...plain, mask: perKey(base) }],
  ["with a mask a score, causal", base, { ...plain, causal: true, mask: full(base) }],
  ["over more queries than a block", { ...base, b: 1, tq: 65, tk: 67 }, { ...plain, causal: true }],
];

describe("attention", () => {
  for (const [name, sizes, options] of variants) {
    it(`equals the definition ${name}`, () => {
      const got = run(sizes, options);
      const want = naive(sizes, options);
      expectClose(got.out, want.out);
      expectClose(got.lse, want.lse);
    });

    it(`has the gradients that central differences give ${name}`, () => {
      const data = inputs(sizes);
      const { out, lse } = run(sizes, options, data);
      const dOut = values(out.length, 4);
      const f = () => dot(run(sizes, options, data).out, dOut);
      const [dq, dk, dv] = [data.q, data.k, data.v].map((x) => new Float64Array(x.length).fill(9));
      attentionGrad(dq, dk, dv, dOut, data.q, data.k, data.v, out, lse, sizes, options);
      expectClose(dq, numericGrad(f, data.q), 1e-7);
      expectClose(dk, numericGrad(f, data.k), 1e-7);
      expectClose(dv, numericGrad(f, data.v), 1e-7);
    });
  }

  it("equals the definition for sizes around a block of queries", () => {
    for (const tq of [1, 3, 7, 8, 16, 17, 31, 32, 33, 64, 65])
      for (const causal of [false, true]) {
        const sizes = { b: 1, h: 2, hkv: 1, tq, tk: tq + 2, d: 5, dv: 4 };
        expectClose(run(sizes, { ...plain, causal }).out, naive(sizes, { ...plain, causal }).out);
      }
  });

  it("gives 0 to queries that may see no key, and to them alone", () => {
    const sizes = { ...base, b: 1, h: 1, hkv: 1, tq: 40, tk: 3 };
    const { out } = run(sizes, { ...plain, causal: true });
    expect(out.subarray(0, 37 * sizes.dv).every((x) => x === 0)).toBe(true);
    expect(out.subarray(37 * sizes.dv).every((x) => Number.isFinite(x) && x !== 0)).toBe(true);
    const hidden = { data: Float64Array.of(Number.NEGATIVE_INFINITY), strides: [0, 0, 0, 0] as const };
    expect(run(base, { ...plain, mask: hidden }).out.every((x) => x === 0)).toBe(true);
  });

  it("leaves a query that may see no key out of every gradient, whatever its own numbers", () => {
    const sizes = { ...base, b: 1, h: 1, hkv: 1, tq: 3, tk: 4 };
    const mask: AttentionMask = {
      data: Float64Array.from({ length: 12 }, (_, i) => (i < 4 ? Number.NEGATIVE_INFINITY : 0)),
      strides: [0, 0, 4, 1],
    };
    const grads = (tq: number, from: number, options: AttentionOptions) => {
      const own = { ...sizes, tq };
      const { q, k, v } = inputs(sizes);
      const queries = q.subarray(from * sizes.d);
      const [out, lse] = [new Float64Array(tq * sizes.dv), new Float64Array(tq)];
      attention(out, lse, queries, k, v, own, options);
      const dOut = values(3 * sizes.dv, 4).subarray(from * sizes.dv);
      const [dq, dk, dv] = [queries, k, v].map((x) => new Float64Array(x.length).fill(9));
      attentionGrad(dq, dk, dv, dOut, queries, k, v, out, lse, own, options);
      return { dq, dk, dv };
    };
    const [all, seen] = [grads(3, 0, { ...plain, mask }), grads(2, 1, plain)];
    expect(all.dq.subarray(0, sizes.d)).toEqual(new Float64Array(sizes.d));
    expectClose(all.dq.subarray(sizes.d), seen.dq);
    expectClose(all.dk, seen.dk);
    expectClose(all.dv, seen.dv);
  });

  it("gives NaN to a query whose one score in sight is NaN", () => {
    const sizes = { ...base, b: 1, h: 1, hkv: 1, tq: 1, tk: 2 };
    const data = Float64Array.of(Number.NaN, Number.NEGATIVE_INFINITY);
    const mask: AttentionMask = { data, strides: [0, 0, 0, 1] };
    expect(run(sizes, { ...plain, mask }).out.every(Number.isNaN)).toBe(true);
  });

  it("writes a float32 result that is the double one rounded", () => {
    const data = inputs(base);
    const single = new Float32Array(base.b * base.h * base.tq * base.dv);
    attention(single, new Float64Array(base.b * base.h * base.tq), data.q, data.k, data.v, base, plain);
    expect(single).toEqual(Float32Array.from(run(base, plain).out));
  });

  it("takes zero sizes", () => {
    for (const empty of [{ b: 0 }, { tq: 0 }, { dv: 0 }, { h: 0, hkv: 0 }]) {
      const sizes = { ...base, ...empty };
      const { q, k, v } = inputs(sizes);
      const { out, lse } = run(sizes, plain);
      const grads = [q, k, v].map((x) => new Float64Array(x.length).fill(9));
      attentionGrad(grads[0], grads[1], grads[2], out, q, k, v, out, lse, sizes, plain);
      expect(grads.every((grad) => grad.every((value) => value === 0))).toBe(true);
    }
  });
});
