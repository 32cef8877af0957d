/** Layers whose inputs or outputs have all been taken out give what they give in floats: quantized, frozen and packed. */

import { Rng, randn, type Tensor, zeros } from "bitgrad";
import { Conv2d, evaluate, Linear } from "bitgrad/nn";
import {
  binaryDynamic,
  binarySigns,
  calibrate,
  freeze,
  int4Dynamic,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  type Observer,
  pack,
  plan,
  prepare,
  type QuantConfig,
  ternaryDynamic,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const configs: [string, () => QuantConfig][] = [
  ["int8Dynamic", int8Dynamic],
  ["int8Dynamic, affine", () => int8Dynamic({ scheme: "affine" })],
  ["int8Dynamic, a scale a tensor", () => int8Dynamic({ granularity: "tensor" })],
  ["int4Dynamic", int4Dynamic],
  ["int4Dynamic in small groups", () => int4Dynamic({ group: 2 })],
  ["int4Dynamic, affine", () => int4Dynamic({ scheme: "affine" })],
  ["int8Static", int8Static],
  ["int8Static, symmetric", () => int8Static({ inputScheme: "symmetric" })],
  ["ternaryDynamic", ternaryDynamic],
  ["binaryDynamic", binaryDynamic],
  ["binarySigns", binarySigns],
  ["int8WeightOnly", int8WeightOnly],
];
const list = (t: { data: ArrayLike<number> }) => Array.from(t.data);
const random = (shape: number[]) => randn(shape, { rng: new Rng(1) });

interface Weighted {
  weight: Linear["weight"];
  bias: Linear["bias"];
  forward(x: Tensor): Tensor;
}

const linear = (outputs: number, inputs: number, bias: boolean): Weighted => {
  const layer = new Linear(inputs || 1, outputs || 1, { bias, rng: new Rng(2) });
  layer.weight.replace(random([outputs, inputs]));
  layer.bias?.replace(random([outputs]));
  return layer;
};
const conv = (outputs: number, inputs: number): Weighted => {
  const layer = new Conv2d(inputs || 1, outputs || 1, 3, { padding: 1, rng: new Rng(3) });
  layer.weight.replace(random([outputs, inputs, 3, 3]));
  layer.bias?.replace(random([outputs]));
  return layer;
};

const layers: [string, () => Weighted, shape: number[]][] = [
  ["0 inputs", () => linear(2, 0, true), [4, 0]],
  ["0 inputs, no bias", () => linear(2, 0, false), [4, 0]],
  ["1 output of 0 inputs", () => linear(1, 0, true), [3, 4, 0]],
  ["0 outputs", () => linear(0, 5, true), [4, 5]],
  ["0 outputs of 0 inputs", () => linear(0, 0, true), [4, 0]],
  ["0 channels", () => conv(2, 0), [2, 0, 4, 4]],
  ["0 filters", () => conv(0, 2), [2, 2, 4, 4]],
  ["an empty batch", () => linear(2, 5, true), [0, 5]],
];

describe.each(layers)("a layer of %s", (_, make, shape) => {
  it.each(configs)("%s", async (_, config) => {
    const x = shape.includes(0) ? zeros(shape) : random(shape);
    const want = make().forward(x);
    const layer = make();
    prepare(layer, plan({ default: config() }));
    if (config().input?.().observer) {
      // Nothing is seen of an input of nothing.
      const { observer } = (layer as unknown as { inputQuantizer: { observer: Observer } }).inputQuantizer;
      observer.observe(random([3]));
      await calibrate(layer, [x]);
    }
    const prepared = layer.forward(x);
    expect([prepared.shape, list(prepared)]).toEqual([want.shape, list(want)]);
    evaluate(freeze(layer));
    const frozen = layer.forward(x);
    expect([frozen.shape, list(frozen)]).toEqual([want.shape, list(want)]);
    const packed = pack(layer).forward({ data: x.data as Float32Array, shape: x.shape });
    expect([packed.shape, list(packed)]).toEqual([want.shape, list(want)]);
  });
});
