/** Small networks to begin with: a multilayer perceptron, and a convolutional network for MNIST. */

import { OptionError, readOptions, show } from "../errors.ts";
import { BatchNorm1d, BatchNorm2d } from "../nn/batch-norm.ts";
import { Conv2d } from "../nn/conv.ts";
import { Linear } from "../nn/linear.ts";
import { Flatten } from "../nn/residual.ts";
import { Sequential, type Step } from "../nn/sequential.ts";
import { gelu, leakyRelu, relu } from "../ops/activation.ts";
import { tanh } from "../ops/unary.ts";
import type { Rng } from "../random/rng.ts";

const activations = { relu, leakyRelu, tanh, gelu } as const satisfies Record<string, Step>;

export interface MlpOptions {
  /** Between the layers; default "relu". */
  activation: keyof typeof activations;
  bias: boolean;
  rng: Rng | null;
}

/**
 * A multilayer perceptron: `mlp([784, 128, 10])` has one hidden layer of 128. Its layers are "0", "2", "4", …, the
 * activations between them, as in PyTorch's Sequential.
 */
export function mlp(sizes: readonly number[], options?: Partial<MlpOptions>): Sequential {
  const { activation, bias, rng } = readOptions<MlpOptions>("mlp", options, {
    activation: "relu",
    bias: true,
    rng: null,
  });
  if (!Array.isArray(sizes) || sizes.length < 2) {
    throw new OptionError(`mlp: needs at least an input and an output size, got ${show(sizes)}`);
  }
  if (!Object.hasOwn(activations, activation)) {
    throw new OptionError(
      `mlp: unknown activation, got ${show(activation)}; known are ${Object.keys(activations).join(", ")}`,
    );
  }
  const steps: Step[] = [];
  for (let i = 1; i < sizes.length; i++) {
    if (i > 1) steps.push(activations[activation]);
    steps.push(new Linear(sizes[i - 1], sizes[i], { bias, rng }));
  }
  return new Sequential(...steps);
}

/**
 * burn's convolutional network for MNIST, (N, 1, 28, 28) -> logits (N, 10): three 3x3 convolutions without padding, batch
 * norm, and two layers with a batch norm after the last.
 */
export class MnistCnn extends Sequential {
  /** Its name in files. */
  static readonly kind: string = "MnistCnn";
  /** Nothing varies: plain JSON, as other models have it. */
  readonly config: Readonly<Record<never, never>> = {};
  conv1: Conv2d;
  conv2: Conv2d;
  conv3: Conv2d;
  norm1: BatchNorm2d;
  fc1: Linear;
  fc2: Linear;
  norm2: BatchNorm1d;

  constructor(config: { rng?: Rng | null } = {}) {
    super();
    const { rng } = readOptions("MnistCnn", config, { rng: null as Rng | null });
    this.conv1 = new Conv2d(1, 8, 3, { rng });
    this.conv2 = new Conv2d(8, 16, 3, { rng });
    this.conv3 = new Conv2d(16, 24, 3, { rng });
    this.norm1 = new BatchNorm2d(24);
    this.fc1 = new Linear(24 * 22 * 22, 32, { rng });
    this.fc2 = new Linear(32, 10, { rng });
    this.norm2 = new BatchNorm1d(10);
  }

  override *[Symbol.iterator](): Generator<Step> {
    for (const conv of [this.conv1, this.conv2, this.conv3]) yield* [conv, relu];
    yield* [this.norm1, new Flatten(), this.fc1, relu, this.fc2, this.norm2];
  }
}
