/** Residual networks for small pictures: CIFAR's ResNet-20/32/44/56/110 and MLPerf Tiny's ResNet-8. */

import { readOptions } from "../errors.ts";
import { BatchNorm2d } from "../nn/batch-norm.ts";
import { Conv2d } from "../nn/conv.ts";
import { kaimingNormal } from "../nn/init.ts";
import { Linear } from "../nn/linear.ts";
import { GlobalAvgPool2d } from "../nn/pool.ts";
import { Flatten, Residual, Subsample } from "../nn/residual.ts";
import { inSequence, Sequential, type Step } from "../nn/sequential.ts";
import {
  checkLayerSizes,
  checkSizes,
  ofLayer,
  type PerLayer,
  plainConfig,
  readConfig,
  times,
} from "../nn/sizes.ts";
import {
  inputs,
  normPlaces,
  outputs,
  pairsOf,
  pairsOfAll,
  type ScalePair,
  scalePair,
  type Units,
  unitsOf,
} from "../nn/units.ts";
import { relu } from "../ops/activation.ts";
import type { Rng } from "../random/rng.ts";
import type { Tensor } from "../tensor.ts";

export interface ResNetConfig {
  /** Residual blocks in each of the three stages; the depth is 6·blocks + 2. */
  blocks: number;
  classes?: number;
  /** Channels of the first stage, doubled in each of the others. */
  width?: number;
  /** Channels of the pictures. */
  channels?: number;
  /** Channels between the two convolutions of a block, or a list of those of all 3·blocks; default: as many as it gives. */
  hidden?: PerLayer | null;
  /** Draws the first weights from here. */
  rng?: Rng | null;
}

/** A network in three parts, each a sequence: `forward` is `finish(runBlocks(embed(x)))`. */
abstract class Parts extends Sequential {
  /** The residual blocks, in order. */
  abstract get blocks(): Sequential[];
  protected abstract stemSteps(): Step[];
  protected abstract headSteps(): Step[];

  override *[Symbol.iterator](): Generator<Step> {
    yield* [...this.stemSteps(), ...this.blocks, ...this.headSteps()];
  }

  /** What the first block reads: pictures (N, channels, H, W) -> (N, C, H, W). */
  embed(x: Tensor): Tensor {
    return inSequence(this, this.stemSteps(), x);
  }

  /** What `embed` gives through all blocks. */
  runBlocks(x: Tensor): Tensor {
    return inSequence(this, this.blocks, x);
  }

  /** Logits (N, classes) of what the last block gives. */
  finish(x: Tensor): Tensor {
    return inSequence(this, this.headSteps(), x);
  }
}

/** relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)), without a shortcut + x. */
function* residual({ conv1, bn1, conv2, bn2 }: ResNetBlock | Stage, shortcut: Step | null): Generator<Step> {
  yield new Residual(new Sequential(conv1, bn1, relu, conv2, bn2), { shortcut });
  yield relu;
}

/** Gains of the inner normalisation to the second convolution. */
const innerPairs = ({ bn1 }: ResNetBlock | Stage): ScalePair[] =>
  scalePair(bn1.channels, outputs("bn1", bn1), "relu", [inputs("conv2")]);

/** Channels between the convolutions. */
function innerUnits({ conv1, bn1 }: ResNetBlock | Stage): Units[] {
  const places = [...outputs("conv1", conv1), ...normPlaces("bn1", bn1), inputs("conv2")];
  const { channels: count } = bn1;
  return [{ name: "", kind: "channels", count, places, sizes: { hidden: 1 }, layer: null, keeps: {} }];
}

/**
 * relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)), (N, C, H, W) -> (N, out, H/stride, W/stride).
 *
 * @example
 * ```ts
 * import { Rng, zeros } from "bitgrad";
 * import { ResNetBlock } from "bitgrad/models";
 *
 * console.log(new ResNetBlock(4, 8, 2, new Rng(1)).forward(zeros([1, 4, 8, 8])).shape); // [1, 8, 4, 4]
 * ```
 */
export class ResNetBlock extends Sequential {
  readonly stride: number;
  conv1: Conv2d;
  bn1: BatchNorm2d;
  conv2: Conv2d;
  bn2: BatchNorm2d;

