/** SmoothQuant against its public code, and where inputs have outliers. */

import { Rng, randn, type Tensor, tensor } from "bitgrad";
import { evaluate, LayerNorm, Linear, type ScalePair } from "bitgrad/nn";
import {
  calibrate,
  dequantize,
  int8Static,
  int8WeightOnly,
  plan,
  prepare,
  quantize,
  smoothQuant,
  spec,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { type Case, casesOf, expectNumbers, floats, Gained, listening, relativeError } from "./channels.ts";

/** A normalisation and the layers that read it. */
class Normed {
  norm: LayerNorm;
  readers: Linear[];

  constructor({ inputs }: Case) {
    this.norm = new LayerNorm(inputs.ln_weight.shape[0]);
    this.norm.weight!.assign(floats(inputs.ln_weight));
    this.norm.bias!.assign(floats(inputs.ln_bias));
    const weights = Object.keys(inputs).filter((name) => /^W\d$/.test(name));
    this.readers = weights.map((name) => {
      const weight = floats(inputs[name]);
      const layer = new Linear(weight.shape[1], weight.shape[0], { bias: false });
      layer.weight.assign(weight);
      return layer;
    });
  }

  scalePairs(): ScalePair[] {
    const place = { repeat: 1, size: 1 };
    return [
      {
        channels: this.norm.weight!.size,
        producer: ["weight", "bias"].map((name) => ({ name: `norm.${name}`, axis: 0, ...place })),
        consumers: this.readers.map((_, i) => ({ name: `readers.${i}.weight`, axis: 1, ...place })),
        between: "nothing",
      },
    ];
  }
}

it.each(casesOf("smoothquant"))("%s: scales and weights are those of the public code", async (_, given) => {
  const model = prepare(new Normed(given), plan({ default: int8WeightOnly() }));
  const seen = floats(given.inputs.act_absmax);
  const { heard, onPair } = listening();
  await smoothQuant(model, [seen, seen.neg().mul(0.5)], {
    alpha: given.params.alpha,
    forward: (x: Tensor) => model.readers.map((layer) => layer.forward(x)),
    onPair,
  });
  const { outputs, tolerance } = given;
  expectNumbers(heard[0].factors!, outputs.s, tolerance);
  expectNumbers(model.norm.weight!.value.data, outputs.ln_weight, tolerance);
  expectNumbers(model.norm.bias!.value.data, outputs.ln_bias, tolerance);
  model.readers.forEach(({ weight }, i) => {
    expectNumbers(weight.value.data, outputs[`W${i}`], tolerance);
  });
});

it("meets the numbers of the paper's form: maxima on both sides become the same", async () => {
  const model = prepare(new Gained(tensor([[0.5, 1]])), plan({ default: int8WeightOnly() }));
  const { heard, onPair } = listening();
  await smoothQuant(model, [tensor([[-8, 1]])], { onPair });
  expect(heard[0].factors).toEqual([4, 1]);
  expect(model.linear.weight.value.toArray()).toEqual([[2, 1]]);
  expect(model.gains.weight.value.toArray()).toEqual([0.25, 1]);
});

describe("inputs with 4 of 128 channels 50 times as large, at 8 bits of static inputs and weights", () => {
  const rng = new Rng(11);
  const weight = randn([64, 128], { rng }).mul(0.1);
  const large = tensor(Float32Array.from({ length: 128 }, (_, c) => (c % 32 === 7 ? 50 : 1)));
  const draw = () => randn([256, 128], { rng }).mul(large);
  const [seen, held] = [draw(), draw()];
  const config = int8Static({ granularity: "tensor" });

  async function errorAt(alpha: number | null): Promise<number> {
    const model = evaluate(
      prepare(new Gained(weight), plan({ default: null, rules: [["linear.weight", config]] })),
    );
    if (alpha !== null) await smoothQuant(model, [seen], { alpha });
    await calibrate(model, [seen]);
    return relativeError(model.forward(held), new Gained(weight).forward(held));
  }

  it("lose a fifth or less of what they lose without, least where both sides are met halfway", async () => {
    const none = await errorAt(null);
    const errors = [];
    for (const alpha of [0.25, 0.5, 0.75, 1]) errors.push(await errorAt(alpha));
    const [quarter, half, more, all] = errors;
    expect(half).toBeLessThan(none / 5);
    expect(half).toBeLessThan(quarter);
    expect(half).toBeLessThan(more);
    expect(more).toBeLessThan(all);
    expect(quarter).toBeLessThan(none);
  });
});

it("an order of channels changes nothing but the order of the scales", async () => {
  const [weight, x] = [randn([5, 6], { rng: new Rng(1) }), randn([9, 6], { rng: new Rng(2) })];
  const order = [3, 0, 5, 1, 4, 2];
  const found = async (w: Tensor, given: Tensor) => {
    const { heard, onPair } = listening();
    const model = prepare(new Gained(w), plan({ default: int8WeightOnly() }));
    await smoothQuant(model, [given], { onPair });
    return heard[0].factors!;
  };
  const index = tensor(order, { dtype: "int32" });
  const turned = await found(weight.indexSelect(index, { axis: 1 }), x.indexSelect(index, { axis: 1 }));
  const plain = await found(weight, x);
  expect(turned).toEqual(order.map((c) => plain[c]));
});

it("refuses an alpha outside 0 to 1, and options it does not know", async () => {
  const model = prepare(new Gained(randn([5, 6], { rng: new Rng(1) })), plan({ default: int8WeightOnly() }));
  await expect(smoothQuant(model, [], { alpha: 1.5 })).rejects.toThrow(
    "smoothQuant: alpha must lie between 0 and 1, got 1.5",
  );
  await expect(smoothQuant(model, [], { beta: 1 } as never)).rejects.toThrow("smoothQuant: unknown option");
});

it.each(casesOf("absmax_fake_quantize"))("%s: int8 by the largest magnitude", (_, given) => {
  const by: Record<string, "channel" | "tensor" | "token"> = {
    weight_per_channel: "channel",
    weight_per_tensor: "tensor",
    activation_per_token: "token",
    activation_per_tensor: "tensor",
  };
  const granularity = by[String(given.params.granularity)];
  const values = dequantize(quantize(floats(given.inputs.x), spec({ granularity })));
  expectNumbers(values.data, given.outputs.out, given.tolerance);
});
