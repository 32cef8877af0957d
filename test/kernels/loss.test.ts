import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { crossEntropy, crossEntropyGrad, targetWeight } from "../../kernels/loss/reference.ts";
import { expectClose, numericGrad, values } from "./check.ts";

interface GoldenTensor {
  shape: number[];
  data: number[];
}

interface GoldenCase {
  id: string;
  op: string;
  params: { reduction: "none" | "mean" | "sum"; ignore_index: number; label_smoothing: number };
  inputs: { input: GoldenTensor; target: GoldenTensor; weight?: GoldenTensor };
  outputs: { out: GoldenTensor };
  grad_outputs: { out: GoldenTensor };
  grads: { input: GoldenTensor };
  tol: { rtol: number };
}

const golden = JSON.parse(readFileSync(new URL("../golden/loss.json", import.meta.url), "utf8"));
const cases: GoldenCase[] = golden.cases.filter((c: GoldenCase) => c.op === "cross_entropy");

describe("crossEntropy", () => {
  it("has PyTorch cases to answer to", () => expect(cases.length).toBeGreaterThan(5));

  for (const { id, params, inputs, outputs, grad_outputs, grads, tol } of cases)
    it(`gives PyTorch's loss and gradient in ${id}`, () => {
      const logits = Float32Array.from(inputs.input.data);
      const targets = Int32Array.from(inputs.target.data);
      const [outer, n, ...spatial] = inputs.input.shape;
      const sizes = { outer, n, inner: spatial.reduce((a, b) => a * b, 1) };
      const options = {
        ignoreIndex: params.ignore_index,
        labelSmoothing: params.label_smoothing,
        weight: inputs.weight ? Float32Array.from(inputs.weight.data) : null,
      };
      const loss = new Float64Array(targets.length);
      const lse = new Float64Array(targets.length);
      crossEntropy(loss, lse, logits, targets, sizes, options);
      const divisor = params.reduction === "mean" ? targetWeight(targets, options) : 1;
      const total = loss.reduce((a, b) => a + b, 0) / divisor;
      expectClose(params.reduction === "none" ? loss : [total], outputs.out.data, tol.rtol);
      const upstream = grad_outputs.out.data;
      const dLoss = loss.map((_, i) => (params.reduction === "none" ? upstream[i] : upstream[0] / divisor));
      const dLogits = new Float32Array(logits.length);
      crossEntropyGrad(dLogits, dLoss, lse, logits, targets, sizes, options);
      expectClose(dLogits, grads.input.data, tol.rtol);
    });

  it("has the gradient that central differences give, with weights, smoothing and ignored targets", () => {
    const sizes = { outer: 3, n: 4, inner: 2 };
    const options = { ignoreIndex: -1, labelSmoothing: 0.2, weight: Float64Array.of(0.5, 2, 1, 0.1) };
    const logits = values(24, 1);
    const targets = Int32Array.of(0, 3, -1, 2, 1, -1);
    const dLoss = values(6, 2);
    const loss = new Float64Array(6);
    const lse = new Float64Array(6);
    const f = () => {
      crossEntropy(loss, lse, logits, targets, sizes, options);
      return loss.reduce((sum, value, i) => sum + value * dLoss[i], 0);
    };
    f();
    expect(loss[2]).toBe(0);
    const dLogits = new Float64Array(24).fill(9);
    crossEntropyGrad(dLogits, dLoss, lse, logits, targets, sizes, options);
    expectClose(dLogits, numericGrad(f, logits), 1e-8);
  });

  it("is infinite for an impossible target and finite for huge logits", () => {
    const options = { ignoreIndex: -100, labelSmoothing: 0, weight: null };
    const loss = new Float32Array(2);
    const logits = Float32Array.of(Number.NEGATIVE_INFINITY, 0, 1e4, 0);
    crossEntropy(
      loss,
      new Float64Array(2),
      logits,
      Int32Array.of(0, 1),
      { outer: 2, n: 2, inner: 1 },
      options,
    );
    expect(Array.from(loss)).toEqual([Number.POSITIVE_INFINITY, 1e4]);
  });
});
