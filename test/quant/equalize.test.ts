/** Cross-layer equalization: worked cases, and ranges that are equal afterwards. */

import { Rng, randn, relu, type Tensor } from "bitgrad";
import type { MnistCnn } from "bitgrad/models";
import { Linear, type ScalePair, whileFloat } from "bitgrad/nn";
import { equalize, int4WeightOnly, int8WeightOnly, plan, prepare } from "bitgrad/quant";
import { expect, it } from "vitest";
import { nets } from "../models/nets.ts";
import { type Case, casesOf, expectNumbers, floats, listening, relativeError } from "./channels.ts";

/** Two layers with a ReLU between. */
class Two {
  first: Linear;
  second: Linear;

  constructor(w1: Tensor, b1: Tensor, w2: Tensor) {
    this.first = new Linear(w1.shape[1], w1.shape[0]);
    this.first.weight.assign(w1);
    this.first.bias!.assign(b1);
    this.second = new Linear(w2.shape[1], w2.shape[0], { bias: false });
    this.second.weight.assign(w2);
  }

  forward(x: Tensor): Tensor {
    return this.second.forward(relu(this.first.forward(x)));
  }

  scalePairs(): ScalePair[] {
    const place = { repeat: 1, size: 1 };
    const producer = ["weight", "bias"].map((name) => ({ name: `first.${name}`, axis: 0, ...place }));
    const consumers = [{ name: "second.weight", axis: 1, ...place }];
    return [{ channels: this.first.outFeatures, producer, consumers, between: "relu" }];
  }
}

const prepared = <M extends object>(model: M): M => prepare(model, plan({ default: int8WeightOnly() }));

it.each(casesOf("cross_layer_equalization"))("%s: scales, weights and bias", async (_, given: Case) => {
  const { inputs, outputs, tolerance } = given;
  const model = prepared(new Two(floats(inputs.W1), floats(inputs.b1), floats(inputs.W2)));
  const { heard, onPair } = listening();
  expect(await equalize(model, { onPair })).toBe(model);
  expectNumbers(heard.at(-1)!.factors!, outputs.s, tolerance);
  expectNumbers(model.first.weight.value.data, outputs.W1_out, tolerance);
  expectNumbers(model.first.bias!.value.data, outputs.b1_out, tolerance);
  expectNumbers(model.second.weight.value.data, outputs.W2_out, tolerance);
});

const spread = (t: Tensor, axes: number[]): Tensor => t.abs().max({ axis: axes });

it("pairs that share a weight are gone through until all ranges are equal", async () => {
  const ranges = async (iterations: number) => {
    const model = prepared(nets.MnistCnn.make() as MnistCnn);
    await equalize(model, { iterations });
    const { conv1, conv2, conv3, fc1, fc2 } = model;
    const apart = (a: Tensor, b: Tensor) => a.div(b).sub(1).abs().max().item();
    return Math.max(
      apart(spread(conv1.weight.value, [1, 2, 3]), spread(conv2.weight.value, [0, 2, 3])),
      apart(spread(conv2.weight.value, [1, 2, 3]), spread(conv3.weight.value, [0, 2, 3])),
      apart(spread(fc1.weight.value, [1]), spread(fc2.weight.value, [0])),
    );
  };
  expect(await ranges(1)).toBeGreaterThan(1e-3);
  expect(await ranges(100)).toBeLessThan(1e-5);
});

it("channels without a range stay as they are", async () => {
  const [w1, b1, w2] = [[4, 3], [4], [5, 4]].map((shape, i) => randn(shape, { rng: new Rng(i) }));
  (w1.data as Float32Array).fill(0, 3, 6);
  for (let row = 0; row < 5; row++) (w2.data as Float32Array)[row * 4 + 2] = 0;
  const model = prepared(new Two(w1, b1, w2));
  const { heard, onPair } = listening();
  await equalize(model, { onPair });
  const factors = heard.at(-1)!.factors!;
  expect([factors[1], factors[2]]).toEqual([1, 1]);
  expect([factors[0], factors[3]]).not.toContain(1);
});

it("one scale for a whole weight fits better where channels differ", async () => {
  const rng = new Rng(5);
  const rows = randn([32], { rng }).mul(1.5).exp();
  const w1 = randn([32, 16], { rng }).mul(rows.reshape([32, 1]));
  const w2 = randn([8, 32], { rng }).div(rows);
  const make = () =>
    prepare(
      new Two(w1, randn([32], { rng: new Rng(6) }).mul(rows), w2),
      plan({ default: int4WeightOnly({ granularity: "tensor" }) }),
    );
  const x = randn([64, 16], { rng });
  const error = (model: Two) =>
    relativeError(
      model.forward(x),
      whileFloat(model, () => model.forward(x)),
    );
  expect(error(await equalize(make()))).toBeLessThan(error(make()) / 3);
});

it("values of attention and the network beside a gate are equalized, gains are not", async () => {
  const { heard, onPair } = listening();
  await equalize(prepared(nets.Llama.make()), { onPair });
  const of = (done: boolean) =>
    heard.filter(({ factors }) => (factors !== null) === done).map(({ producer }) => producer);
  expect(of(true)).toEqual([0, 1].flatMap((i) => [`blocks.${i}.attention.value`, `blocks.${i}.mlp.up`]));
  expect(of(false)).toEqual([...[0, 1].flatMap((i) => [`blocks.${i}.norm1`, `blocks.${i}.norm2`]), "norm"]);
});

it("refuses a number of iterations that is none, and options it does not know", async () => {
  const model = prepared(nets.MnistCnn.make());
  await expect(equalize(model, { iterations: 0 })).rejects.toThrow(
    "equalize: iterations must be an integer of at least 1, got 0",
  );
  await expect(equalize(model, { forward: null } as never)).rejects.toThrow("equalize: unknown option");
});
