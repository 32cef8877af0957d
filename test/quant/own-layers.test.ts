/** Layers that the library does not know are quantized by what they say themselves: a product, and where its outputs lie. */

import { Rng, randn, type Tensor } from "bitgrad";
import { evaluate, type InputQuantizer, Parameter, Sequential } from "bitgrad/nn";
import {
  calibrate,
  freeze,
  int4Dynamic,
  int8Dynamic,
  int8Static,
  plan,
  prepare,
  type QTensor,
  type QuantConfig,
  quantize,
  quantizedTransform,
  spec,
  ternaryDynamic,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const list = (t: Tensor) => Array.from(t.data);

/** Outputs first in the weight, whatever the op wants. */
class Upsample {
  weight = new Parameter(randn([3, 5, 2, 2], { rng: new Rng(1) }));
  bias = new Parameter(randn([3], { rng: new Rng(2) }));
  inputQuantizer: InputQuantizer | null = null;

  product = (x: Tensor, weight: Tensor): Tensor =>
    x.conv2dTranspose(weight.transpose(0, 1), null, { stride: 2 });

  forward(x: Tensor): Tensor {
    if (this.inputQuantizer) return this.inputQuantizer.run(x, this, this.product, 1);
    return this.product(x, this.weight.effective()).add(this.bias.effective().reshape([3, 1, 1]));
  }
}

/** A matrix that mixes the channels of (N, C, L). */
class Mix {
  weight = new Parameter(randn([4, 6], { rng: new Rng(3) }));
  inputQuantizer: InputQuantizer | null = null;

  product = (x: Tensor, weight: Tensor): Tensor => weight.matmul(x);

  forward(x: Tensor): Tensor {
    return this.inputQuantizer
      ? this.inputQuantizer.run(x, this, this.product, 1)
      : this.product(x, this.weight.effective());
  }
}

/** Integers of codes in double precision. */
const integers = ({ codes, zeroPoint }: QTensor): Tensor =>
  (codes as Tensor).to("float64").sub(zeroPoint?.to("float64") ?? 0);

const perSample = spec({ granularity: "channel" });

describe("a layer of one's own, frozen and in evaluation, is exact sums of integers, then scales, then the bias:", () => {
  it.each<[string, QuantConfig]>([
    ["int8", int8Dynamic()],
    ["ternary", ternaryDynamic()],
  ])("a transposed convolution, %s", (_, config) => {
    const layer = prepare(new Upsample(), plan({ default: config }));
    const x = randn([2, 5, 3, 4], { rng: new Rng(4) });
    const trained = layer.forward(x);
    trained.square().sum().backward();
    expect(layer.weight.grad!.shape).toEqual([3, 5, 2, 2]);
    expect(layer.bias.grad!.shape).toEqual([3]);
    const got = evaluate(freeze(layer)).forward(x);
    list(got).forEach((v, i) => void expect(Math.abs(v - trained.data[i])).toBeLessThan(1e-4));

    const w = quantizedTransform(layer.weight)!.codes!;
    const q = quantize(x, perSample);
    const sums = layer.product(integers(q), integers(w)).to("float32");
    const want = sums.mul(w.scale.reshape([3, 1, 1])).mul(q.scale.reshape([2, 1, 1, 1]));
    expect(list(got)).toEqual(list(want.add(layer.bias.value.reshape([3, 1, 1]))));
  });

  it("with one static scale for the input, which calibration finds", async () => {
    const model = prepare(new Sequential(new Upsample()), plan({ default: int8Static() }));
    const x = randn([2, 5, 3, 4], { rng: new Rng(5) });
    const live = (await calibrate(model, [x])).forward(x);
    const frozen = evaluate(freeze(model)).forward(x);
    expect(list(frozen)).not.toEqual(list(live));
    list(frozen).forEach((v, i) => void expect(Math.abs(v - live.data[i])).toBeLessThan(1e-4));
  });

  it("channels along axis 1, weights in groups of them", () => {
    const layer = prepare(new Mix(), plan({ default: int4Dynamic({ group: 4 }) }));
    const x = randn([2, 6, 3], { rng: new Rng(6) });
    const got = evaluate(freeze(layer)).forward(x);
    const w = quantizedTransform(layer.weight)!.codes!;
    const q = quantize(x, perSample);
    const part = (from: number, to: number) =>
      layer
        .product(integers(q).slice([null, [from, to]]), integers(w).slice([null, [from, to]]))
        .to("float32")
        .mul(w.scale.slice([null, [from / 4, from / 4 + 1]]));
    expect(list(got)).toEqual(
      list(
        part(0, 4)
          .add(part(4, 6))
          .mul(q.scale.reshape([2, 1, 1])),
      ),
    );
  });
});
