import { DTypeError, OptionError, ShapeError, type Tensor, tensor } from "bitgrad";
import {
  bceLoss,
  bceWithLogits,
  cosineEmbedding,
  crossEntropy,
  gaussianNllLoss,
  hingeEmbeddingLoss,
  huberLoss,
  klDiv,
  l1Loss,
  marginRankingLoss,
  mseLoss,
  multiMarginLoss,
  nllLoss,
  smoothL1Loss,
  softMarginLoss,
  tripletMarginLoss,
} from "bitgrad/nn";
import { expectClose, gradcheck, gradgradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const logits = tensor([
  [1, 2, -1],
  [0.5, -0.3, 0.2],
]);

describe("crossEntropy", () => {
  it("takes plain numbers as class indices, on whichever axis the classes are", () => {
    const rows = crossEntropy(logits, [1, 0]);
    const columns = crossEntropy(logits.transpose(), [1, 0], { axis: 0 });
    const byHand = logits
      .logSoftmax()
      .gather([[1], [0]], { axis: 1 })
      .mean()
      .neg();
    expectClose(rows, byHand);
    expectClose(columns, rows);
  });

  it("equals nllLoss of logSoftmax, ignored positions and class weights included", () => {
    const options = { ignoreIndex: 2, weight: [0.5, 2, 1] };
    for (const reduction of ["mean", "sum", "none"] as const) {
      expectClose(
        crossEntropy(logits, [2, 0], { ...options, reduction }),
        nllLoss(logits.logSoftmax(), [2, 0], { ...options, reduction }),
      );
    }
  });

  it("gives indices and their one-hot probabilities the same loss, smoothed or not", () => {
    const target = tensor([1, 0], { dtype: "int32" });
    const soft = target.oneHot({ classes: 3 }).to("float32");
    for (const labelSmoothing of [0, 0.3]) {
      expectClose(
        crossEntropy(logits, target, { labelSmoothing }),
        crossEntropy(logits, soft, { labelSmoothing }),
      );
    }
  });

  it("takes a single example without a batch axis", () => {
    expect(crossEntropy(tensor([0, 0]), 1).item()).toBeCloseTo(Math.LN2, 6);
  });

  it("stays finite where exp overflows", () => {
    expect(crossEntropy(tensor([[1000, 0]]), [1]).item()).toBe(1000);
  });

  it.each([
    ["crossEntropy", (x: Tensor) => crossEntropy(x, [-100, -100])],
    ["crossEntropy with smoothing", (x: Tensor) => crossEntropy(x, [-100, -100], { labelSmoothing: 0.1 })],
    ["crossEntropy by weights of 0", (x: Tensor) => crossEntropy(x, [0, 0], { weight: [0, 1, 1] })],
    [
      "crossEntropy by weights of 0 with smoothing",
      (x: Tensor) => crossEntropy(x, [0, 0], { weight: [0, 1, 1], labelSmoothing: 0.1 }),
    ],
    ["nllLoss", (x: Tensor) => nllLoss(x.logSoftmax(), [2, 2], { ignoreIndex: 2 })],
  ])("%s of padding alone is 0, and so is its gradient", (_, loss) => {
    const x = tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { requiresGrad: true },
    );
    const value = loss(x);
    value.backward();
    expect(value.item()).toBe(0);
    expect(x.grad!.abs().sum().item()).toBe(0);
  });

  it("gives ignored positions no gradient", () => {
    const x = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { requiresGrad: true },
    );
    crossEntropy(x, [-100, 0]).backward();
    expect(x.grad?.toArray()).toEqual([
      [0, 0],
      [expect.any(Number), expect.any(Number)],
    ]);
    expect(x.grad?.data[2]).not.toBe(0);
  });

  it("is differentiable twice, in logits and probabilities", () => {
    const probabilities = [
      [0.2, 0.3, 0.5],
      [0.6, 0.3, 0.1],
    ];
    gradcheck((x, y) => crossEntropy(x, y, { labelSmoothing: 0.1 }), [logits, probabilities]);
    gradgradcheck((x) => crossEntropy(x, [1, 0], { labelSmoothing: 0.1 }), [logits]);
  });

  it.each([
    ["an index beyond the classes", () => crossEntropy(logits, [1, 3]), ShapeError, "got 3 for 3 classes"],
    ["a negative index", () => crossEntropy(logits, [-1, 1]), ShapeError, "got -1"],
    ["float targets", () => crossEntropy(logits, tensor([1, 0])), DTypeError, 'use .to("int32")'],
    ["fractions as indices", () => crossEntropy(logits, [0.5, 1]), DTypeError, "got 0.5"],
    ["too few targets", () => crossEntropy(logits, [1]), ShapeError, "got (1) for (2, 3)"],
    [
      "NaN smoothing",
      () => crossEntropy(logits, [1, 0], { labelSmoothing: Number.NaN }),
      OptionError,
      "got NaN",
    ],
    [
      "smoothing above 1",
      () => crossEntropy(logits, [1, 0], { labelSmoothing: 1.5 }),
      OptionError,
      "got 1.5",
    ],
    [
      "a short weight",
      () => crossEntropy(logits, [1, 0], { weight: [1, 2] }),
      ShapeError,
      "got (2) for 3 classes",
    ],
    ["an axis it has not", () => crossEntropy(logits, [1, 0], { axis: 2 }), ShapeError, "axis"],
    [
      "an unknown reduction",
      () => crossEntropy(logits, [1, 0], { reduction: "avg" as "mean" }),
      OptionError,
      '"avg"',
    ],
    ["an unknown option", () => crossEntropy(logits, [1, 0], { dim: 1 } as object), OptionError, '"dim"'],
    [
      "an index to ignore among probabilities",
      () => crossEntropy(logits, logits.softmax(), { ignoreIndex: 1 }),
      OptionError,
      "weigh positions by 0",
    ],
  ])("refuses %s", (_, run, kind, text) => {
    expect(run).toThrow(kind);
    expect(run).toThrow(text);
  });
});

