/** Small convolutional networks that tell what a garment of Fashion-MNIST is: their data, training, and how often they are right. */

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { concat, noGrad, Rng, scope, type Tensor } from "bitgrad";
import { fashionMnist, type ImageSet, loader } from "bitgrad/data";
import { load, save } from "bitgrad/io";
import { BatchNorm2d, Conv2d, crossEntropy, evaluate, Linear, Sequential } from "bitgrad/nn";
import { adamw, cosine, optimizer } from "bitgrad/optim";
import { fit } from "bitgrad/train";
import type { Setting } from "./experiment.ts";

export interface Garments {
  /** Pixels (B, 1, 28, 28), 0 to 1. */
  readonly x: Tensor;
  readonly y: Tensor;
}

/** What a network makes of pictures. */
export interface Seen {
  /** After each stage, (B, C, H, W). */
  readonly maps: readonly Tensor[];
  /** Means over the pixels of the last, (B, C). */
  readonly hidden: Tensor;
  readonly logits: Tensor;
}

/** Convolutions of stride 2, each with a batch norm and a ReLU; then the mean of each channel, and a linear layer. */
export class GarmentNet {
  readonly stages: Sequential[];
  readonly classify: Linear;

  constructor(widths: readonly number[], rng: Rng) {
    this.stages = widths.map(
      (width, i) =>
        new Sequential(
          new Conv2d(widths[i - 1] ?? 1, width, 3, { stride: 2, padding: 1, bias: false, rng }),
          new BatchNorm2d(width),
          (x: Tensor) => x.relu(),
        ),
    );
    this.classify = new Linear(widths[widths.length - 1], 10, { rng });
  }

  look(x: Tensor): Seen {
    const maps: Tensor[] = [];
    for (const stage of this.stages) maps.push(stage.forward(maps.at(-1) ?? x));
    const hidden = maps[maps.length - 1].mean({ axis: [2, 3] });
    return { maps, hidden, logits: this.classify.forward(hidden) };
  }

  forward(x: Tensor): Tensor {
    return this.look(x).logits;
  }
}

export const teacherWidths = [32, 64, 128] as const;
/** A fifteenth of the teacher's parameters. */
export const studentWidths = [8, 16, 32] as const;

const pixels = ({ x, y }: ImageSet): Garments => ({ x: x.to("float32").div(255), y });

const rowsOf = ({ x, y }: ImageSet, rows: Int32Array): ImageSet => ({
  x: x.indexSelect(rows, { axis: 0 }),
  y: y.indexSelect(rows, { axis: 0 }),
});

/** Training pictures, drawn by the seed; the same for all who ask for as many of it. */
export async function trainingOf(
  { seed, quick }: Setting,
  count: number,
  wanted: (label: number) => boolean = () => true,
): Promise<ImageSet> {
  const all = await fashionMnist();
  const order = new Rng(`pictures ${seed}`).permutation(all.y.size);
  const rows = order.filter((row) => wanted(all.y.data[row])).subarray(0, quick ? 60 : count);
  return rowsOf(all, Int32Array.from(rows));
}

/** `count` training pictures from the other end: none of those that `trainingOf` gives, as long as both fit. */
export async function heldOutOf({ seed, quick }: Setting, count: number): Promise<Garments> {
  const all = await fashionMnist();
  const order = new Rng(`pictures ${seed}`).permutation(all.y.size);
  return pixels(rowsOf(all, Int32Array.from(order.subarray(-(quick ? 60 : count)))));
}

export async function testOf({ quick }: Setting): Promise<Garments> {
  const all = await fashionMnist({ split: "test" });
  return pixels(
    quick
      ? rowsOf(
          all,
          Int32Array.from({ length: 60 }, (_, i) => i),
        )
      : all,
  );
}

export interface Training {
  readonly epochs: number;
  readonly batch: number;
  readonly lr: number;
  /** Of a batch; by default the cross entropy with the labels. `also` are parameters that it trains beside the network's. */
  readonly loss?: (net: GarmentNet, batch: Garments) => Tensor;
  readonly also?: object;
}

/** Trains a network in place; a seed draws the order of the pictures. */
export async function trained(
  net: GarmentNet,
  data: ImageSet,
  { epochs, batch, lr, loss = labels, also }: Training,
  { seed, quick, signal }: Setting,
): Promise<GarmentNet> {
  const steps = (quick ? 1 : epochs) * Math.ceil(data.y.size / batch);
  const model = also ? { net, also } : { net };
  await fit(model, {
    data: loader(data, { batch, shuffle: true, rng: new Rng(`order ${seed}`) }),
    loss: (_, given) => loss(net, pixels(given as ImageSet)),
    optimizer: optimizer(model, adamw({ lr, weightDecay: 5e-4 })),
    schedule: cosine({ warmup: Math.floor(steps / 10), total: steps, floor: 0.01 }),
    steps,
    signal,
  });
  signal.throwIfAborted();
  return evaluate(net);
}

const labels = (net: GarmentNet, { x, y }: Garments): Tensor => crossEntropy(net.forward(x), y);

const version = 1;
const fileOf = ({ quick, checkpoint }: Setting): string =>
  join(dirname(checkpoint), `garments-teacher${quick ? "-quick" : ""}-v${version}.safetensors`);

/** One teacher, of all training pictures, whatever the seed; kept beside the checkpoints of cells. */
export async function teacherOf(setting: Setting): Promise<GarmentNet> {
  const net = new GarmentNet(setting.quick ? studentWidths : teacherWidths, new Rng("teacher"));
  const path = fileOf(setting);
  if (existsSync(path)) return evaluate(await load(path, { into: net }));
  const first = { ...setting, seed: 1 };
  await trained(net, await trainingOf(first, 60_000), { epochs: 8, batch: 100, lr: 3e-3 }, first);
  await save(path, net);
  return net;
}

/** Logits of pictures, in parts. */
export function logitsOf(net: GarmentNet, { x }: Garments): Tensor {
  const parts = x.split(500, { axis: 0 });
  return noGrad(() => {
    const rows = parts.map((part) => scope(() => net.forward(part)));
    return concat(rows);
  });
}

export const accuracyOf = (logits: Tensor, y: Tensor): number =>
  logits.argmax({ axis: 1 }).equal(y).to("float32").mean().item();
