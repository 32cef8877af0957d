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
  tripletMarginLoss: [
    at(
      [[[1, 2]], [[1, 2]], [[3, 1]]],
      [0],
      [
        [0, 0],
        [0, 0],
        [0, 0],
      ],
      [
        [0, 0],
        [0, 0],
        [0, 0],
      ],
      {
        run: (a, p, n) => nn.tripletMarginLoss(a, p, n, { reduction: "none" }),
      },
    ),
    at(
      [[[0, 0]], [[1, 2]], [[2, 1]]],
      [0],
      [
        [0, 0],
        [1, 1],
        [-1, -1],
      ],
      [
        [0, 0],
        [0, 0],
        [0, 0],
      ],
      {
        run: (a, p, n) => nn.tripletMarginLoss(a, p, n, { margin: 0, eps: 0, p: 1, reduction: "none" }),
      },
    ),
    at(
      [[[0, 0]], [[2, 0]], [[1, 1]]],
      [1.58578685],
      [
        [-0.292893219, 0.707107281],
        [1, -5.0000025e-7],
        [-Math.SQRT1_2, -Math.SQRT1_2],
      ],
      [
        [-0.707107988, -0.292893262],
        [5.00000625e-7, 1.00000075],
        [0.707107488, -0.707107488],
      ],
      { run: (a, p, n) => nn.tripletMarginLoss(a, p, n, { swap: true, reduction: "none" }) },
    ),
    at(
      [[[1, 2]], [[1, 2]], [[1, 2]]],
      [1],
      [
        [0, 0],
        [0, 0],
        [0, 0],
      ],
      [
        [0, 0],
        [0, 0],
        [0, 0],
      ],
      {
        run: (a, p, n) => nn.tripletMarginLoss(a, p, n, { eps: 0, reduction: "none" }),
        torch: "second NaN; ours: 0 where the distance is 0",
      },
    ),
  ],
  marginRankingLoss: [
    at(
      [
        [1, 1, 2, 0],
        [1, 1, 1, 3],
      ],
      [0, 0, 0, 3],
      [
        [-1, 2, 0, -4],
        [1, -2, 0, 4],
      ],
      [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
      ],
      {
        run: (a, b) => nn.marginRankingLoss(a, b, [1, -1, 1, 1], { reduction: "none" }),
      },
    ),
  ],
  hingeEmbeddingLoss: [
    at([[1, 2, 0, -1, 1]], [1, 0, 1, 2, 0], [[1, 0, -3, -4, -5]], [[0, 0, 0, 0, 0]], {
      run: (x) => nn.hingeEmbeddingLoss(x, [1, -1, -1, -1, -1], { reduction: "none" }),
    }),
  ],
  gaussianNllLoss: [
    at(
      [
        [1, 2, 0],
        [1, 0, 3],
        [0, 0.25, 0.5],
      ],
      [-0.34657359, 3.65342641, 8.65342641],
      [
        [0, 8, -18],
        [0, -8, 18],
        [1, -14, -51],
      ],
      [
        [-2, -104, 306],
        [2, 104, -306],
        [-6, 392, 1782],
      ],
      { run: (x, y, v) => nn.gaussianNllLoss(x, y, v, { eps: 0.5, reduction: "none" }) },
    ),
  ],
  interpolate: [
    at([[[[0, Infinity]]]], [0, Infinity, Infinity, Infinity], [[3.25, 6.75]], [[0, 0]], {
      run: (x) => nn.interpolate(x, { size: 4, mode: "linear" }),
      torch: "value [NaN, Infinity, Infinity, Infinity]; ours: what has no share is not read",
    }),
  ],
  multinomial: "gives indices: no gradient",
  glu: [
    at(
      [
        [
          [1, 2, 0, -1],
          [0.5, 1, 2, 800],
        ],
      ],
      [0.5, 0.537882843, 0.440398539, 1],
      [[0.5, 0.537882843, 0.25, 0.786447733, 2.64239123, 4, 0.157490378, 0]],
      [[0.75, 1.57289547, 0.25, 2.2401717, 2.20486529, 0, 0.73529752, 0]],
      { run: (x) => nn.glu(x) },
    ),
  ],
  normalize: [
    at(
      [
        [
          [3, 4],
          [0, 0],
        ],
      ],
      [0.6, 0.8, 0, 0],
      [[-0.064, 0.048, 300, 400]],
      [[0.05248, -0.04736, 0, 0]],
      {
        run: (x) => nn.normalize(x, { eps: 0.01 }),
        torch: "second [[0.05248, -0.04736, NaN, NaN]]; ours: 0 where the norm is 0",
      },
    ),
    at(
      [
        [
          [3, 4],
          [0, 1],
        ],
      ],
      [0.6, 0.8, 0, 0.2],
      [[-0.064, 0.048, 0.6, 0.8]],
      [[0.05248, -0.04736, 0, 0]],
      {
        run: (x) => nn.normalize(x, { eps: 5 }),
      },
    ),
    at(
      [
        [
          [3, 4],
          [0, -2],
        ],
      ],
      [1, 0.666666667, 0, -0.333333333],
      [[0, 0.333333333, 1, 0.666666667]],
      [[-1, -0.444444444, -0.333333333, 0.777777778]],
      { run: (x) => nn.normalize(x, { p: 1, axis: 0 }) },
    ),
  ],
  cosineSimilarity: [
    at(
      [[[3, 4]], [[1, 0]]],
      [0.3],
      [
        [0.064, -0.048],
        [0.3, 0.4],
      ],
      [
        [-0.08448, 0.07136],
        [-0.032, 0.024],
      ],
      {
        run: (a, b) => nn.cosineSimilarity(a, b, { eps: 2 }),
        torch:
          "first [[0.064, -0.048], [0.225, 0.4]], second [[-0.11648, 0.09536], [-0.7615, -0.476]]; ours: the slope, where a norm is held at eps",
      },
    ),
    at(
      [
        [[[3, 4]], [[1, 0]]],
        [
          [1, 0],
          [2, 1],
        ],
      ],
      [0.6, 0.894427191, 1, 0.894427191],
      [
        [0.271108351, -0.203331263, 0, 1.78885438],
        [0, 0.8, 0.178885438, -0.357770876],
      ],
      [
        [-1.02887724, 0.805546473, -7.15541753, -12.5219807],
        [-3.2, -3.952, -0.744163423, 3.27718123],
      ],
      { run: (a, b) => nn.cosineSimilarity(a, b, { axis: -1 }) },
    ),
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
  forwardKl: [
    at(
      [[[-Infinity, 0, 1]], [[-Infinity, 1, 1]]],
      [0.120114507],
      [[0, -0.231058579, 0.231058579]],
      [[0, -0.196611933, 0.196611933]],
      { constant: [1], run: (x, y) => distill.forwardKl(x, y) },
    ),
  ],
  reverseKl: [
    at(
      [[[-Infinity, 0, 1]], [[-Infinity, 1, 1]]],
      [0.110944072],
      [[0, -0.196611933, 0.196611933]],
      [[0, -0.105754186, 0.105754186]],
      { constant: [1], run: (x, y) => distill.reverseKl(x, y) },
    ),
  ],
  skewKl: [
    at(
      [[[-Infinity, 0, 1]], [[-Infinity, 1, 1]]],
      [0.09496159],
      [[0, -0.177975233, 0.177975233]],
      [[0, -0.13254731, 0.13254731]],
      { constant: [1], run: (x, y) => distill.skewKl(x, y) },
    ),
  ],
  skewReverseKl: [
    at(
      [[[-Infinity, 0, 1]], [[-Infinity, 1, 1]]],
      [0.090642527],
      [[0, -0.162038037, 0.162038037]],
      [[0, -0.092230059, 0.092230059]],
      { constant: [1], run: (x, y) => distill.skewReverseKl(x, y) },
    ),
  ],
  jsd: [
    at(
      [[[-Infinity, 0, 1]], [[-Infinity, 1, 1]]],
      [0.028535256],
      [[0, -0.052041712, 0.052041712]],
      [[0, -0.033420168, 0.033420168]],
      { constant: [1], run: (x, y) => distill.jsd(x, y) },
    ),
  ],
  totalVariation: [
    at(
      [[[-Infinity, 0, 1]], [[-Infinity, 1, 1]]],
      [0.231058579],
      [[0, -0.196611933, 0.196611933]],
      [[0, 0.090857748, -0.090857748]],
      { constant: [1], run: (x, y) => distill.totalVariation(x, y) },
    ),
  ],
  dkd: [
    at(
      [[[-Infinity, 0, 1]], [[-Infinity, 1, 1]]],
      [0.120114507],
      [[0, -0.231058579, 0.231058579]],
      [[0, -0.196611933, 0.196611933]],
      { constant: [1], run: (x, y) => distill.dkd(x, y, [1], { temperature: 1 }) },
    ),
  ],
  standardizeLogits: [
    at([[[1, 1]]], [0, 0], [[0, 0]], [[0, 0]], {
      run: (x) => distill.standardizeLogits(x),
      torch: "gradients of NaN",
    }),
  ],
  pearsonKd: [
    at(
      [
        [
          [1, 1],
          [1, 1],
        ],
        [
          [1, 1],
          [1, 1],
        ],
      ],
      [2],
      [[0, 0, 0, 0]],
      [[0, 0, 0, 0]],
      {
        constant: [1],
        run: (x, y) => distill.pearsonKd(x, y),
      },
    ),
  ],
  hiddenMse: [
    at([[[1, 1]], [[1, 1]]], [0], [[0, 0]], [[1, 2]], {
      constant: [1],
      run: (x, y) => distill.hiddenMse(x, y),
    }),
  ],
  entropy: [
    at(
      [[[-Infinity, 0, 1]]],
      [0.582203109],
      [[0, 0.196611933, -0.196611933]],
      [[0, 0.105754186, -0.105754186]],
      {
        run: (x) => distill.entropy(x),
      },
    ),
  ],
  confidenceMask: "bool: it has no gradient",
  proSelfLoss: [
    at(
      [[[-Infinity, 0, 1]]],
      [0.29119905],
      [[0, -0.365529289, 0.365529289]],
      [[0, -0.196611933, 0.196611933]],
      {
        run: (x) => distill.proSelfLoss(x, [1], { progress: 0.5, trust: "global" }),
      },
    ),
  ],
  multiTeacherLoss: [
    at(
      [[[-Infinity, 0, 1]], [[-Infinity, 1, 1]]],
      [0.813261688],
      [[0, -0.231058579, 0.231058579]],
      [[0, -0.196611933, 0.196611933]],
      {
        constant: [1],
        run: (x, y) => distill.multiTeacherLoss(x, [y]),
        torch: "value [NaN]; ours: a class of probability 0 is not read",
      },
    ),
  ],
};
