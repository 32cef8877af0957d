import { describe, expect, it } from "vitest";
import { bernoulli, Rng, randn, tensor } from "../../src/index.ts";

describe("dropout", () => {
  it("keeps what bernoulli of the same stream keeps, times 1/(1 − p), in the values and the gradient", () => {
    for (const dtype of ["float32", "float64"] as const)
      for (const p of [0.1, 0.5, 0.7]) {
        const x = randn([33, 129], { dtype, rng: new Rng(1) });
        x.data.set([Number.NaN, Infinity, -Infinity, -0, 1e38, 1e-45]);
        x.requiresGrad = true;
        const mask = bernoulli(1 - p, x.shape, { rng: new Rng(2) });
        const scales = mask.to(dtype).mul(1 / (1 - p));
        const y = x.dropout({ p, rng: new Rng(2) });
        expect([...y.data]).toEqual([...x.mul(scales).data]);
        y.sum().backward();
        expect([...x.grad!.data]).toEqual([...scales.data]);
        expect(mask.data.some((on) => on === 0)).toBe(true);
      }
  });

  it("gives what a product with the scale gives of integers", () => {
    const x = tensor([1, -2, 3, 4], { dtype: "int8" });
    const y = x.dropout({ p: 0.5, rng: new Rng(0) });
    const mask = bernoulli(0.5, [4], { rng: new Rng(0) });
    expect([y.dtype, y.toArray()]).toEqual(["int8", x.mul(mask).mul(2).toArray()]);
    expect(x.dropout({ p: 0.1, rng: new Rng(0) }).dtype).toBe("float32");
  });
});
