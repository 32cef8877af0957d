/** Attention of queries that may read nothing. */

import { grad, hvp, Rng, randn, scaledDotProductAttention, type Tensor, tensor, zeros } from "bitgrad";
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
