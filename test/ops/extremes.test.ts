/** Numbers near the ends of float32 give what double precision gives, on every backend. */

import { grad, layerNorm, scaledDotProductAttention, sinc, type Tensor, tensor } from "bitgrad";
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

describe("sinc near 0", () => {
  /** The k-th derivative of Σ (−1)ⁿ(πx)²ⁿ/(2n + 1)!, term by term. */
  function derivative(k: number, x: number): number {
    let sum = 0;
    for (let n = 20, term: number; n >= 0; n--) {
      term = (-1) ** n * Math.PI ** (2 * n);
      for (let i = 2; i <= 2 * n + 1; i++) term /= i;
      for (let i = 0; i < k; i++) term *= 2 * n - i;
      if (2 * n >= k) sum += term * x ** (2 * n - k);
    }
    return sum;
  }

  it.each([1e-30, 1e-8, 1e-3, 0.05, 0.149, 0.151, -0.3])("has its slope and curvature at %d", (at) => {
    for (const dtype of ["float32", "float64"] as const) {
      const x = tensor([at], { dtype });
      const slope = grad((t: Tensor) => sinc(t).sum(), { createGraph: true });
      const tolerance = { rtol: dtype === "float64" ? 1e-12 : 2e-5, atol: 0 };
      expectClose(slope(x) as Tensor, tensor([derivative(1, x.item())], { dtype }), tolerance);
      const curvature = grad((t: Tensor) => (slope(t) as Tensor).sum())(x) as Tensor;
      expectClose(curvature, tensor([derivative(2, x.item())], { dtype }), tolerance);
    }
  });
});