  /** `hidden` channels between the convolutions. */
  constructor(
    inChannels: number,
    outChannels: number,
    stride: number,
    rng: Rng | null,
    hidden: number = outChannels,
  ) {
    super();
    checkSizes("ResNetBlock", { inChannels, outChannels, stride, hidden });
    this.stride = stride;
    this.conv1 = new Conv2d(inChannels, hidden, 3, { stride, padding: 1, bias: false, rng });
    this.bn1 = new BatchNorm2d(hidden);
    this.conv2 = new Conv2d(hidden, outChannels, 3, { padding: 1, bias: false, rng });
    this.bn2 = new BatchNorm2d(outChannels);
  }

  override *[Symbol.iterator](): Generator<Step> {
    const { stride, conv1, conv2 } = this;
    const fresh = conv2.weight.shape[0] - conv1.weight.shape[1];
    const before = Math.floor(fresh / 2);
    const same = stride === 1 && fresh === 0;
    yield* residual(this, same ? null : new Subsample({ stride, channels: [before, fresh - before] }));
  }

  /** The inner normalisation to the second convolution. */
  scalePairs(): ScalePair[] {
    return innerPairs(this);
  }

  /** Its inner channels. */
  units(): Units[] {
    return innerUnits(this);
  }
}

const stages = ["layer1", "layer2", "layer3"] as const;

/**
 * The ResNet for CIFAR-10, (N, 3, 32, 32) -> logits (N, classes), with shortcuts that have no weights (option A). He et al.,
 * 2015, arXiv:1512.03385, section 4.2. Names are those of the common PyTorch checkpoints.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { ResNet } from "bitgrad/models";
 *
 * console.log(new ResNet(ResNet.configs.resnet20).forward(zeros([1, 3, 32, 32])).shape); // [1, 10]
 * ```
 */
export class ResNet extends Parts {
  /** Its name in files. */
  static readonly kind: string = "ResNet";
  static readonly configs = {
    resnet20: { blocks: 3 },
    resnet32: { blocks: 5 },
    resnet44: { blocks: 7 },
    resnet56: { blocks: 9 },
    resnet110: { blocks: 18 },
  } as const satisfies Record<string, ResNetConfig>;

  /**
   * What the model was built from, defaults filled in, as plain JSON: `new ResNet(model.config)` has the same parameters and
   * names.
   */
  readonly config: Readonly<Omit<Required<ResNetConfig>, "rng">>;
  conv1: Conv2d;
  bn1: BatchNorm2d;
  layer1: ResNetBlock[];
  layer2: ResNetBlock[];
  layer3: ResNetBlock[];
  linear: Linear;

  constructor(config: ResNetConfig) {
    super();
    const settings: Required<ResNetConfig> = readConfig("ResNet", config, ["blocks"], {
      classes: 10,
      width: 16,
      channels: 3,
      hidden: null,
      rng: null,
    });
    const { blocks, classes, width, channels, hidden, rng } = settings;
    checkSizes("ResNet", { blocks, classes, width, channels });
    checkLayerSizes("ResNet", 3 * blocks, {}, { hidden: hidden ?? 1 });
    this.config = plainConfig(settings);
    this.conv1 = new Conv2d(channels, width, 3, { padding: 1, bias: false, rng });
    this.bn1 = new BatchNorm2d(width);
    const stage = (number: number, inChannels: number, outChannels: number) =>
      times(blocks, (i) => {
        const stride = i === 0 && inChannels !== outChannels ? 2 : 1;
        const inner = ofLayer(hidden ?? outChannels, number * blocks + i);
        return new ResNetBlock(i === 0 ? inChannels : outChannels, outChannels, stride, rng, inner);
      });
    this.layer1 = stage(0, width, width);
    this.layer2 = stage(1, width, 2 * width);
    this.layer3 = stage(2, 2 * width, 4 * width);
    this.linear = new Linear(4 * width, classes, { rng });
    const convs = [this.conv1, ...this.blocks.flatMap((block) => [block.conv1, block.conv2])];
    for (const { weight } of [...convs, this.linear]) kaimingNormal(weight, { rng });
  }

  get blocks(): ResNetBlock[] {
    return [...this.layer1, ...this.layer2, ...this.layer3];
  }

  /** What may be scaled against one another, within blocks. */
  scalePairs(): ScalePair[] {
    return stages.flatMap((name) => pairsOfAll(name, this[name]));
  }

  /** What may be taken out: channels between the two convolutions of a block. */
  units(): Units[] {
    const names = stages.flatMap((name) => this[name].map((_, i) => `${name}.${i}`));
    return this.blocks.flatMap((block, i) => unitsOf(names[i], block, i));
  }

