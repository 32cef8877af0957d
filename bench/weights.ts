/** The trained image models of a BITGRAD_DATA folder, with what an independent program computed with them. */

import { readFileSync } from "node:fs";
import { noGrad, scope, type Tensor } from "bitgrad";
import { cifar10Subset, type ImageSet, mnist } from "bitgrad/data";
import { load } from "bitgrad/io";
import { MnistCnn, mlp, ResNet, ResNet8 } from "bitgrad/models";
import { evaluate } from "bitgrad/nn";

export interface ImageModel {
  forward(x: Tensor): Tensor;
}

export interface TrainedModel {
  readonly name: string;
  readonly images: () => Promise<ImageSet>;
  /** Pixels 0 to 255 (N, C, H, W) as the model takes them. */
  readonly prepare: (pixels: Tensor) => Tensor;
  readonly model: () => Promise<ImageModel>;
  /** What the model's output becomes to be compared. */
  readonly outputs: (logits: Tensor) => Tensor;
  /** The wanted outputs for the first eight images. */
  readonly first8: () => number[][];
  readonly accuracy: { readonly images: number; readonly value: number };
}

const same = (x: Tensor): Tensor => x;
const testSet = (read: typeof mnist | typeof cifar10Subset) => () => read({ split: "test" });

/** (x/255 − mean)/std, channel by channel. */
const standardize =
  (mean: readonly number[], std: readonly number[]) =>
  (pixels: Tensor): Tensor => {
    const wide = (values: readonly number[]) => values.map((value) => [[value]]);
    return pixels.to("float32").div(255).sub(wide(mean)).div(wide(std));
  };

export function trainedModels(data: string): TrainedModel[] {
  const folder = `${data}/weights`;
  const verify = (path: string) => JSON.parse(readFileSync(`${folder}/${path}`, "utf8"));
  const resnet = (depth: 20 | 32 | 56, images: number, value: number): TrainedModel => {
    const read = () => verify(`resnet-cifar10/resnet${depth}.verify.json`);
    const path = `${folder}/resnet-cifar10/resnet${depth}.safetensors`;
    return {
      name: `resnet${depth}`,
      images: testSet(cifar10Subset),
      prepare: standardize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
      model: async () =>
        load<ImageModel>(path, { into: evaluate(new ResNet(ResNet.configs[`resnet${depth}`])) }),
      outputs: same,
      first8: () => read().logits_first8,
      accuracy: { images, value },
    };
  };
  return [
    resnet(20, 2000, 0.809),
    resnet(32, 2000, 0.8195),
    resnet(56, 1000, 0.837),
    {
      name: "resnet8-mlperf-tiny",
      images: testSet(cifar10Subset),
      prepare: (pixels) => pixels.to("float32"),
      model: async () =>
        load<ImageModel>(`${folder}/resnet8-mlperf-tiny/float.safetensors`, {
          into: evaluate(new ResNet8()),
          rename: (name) => name.replace(/(?:conv(\d)|stem)\.bn\./, "bn$1."),
        }),
      outputs: same,
      first8: () => verify("resnet8-mlperf-tiny/verify.json").float.logits_first8,
      accuracy: { images: 2000, value: 0.749 },
    },
    {
      name: "mnist-cnn-burn",
      images: testSet(mnist),
      prepare: standardize([0.1307], [0.3081]),
      model: async () =>
        load<ImageModel>(`${folder}/mnist-cnn-burn/mnist.safetensors`, { into: evaluate(new MnistCnn()) }),
      outputs: (logits) => logits.logSoftmax(),
      first8: () => verify("mnist-cnn-burn/verify.json").log_probs_first8,
      accuracy: { images: 10_000, value: 0.9917 },
    },
    {
      name: "mnist-mlp-tinygrad",
      images: testSet(mnist),
      prepare: (pixels) => pixels.to("float32").flatten({ start: 1 }),
      model: async () =>
        load<ImageModel>(`${folder}/mnist-mlp-tinygrad/model.safetensors`, {
          into: evaluate(mlp([784, 128, 10], { activation: "leakyRelu", bias: false })) as ImageModel,
          rename: { l1: "0", l2: "2" },
        }),
      outputs: same,
      first8: () => verify("mnist-mlp-tinygrad/verify.json").logits_first8,
      accuracy: { images: 10_000, value: 0.9097 },
    },
  ];
}

/** The model's logits for the images [from, to), and how many of these it classifies as they are labelled. */
export function classify(
  { prepare }: TrainedModel,
  model: ImageModel,
  { x, y }: ImageSet,
  from: number,
  to: number,
): { logits: Tensor; right: number } {
  return noGrad(() =>
    scope(() => {
      const logits = model.forward(prepare(x.slice([[from, to]])));
      const hits = logits.argmax({ axis: 1 }).equal(y.slice([[from, to]]));
      return { logits, right: hits.sum().item() };
    }),
  );
}
