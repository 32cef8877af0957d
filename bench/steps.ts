/** The whole steps that are timed: training, decoding, and one convolution each way. */

import { manualSeed, randint, randn, scope, type Tensor } from "../src/index.ts";
import { Gpt } from "../src/models/index.ts";
import { crossEntropy, Linear, Sequential } from "../src/nn/index.ts";
import { adamw, optimizer, sgd } from "../src/optim/index.ts";
import { pin } from "../src/storage.ts";
import { trainStep } from "../src/train/index.ts";

export interface Workload {
  /** Steps to warm up with, and to time. */
  readonly warmUp: number;
  readonly rounds: number;
  /** What a step counts as, and how many of it one step does. */
  readonly unit: string;
  readonly count: number;
  /** Multiplications and additions of the products of a training step. */
  readonly products?: number;
  /** Makes the step; what it holds lives with it. */
  make(): () => void;
  /** Makes a run of the products of a training step and nothing else. */
  alone?(): () => void;
}

const gptConfig = {
  vocabulary: 96,
  context: 128,
  dim: 128,
  layers: 4,
  heads: 4,
  activation: "gelu",
} as const;

/** Forward and both gradients. */
const linear = (rows: number, from: number, to: number): number => 3 * 2 * rows * from * to;

/** Two products forward and five backward, of the half that is seen. */
const causalAttention = (texts: number, length: number, dim: number): number =>
  (7 * 2 * texts * length * (length + 1) * dim) / 2;

/** The products of a linear layer's step: y = x Wᵀ, and the gradients of W and, where it is wanted, of x. */
function linearAlone(rows: number, from: number, to: number, inputs = true): () => void {
  const [x, y, weight] = [randn([rows, from]), randn([rows, to]), randn([to, from])].map(pin);
  return () => {
    x.matmul(weight, { transposeB: true });
    y.matmul(x, { transposeA: true });
    if (inputs) y.matmul(weight);
  };
}

/** Attention forward and backward, softmax included: it is one kernel. */
function attentionAlone(
  texts: number,
  length: number,
  { dim, heads }: { dim: number; heads: number },
): () => void {
  const [seed, ...parts] = Array.from({ length: 4 }, () => pin(randn([texts, length, dim])));
  for (const part of parts) part.requiresGrad = true;
  return () => {
    for (const part of parts) part.grad = null;
    const [q, k, v] = parts;
    q.scaledDotProductAttention(k, v, { causal: true, heads }).backward(seed);
  };
}

/** Each in a scope of its own, which frees what it gives. */
const all = (runs: readonly (() => void)[]) => () => {
  for (const run of runs) scope(run);
};

const gptProducts = (texts: number, length: number): number => {
  const { vocabulary, dim, layers } = gptConfig;
  const rows = texts * length;
  const layer = 4 * linear(rows, dim, dim) + 2 * linear(rows, dim, 4 * dim);
  return layers * (layer + causalAttention(texts, length, dim)) + linear(rows, dim, vocabulary);
};

const convolution = (backward: boolean): Workload => ({
  warmUp: 5,
  rounds: 31,
  unit: "GFLOP",
  count: ((backward ? 3 : 1) * 2 * 8 * 64 * 64 * 9 * 32 * 32) / 1e9,
  make() {
    manualSeed(1);
    const x = randn([8, 64, 32, 32]);
    const weight = randn([64, 64, 3, 3]);
    if (!backward) return () => scope(() => void x.conv2d(weight, null, { padding: 1 }));
    const seed = randn([8, 64, 32, 32]);
    x.requiresGrad = true;
    weight.requiresGrad = true;
    return () => {
      x.grad = null;
      weight.grad = null;
      scope(() => x.conv2d(weight, null, { padding: 1 }).backward(seed));
    };
  },
});

export const workloads: Record<string, Workload> = {
  "GPT training step": {
    warmUp: 3,
    rounds: 15,
    unit: "token",
    count: 8 * 128,
    products: gptProducts(8, 128),
    make() {
      manualSeed(1);
      const model = new Gpt(gptConfig);
      const update = optimizer(model, adamw({ lr: 1e-3 }));
      const ids = randint(0, 96, [8, 128]);
      const targets = randint(0, 96, [8, 128]);
      return () => void trainStep(model, update, (m) => crossEntropy(m.forward(ids), targets));
    },
    alone() {
      const { vocabulary, dim, layers } = gptConfig;
      const rows = 8 * 128;
      const layer = () => [
        ...Array.from({ length: 4 }, () => linearAlone(rows, dim, dim)),
        linearAlone(rows, dim, 4 * dim),
        linearAlone(rows, 4 * dim, dim),
        attentionAlone(8, 128, gptConfig),
      ];
      return all([...Array.from({ length: layers }, layer).flat(), linearAlone(rows, dim, vocabulary)]);
    },
  },
  "MLP training step": {
    warmUp: 10,
    rounds: 61,
    unit: "image",
    count: 64,
    // Nobody wants the gradient of the pictures.
    products: (linear(64, 784, 512) * 2) / 3 + linear(64, 512, 512) + linear(64, 512, 10),
    make() {
      manualSeed(1);
      const relu = (x: Tensor): Tensor => x.relu();
      const model = new Sequential(
        new Linear(784, 512),
        relu,
        new Linear(512, 512),
        relu,
        new Linear(512, 10),
      );
      const update = optimizer(model, sgd({ lr: 0.01, momentum: 0.9 }));
      const x = randn([64, 784]);
      const y = randint(0, 10, [64]);
      return () => void trainStep(model, update, (m) => crossEntropy(m.forward(x) as Tensor, y));
    },
    alone: () => all([linearAlone(64, 784, 512, false), linearAlone(64, 512, 512), linearAlone(64, 512, 10)]),
  },
  "GPT decoding": {
    warmUp: 5,
    rounds: 15,
    unit: "token",
    count: 127,
    make() {
      manualSeed(1);
      const model = new Gpt(gptConfig);
      return () => void model.generate([1], { maxTokens: 127, temperature: 0 });
    },
  },
  "conv2d 3x3, forward": convolution(false),
  "conv2d 3x3, forward and backward": convolution(true),
};

/** Milliseconds a step: the median of the rounds. */
export function timeSteps({ make, warmUp, rounds }: Workload): number {
  const step = make();
  for (let i = 0; i < warmUp; i++) step();
  const times = Array.from({ length: rounds }, () => {
    const start = performance.now();
    step();
    return performance.now() - start;
  });
  return times.sort((a, b) => a - b)[rounds >> 1];
}
