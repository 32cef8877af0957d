import { describe, expect, it } from "vitest";
import { crossEntropy } from "../../kernels/loss/simd.ts";
import * as reference from "../../kernels/norm/reference.ts";
import { layerNorm, layerNormGrad, rmsNorm } from "../../kernels/norm/simd.ts";

describe("SIMD cross entropy", () => {
  const sizes = { outer: 4, n: 100, inner: 1 };
  const plain = { ignoreIndex: -100, labelSmoothing: 0, weight: null };
  const logits = new Float32Array(400);
  const targets = new Int32Array(4);

  it("gives log n for equal logits", () => {
    const [loss, lse] = [new Float32Array(4), new Float64Array(4)];
    expect(crossEntropy(loss, lse, logits, targets, sizes, plain)).toBe(true);
    expect([...loss]).toEqual(new Array(4).fill(Math.fround(Math.log(100))));
    for (const norm of lse) expect(norm).toBeCloseTo(Math.log(100), 14);
  });

  it("declines class weights, inner axes, other targets and an lse in float32, and writes nothing", () => {
    const [loss, lse] = [new Float32Array(4).fill(7), new Float64Array(4).fill(7)];
    const weight = new Float32Array(100);
    const inner = { outer: 2, n: 100, inner: 2 };
    expect(crossEntropy(loss, lse, logits, targets, sizes, { ...plain, weight })).toBe(false);
    expect(crossEntropy(loss, lse, logits, targets, sizes, { ...plain, ignoreIndex: 0.5 })).toBe(false);
    expect(crossEntropy(loss, lse, logits, targets, inner, plain)).toBe(false);
    expect(crossEntropy(loss, lse, logits, new Uint8Array(4), sizes, plain)).toBe(false);
    expect(crossEntropy(loss, loss, logits, targets, sizes, plain)).toBe(false);
    expect([...loss, ...lse].every((value) => value === 7)).toBe(true);
  });
});

describe("SIMD layerNorm", () => {
  const sizes = { rows: 10, n: 100 };
  const statistics = (): [Float64Array, Float64Array] => [new Float64Array(10), new Float64Array(10)];

  it("keeps the digits of rows far from 0", () => {
    const x = Float32Array.from({ length: 1000 }, (_, i) => 1e5 + (i % 2));
    const out = new Float32Array(1000);
    const [mean, rstd] = statistics();
    expect(layerNorm(out, mean, rstd, x, null, null, sizes, 0)).toBe(true);
    expect([...mean]).toEqual(new Array(10).fill(100000.5));
    expect([...rstd]).toEqual(new Array(10).fill(2));
    expect(out.every((value, i) => value === (i % 2 === 0 ? -1 : 1))).toBe(true);
  });

  it("and rmsNorm give rows whose squares overflow float32 as the reference does", () => {
    const x = Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i));
    [1e30, -1e20, 3e38, Number.NaN, Number.POSITIVE_INFINITY].forEach((value, row) => {
      x[row * 100 + 37] = value;
    });
    x.fill(3e38, 500, 600);
    const weight = Float32Array.from({ length: 100 }, (_, i) => 1 + i / 100);
    const [found, want] = [new Float32Array(1000), new Float32Array(1000)];
    const [mean, rstd] = statistics();
    const [meanWant, rstdWant] = statistics();
    expect(layerNorm(found, mean, rstd, x, weight, weight, sizes, 1e-5)).toBe(true);
    reference.layerNorm(want, meanWant, rstdWant, x, weight, weight, sizes, 1e-5);
    const near = (a: ArrayLike<number>, b: ArrayLike<number>, least: number) => {
      for (let i = 0; i < a.length; i++)
        if (!Object.is(a[i], b[i]) && !(Math.abs(a[i] - b[i]) <= 2e-6 * Math.abs(b[i]) + least))
          expect.fail(`element ${i}: got ${a[i]}, want ${b[i]}`);
    };
    near(found, want, 1e-6);
    near(rstd, rstdWant, 0);
    expect(rmsNorm(found, rstd, x, weight, sizes, 1e-5)).toBe(true);
    reference.rmsNorm(want, rstdWant, x, weight, sizes, 1e-5);
    near(found, want, 0);
    near(rstd, rstdWant, 0);
  });

  it("declines doubles and statistics in float32", () => {
    const x = new Float32Array(1000);
    const floats = new Float32Array(10);
    expect(layerNorm(x, ...statistics(), new Float64Array(1000), null, null, sizes, 1e-5)).toBe(false);
    expect(layerNorm(x, floats, floats, x, null, null, sizes, 1e-5)).toBe(false);
  });

  it("gives dw and db without dx", () => {
    const x = Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i));
    const [mean, rstd] = statistics();
    const [dw, db, ones] = [new Float32Array(100), new Float32Array(100), new Float32Array(1000).fill(1)];
    layerNorm(new Float32Array(1000), mean, rstd, x, null, null, sizes, 1e-5);
    expect(layerNormGrad(null, dw, db, ones, x, null, mean, rstd, sizes)).toBe(true);
    expect(db.every((value) => value === 10)).toBe(true);
    const first = mean.reduce((sum, m, r) => sum + (x[r * 100] - m) * rstd[r], 0);
    expect(dw[0]).toBeCloseTo(first, 5);
  });
});
