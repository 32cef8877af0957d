/** Networks for CIFAR-10 with int8 weights and inputs: one that others have rounded, and three that we round. */

import { readFileSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { noGrad, Rng, scope, type Tensor } from "bitgrad";
import { cifar10Subset, type ImageSet } from "bitgrad/data";
import { evaluate } from "bitgrad/nn";
import {
  calibrate,
  freeze,
  int8Dynamic,
  int8Static,
  pack,
  plan,
  prepare,
  type QuantConfig,
} from "bitgrad/quant";
import { type TrainedModel, trainedModels } from "../../../bench/weights.ts";
import type { Cell, Claim, Experiment, Measures, Setting } from "../experiment.ts";
import { packedForward, readTflite } from "../tflite.ts";

const networks = ["resnet20", "resnet32", "resnet56"];
const published = "resnet8-mlperf-tiny";

const dataOf = (): string => process.env.BITGRAD_DATA!;
const trained = (name: string): TrainedModel => trainedModels(dataOf()).find((model) => model.name === name)!;

type Forward = (pixels: Tensor) => Tensor;

/** The float network on pixels. */
async function floatOf(name: string): Promise<Forward> {
  const { model, prepare: ready } = trained(name);
  const network = await model();
  return (pixels) => network.forward(ready(pixels));
}

/** The classes that a network finds in the test images, and the images' own. */
async function classes(
  forward: Forward,
  { quick, signal }: Setting,
): Promise<{ found: number[]; own: number[] }> {
  const { x, y } = await cifar10Subset({ split: "test" });
  const found: number[] = [];
  const [count, size] = quick ? [8, 8] : [y.size, 50];
  for (let from = 0; from < count; from += size) {
    await setImmediate();
    signal.throwIfAborted();
    const part = x.slice([[from, from + size]]);
    found.push(...noGrad(() => scope(() => [...forward(part).argmax({ axis: 1 }).data].map(Number))));
  }
  return { found, own: [...y.data.subarray(0, count)] };
}

const shareOf = (a: readonly number[], b: readonly number[]): number =>
  a.filter((value, i) => value === b[i]).length / a.length;

/** How often a network is right, and of one mind with the float network. */
async function compared(name: string, forward: Forward, setting: Setting): Promise<Measures> {
  const { found, own } = await classes(forward, setting);
  const float = await classes(await floatOf(name), setting);
  return { accuracy: shareOf(found, own), agreement: shareOf(found, float.found) };
}

/** Training images for calibration, as the network reads them. */
async function calibrationOf(name: string, { seed, quick }: Setting): Promise<Tensor[]> {
  const { x }: ImageSet = await cifar10Subset({ split: "train" });
  const order = new Rng(`calibration ${seed}`).permutation(x.shape[0]).subarray(0, quick ? 8 : 256);
  const images = trained(name).prepare(x.indexSelect(order, { axis: 0 }));
  return images.split(quick ? 8 : 32, { axis: 0 });
}

/** The packed twin of a network on pixels. */
async function packedOf(name: string, config: QuantConfig, setting: Setting): Promise<Forward> {
  const { model, prepare: ready } = trained(name);
  const network = prepare((await model()) as object, plan({ default: config }));
  await calibrate(network, await calibrationOf(name, setting));
  const packed = pack(evaluate(freeze(network)));
  return (pixels) => packedForward(packed, ready(pixels));
}

const floatCell = (name: string): Cell => ({
  name: `${name} float32`,
  labels: { network: name, numbers: "float32" },
  seeds: 1,
  async run(setting) {
    const { found, own } = await classes(await floatOf(name), setting);
    return { accuracy: shareOf(found, own), agreement: 1 };
  },
});

const roundings = [
  { numbers: "int8, scales found as inputs come", config: int8Dynamic(), seeds: 1 as const },
  { numbers: "int8, scales of 256 images", config: int8Static() },
];

const publishedCell: Cell = {
  name: `${published} int8`,
  labels: { network: published, numbers: "int8, as published" },
  seeds: 1,
  async run(setting) {
    const folder = `${dataOf()}/weights/${published}`;
    const forward = await readTflite(folder);
    const wanted: number[][] = JSON.parse(readFileSync(`${folder}/verify.json`, "utf8")).int8
      .fully_connected_int8_first8;
    const { x } = await cifar10Subset({ split: "test" });
    const codes = noGrad(() => forward(x.slice([[0, wanted.length]])));
    const code = codes.sub(wanted).abs().max().item();
    return { ...(await compared(published, forward, setting)), code };
  },
};

const accuracy = { title: "accuracy", digits: 2, percent: true };

export default {
  about: "Runs residual networks for CIFAR-10 on integer kernels, rounded by others and by us.",
  text: `The images are the 2,000 of the CIFAR-10 subset's test set, which have been through JPEG: accuracies compare with each
other alone. Weights have int8 codes with a scale per output channel, inputs of every product int8 or uint8 codes; agreement is
the share of images that get the class that the float32 network gives them.

${published} as MLPerf Tiny publishes it in int8 has its own codes and scales, and rounds what every operator gives; the column
of codes says how far ours lie from the known ones, over the last layer's codes of eight images. ResNet-20, -32 and -56 are
rounded from float32. Static scales come from 256 training images, and a seed draws these.`,
  version: 1,
  seeds: 3,
  needsData: true,
  columns: {
    accuracy,
    agreement: { title: "agreement", digits: 2, percent: true },
    code: { title: "furthest code", digits: 0 },
  },
  picture: { x: "network", y: "accuracy", series: "numbers" },
  cells: ({ quick }) => [
    floatCell(published),
    publishedCell,
    ...networks.slice(0, quick ? 1 : undefined).flatMap((name) => [
      floatCell(name),
      ...roundings.map(
        ({ numbers, config, seeds }): Cell => ({
          name: `${name} ${numbers}`,
          labels: { network: name, numbers },
          seeds,
          run: async (setting) => compared(name, await packedOf(name, config, setting), setting),
        }),
      ),
    ]),
  ],
  claims: [
    {
      says: `${published} in int8 has the accuracy that is known of it, 74.80 %`,
      difference: (at) => Math.abs(at(`${published} int8`).accuracy - 0.748),
      below: 0.002,
      as: { ...accuracy, title: "apart by" },
    },
    {
      says: "it agrees with the float32 network on as many images as is known, 94.35 %",
      difference: (at) => Math.abs(at(`${published} int8`).agreement - 0.9435),
      below: 0.002,
      as: { ...accuracy, title: "apart by" },
    },
    ...networks.flatMap((name) =>
      roundings.map(
        ({ numbers }): Claim => ({
          says: `${name} loses less than a point of accuracy by ${numbers}`,
          difference: (at) => at(`${name} float32`).accuracy - at(`${name} ${numbers}`).accuracy,
          below: 0.01,
          as: { ...accuracy, title: "loss" },
        }),
      ),
    ),
  ],
} satisfies Experiment;