describe("losses of pairs", () => {
  const x = [0.3, -1.2, 2.5];
  const y = [0.1, 1.4, 2.4];

  it("bends from a square to a line at delta", () => {
    expect(huberLoss([0.5, 3], [0, 0], { delta: 1, reduction: "none" }).toArray()).toEqual([0.125, 2.5]);
    expect(smoothL1Loss([1, 3], [0, 0], { beta: 2, reduction: "none" }).toArray()).toEqual([0.25, 2]);
    expectClose(smoothL1Loss(x, y, { beta: 0 }), l1Loss(x, y));
  });

  it("keeps an infinite error's gradient finite in huberLoss", () => {
    const far = tensor([Number.POSITIVE_INFINITY], { requiresGrad: true });
    huberLoss(far, [0], { delta: 2 }).backward();
    expect(far.grad?.toArray()).toEqual([2]);
  });

  it("holds bceLoss at 100 for a certain mistake", () => {
    expect(bceLoss([0, 1], [1, 0], { reduction: "none" }).toArray()).toEqual([100, 100]);
    expect(bceLoss([0, 1], [0, 1], { reduction: "sum" }).item()).toBe(0);
  });

  it("gives bceWithLogits the loss of bceLoss, and keeps tiny losses", () => {
    expectClose(bceWithLogits(x, [1, 0, 0.3]), bceLoss(tensor(x).sigmoid(), [1, 0, 0.3]), { rtol: 1e-5 });
    expect(bceWithLogits([-40], [0]).item()).toBeCloseTo(Math.exp(-40), 20);
    expect(bceWithLogits([1000], [0]).item()).toBe(1000);
  });

  it("counts 0 for what has no probability in klDiv, even against log-probability −Infinity", () => {
    const q = tensor([0, Number.NEGATIVE_INFINITY], { requiresGrad: true });
    const loss = klDiv(q, [1, 0], { reduction: "sum" });
    loss.backward();
    expect(loss.item()).toBe(0);
    expect(q.grad?.toArray()).toEqual([-1, 0]);
  });

  it("divides klDiv by elements for mean and by rows for batchmean", () => {
    const p = logits.softmax();
    const sum = klDiv(logits.neg(), p, { from: "logits", reduction: "sum" }).item();
    expect(klDiv(logits.neg(), p, { from: "logits" }).item()).toBeCloseTo(sum / 6, 6);
    expect(klDiv(logits.neg(), p, { from: "logits", reduction: "batchmean" }).item()).toBeCloseTo(sum / 2, 6);
    expectClose(klDiv(logits, p.log(), { from: "logits", logTarget: true }), tensor(0), { atol: 1e-6 });
  });

  it("gives distances, ranks and likelihoods PyTorch's losses", () => {
    const [a, p, n] = [
      [
        [1, 2],
        [0, 1],
      ],
      [
        [1.5, 2.25],
        [3, 1],
      ],
      [
        [3, 1],
        [0.5, 0.5],
      ],
    ];
    const all = { reduction: "none" } as const;
    expectClose(tripletMarginLoss(a, p, n, all), tensor([0, 3.29289222]));
    expectClose(
      tripletMarginLoss(a, p, n, { ...all, p: 3, margin: 2, swap: true }),
      tensor([0.773428019, 4.37003848]),
    );
    expectClose(tripletMarginLoss(a, p, n), tensor(1.646446109));
    const [x, y] = [
      [
        [1, 2],
        [0, 3],
      ],
      [
        [1, 0],
        [3, 2],
      ],
    ];
    expectClose(gaussianNllLoss(x, y, [0.5, 0.25]), tensor(5.480139256));
    expectClose(gaussianNllLoss(x, y, [[0.5], [0.25]], { full: true }), tensor(6.399077892));
    expectClose(
      marginRankingLoss([1, 1, 2, 0], [0.5, 1, 1, 3], [1, -1, 1, 1], { ...all, margin: 0.5 }),
      tensor([0, 0.5, 0, 3.5]),
    );
    expectClose(
      hingeEmbeddingLoss([1, 2, 0, -1, 0.25], [1, -1, -1, -1, -1], { ...all, margin: 0.5 }),
      tensor([1, 0, 0.5, 1.5, 0.25]),
    );
  });

  it.each([
    [
      () => gaussianNllLoss([1], [1], [-1]),
      "gaussianNllLoss: a variance must not be negative, got -1 at index 0",
    ],
    [
      () => gaussianNllLoss([1, 2], [1, 2], [1, 2, 3]),
      "gaussianNllLoss: the variance must have the input's shape",
    ],
    [() => tripletMarginLoss(1, 2, 3), "tripletMarginLoss: needs vectors on the last axis, got ()"],
    [
      () => tripletMarginLoss([1], [1], [1], { margin: -1 }),
      "tripletMarginLoss: margin must not be negative, got -1",
    ],
    [() => hingeEmbeddingLoss([1], [0]), "hingeEmbeddingLoss: targets must be 1 or -1, got 0 at index 0"],
    [() => marginRankingLoss([1], [2], [[1]]), "marginRankingLoss: input and target must have one shape"],
  ])("refuses %s", (run, message) => {
    expect(run).toThrow(message);
  });

  it.each([
    ["mseLoss", (a, b) => mseLoss(a, b)],
    ["huberLoss", (a, b) => huberLoss(a, b)],
    ["smoothL1Loss", (a, b) => smoothL1Loss(a, b, { beta: 0.7 })],
    ["bceLoss", (a, b) => bceLoss(a.sigmoid(), b.sigmoid())],
    ["bceWithLogits", (a, b) => bceWithLogits(a, b, { posWeight: [3, 1, 2] })],
    ["klDiv", (a, b) => klDiv(a, b.exp(), { from: "logits" })],
    ["cosineEmbedding", (a, b) => cosineEmbedding(a.unsqueeze(0), b.unsqueeze(0), [1])],
    ["softMarginLoss", (a) => softMarginLoss(a, [1, -1, 1])],
    ["gaussianNllLoss", (a, b) => gaussianNllLoss(a, b, b.square().add(0.3))],
    ["tripletMarginLoss", (a, b) => tripletMarginLoss(a, b, a.neg(), { p: 3, swap: true })],
    ["marginRankingLoss", (a, b) => marginRankingLoss(a, b, [1, -1, 1], { margin: 5 })],
    ["hingeEmbeddingLoss", (a, b) => hingeEmbeddingLoss(a.mul(b), [1, -1, 1], { margin: 5 })],
    ["multiMarginLoss", (a) => multiMarginLoss(a.unsqueeze(0), [1], { p: 2 })],
  ] as [string, Parameters<typeof gradcheck>[0]][])("%s has the right gradient, twice", (_, loss) => {
    gradcheck(loss, [x, y]);
    gradgradcheck(loss, [x, y]);
  });

  it.each([
    ["shapes that would broadcast", () => mseLoss([[1, 2]], [1, 2]), ShapeError, "got (1, 2) and (2)"],
    ["no probability", () => bceLoss([1.5], [1]), OptionError, "got 1.5 at index 0"],
    ["a NaN probability", () => bceLoss([Number.NaN], [1]), OptionError, "got NaN"],
    ["a delta of 0", () => huberLoss(x, y, { delta: 0 }), OptionError, "got 0"],
    ["a sign of 0", () => softMarginLoss([1], [0]), OptionError, "1 or -1"],
    ["a weight that widens the loss", () => bceLoss([1], [1], { weight: [[1], [1]] }), ShapeError, "(2, 1)"],
    ["a kind klDiv does not know", () => klDiv(x, y, { from: "probs" as "logits" }), OptionError, '"probs"'],
    ["a cubic hinge", () => multiMarginLoss(logits, [0, 1], { p: 3 }), OptionError, "got 3"],
  ])("refuse %s", (_, run, kind, text) => {
    expect(run).toThrow(kind);
    expect(run).toThrow(text);
  });
});
