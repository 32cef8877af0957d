/** Every composed public function at its singular points; one without an entry does not compile. Values are PyTorch 1.13's but where `torch` says what it gives and why ours is another. */

import * as b from "bitgrad";
import type { CompositeName } from "../samples.ts";
import { at, type Points } from "./point.ts";

export const composites: { readonly [K in CompositeName]: Points } = {
  to: "the op cast",
  lerp: [
    at([[0], [Infinity], [1]], [Infinity], [[0], [1], [Infinity]], [[-3], [3], [1]], {
      run: (x, y, w) => b.lerp(x, y, w),
      torch: "value [NaN]; ours: start + weight · (end − start)",
    }),
  ],
  norm: [
    at([[0, 0, 0]], [0], [[0, 0, 0]], [[0, 0, 0]], {
      run: (x) => b.norm(x, { p: 2 }),
      torch: "second [[NaN, NaN, NaN]]; ours: 0 where the norm or the element is 0",
    }),
    at(
      [[0, 3, -3, 1]],
      [4.35889894],
      [[0, 0.688247202, -0.688247202, 0.229415734]],
      [[0.229415734, 0.422607931, 0.724470739, 0.905588423]],
      { run: (x) => b.norm(x, { p: 2 }) },
    ),
    at([[0, 0, 0]], [0], [[0, 0, 0]], [[0, 0, 0]], { run: (x) => b.norm(x, { p: 1 }) }),
    at([[0, 3, -3, 1]], [7], [[0, 1, -1, 1]], [[0, 0, 0, 0]], { run: (x) => b.norm(x, { p: 1 }) }),
    at([[0, 0, 0]], [0], [[0, 0, 0]], [[0, 0, 0]], { run: (x) => b.norm(x, { p: 3 }) }),
    at(
      [[0, 3, -3, 1]],
      [3.80295246],
      [[0, 0.622301312, -0.622301312, 0.0691445902]],
      [[0, 0.942880775, 1.13145693, 0.565728465]],
      { run: (x) => b.norm(x, { p: 3 }) },
    ),
    at([[0, 0, 0]], [0], [[0, 0, 0]], [[0, 0, 0]], {
      run: (x) => b.norm(x, { p: 1.5 }),
      torch: "second [[NaN, NaN, NaN]]; ours: 0 where the norm or the element is 0",
    }),
    at(
      [[0, 3, -3, 1]],
      [5.06299772],
      [[0, 0.76976252, -0.76976252, 0.444422598]],
      [[0, 0.179966388, 0.461502379, 0.844607973]],
      {
        run: (x) => b.norm(x, { p: 1.5 }),
        torch:
          "second [[NaN, 0.179966388, 0.461502379, 0.844607973]]; ours: 0 where the norm or the element is 0",
      },
    ),
    at([[0, 0, 0]], [0], [[0, 0, 0]], [[0, 0, 0]], {
      run: (x) => b.norm(x, { p: 0.5 }),
      torch: "second [[NaN, NaN, NaN]]; ours: 0 where the norm or the element is 0",
    }),
    at(
      [[0, 3, -3, 1]],
      [19.9282032],
      [[0, 2.57735027, -2.57735027, 4.46410162]],
      [[0, 0.128917115, -2.27670901, -7.21687836]],
      {
        run: (x) => b.norm(x, { p: 0.5 }),
        torch:
          "second [[NaN, 0.128917115, -2.27670901, -7.21687836]]; ours: 0 where the norm or the element is 0",
      },
    ),
    at([[0, 0, 0]], [0], [[0, 0, 0]], [[0, 0, 0]], { run: (x) => b.norm(x, { p: 0 }) }),
    at([[0, 3, -3, 1]], [3], [[0, 0, 0, 0]], [[0, 0, 0, 0]], { run: (x) => b.norm(x, { p: 0 }) }),
    at([[0, 0, 0]], [0], [[0, 0, 0]], [[0, 0, 0]], {
      run: (x) => b.norm(x, { p: -1 }),
      torch: "second [[NaN, NaN, NaN]]; ours: 0 where the norm or the element is 0",
    }),
    at([[0, 3, -3, 1]], [0], [[0, 0, 0, 0]], [[0, 0, 0, 0]], {
      run: (x) => b.norm(x, { p: -1 }),
      torch: "second [[NaN, 0, 0, 0]]; ours: 0 where the norm or the element is 0",
    }),
    at([[0, 0, 0]], [0], [[0, 0, 0]], [[0, 0, 0]], {
      run: (x) => b.norm(x, { p: -2 }),
      torch: "second [[NaN, NaN, NaN]]; ours: 0 where the norm or the element is 0",
    }),
    at([[0, 3, -3, 1]], [0], [[0, 0, 0, 0]], [[0, 0, 0, 0]], {
      run: (x) => b.norm(x, { p: -2 }),
      torch: "second [[NaN, 0, 0, 0]]; ours: 0 where the norm or the element is 0",
    }),
    at([[0, 0, 0]], [0], [[0, 0, 0]], [[0, 0, 0]], { run: (x) => b.norm(x, { p: Infinity }) }),
    at([[0, 3, -3, 1]], [3], [[0, 0.5, -0.5, 0]], [[0, 0, 0, 0]], { run: (x) => b.norm(x, { p: Infinity }) }),
    at([[0, 0, 0]], [0], [[0, 0, 0]], [[0, 0, 0]], { run: (x) => b.norm(x, { p: -Infinity }) }),
    at([[0, 3, -3, 1]], [0], [[0, 0, 0, 0]], [[0, 0, 0, 0]], { run: (x) => b.norm(x, { p: -Infinity }) }),
  ],
  cummax: [
    at([[1, 1, 0, 2]], [1, 1, 1, 2], [[1, 5, 0, 4]], [[0, 0, 0, 0]], { run: (x) => b.cummax(x).values }),
    at([[1, NaN, 2, NaN]], [1, NaN, NaN, NaN], [[1, 5, 0, 4]], [[0, 0, 0, 0]], {
      run: (x) => b.cummax(x).values,
    }),
  ],
  cummin: [
    at([[1, 1, 2, 0]], [1, 1, 1, 0], [[1, 5, 0, 4]], [[0, 0, 0, 0]], { run: (x) => b.cummin(x).values }),
  ],
  diff: "linear: no singular point",
  unique: [
    at([[2, 1, 2]], [1, 2], [[2, 1, 0]], [[0, 0, 0]], {
      run: (x) => b.unique(x).values,
      torch: "no gradient; ours: that of the first of equal elements",
    }),
  ],
  nonzero: "gives indices: no gradient",
  bincount: "linear in its weights: no singular point",
  searchsorted: "gives indices: no gradient",
  meshgrid: "moves elements: no singular point",
  tensordot: "linear in each operand: no singular point",
  reshape: "moves elements: no singular point",
  flatten: "moves elements: no singular point",
  squeeze: "moves elements: no singular point",
  unsqueeze: "moves elements: no singular point",
  permute: "moves elements: no singular point",
  transpose: "moves elements: no singular point",
  broadcastTo: "moves elements: no singular point",
  slice: "moves elements: no singular point",
  select: "moves elements: no singular point",
  flip: "moves elements: no singular point",
  diagonal: "moves elements: no singular point",
  unfoldDim: "moves elements: no singular point",
  concat: "moves elements: no singular point",
  stack: "moves elements: no singular point",
  split: "moves elements: no singular point",
  chunk: "moves elements: no singular point",
  pad: [at([[Infinity, 1]], [0, Infinity, 1], [[2, 3]], [[0, 0]], { run: (x) => b.pad(x, [[1, 0]]) })],
  roll: "moves elements: no singular point",
  tile: "moves elements: no singular point",
  repeatInterleave: "moves elements: no singular point",
  gather: "moves elements: no singular point",
  indexSelect: "moves elements: no singular point",
  indexAdd: "linear: no singular point",
  scatter: "linear: no singular point",
  scatterAdd: "linear: no singular point",
  maskedFill: [at([[NaN, 1]], [0, 1], [[0, 2]], [[0, 0]], { run: (x) => b.maskedFill(x, [true, false], 0) })],
  maskedSelect: [at([[NaN, 1]], [1], [[0, 1]], [[0, 0]], { run: (x) => b.maskedSelect(x, [false, true]) })],
  oneHot: "gives indices: no gradient",
  embedding: [at([[[NaN], [1]]], [1, 1], [[0, 3]], [[0, 0]], { run: (x) => b.embedding(x, [1, 1]) })],
  sort: [at([[2, 1, 1, 2]], [1, 1, 2, 2], [[3, 1, 2, 4]], [[0, 0, 0, 0]], { run: (x) => b.sort(x).values })],
  topK: [at([[2, 1, 2]], [2, 2], [[1, 0, 2]], [[0, 0, 0]], { run: (x) => b.topK(x, 2).values })],
  kthValue: [
    at([[1, 1, 2]], [1], [[1, 0, 0]], [[0, 0, 0]], {
      run: (x) => b.kthValue(x, 1).values,
      torch: "first [[0, 1, 0]]; ours: the first of equal elements, since the order is stable",
    }),
  ],
  quantile: [
    at([[1, 2, 2, 5]], [2], [[0, 0.5, 0.5, 0]], [[0, 0, 0, 0]], { run: (x) => b.quantile(x, [0.5]) }),
    at([[1, Infinity, 2]], [Infinity], [[0, 1, 0]], [[0, 0, 0]], {
      run: (x) => b.quantile(x, [1]),
      torch: "value NaN, of Infinity − Infinity; ours: the element that is met exactly",
    }),
  ],
  median: [at([[1, 1, 2]], [1], [[0, 1, 0]], [[0, 0, 0]], { run: (x) => b.median(x).values })],
  matmul: [
    at(
      [[[Infinity, 1]], [[0], [1]]],
      [NaN],
      [
        [0, 1],
        [Infinity, 1],
      ],
      [
        [2, 4],
        [1, 2],
      ],
      { run: (x, y) => b.matmul(x, y) },
    ),
  ],
  linear: [
    at([[[NaN, 1]], [[0, 1]], [0]], [NaN], [[0, 1], [NaN, 1], [1]], [[2, 4], [1, 2], [0]], {
      run: (x, w, c) => b.linear(x, w, c),
    }),
  ],
  addmm: [
    at([[[NaN]], [[1, 2]], [[3], [4]]], [11], [[0], [3, 4], [1, 2]], [[0], [3, 6], [2, 4]], {
      run: (c, x, y) => b.addmm(c, x, y, { beta: 0 }),
    }),
    at([[[1]], [[NaN, 2]], [[3], [4]]], [1], [[1], [0, 0], [0, 0]], [[0], [0, 0], [0, 0]], {
      run: (c, x, y) => b.addmm(c, x, y, { alpha: 0 }),
      torch: "first [[1], [0, 0], [NaN, 0]]; ours: what has the factor 0 is not read",
    }),
  ],
  dot: "linear in each operand: no singular point",
  outer: "linear in each operand: no singular point",
  einsum: "linear in each operand: no singular point",
  softmax: [at([[-Infinity, 0]], [0, 1], [[0, 0]], [[0, 0]], { run: (x) => b.softmax(x) })],
  logSoftmax: [at([[-Infinity, 0]], [-Infinity, 0], [[1, -1]], [[0, 0]], { run: (x) => b.logSoftmax(x) })],
  softmin: [at([[Infinity, 0]], [0, 1], [[0, 0]], [[0, 0]], { run: (x) => b.softmin(x) })],
  layerNorm: [at([[[2, 2]]], [0, 0], [[-158.113883, 158.113883]], [[0, 0]], { run: (x) => b.layerNorm(x) })],
  rmsNorm: [at([[[0, 0]]], [0, 0], [[1000, 2000]], [[0, 0]], { run: (x) => b.rmsNorm(x) })],
  batchNorm: [
    at([[[2], [2]]], [0, 0], [[-158.113883, 158.113883]], [[0, 0]], { run: (x) => b.batchNorm(x) }),
  ],
  groupNorm: [at([[[2, 2]]], [0, 0], [[-158.113883, 158.113883]], [[0, 0]], { run: (x) => b.groupNorm(x) })],
  instanceNorm: [
    at([[[[2, 2]]]], [0, 0], [[-158.113883, 158.113883]], [[0, 0]], { run: (x) => b.instanceNorm(x) }),
  ],
  groupedQuery: "scaledDotProductAttention, causal",
  scaledDotProductAttention: [
    at(
      [
        [
          [1, 0],
          [0, 2],
        ],
        [
          [1, 1],
          [0, -1],
        ],
        [[1], [2]],
      ],
      [2, 1],
      [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [2, 1],
      ],
      [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0],
      ],
      {
        run: (q, k, v) =>
          b.scaledDotProductAttention(q, k, v, {
            mask: [
              [false, true],
              [true, false],
            ],
          }),
      },
    ),
    at(
      [
        [
          [1, 0],
          [0, 2],
        ],
        [
          [1, 1],
          [0, -1],
        ],
        [[1], [2]],
      ],
      [0, 1.05580722],
      [
        [0, 0, -0.0745188349, -0.14903767],
        [0, -0.14903767, 0, 0.14903767],
        [1.88838556, 0.111614438],
      ],
      [
        [0, 0, 0.214953332, 0.131831325],
        [-0.223556505, -0.464319354, 0.223556505, 0.464319354],
        [0.223556505, -0.223556505],
      ],
      {
        run: (q, k, v) =>
          b.scaledDotProductAttention(q, k, v, {
            mask: [
              [false, false],
              [true, true],
            ],
          }),
        torch:
          "value [NaN, 1.05580722], first [[NaN, NaN, -0.0745188349, -0.14903767], [NaN, NaN, NaN, NaN], [NaN, NaN]], second [[NaN, NaN, 0.214953332, 0.131831325], [NaN, NaN, NaN, NaN], [NaN, NaN]]; ours: a query that sees no key gives 0 and takes part in no gradient",
      },
    ),
  ],
  rotary: "linear: no singular point",
  conv1d: "linear in each operand: no singular point",
  conv2d: "linear in each operand: no singular point",
  conv2dTranspose: "linear in each operand: no singular point",
  unfold: "moves elements: no singular point",
  maxPool1d: [
    at([[[[1, 1, 0, 0]]]], [1, 0], [[1, 0, 2, 0]], [[0, 0, 0, 0]], {
      run: (x) => b.maxPool1d(x, { kernelSize: 2 }),
    }),
  ],
  maxPool2d: [
    at(
      [
        [
          [
            [
              [1, 1],
              [1, 1],
            ],
          ],
        ],
      ],
      [1],
      [[1, 0, 0, 0]],
      [[0, 0, 0, 0]],
      { run: (x) => b.maxPool2d(x, 2) },
    ),
  ],
  maxPool2dWithIndices: "maxPool2d",
  avgPool1d: "linear: no singular point",
  avgPool2d: "linear: no singular point",
  adaptiveAvgPool2d: "linear: no singular point",
  dropout: [at([[0, 1]], [0, 0], [[0, 0]], [[0, 0]], { run: (x) => b.dropout(x, { p: 1 }) })],
};
