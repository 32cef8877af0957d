import { defineOp, keep, memory, ones, scope, type Tensor } from "bitgrad";
import { describe, expect, it } from "vitest";

const size = 4096;

describe("gradients that have served in a backward pass", () => {
  it("are released while it goes on, so that a long chain needs the memory of few", () => {
    scope(() => {
      const x = ones([size], { requiresGrad: true });
      let y: Tensor = x;
      for (let i = 0; i < 64; i++) y = y.mul(1.01);
      const root = y.sum();
      const before = memory();
      root.backward();
      const after = memory();
      expect(after.tensors - before.tensors).toBeLessThan(6);
      // The peak is of this chain alone: 65 results, and few gradients at a time.
      expect(after.peak - before.bytes).toBeLessThan(8 * size * 4);
    });
  });

  it("stay where another input, a leaf, the caller or whoever kept them still needs them", () => {
    const kept: Tensor[] = [];
    // Hands the very gradient to two inputs, and its first input to the third.
    const odd = defineOp<[a: Tensor, b: Tensor, c: Tensor]>("odd", {
      shape: ([a]) => a,
      forward: (out, [a]) => out.set(a.data),
      vjp(grad, { inputs: [a] }) {
        kept.push(keep(grad));
        return [grad, grad, a];
      },
    });
    scope(() => {
      const [a, b, c] = [ones([size], { requiresGrad: true }), ones([size]), ones([size])];
      const [p, q, r] = [a.mul(2), a.mul(3), b.mul(5)];
      const x = p.reshape([64, 64]).reshape([size]);
      const y = odd(x, q, r.add(a)).add(odd(q, x, c.add(p)));
      const seed = ones([size]);
      y.backward(seed, { retainGraph: true });
      const first = a.grad!.data.slice();
      a.grad = null;
      y.backward(seed);
      expect(a.grad!.data).toEqual(first);
      // x and q get 2 each, a gets x = 2 and p gets q = 3 besides: 2 · (2 + 3) + 3 · 2 + 2.
      expect(first[0]).toBe(18);
      expect([seed, p, q, r, x, y].every((t) => t.data.length === size)).toBe(true);
    });
    expect(kept.map((t) => t.data[7])).toEqual([1, 1, 1, 1]);
  });
});
