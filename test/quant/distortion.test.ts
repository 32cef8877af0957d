import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  DistortionSum,
  firstOrderScore,
  fisherScore,
  quantile,
  rowDivergence,
} from "../../src/quant/report/distortion.ts";

interface Case {
  readonly name: string;
  readonly inputs: Record<string, { shape: number[]; data: number[] }>;
  readonly outputs: Record<string, { data: number[] }>;
  readonly tolerance: { rtol: number; atol: number };
}
const text = readFileSync(new URL("../golden/methods/codebook-measures.json", import.meta.url), "utf8");
const { cases } = JSON.parse(text) as { cases: Case[] };

const distortion = (y: number[], approximate: number[]) => {
  const sum = new DistortionSum();
  sum.add(Float64Array.from(y), Float64Array.from(approximate));
  return sum.result();
};

describe("the measures of reference cases", () => {
  it.each(cases.map((given) => [given.name, given] as const))("%s", (_, { inputs, outputs, tolerance }) => {
    const near = (got: number, want: number, what: string) =>
      expect(Math.abs(got - want), what).toBeLessThanOrEqual(
        tolerance.atol + tolerance.rtol * Math.abs(want),
      );
    const [rows, n] = inputs.logits.shape;
    const logits = Float32Array.from(inputs.logits.data);
    const others = Float32Array.from(inputs.logits_quantized.data);
    const kls = Array.from({ length: rows }, (_row, i) => rowDivergence(logits, others, i * n, n));
    for (const [i, kl] of kls.entries()) near(kl, outputs.kl_per_token.data[i], `row ${i}`);
    near(kls.reduce((a, b) => a + b) / rows, outputs.kl_mean.data[0], "mean");
    const { sqnr, cosine, relative } = distortion(
      Array.from(Float32Array.from(inputs.y.data)),
      Array.from(Float32Array.from(inputs.y_quantized.data)),
    );
    near(sqnr, outputs.sqnr_db.data[0], "SQNR");
    near(cosine, outputs.cosine.data[0], "cosine");
    near(relative, outputs.relative_error.data[0], "relative error");
    const [gradient, delta] = [inputs.grad.data, inputs.delta.data].map((data) => Float32Array.from(data));
    near(
      fisherScore(
        gradient.map((g) => g * g),
        delta,
      ),
      outputs.fisher.data[0],
      "Fisher",
    );
    near(firstOrderScore(gradient, delta), outputs.first_order.data[0], "first order");
  });
});

describe("definitions", () => {
  it("are those of four numbers worked out by hand", () => {
    const { sqnr, cosine, relative, maxError } = distortion([1, -2, 0.5, 3], [0.9, -2.2, 0.5, 2.8]);
    expect(sqnr).toBeCloseTo(21.995724, 6);
    expect(cosine).toBeCloseTo(0.99695, 6);
    expect(relative).toBeCloseTo(0.00631579, 8);
    expect(maxError).toBeCloseTo(0.2, 12);
  });

  it("of a divergence are those of four logits", () => {
    const [t, s] = [Float64Array.of(2, 1, 0, -1), Float64Array.of(1, 1, 0.5, -0.5)];
    expect(rowDivergence(t, s, 0, 4)).toBeCloseTo(0.18428, 6);
    expect(rowDivergence(s, t, 0, 4)).toBeCloseTo(0.193234, 6);
    expect(rowDivergence(t, t, 0, 4)).toBe(0);
  });

  it("of sensitivity are those of four weights", () => {
    const delta = [0.1, 0.2, -0.2, -0.1];
    const g = [0.1, -0.2, 0.3, 0.05];
    expect(
      fisherScore(
        g.map((x) => x * x),
        delta,
      ),
    ).toBeCloseTo(0.005325, 12);
    expect(firstOrderScore(g, delta)).toBeCloseTo(0.115, 12);
  });

  it("have no NaN where there is no signal, no error or infinity", () => {
    const same = { sqnr: Infinity, cosine: 1, relative: 0, maxError: 0 };
    expect(distortion([0, 0], [0, 0])).toEqual(same);
    expect(distortion([], [])).toEqual(same);
    expect(distortion([1, -3], [1, -3])).toMatchObject({ sqnr: Infinity, relative: 0, maxError: 0 });
    expect(distortion([0, 0], [0.5, 0])).toEqual({
      sqnr: -Infinity,
      cosine: 0,
      relative: Infinity,
      maxError: 0.5,
    });
    expect(distortion([2, 0], [0, 0])).toEqual({ sqnr: 0, cosine: 0, relative: 1, maxError: 2 });
    expect(distortion([-Infinity, 1], [-Infinity, 1])).toEqual(same);
    expect(distortion([-Infinity, 1], [4, 1])).toMatchObject({
      sqnr: -Infinity,
      relative: Infinity,
      maxError: Infinity,
    });
    expect(distortion([1e-40], [0])).toMatchObject({ sqnr: 0, relative: 1 });
  });

  it("leave classes out that cannot be, and are infinite where only the other leaves them out", () => {
    const masked = Float64Array.of(1, 2, -Infinity);
    expect(rowDivergence(masked, Float64Array.of(1, 2, -Infinity), 0, 3)).toBe(0);
    expect(rowDivergence(masked, Float64Array.of(1, 2, 0), 0, 3)).toBeGreaterThan(0);
    expect(rowDivergence(Float64Array.of(1, 2, 0), masked, 0, 3)).toBe(Infinity);
    expect(rowDivergence(Float64Array.of(800, 0), Float64Array.of(0, 800), 0, 2)).toBe(800);
  });

  it("of a quantile interpolate between neighbours", () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([7], 0.99)).toBe(7);
    expect(quantile([0, Infinity], 0.99)).toBe(Infinity);
    expect(quantile([Infinity, Infinity], 0.5)).toBe(Infinity);
    expect(quantile([], 0.99)).toBe(0);
  });
});
