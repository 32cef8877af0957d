import { describe, expect, it } from "vitest";
import { layerNorm, layerNormGrad, rmsNorm, rmsNormGrad } from "../../kernels/norm/reference.ts";
import { dot, expectClose, numericGrad, values } from "./check.ts";

const eps = 1e-5;
const rows = 3;

for (const n of [1, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33])
  for (const affine of [false, true])
    describe(`rows of ${n}, ${affine ? "with" : "without"} weight and bias`, () => {
      const sizes = { rows, n };
      const x = values(rows * n, 1);
      const weight = affine ? values(n, 2) : null;
      const bias = affine ? values(n, 3) : null;
      const dOut = values(rows * n, 4);
      const out = new Float64Array(rows * n);
      const mean = new Float64Array(rows);
      const rstd = new Float64Array(rows);

      it("layerNorm equals its definition", () => {
        layerNorm(out, mean, rstd, x, weight, bias, sizes, eps);
        for (let r = 0; r < rows; r++) {
          const row = Array.from(x.subarray(r * n, (r + 1) * n));
          const center = row.reduce((a, b) => a + b, 0) / n;
          const variance = row.reduce((a, b) => a + (b - center) ** 2, 0) / n;
          expectClose([mean[r], rstd[r]], [center, 1 / Math.sqrt(variance + eps)]);
          const want = row.map(
            (v, i) => ((v - center) / Math.sqrt(variance + eps)) * (weight?.[i] ?? 1) + (bias?.[i] ?? 0),
          );
          expectClose(out.subarray(r * n, (r + 1) * n), want);
        }
      });

      it("rmsNorm equals its definition", () => {
        rmsNorm(out, rstd, x, weight, sizes, eps);
        for (let r = 0; r < rows; r++) {
          const row = Array.from(x.subarray(r * n, (r + 1) * n));
          const root = Math.sqrt(row.reduce((a, b) => a + b * b, 0) / n + eps);
          expectClose([rstd[r]], [1 / root]);
          expectClose(
            out.subarray(r * n, (r + 1) * n),
            row.map((v, i) => (v / root) * (weight?.[i] ?? 1)),
          );
        }
      });

      it("layerNorm has the gradients that central differences give", () => {
        const f = () => {
          layerNorm(out, mean, rstd, x, weight, bias, sizes, eps);
          return dot(out, dOut);
        };
        f();
        const dx = new Float64Array(rows * n);
        const dw = weight && new Float64Array(n);
        const db = bias && new Float64Array(n);
        layerNormGrad(dx, dw, db, dOut, x, weight, mean, rstd, sizes);
        expectClose(dx, numericGrad(f, x), 1e-6);
        if (weight && dw) expectClose(dw, numericGrad(f, weight), 1e-6);
        if (bias && db) expectClose(db, numericGrad(f, bias), 1e-6);
      });

      it("rmsNorm has the gradients that central differences give", () => {
        const f = () => {
          rmsNorm(out, rstd, x, weight, sizes, eps);
          return dot(out, dOut);
        };
        f();
        const dx = new Float64Array(rows * n);
        const dw = weight && new Float64Array(n);
        rmsNormGrad(dx, dw, dOut, x, weight, rstd, sizes);
        expectClose(dx, numericGrad(f, x), 1e-6);
        if (weight && dw) expectClose(dw, numericGrad(f, weight), 1e-6);
      });
    });

describe("the norm gradients", () => {
  it("leave out what is not asked for and give the rest unchanged", () => {
    const x = values(12, 1);
    const weight = values(4, 2);
    const mean = new Float64Array(3);
    const rstd = new Float64Array(3);
    layerNorm(new Float64Array(12), mean, rstd, x, weight, null, { rows, n: 4 }, eps);
    const grads = [new Float64Array(12), new Float64Array(4), new Float64Array(4)];
    const [dx, dw, db] = grads.map((grad) => grad.slice());
    layerNormGrad(grads[0], grads[1], grads[2], values(12, 3), x, weight, mean, rstd, { rows, n: 4 });
    layerNormGrad(dx, null, null, values(12, 3), x, weight, mean, rstd, { rows, n: 4 });
    layerNormGrad(null, dw, db, values(12, 3), x, weight, mean, rstd, { rows, n: 4 });
    expect([dx, dw, db]).toEqual(grads);
  });

  it("of no rows are zero for weight and bias", () => {
    const dw = new Float32Array(4).fill(9);
    const none = new Float32Array(0);
    layerNormGrad(none, dw, null, none, none, null, none, none, { rows: 0, n: 4 });
    expect(Array.from(dw)).toEqual([0, 0, 0, 0]);
    dw.fill(9);
    rmsNormGrad(none, dw, none, none, null, none, { rows: 0, n: 4 });
    expect(Array.from(dw)).toEqual([0, 0, 0, 0]);
  });
});
