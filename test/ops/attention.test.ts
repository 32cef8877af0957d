/** Attention of queries that may read nothing. */

import {
  type AttentionOptions,
  grad,
  hvp,
  OptionError,
  Rng,
  randn,
  ShapeError,
  scaledDotProductAttention,
  shapesOnly,
  type Tensor,
  tensor,
  zeros,
} from "bitgrad";
import { MultiHeadAttention } from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const rng = new Rng(7);
const draw = (...shape: number[]) => randn(shape, { rng });
const [q, k, v] = [draw(3, 2), draw(4, 2), draw(4, 3)];
/** The first query may read nothing. */
const allowed = [0, 1, 2].map((i) => [0, 1, 2, 3].map((j) => i > 0 && j <= i));
const added = tensor(allowed.map((row) => row.map((open) => (open ? 0.25 : -Infinity))));
const isFinite = (t: Tensor) => Array.from(t.data).every(Number.isFinite);

describe.each([
  ["a bool mask", tensor(allowed)],
  ["a mask that is added", added],
])("scaledDotProductAttention with %s", (_, mask) => {
  const seen = mask.slice([[1, 3]]);

  it("gives 0 to a query whose every key is hidden, and the others what they get without it", () => {
    const y = scaledDotProductAttention(q, k, v, { mask });
    expect(Array.from(y.data.subarray(0, 3))).toEqual([0, 0, 0]);
    const rest = scaledDotProductAttention(q.slice([[1, 3]]), k, v, { mask: seen });
    expectClose(y.slice([[1, 3]]), rest, { rtol: 1e-6 });
  });

  it("keeps such a query out of every gradient, first and second", () => {
    const loss = (rows: Tensor, keys: Tensor, values: Tensor, m: Tensor) =>
      scaledDotProductAttention(rows, keys, values, { mask: m }).square().sum();
    for (const createGraph of [false, true]) {
      const [dq, dk, dv] = grad((a: Tensor, b: Tensor, c: Tensor) => loss(a, b, c, mask), { createGraph })(
        q,
        k,
        v,
      );
      const own = grad((a: Tensor, b: Tensor, c: Tensor) => loss(a, b, c, seen))(q.slice([[1, 3]]), k, v);
      expect(Array.from(dq.data.subarray(0, 2))).toEqual([0, 0]);
      expectClose(dq.slice([[1, 3]]), own[0], { rtol: 1e-5, atol: 1e-6 });
      expectClose(dk, own[1], { rtol: 1e-5, atol: 1e-6 });
      expectClose(dv, own[2], { rtol: 1e-5, atol: 1e-6 });
    }
    const curve = hvp((b) => loss(q, b, v, mask))(k, k);
    expectClose(curve, hvp((b) => loss(q.slice([[1, 3]]), b, v, seen))(k, k), { rtol: 1e-4, atol: 1e-5 });
  });
});

describe("attention that a query may not use", () => {
  it("has finite gradients for a mask that is learned", () => {
    const learned = added.detach();
    learned.requiresGrad = true;
    const y = scaledDotProductAttention(q, k, v, { mask: learned });
    expect(Array.from(y.data.subarray(0, 3))).toEqual([0, 0, 0]);
    y.square().sum().backward();
    expect(Array.from(learned.grad!.data.subarray(0, 4))).toEqual([0, 0, 0, 0]);
    expect(isFinite(learned.grad!)).toBe(true);
  });

  it("is 0 in the probabilities that a layer shows, and in its result", () => {
    const layer = new MultiHeadAttention(4, 2, { rng: new Rng(1) });
    const capture = { probabilities: [] as Tensor[] };
    const x = draw(1, 3, 4);
    const mask = tensor(allowed.map((row) => row.slice(0, 3)));
    const y = layer.forward(x, { mask, capture });
    expectClose(y, layer.forward(x, { mask }), { rtol: 1e-5, atol: 1e-6 });
    const [shown] = capture.probabilities;
    expectClose(shown.slice([null, null, [0, 1]]), zeros([1, 2, 1, 3]));
    y.square().sum().backward();
    for (const p of [layer.query, layer.key, layer.value, layer.out])
      expect(isFinite(p.weight.value.grad!)).toBe(true);
  });

  it("is 0 where there is no key at all", () => {
    const none = scaledDotProductAttention(q, zeros([0, 2]), zeros([0, 3]));
    expectClose(none, zeros([3, 3]));
    const [dq] = grad((a: Tensor, b: Tensor) => scaledDotProductAttention(a, b, zeros([0, 3])).sum(), {
      createGraph: true,
    })(q, zeros([0, 2]));
    expectClose(dq, zeros([3, 2]));
  });
});

