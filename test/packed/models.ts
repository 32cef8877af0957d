/** Packed models of every kind of layer, each with what it is given, for what runs elsewhere than on the CPU. */

import { Rng, randn } from "bitgrad";
import { Bert, Llama, ResNet, Transformer } from "bitgrad/models";
import {
  AvgPool2d,
  Conv2d,
  ConvTranspose2d,
  evaluate,
  Flatten,
  GroupNorm,
  Hadamard,
  type Layer,
  Linear,
  MaxPool2d,
  PReLU,
  Sequential,
} from "bitgrad/nn";
import type { Ids, PackedCall, PackedModel, Values } from "bitgrad/packed";
import { binarySigns, freeze, int8Dynamic, pack, plan, prepare, type QuantConfig } from "bitgrad/quant";

export const rng = new Rng(11);
export const sizes = { vocabulary: 20, dim: 16, layers: 2, heads: 4, rng };

export const image = (...shape: number[]): Values => ({
  data: randn(shape, { rng }).data.slice() as Float32Array,
  shape,
});
export const ids = (...data: number[]): Ids => ({ data, shape: [1, data.length] });

export function packed(layer: Layer, config: QuantConfig | null = null): PackedModel {
  const model = evaluate(layer);
  return pack(config ? freeze(prepare(model, plan({ default: config }))) : model);
}

export type Case = readonly [
  name: string,
  model: PackedModel,
  x: Values | Ids,
  call: Partial<PackedCall> | null,
];

export const llama: Case = [
  "a Llama, int8",
  packed(new Llama({ ...sizes, context: 8, kvHeads: 2, feedForward: 24 }), int8Dynamic()),
  ids(3, 1, 4),
  null,
];

export const bert: Case = [
  "a BERT",
  packed(new Bert({ ...sizes, context: 8, segments: 2, head: "classifier", classes: 3 })),
  ids(3, 1, 4),
  { mask: ids(1, 1, 0), segments: ids(0, 1, 1) },
];

export const transformer: Case = [
  "a Transformer",
  packed(new Transformer(sizes)),
  ids(3, 1, 4),
  { target: ids(2, 5), sourceMask: ids(1, 1, 0) },
];

export const signs: Case = [
  "a ResNet of signs",
  packed(new ResNet({ blocks: 1, width: 4, rng }), binarySigns()),
  image(2, 3, 8, 8),
  null,
];

/** Layers of images that the ResNet has not. */
export const images = (name: string, config: QuantConfig | null): Case => [
  name,
  packed(
    new Sequential(
      new Conv2d(2, 4, 3, { rng, groups: 2, stride: 2, padding: 1 }),
      new PReLU(4),
      new GroupNorm(2, 4),
      new ConvTranspose2d(4, 3, 2, { rng, stride: 2 }),
      new MaxPool2d(2),
      new AvgPool2d(2),
      new Flatten(),
      new Hadamard(12),
      new Linear(12, 5, { rng }),
    ),
    config,
  ),
  image(2, 2, 9, 9),
  null,
];
