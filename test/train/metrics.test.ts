import { tensor } from "bitgrad";
import { accuracy, confusionMatrix, perplexity } from "bitgrad/train";
import { describe, expect, it } from "vitest";
import { ShapeError } from "../../src/errors.ts";

describe("metrics", () => {
  const scores = [
    [0.1, 0.7, 0.2],
    [0.6, 0.1, 0.3],
    [0.2, 0.3, 0.5],
    [0.4, 0.35, 0.25],
  ];

  const nan = [
    [1, 0],
    [Number.NaN, 0],
    [0, 1],
    [2, 1],
  ];

  it("pass over NaN where nothing counts", () => {
    expect(accuracy(nan, [0, -100, 1, 1])).toBeCloseTo(2 / 3, 10);
    expect(confusionMatrix(nan, [0, -100, 1, 1]).toArray()).toEqual([
      [1, 0],
      [1, 1],
    ]);
  });

  it("counts right predictions, by scores or by classes, among the best k", () => {
    expect(accuracy(scores, [1, 0, 0, 1])).toBe(0.5);
    expect(accuracy(tensor([1, 0, 2, 0], { dtype: "int32" }), [1, 0, 0, 1])).toBe(0.5);
    expect(accuracy(scores, [1, 0, 0, 1], { topK: 2 })).toBe(0.75);
    expect(accuracy(scores, [1, 0, -100, -100])).toBe(1);
  });

  it("counts what was taken for what, true classes down", () => {
    expect(confusionMatrix(scores, [1, 0, 0, 1]).toArray()).toEqual([
      [1, 0, 1],
      [1, 1, 0],
      [0, 0, 0],
    ]);
    const classes = tensor([0, 1, 1], { dtype: "int32" });
    expect(confusionMatrix(classes, [0, 1, 0], { classes: 2 }).toArray()).toEqual([
      [1, 1],
      [0, 1],
    ]);
  });

  it("gives a uniform guess the perplexity of its choices", () => {
    expect(perplexity(Math.log(50))).toBeCloseTo(50, 10);
    expect(perplexity(tensor(0))).toBe(1);
  });

  it.each([
    ["shapes that do not fit", () => accuracy(scores, [1, 0]), "got (4, 3) for (2)"],
    ["float classes", () => accuracy(scores, tensor([1, 0, 0, 1])), 'use .to("int32")'],
    ["nothing to count", () => accuracy(scores, [-100, -100, -100, -100]), "no position counts"],
    ["a class beyond the matrix", () => confusionMatrix(scores, [3, 0, 0, 0]), "got 3 predicted as 1 for 3"],
    ["no number of classes", () => confusionMatrix([1], [1]), "classes must be a positive integer"],
    ["a NaN score", () => accuracy(nan, [0, 1, 0, 0]), "accuracy: scores must not be NaN, got NaN at 1"],
    ["a NaN among the best", () => accuracy(nan, [0, 1, 0, 0], { topK: 2 }), "got NaN at 1"],
    [
      "a NaN in the matrix",
      () => confusionMatrix(nan, [0, 0, 0, 0]),
      "confusionMatrix: scores must not be NaN",
    ],
    ["half a class", () => accuracy(tensor([0.5]), [0]), "must be whole numbers, got 0.5 at 0"],
    ["a NaN for a class", () => confusionMatrix(tensor([Number.NaN]), [0], { classes: 2 }), "got NaN at 0"],
    ["half a rank", () => accuracy(scores, [0, 1, 2, 0], { topK: 1.5 }), "topK"],
    ["a rank of 0", () => accuracy(scores, [0, 1, 2, 0], { topK: 0 }), "topK"],
    ["a NaN loss", () => perplexity(Number.NaN), "got NaN"],
  ])("refuse %s", (_, run, text) => {
    expect(run).toThrow(text);
  });
});

it("accuracy refuses targets that are no class, as confusionMatrix does", () => {
  const scores = tensor([
    [1, 2],
    [2, 1],
  ]);
  for (const odd of [2, -1]) {
    expect(() => accuracy(scores, [1, odd])).toThrow(ShapeError);
    expect(() => accuracy(scores, [1, odd], { topK: 2 })).toThrow("for 2 classes");
    expect(() => confusionMatrix(scores, [1, odd])).toThrow();
  }
  expect(accuracy(scores, [1, -100])).toBe(1);
  expect(accuracy(scores, [1, 7], { ignoreIndex: 7 })).toBe(1);
});