  protected stemSteps(): Step[] {
    return [this.conv1, this.bn1, relu];
  }

  protected headSteps(): Step[] {
    return [new GlobalAvgPool2d(), new Flatten(), this.linear];
  }
}

/** MLPerf Tiny's residual stage: two convolutions and, from the second stage on, a 1x1 convolution for the shortcut. */
class Stage extends Sequential {
  conv1: Conv2d;
  bn1: BatchNorm2d;
  conv2: Conv2d;
  bn2: BatchNorm2d;
  short: Conv2d | null;

  constructor(inChannels: number, outChannels: number, hidden: number, rng: Rng | null) {
    super();
    const grows = inChannels !== outChannels;
    const stride = grows ? 2 : 1;
    const padding = grows
      ? ([
          [0, 1],
          [0, 1],
        ] as const)
      : 1;
    this.conv1 = new Conv2d(inChannels, hidden, 3, { stride, padding, rng });
    this.bn1 = new BatchNorm2d(hidden, { eps: 1e-3 });
    this.conv2 = new Conv2d(hidden, outChannels, 3, { padding: 1, rng });
    this.bn2 = new BatchNorm2d(outChannels, { eps: 1e-3 });
    this.short = grows ? new Conv2d(inChannels, outChannels, 1, { stride, rng }) : null;
  }

  override *[Symbol.iterator](): Generator<Step> {
    yield* residual(this, this.short);
  }

  scalePairs(): ScalePair[] {
    return innerPairs(this);
  }

  units(): Units[] {
    return innerUnits(this);
  }
}

export interface ResNet8Config {
  classes?: number;
  /** Channels between the two convolutions of a stage, or a list of those of each. */
  hidden?: PerLayer;
  /** Draws the first weights from here. */
  rng?: Rng | null;
}

/**
 * MLPerf Tiny's ResNet-8 for CIFAR-10, (N, 3, 32, 32) of raw pixels 0 to 255 -> logits (N, classes). Convolutions have biases,
 * and those of stride 2 pad after the picture only, as in TensorFlow. Banbury et al., 2021, arXiv:2106.07597.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { ResNet8 } from "bitgrad/models";
 *
 * console.log(new ResNet8({ classes: 10 }).forward(zeros([2, 3, 32, 32])).shape); // [2, 10]
 * ```
 */
export class ResNet8 extends Parts {
  /** Its name in files. */
  static readonly kind: string = "ResNet8";
  /**
   * What the model was built from, defaults filled in, as plain JSON: `new ResNet8(model.config)` has the same parameters
   * and names.
   */
  readonly config: Readonly<Omit<Required<ResNet8Config>, "rng">>;
  stem: Conv2d;
  bn: BatchNorm2d;
  s1: Stage;
  s2: Stage;
  s3: Stage;
  fc: Linear;

  constructor(config: ResNet8Config = {}) {
    super();
    const settings = readOptions<Required<ResNet8Config>>("ResNet8", config, {
      classes: 10,
      hidden: [16, 32, 64],
      rng: null,
    });
    const { classes, hidden, rng } = settings;
    checkLayerSizes("ResNet8", 3, { classes }, { hidden });
    this.config = plainConfig(settings);
    this.stem = new Conv2d(3, 16, 3, { padding: 1, rng });
    this.bn = new BatchNorm2d(16, { eps: 1e-3 });
    this.s1 = new Stage(16, 16, ofLayer(hidden, 0), rng);
    this.s2 = new Stage(16, 32, ofLayer(hidden, 1), rng);
    this.s3 = new Stage(32, 64, ofLayer(hidden, 2), rng);
    this.fc = new Linear(64, classes, { rng });
  }

  get blocks(): Sequential[] {
    return [this.s1, this.s2, this.s3];
  }

  /** What may be scaled against one another, within stages. */
  scalePairs(): ScalePair[] {
    return (["s1", "s2", "s3"] as const).flatMap((name) => pairsOf(name, this[name]));
  }

  /** What may be taken out: channels between the two convolutions of a stage. */
  units(): Units[] {
    return (["s1", "s2", "s3"] as const).flatMap((name, i) => unitsOf(name, this[name], i));
  }

  protected stemSteps(): Step[] {
    return [this.stem, this.bn, relu];
  }

  protected headSteps(): Step[] {
    return [new GlobalAvgPool2d(), new Flatten(), this.fc];
  }
}