describe("scaledDotProductAttention with heads side by side", () => {
  const apart = (x: Tensor, heads: number) =>
    x.reshape([x.shape[0], x.shape[1], heads, x.shape[2] / heads]).transpose(1, 2);
  const together = (x: Tensor) =>
    x.transpose(1, 2).reshape([x.shape[0], x.shape[2], x.shape[1] * x.shape[3]]);
  const open = tensor([...Array(5)].map((_, i) => [...Array(7)].map((_, j) => (i * 3 + j) % 4 > 0)));
  const one = { b: 2, h: 4, hkv: 4, tq: 5, tk: 5, d: 3, dv: 3 };

  it.each<[string, Partial<typeof one>, Partial<AttentionOptions>]>([
    ["plainly", {}, {}],
    ["causally", {}, { causal: true, scale: 0.3 }],
    ["over more queries than a block", { tq: 70, tk: 70 }, { causal: true }],
    ["in groups that share a key head", { hkv: 2 }, { causal: true }],
    ["across to other keys, of another size", { hkv: 1, tk: 7, dv: 2 }, {}],
    ["under a bool mask", { tk: 7 }, { mask: open }],
    ["under a mask for each head", { tk: 7 }, { mask: draw(4, 5, 7) }],
    ["for one query", { tq: 1, tk: 7, hkv: 2 }, { causal: true }],
    ["in one head", { h: 1, hkv: 1 }, {}],
    ["in heads of one feature", { d: 1, dv: 1, hkv: 2 }, {}],
    ["without a query", { tq: 0 }, {}],
    ["without a key", { tk: 0 }, {}],
    ["without a batch", { b: 0 }, {}],
    ["in heads without features", { d: 0 }, {}],
  ])("attends %s with the bits of heads that have an axis of their own", (_, change, options) => {
    const { b, h, hkv, tq, tk, d, dv } = { ...one, ...change };
    const [q, k, v, seed] = [
      draw(b, tq, h * d),
      draw(b, tk, hkv * d),
      draw(b, tk, hkv * dv),
      draw(b, tq, h * dv),
    ];
    const wide = (a: Tensor, b: Tensor, c: Tensor) =>
      scaledDotProductAttention(a, b, c, { ...options, heads: h })
        .mul(seed)
        .sum();
    const long = (a: Tensor, b: Tensor, c: Tensor) =>
      together(scaledDotProductAttention(apart(a, h), apart(b, hkv), apart(c, hkv), options))
        .mul(seed)
        .sum();
    const out = scaledDotProductAttention(q, k, v, { ...options, heads: h });
    expect(out.shape).toEqual([b, tq, h * dv]);
    if (d > 0) expect(wide(q, k, v).item()).toBe(long(q, k, v).item());
    const [got, want] = [d > 0 ? grad(wide)(q, k, v) : [], d > 0 ? grad(long)(q, k, v) : []];
    got.forEach((slope, i) => {
      expect(slope.data).toEqual(want[i].data);
    });
  });

  it("takes heads with an axis of their own beside them", () => {
    const [q, k, v] = [draw(2, 5, 12), draw(2, 5, 6), draw(2, 5, 4)];
    const want = scaledDotProductAttention(q, k, v, { heads: 4 });
    const mixed = [
      [apart(q, 4), apart(k, 2), v],
      [q, apart(k, 2), apart(v, 2)],
      [apart(q, 4), apart(k, 2), apart(v, 2)],
    ];
    for (const [a, b, c] of mixed)
      expect(scaledDotProductAttention(a, b, c, { heads: 4 }).data).toEqual(want.data);
  });

  it("is told of by shapes alone", () => {
    const seen: string[] = [];
    const out = shapesOnly(
      () => scaledDotProductAttention(zeros([2, 5, 8]), zeros([2, 6, 4]), zeros([2, 6, 6]), { heads: 4 }),
      (op, inputs, _, outputs) => {
        seen.push(`${op} ${inputs.map((x) => x?.shape.join("x"))} ${outputs.map((x) => x.shape.join("x"))}`);
      },
    );
    expect(out.shape).toEqual([2, 5, 12]);
    expect(seen.at(-1)).toBe("scaledDotProductAttention 2x5x8,2x6x4,2x6x6, 2x5x12,2x4x5");
  });

  it("refuses heads that do not fit", () => {
    const x = zeros([2, 5, 8]);
    expect(() => scaledDotProductAttention(x, x, x, { heads: 3 })).toThrow(
      /^scaledDotProductAttention: shapes do not fit together, got q \(2, 5, 8\).* in 3 heads/,
    );
    for (const [a, b, c] of [
      [x, zeros([2, 5, 6]), x],
      [x, zeros([2, 5, 3]), zeros([2, 5, 3])],
      [x, zeros([2, 5, 0]), zeros([2, 5, 0])],
      [x, x, zeros([2, 4, 8])],
      [x, x, zeros([2, 5, 7])],
      [x, zeros([1, 5, 8]), zeros([1, 5, 8])],
      [zeros([2, 2, 5, 4]), x, x],
      [x, zeros([2, 3, 5, 2]), x],
    ])
      expect(() => scaledDotProductAttention(a, b, c, { heads: 4 })).toThrow(ShapeError);
    expect(() => scaledDotProductAttention(zeros([5, 8]), x, x, { heads: 4 })).toThrow(/ranks of 3 or 4/);
    expect(() => scaledDotProductAttention(x, x, x, { heads: 0 })).toThrow(OptionError);
  });
});
