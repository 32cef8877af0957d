/** What a loss does not count it does not read: NaN and infinities there reach neither the loss nor a gradient. */

import { grad, type Tensor, tensor } from "bitgrad";
import { hiddenMse, kdLoss } from "bitgrad/distill";
import { bceLoss, bceWithLogits, crossEntropy, multiMarginLoss, nllLoss } from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

type Loss = (x: Tensor) => Tensor;
const { NaN: nan, NEGATIVE_INFINITY: low, POSITIVE_INFINITY: high } = Number;

/** Of two rows the loss counts the second alone; the same loss of that row. */
const cases: [name: string, first: number[], second: number[], both: Loss, one: Loss][] = [
  [
    "a position that crossEntropy ignores",
    [nan, high],
    [1, 2],
    (x) => crossEntropy(x, [-100, 0]),
    (x) => crossEntropy(x, [0]),
  ],
  [
    "a class of weight 0 in crossEntropy",
    [low, 1],
    [1, 2],
    (x) => crossEntropy(x, [0, 1], { weight: [0, 3] }),
    (x) => crossEntropy(x, [1], { weight: [0, 3] }),
  ],
  [
    "a position that nllLoss ignores",
    [nan, low],
    [-1, -2],
    (x) => nllLoss(x, [-100, 0]),
    (x) => nllLoss(x, [0]),
  ],
  [
    "a class of weight 0 in nllLoss",
    [low, -1],
    [-1, -2],
    (x) => nllLoss(x, [0, 1], { weight: [0, 3] }),
    (x) => nllLoss(x, [1], { weight: [0, 3] }),
  ],
  [
    "a weight of 0 in bceWithLogits",
    [high, low],
    [1, 2],
    (x) =>
      bceWithLogits(
        x,
        [
          [0, 1],
          [0, 1],
        ],
        { weight: [[0], [1]], reduction: "sum" },
      ),
    (x) => bceWithLogits(x, [[0, 1]], { reduction: "sum" }),
  ],
  [
    "a class of weight 0 in multiMarginLoss",
    [low, 1],
    [1, 2],
    (x) => multiMarginLoss(x, [0, 1], { weight: [0, 3], reduction: "sum" }),
    (x) => multiMarginLoss(x, [1], { weight: [0, 3], reduction: "sum" }),
  ],
  [
    "a class of weight 0 in multiMarginLoss of squares",
    [low, 1],
    [1, 2],
    (x) => multiMarginLoss(x, [0, 1], { weight: [0, 3], reduction: "sum", p: 2 }),
    (x) => multiMarginLoss(x, [1], { weight: [0, 3], reduction: "sum", p: 2 }),
  ],
  [
    "a class of weight 0 in crossEntropy of probabilities",
    [nan, low],
    [1, 2],
    (x) =>
      crossEntropy(
        x,
        tensor([
          [nan, 0],
          [0, 1],
        ]),
        { weight: [0, 3], reduction: "sum" },
      ),
    (x) => crossEntropy(x, tensor([[0, 1]]), { weight: [0, 3], reduction: "sum" }),
  ],
  [
    "a target of weight 0 in bceWithLogits",
    [0.5, low],
    [1, 2],
    (x) =>
      bceWithLogits(
        x,
        [
          [nan, nan],
          [0, 1],
        ],
        { weight: [[0], [1]], reduction: "sum" },
      ),
    (x) => bceWithLogits(x, [[0, 1]], { reduction: "sum" }),
  ],
  [
    "a weight of 0 in bceLoss",
    [nan, low],
    [0.5, 0.25],
    (x) =>
      bceLoss(
        x,
        [
          [nan, 1],
          [0, 1],
        ],
        { weight: [[0], [1]], reduction: "sum" },
      ),
    (x) => bceLoss(x, [[0, 1]], { reduction: "sum" }),
  ],
  [
    "a position that the mask of hiddenMse leaves out",
    [nan, high],
    [1, 2],
    (x) =>
      hiddenMse(
        x,
        tensor([
          [1, 1],
          [3, 3],
        ]),
        { mask: tensor([false, true]) },
      ),
    (x) => hiddenMse(x, tensor([[3, 3]])),
  ],
];

describe.each(cases)("%s", (_, first, second, both, one) => {
  it.each([[first], [[nan, nan]], [[high, high]]])(
    "is left out of the loss and of its gradients: %s",
    (odd) => {
      const [x, y] = [tensor([odd, second]), tensor([second])];
      expectClose(both(x), one(y), { rtol: 1e-6 });
      for (const createGraph of [false, true]) {
        const g = grad(both, { createGraph })(x);
        expect(Array.from(g.data.subarray(0, 2))).toEqual([0, 0]);
        expectClose(g.slice([[1, 2]]), grad(one)(y), { rtol: 1e-6 });
      }
    },
  );
});

describe("kdLoss with alpha 0", () => {
  it("does not read the teacher", () => {
    const [student, teacher] = [tensor([[1, 2]]), tensor([[nan, low]])];
    expectClose(kdLoss(student, teacher, { alpha: 0, labels: [1] }), crossEntropy(student, [1]));
  });
});
