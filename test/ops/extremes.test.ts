/** Numbers near the ends of float32 give what double precision gives, on every backend. */

import { grad, layerNorm, scaledDotProductAttention, type Tensor, tensor } from "bitgrad";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

describe("numbers whose squares overflow float32", () => {
  it("have a standard deviation, and its gradient", () => {
    const x = tensor([1e30, ...new Array(11).fill(1)]);
    expect(x.std().item()).toBeCloseTo(2.8867513e29, -23);
    const slopes = grad((t: Tensor) => t.std())(x).data;
    expect(slopes[0]).toBeCloseTo(0.2886751, 6);
    expect(slopes[1]).toBeCloseTo(-0.0262432, 6);
  });

  it("leave layerNorm the other numbers of their row", () => {
    const x = new Float32Array(533).fill(1);
    x[100] = 1e30;
    const y = layerNorm(tensor(x)).data;
    expect(y[100]).toBeCloseTo(23.065, 3);
    expect(y[0]).toBeCloseTo(-0.04335, 4);
  });

  it("take all of a query's attention", () => {
    const rows = Float32Array.from({ length: 40 * 8 }, (_, i) => Math.sin(i));
    rows.fill(1e25, 8, 16);
    const x = tensor(rows).reshape([1, 1, 40, 8]);
    const y = scaledDotProductAttention(x, x, x);
    expectClose(y.slice([0, 0, 1]), x.slice([0, 0, 1]), { rtol: 1e-6 });
    expect(y.isFinite().all().item()).toBe(1);
    const slopes = grad((t: Tensor) => scaledDotProductAttention(t, x, x).sum())(x);
    expect(slopes.isFinite().all().item()).toBe(1);
  });
});
