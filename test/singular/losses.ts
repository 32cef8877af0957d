/** Every loss at its singular points; one without an entry does not compile. Values are PyTorch 1.13's but where `torch` says what it gives and why ours is another. */

import * as distill from "bitgrad/distill";
import * as nn from "bitgrad/nn";
import { at, type LossName, type Points } from "./point.ts";

export const losses: { readonly [K in LossName]: Points } = {
  mseLoss: [
    at(
      [
        [1, 0],
        [1, 0],
      ],
      [0, 0],
      [
        [0, 0],
        [0, 0],
      ],
      [
        [-2, -8],
        [2, 8],
      ],
      { run: (x, y) => nn.mseLoss(x, y, { reduction: "none" }) },
    ),
  ],
  l1Loss: [
    at(
      [
        [1, 0, 2],
        [1, 0, 1],
      ],
      [0, 0, 1],
      [
        [0, 0, 3],
        [0, 0, -3],
      ],
      [
        [0, 0, 0],
        [0, 0, 0],
      ],
      { run: (x, y) => nn.l1Loss(x, y, { reduction: "none" }) },
    ),
  ],
  huberLoss: [
    at(
      [
        [0, 0.5, 1, -1, 2, -2, Infinity],
        [0, 0, 0, 0, 0, 0, 0],
      ],
      [0, 0.125, 0.5, 0.5, 1.5, 1.5, Infinity],
      [
        [0, 1, 3, -4, 5, -6, 7],
        [0, -1, -3, 4, -5, 6, -7],
      ],
      [
        [-1, -4, 0, 0, 0, 0, 0],
        [1, 4, 0, 0, 0, 0, 0],
      ],
      { run: (x, y) => nn.huberLoss(x, y, { reduction: "none" }) },
    ),
  ],
  smoothL1Loss: [
    at(
      [
        [0, 0.5, 1, -1, 2, -2, Infinity],
        [0, 0, 0, 0, 0, 0, 0],
      ],
      [0, 0.125, 0.5, 0.5, 1.5, 1.5, Infinity],
      [
        [0, 1, 3, -4, 5, -6, 7],
        [0, -1, -3, 4, -5, 6, -7],
      ],
      [
        [-1, -4, 0, 0, 0, 0, 0],
        [1, 4, 0, 0, 0, 0, 0],
      ],
      { run: (x, y) => nn.smoothL1Loss(x, y, { reduction: "none" }) },
    ),
    at(
      [
        [0, 1],
        [0, 0],
      ],
      [0, 1],
      [
        [0, 2],
        [0, -2],
      ],
      [
        [0, 0],
        [0, 0],
      ],
      {
        run: (x, y) => nn.smoothL1Loss(x, y, { beta: 0, reduction: "none" }),
        torch: "first [[-1, 2], [-1, -2]]; ours: 0 at 0, as l1Loss",
      },
    ),
  ],
  bceLoss: [
    at(
      [
        [0, 1, 0, 1, 0.5],
        [0, 1, 1, 0, 0.5],
      ],
      [0, 0, 100, 100, Math.LN2],
      [
        [0, 0, -3000000000000, 4000000000000, 0],
        [100, -200, 300, -400, 0],
      ],
      [
        [1000000000000, 4000000000000, 9000000000000, 16000000000000, -100],
        [-1000000000000, -4000000000000, -9000000000000, -16000000000000, -100],
      ],
      { run: (x, y) => nn.bceLoss(x, y, { reduction: "none" }) },
    ),
  ],
  bceWithLogits: [
    at(
      [
        [0, 800, -800, 800],
        [0.5, 1, 0, 0],
      ],
      [Math.LN2, 0, 0, 800],
      [
        [0, 0, 0, 4],
        [0, -1600, 2400, -3200],
      ],
      [
        [-1.75, -8, -18, -32],
        [-1, -4, -9, -16],
      ],
      { run: (x, y) => nn.bceWithLogits(x, y, { reduction: "none" }) },
    ),
    at(
      [
        [Infinity, -Infinity],
        [1, 0],
      ],
      [0, 0],
      [[0, 0]],
      [[0, 0]],
      {
        constant: [1],
        run: (x, y) => nn.bceWithLogits(x, y, { reduction: "none" }),
        torch: "value [NaN, NaN]; ours: 0 · log 0 is 0",
      },
    ),
  ],
  crossEntropy: [
    at(
      [[[-Infinity, 0, 1]]],
      [1.31326169],
      [[0, -0.731058579, 0.731058579]],
      [[0, -0.196611933, 0.196611933]],
      { run: (x) => nn.crossEntropy(x, [1]) },
    ),
    at(
      [[[-Infinity, 0, 1]], [[0, 0.5, 0.5]]],
      [0.813261688],
      [[0, -0.231058579, 0.231058579]],
      [[0, -0.196611933, 0.196611933]],
      {
        constant: [1],
        run: (x, y) => nn.crossEntropy(x, y),
        torch: "value [NaN]; ours: a class of probability 0 is not read",
      },
    ),
  ],
  nllLoss: [
    at([[[-Infinity, -1]]], [1], [[0, -1]], [[0, 0]], { run: (x) => nn.nllLoss(x, [1]) }),
    at(
      [
        [
          [-Infinity, -1],
          [-1, -2],
        ],
      ],
      [2],
      [[0, 0, 0, -1]],
      [[0, 0, 0, 0]],
      {
        run: (x) => nn.nllLoss(x, [0, 1], { weight: [0, 1] }),
        torch: "value [NaN]; ours: a class of weight 0 is not read",
      },
    ),
  ],
  klDiv: [
    at(
      [
        [-1, -Infinity, -2],
        [0.5, 0, 0.5],
      ],
      [0.806852819],
      [[-0.5, 0, -0.5]],
      [[0, 0, 0]],
      {
        constant: [1],
        run: (x, y) => nn.klDiv(x, y, { reduction: "sum" }),
        torch: "value [NaN]; ours: a class of probability 0 is not read",
      },
    ),
    at(
      [
        [-1, -2, -2],
        [0.5, 0, 0.5],
      ],
      [0.806852819],
      [
        [-0.5, 0, -0.5],
        [1.30685282, 0, 2.30685282],
      ],
      [
        [-2, 0, -6],
        [3, 0, 9],
      ],
      {
        run: (x, y) => nn.klDiv(x, y, { reduction: "sum" }),
        torch:
          "first [[-0.5, 0, -0.5], [1.30685282, NaN, 2.30685282]], second [[-2, -4, -6], [3, NaN, 9]]; ours: a class of probability 0 is not read",
      },
    ),
    at(
      [
        [-1, -Infinity, -2],
        [-1, -Infinity, -3],
      ],
      [-0.0497870684],
      [
        [-0.367879441, 0, -0.0497870684],
        [0.367879441, 0, 0],
      ],
      [
        [-0.735758882, 0, -0.29872241],
        [1.10363832, 0, 0.149361205],
      ],
      {
        run: (x, y) => nn.klDiv(x, y, { logTarget: true, reduction: "sum" }),
        torch:
          "value [NaN], first [[-0.367879441, 0, -0.0497870684], [0.367879441, NaN, 0]], second [[-0.735758882, 0, -0.29872241], [1.10363832, NaN, 0.149361205]]; ours: a class of probability 0 is not read",
      },
    ),
  ],
  cosineEmbedding: [
    at(
      [
        [
          [0, 0],
          [1, 0],
        ],
        [
          [1, 0],
          [0, 0],
        ],
      ],
      [2],
      [
        [-1000000, 0, 0, 0],
        [0, 0, -1000000, 0],
      ],
      [
        [-0.00000200001523, -4000000, -0.00000599958003, -8000000],
        [-9.99774784e-7, -2000000, -0.00000299979001, -4000000],
      ],
      { run: (x, y) => nn.cosineEmbedding(x, y, [1, 1], { reduction: "sum" }) },
    ),
    at(
      [
        [
          [1, 0],
          [1, 0],
        ],
        [
          [0, 1],
          [1, 0],
        ],
      ],
      [1.0000889e-12],
      [
        [0, 1, -1.0000889e-12, 0],
        [1, 0, -1.0000889e-12, 0],
      ],
      [
        [-2, -1, 8.99902375e-12, -4],
        [-4, -2, 1.79998239e-11, 4],
      ],
      { run: (x, y) => nn.cosineEmbedding(x, y, [-1, 1], { reduction: "sum" }) },
    ),
  ],
  softMarginLoss: [
    at(
      [[0, 800, -800, -Infinity, Infinity]],
      [Math.LN2, 0, 800, Infinity, 0],
      [[-0.5, 0, -3, -4, 0]],
      [[0.25, 0, 0, 0, 0]],
      {
        run: (x) => nn.softMarginLoss(x, [1, 1, 1, 1, 1], { reduction: "none" }),
        torch:
          "first [[-0.5, 0, NaN, NaN, 0]], second [[0.25, 0, NaN, NaN, 0]]; ours: log(1 + exp(−x)) does not overflow",
      },
    ),
  ],
  multiMarginLoss: [
    at([[[1, 0, 0]]], [0], [[0, 0, 0]], [[0, 0, 0]], {
      run: (x) => nn.multiMarginLoss(x, [0]),
      torch: "second none",
    }),
    at([[[1, 0, 0]]], [0], [[0, 0, 0]], [[0, 0, 0]], {
      run: (x) => nn.multiMarginLoss(x, [0], { p: 2 }),
      torch: "second none",
    }),
  ],
  prelu: [
    at([[[-1, 0, 2]], [0.25]], [-0.25, 0, 2], [[0.25, 0.5, 3], [-1]], [[2, 4, 0], [5]], {
      run: (x, w) => nn.prelu(x, w),
    }),
  ],
  kdLoss: [
    at(
      [[[-Infinity, 0, 1]], [[-Infinity, 1, 1]]],
      [0.120114507],
      [[0, -0.231058579, 0.231058579]],
      [[0, -0.196611933, 0.196611933]],
      {
        constant: [1],
        run: (x, y) => distill.kdLoss(x, y, { temperature: 1 }),
        torch: "value [NaN]; ours: a class of probability 0 is not read",
      },
    ),
  ],
  softCrossEntropy: [
    at(
      [[[-Infinity, 0, 1]], [[-Infinity, 1, 1]]],
      [0.813261688],
      [[0, -0.231058579, 0.231058579]],
      [[0, -0.196611933, 0.196611933]],
      {
        constant: [1],
        run: (x, y) => distill.softCrossEntropy(x, y),
        torch: "value [NaN]; ours: a class of probability 0 is not read",
      },
    ),
  ],
  hiddenMse: [
    at([[[1, 1]], [[1, 1]]], [0], [[0, 0]], [[1, 2]], {
      constant: [1],
      run: (x, y) => distill.hiddenMse(x, y),
    }),
  ],
};
