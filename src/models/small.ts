/** Small networks to begin with: a multilayer perceptron, and a convolutional network for MNIST. */

import { OptionError, readOptions, show } from "../errors.ts";
import { BatchNorm1d, BatchNorm2d } from "../nn/batch-norm.ts";
import { Conv2d } from "../nn/conv.ts";
import { Linear } from "../nn/linear.ts";
import { Flatten } from "../nn/residual.ts";
import { Sequential, type Step } from "../nn/sequential.ts";
import { checkLayerSizes, ofLayer, type PerLayer, plainConfig, times } from "../nn/sizes.ts";
import { inputs, normPlaces, outputs, type ScalePair, scalePair, type Units } from "../nn/units.ts";
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
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { mlp } from "bitgrad/models";
 *
 * console.log(mlp([144, 64, 10], { activation: "gelu" }).forward(zeros([1, 144])).shape); // [1, 10]
 * ```
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

export interface MnistCnnConfig {
  /** Channels that a convolution gives, or a list of those of each; default [8, 16, 24]. */
  channels?: PerLayer;
  /** Features between the last two layers. */
  hidden?: number;
  /** Draws the first weights from here. */
  rng?: Rng | null;
}

/**
 * burn's convolutional network for MNIST, (N, 1, 28, 28) -> logits (N, 10): three 3x3 convolutions without padding, batch
 * norm, and two layers with a batch norm after the last.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { MnistCnn } from "bitgrad/models";
 *
 * console.log(new MnistCnn({ hidden: 64 }).forward(zeros([2, 1, 28, 28])).shape); // [2, 10]
 * ```
 */
export class MnistCnn extends Sequential {
  /** Its name in files. */
  static readonly kind: string = "MnistCnn";
  /**
   * What the model was built from, defaults filled in, as plain JSON: `new MnistCnn(model.config)` has the same parameters
   * and names.
   */
  readonly config: Readonly<Omit<Required<MnistCnnConfig>, "rng">>;
  conv1: Conv2d;
  conv2: Conv2d;
  conv3: Conv2d;
  norm1: BatchNorm2d;
  fc1: Linear;
  fc2: Linear;
  norm2: BatchNorm1d;

  constructor(config: MnistCnnConfig = {}) {
    super();
    const settings = readOptions<Required<MnistCnnConfig>>("MnistCnn", config, {
      channels: [8, 16, 24],
      hidden: 32,
      rng: null,
    });
    const { channels, hidden, rng } = settings;
    checkLayerSizes("MnistCnn", 3, { hidden }, { channels });
    this.config = plainConfig(settings);
    const [first, second, third] = times(3, (i) => ofLayer(channels, i));
    this.conv1 = new Conv2d(1, first, 3, { rng });
    this.conv2 = new Conv2d(first, second, 3, { rng });
    this.conv3 = new Conv2d(second, third, 3, { rng });
    this.norm1 = new BatchNorm2d(third);
    this.fc1 = new Linear(third * 22 * 22, hidden, { rng });
    this.fc2 = new Linear(hidden, 10, { rng });
    this.norm2 = new BatchNorm1d(10);
  }

  override *[Symbol.iterator](): Generator<Step> {
    for (const conv of [this.conv1, this.conv2, this.conv3]) yield* [conv, relu];
    yield* [this.norm1, new Flatten(), this.fc1, relu, this.fc2, this.norm2];
  }

  /** What may be scaled against one another; the third convolution's channels not, since a normalisation reads them. */
  scalePairs(): ScalePair[] {
    const { conv1, conv2, norm1, fc1 } = this;
    return [
      ...scalePair(conv1.outChannels, outputs("conv1", conv1), "relu", [inputs("conv2")]),
      ...scalePair(conv2.outChannels, outputs("conv2", conv2), "relu", [inputs("conv3")]),
      ...scalePair(norm1.channels, outputs("norm1", norm1), "nothing", [inputs("fc1", this.pixels())]),
      ...scalePair(fc1.outFeatures, outputs("fc1", fc1), "relu", [inputs("fc2")]),
    ];
  }

  /** What may be taken out: channels that a convolution gives, and features between the last two layers. */
  units(): Units[] {
    const { conv1, conv2, conv3, norm1, fc1 } = this;
    const third = [...outputs("conv3", conv3), ...normPlaces("norm1", norm1), inputs("fc1", this.pixels())];
    const channels = [
      [...outputs("conv1", conv1), inputs("conv2")],
      [...outputs("conv2", conv2), inputs("conv3")],
      third,
    ].map((places, layer): Units => {
      const count = [conv1, conv2, conv3][layer].outChannels;
      return {
        name: `conv${layer + 1}`,
        kind: "channels",
        count,
        places,
        sizes: { channels: 1 },
        layer,
        keeps: {},
      };
    });
    const places = [...outputs("fc1", fc1), inputs("fc2")];
    const count = fc1.outFeatures;
    const sizes = { hidden: 1 };
    return [...channels, { name: "fc1", kind: "neurons", count, places, sizes, layer: null, keeps: {} }];
  }

  /** The features of the first layer that a channel of the last convolution becomes. */
  private pixels(): { repeat: number } {
    return { repeat: this.fc1.inFeatures / this.norm1.channels };
  }
}
