import { OptionError, Rng, randn, type Tensor, tensor } from "bitgrad";
import {
  dkd,
  forwardKl,
  hiddenMse,
  jsd,
  kdLoss,
  multiTeacherLoss,
  mutualLoss,
  type PositionOptions,
  type PositionReduction,
  proSelfLoss,
  reverseKl,
  skewKl,
  skewReverseKl,
  softCrossEntropy,
  totalVariation,
} from "bitgrad/distill";
import { crossEntropy, Linear } from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

type Loss = (student: Tensor, teacher: Tensor, options?: Partial<PositionOptions>) => Tensor;
const rng = new Rng(5);
const shape = [2, 3, 5];
const student = randn(shape, { rng });
const teacher = randn(shape, { rng });
const labels = tensor([1, 0, 4, 2, 2, 3], { dtype: "int32", shape: [2, 3] });
const mask = tensor([1, 0, 1, 1, 1, 0], { shape: [2, 3] });
const fit = new Linear(5, 5, { rng });

const losses: [name: string, loss: Loss][] = [
  ["kdLoss", (s, t, options) => kdLoss(s, t, options)],
  ["kdLoss with labels", (s, t, options) => kdLoss(s, t, { labels, alpha: 0.4, ...options })],
  ["kdLoss of labels alone", (s, t, options) => kdLoss(s, t, { labels, alpha: 0, ...options })],
  ["forwardKl", forwardKl],
  ["reverseKl", reverseKl],
  ["skewKl", skewKl],
  ["skewReverseKl", skewReverseKl],
  ["jsd", jsd],
  ["totalVariation", totalVariation],
  ["dkd", (s, t, options) => dkd(s, t, labels, options)],
  ["softCrossEntropy", (s, t, options) => softCrossEntropy(s, t, options)],
  ["mutualLoss", (s, t, options) => mutualLoss([s, t], options).losses[0]],
  ["mutualLoss with labels", (s, t, options) => mutualLoss([s, t], { labels, ...options }).losses[0]],
  ["proSelfLoss", (s, _, options) => proSelfLoss(s, labels, { progress: 0.6, ...options })],
  ["multiTeacherLoss", (s, t, options) => multiTeacherLoss(s, [t, t.neg()], options)],
  ["hiddenMse", (s, t, options) => hiddenMse(s, t, options)],
  ["hiddenMse, projected", (s, t, options) => hiddenMse(s, t, { project: fit, ...options })],
];

const reductions: PositionReduction[] = ["batchmean", "mean", "sum", "none"];

/** NaN where the mask is 0. */
const spoiled = (x: Tensor): Tensor => mask.unsqueeze(-1).notEqual(0).where(x, Number.NaN);

describe.each(losses)("%s", (_, loss) => {
  it.each(reductions)("does not see what the mask leaves out, by %s", (reduction) => {
    const [plain, odd] = [student, spoiled(student)].map((x) => {
      const s = tensor(x, { requiresGrad: true });
      const value = loss(s, x === student ? teacher : spoiled(teacher), { mask, reduction });
      value.sum().backward();
      const ofFit = fit.weight.grad?.toArray();
      fit.weight.grad = null;
      return [value.toArray(), s.grad!.toArray(), ofFit];
    });
    expect(odd).toEqual(plain);
  });

  it("agrees with itself in all reductions", () => {
    const [batch, mean, sum, each] = reductions.map((reduction) =>
      loss(student, teacher, { mask, reduction }),
    );
    expectClose(each.sum(), sum);
    expectClose(batch, sum.div(4));
    expectClose(mean, batch.div(5));
    expect(each.shape).toEqual([2, 3]);
    expect(each.mul(mask.equal(0).to("float32")).sum().item()).toBe(0);
  });

  it("is 0 where nothing counts, and moves nothing", () => {
    const s = tensor(student, { requiresGrad: true });
    const value = loss(s, teacher, { mask: mask.mul(0) });
    value.backward();
    expect(value.item()).toBe(0);
    expect(s.grad!.abs().sum().item()).toBe(0);
  });

  it.each([
    [{ reduction: "avg" as "mean" }, 'reduction must be "batchmean", "mean", "sum" or "none", got "avg"'],
    [{ mask: [1, 0] }, "mask must have the shape of the positions, got (2) for (2, 3)"],
    [{ mask: mask.div(0) }, "a mask says which positions count, got NaN"],
  ])("refuses %o", (options, text) => {
    expect(() => loss(student, teacher, options)).toThrow(text);
  });
});

it("counts labels of -100 for nothing", () => {
  const some = tensor([1, -100, 4, 2, 2, -100], { dtype: "int32", shape: [2, 3] });
  const wanted = kdLoss(student, teacher).mul(0.5).add(crossEntropy(student, some).mul(0.5));
  expectClose(kdLoss(student, teacher, { labels: some, alpha: 0.5 }), wanted);
  expect(() => kdLoss(student, teacher, { temperature: "4" as unknown as number })).toThrow(OptionError);
});

it("refuses labels that only broadcast to the positions of a mask", () => {
  const one = tensor(1, { dtype: "int32" });
  expect(() => kdLoss(student, teacher, { labels: one, mask })).toThrow(
    "labels must have the shape of the positions, got () for (2, 3)",
  );
});
