import { grad, Rng, randn, ShapeError, scope, type Tensor, tensor } from "bitgrad";
import { BatchNorm1d, BatchNorm2d, evaluate, stateDict } from "bitgrad/nn";
import { expectClose, gradcheck, leakCheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const batch = tensor([
  [1, 10],
  [3, 10],
  [5, 16],
]);

describe("batch normalisation", () => {
  it("uses the batch's biased variance and tracks the unbiased one", () => {
    const norm = new BatchNorm1d(2, { eps: 0 });
    const y = norm.forward(batch);
    const [a, b] = [Math.sqrt(8 / 3), Math.sqrt(8)];
    expectClose(y, [
      [-2 / a, -2 / b],
      [0, -2 / b],
      [2 / a, 4 / b],
    ]);
    expectClose(norm.runningMean, [0.3, 1.2]);
    expectClose(norm.runningVar, [0.9 + 0.1 * 4, 0.9 + 0.1 * 12]);
    expect(norm.numBatchesTracked.item()).toBe(1);
  });

  it("uses the running statistics in evaluation and leaves them", () => {
    const norm = new BatchNorm1d(2, { eps: 0 });
    norm.forward(batch);
    const before = [norm.runningMean.toArray(), norm.runningVar.toArray()];
    evaluate(norm);
    expectClose(norm.forward(tensor([[1.3, 1.2]])), [[1 / Math.sqrt(1.3), 0]]);
    expect([norm.runningMean.toArray(), norm.runningVar.toArray()]).toEqual(before);
    expect(norm.numBatchesTracked.item()).toBe(1);
  });

  it("takes one example in evaluation and refuses it in training", () => {
    const norm = new BatchNorm1d(2);
    expect(() => norm.forward(tensor([[1, 2]]))).toThrow(
      "more than one value a channel, got (1, 2); use larger batches (a loader's dropLast leaves a short last one out) or evaluate()",
    );
    expect(evaluate(norm).forward(tensor([[1, 2]])).shape).toEqual([1, 2]);
  });

  it("averages over all batches where momentum is null", () => {
    const norm = new BatchNorm1d(2, { momentum: null });
    norm.forward(batch);
    norm.forward(batch.mul(3));
    expectClose(norm.runningMean, [6, 24]);
  });

  it("counts the positions of images as examples", () => {
    const norm = new BatchNorm2d(3);
    const x = randn([2, 3, 4, 5], { rng: new Rng(8) });
    expectClose(norm.forward(x), x.batchNorm());
    expectClose(
      norm.runningVar,
      x
        .variance({ axis: [0, 2, 3] })
        .mul(0.1)
        .add(0.9),
      { rtol: 1e-5 },
    );
  });

  it("lets gradients through the batch's statistics", () => {
    const norm = new BatchNorm1d(2, { dtype: "float64" });
    norm.weight?.assign([2, 3]);
    gradcheck((x) => norm.forward(x).square().mul(x), [batch]);
  });

  it("computes in float32 what it does in float64, for pictures of every size", () => {
    for (const shape of [
      [200, 3, 1, 1],
      [9, 7, 2, 5],
      [5, 1, 11, 13],
      [64, 5],
    ]) {
      const rng = new Rng(`sizes ${shape}`);
      const [x, g] = [randn(shape, { rng }).add(3), randn(shape, { rng })];
      const run = (dtype: "float32" | "float64") => {
        const inputs = [x, ...[2, -1].map((seed) => randn([shape[1]], { rng: new Rng(seed + 1) }))];
        const norm = (t: Tensor, w: Tensor, c: Tensor): Tensor => t.batchNorm(null, null, w, c);
        const sum = (t: Tensor, w: Tensor, c: Tensor): Tensor => norm(t, w, c).mul(g.to(dtype)).sum();
        const [t, w, c] = inputs.map((each) => each.to(dtype));
        return [norm(t, w, c), ...(grad(sum)(t, w, c) as Tensor[])];
      };
      const want = run("float64");
      run("float32").forEach((got, i) => {
        expectClose(got, want[i].to("float32"), { rtol: 1e-4, atol: 1e-4 });
      });
    }
  });

  it("owns its statistics: scopes neither release nor leak them", () => {
    const norm = scope(() => new BatchNorm1d(2));
    leakCheck(() => scope(() => void norm.forward(batch)));
    expect(norm.numBatchesTracked.item()).toBe(12);
  });

  it("names its state in camelCase", () => {
    expect(Object.keys(stateDict(new BatchNorm2d(1)))).toEqual([
      "weight",
      "bias",
      "runningMean",
      "runningVar",
      "numBatchesTracked",
    ]);
  });

  it("refuses other shapes and momenta", () => {
    expect(() => new BatchNorm1d(2).forward(randn([2, 3]))).toThrow(
      "must have 2 channels on axis 1, got (2, 3)",
    );
    expect(() => new BatchNorm2d(2).forward(batch)).toThrow(ShapeError);
    expect(() => new BatchNorm1d(2).forward(tensor([1]))).toThrow(ShapeError);
    expect(() => new BatchNorm1d(2, { momentum: 1.5 })).toThrow("got 1.5");
  });
});
