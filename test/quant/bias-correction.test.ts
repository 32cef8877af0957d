/** biasCorrection: the formula's cases, mean outputs after it, and what is refused. */

import { manualSeed, Rng, rand, randn, relu, type Tensor, tensor } from "bitgrad";
import { Conv2d, Linear, parametrize, Sequential, statistics } from "bitgrad/nn";
import {
  biasCorrection,
  freeze,
  gptq,
  plan,
  prepare,
  type Quantizer,
  quantize,
  quantizedTransform,
  ste,
} from "bitgrad/quant";
import { beforeEach, describe, expect, it } from "vitest";
import { differing, methodCases, tensorOf } from "../golden/method-cases.ts";

beforeEach(() => manualSeed(5));

const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);
const held = (layer: { weight: Linear["weight"] }) => quantizedTransform(layer.weight)!.codes;
const by = (weight: Quantizer = ste({ bits: 3 })) => plan({ default: { weight } });
const largest = (t: Tensor): number => t.abs().max().item();
const two = () => new Sequential(new Linear(6, 5), relu, new Linear(5, 2));

/** What a layer is given in the mean, with all quantizers on. */
const meanOf = async (model: Sequential, x: Tensor, layer: string): Promise<Tensor> =>
  (await statistics(model, [x], { keep: ["mean"], float: false, layers: layer })).get(layer)!.mean;

/** The bias has moved by (W − Ŵ)·mean. */
function expectShift({ weight, bias }: Linear, mean: Tensor, before: number[]): void {
  const off = weight.value.sub(weight.effective());
  const shift = list(off.matmul(mean.to("float32").unsqueeze(1)));
  for (const [i, b] of list(bias!.value).entries()) expect(b - before[i]).toBeCloseTo(shift[i], 5);
}

it.each(methodCases("calib-bias").map((of) => [of.name, of] as const))(
  "gives the bias of %s",
  async (_, of) => {
    const { W, X, bias, W_quantized } = of.inputs;
    const layer = new Linear(12, 6);
    layer.weight.assign(tensorOf(W));
    layer.bias!.assign(tensorOf(bias));
    const x = tensorOf(X);
    const want = layer.forward(x);
    prepare(layer, by(ste({ bits: 3, scaleDtype: "float32" })));
    expect(largest(layer.weight.effective().sub(tensorOf(W_quantized)))).toBeLessThan(1e-6);
    const error = () => layer.forward(x).sub(want).square().mean().item();
    const before = error();
    await biasCorrection(layer, x.chunk(4));
    expect([
      ...differing(of, "bias_corrected", list(layer.bias!.value)),
      ...differing(of, "output_mse_before", [before]),
      ...differing(of, "output_mse_after", [error()]),
    ]).toEqual([]);
  },
);

describe("after it", () => {
  it("every mean output is that of the float weight, and the squared error falls where inputs have a mean", async () => {
    const x = relu(randn([256, 32])).add(0.2);
    const layer = new Linear(32, 16);
    const want = layer.forward(x);
    const off = () => layer.forward(x).sub(want);
    prepare(layer, by());
    const before = off().square().mean().item();
    await biasCorrection(layer, x.chunk(3));
    expect(largest(off().mean({ axis: 0 }))).toBeLessThan(1e-6);
    expect(off().square().mean().item()).toBeLessThan(0.7 * before);
  });

  it("nothing has changed where inputs have none", async () => {
    const half = randn([64, 8]);
    const layer = prepare(new Linear(8, 4), by());
    const before = list(layer.bias!.value);
    await biasCorrection(layer, [half, half.neg()]);
    for (const [i, b] of list(layer.bias!.value).entries()) expect(b).toBeCloseTo(before[i], 6);
  });

  it("layers have met the codes and biases of those before, and hold no codes that they did not", async () => {
    const model = two();
    const x = rand([64, 6]);
    prepare(model, by());
    const [first, , last] = model as unknown as [Linear, unknown, Linear];
    const { transforms } = first.weight;
    const before = list(last.bias!.value);
    await biasCorrection(model, [x]);
    // The first layer now computes with its codes and its new bias: these are the inputs of the last.
    expectShift(last, await meanOf(model, x, "2"), before);
    expect([held(first), held(last)]).toEqual([null, null]);
    expect(first.weight.transforms).toBe(transforms);
    model.forward(x).sum().backward();
    expect(first.weight.grad).not.toBe(null);
  });

  it("codes that are held are those it corrects for, and stay", async () => {
    const x = rand([64, 6]);
    const layer = new Linear(6, 4);
    const want = layer.forward(x);
    await gptq(prepare(layer, by()), [x]);
    const codes = list(held(layer)!.codes);
    await biasCorrection(layer, [x]);
    expect(list(held(layer)!.codes)).toEqual(codes);
    expect(largest(freeze(layer).forward(x).sub(want).mean({ axis: 0 }))).toBeLessThan(1e-6);
  });

  it("convolutions in groups, with padding, have the mean outputs of before", async () => {
    const x = rand([5, 4, 6, 6]);
    const conv = new Conv2d(4, 6, 3, { groups: 2, padding: 1 });
    const want = conv.forward(x);
    prepare(conv, by(ste({ bits: 3, granularity: { group: 7 } })));
    await biasCorrection(conv, [x.slice([[0, 1]]), x.slice([[1, 5]])]);
    expect(
      largest(
        conv
          .forward(x)
          .sub(want)
          .mean({ axis: [0, 2, 3] }),
      ),
    ).toBeLessThan(1e-6);
  });

  it("layers without a bias are heard of, and those behind meet their codes", async () => {
    const model = new Sequential(new Linear(6, 5, { bias: false }), new Linear(5, 2));
    const [first, last] = model as unknown as [Linear, Linear];
    const x = rand([64, 6]);
    const before = list(last.bias!.value);
    const heard: string[] = [];
    await biasCorrection(prepare(model, by()), [x], { onLayer: ({ layer }) => heard.push(layer) });
    expect(heard).toEqual(["0", "1"]);
    expect(first.bias).toBe(null);
    expectShift(last, await meanOf(model, x, "1"), before);
  });
});

describe("what is refused", () => {
  const x = rand([12, 6], { rng: new Rng(1) });

  it("models without a bias, with one that is shared or changed on its way, weights that are not finite", async () => {
    const bare = prepare(new Linear(6, 2, { bias: false }), by());
    await expect(biasCorrection(bare, [x])).rejects.toThrow(
      "biasCorrection: needs a layer with a bias, got none of 1 quantized layers with one",
    );
    const shared = new Sequential(new Linear(6, 6), new Linear(6, 6));
    (shared[1] as Linear).bias = (shared[0] as Linear).bias;
    await expect(biasCorrection(prepare(shared, by()), [x])).rejects.toThrow(
      'biasCorrection: two layers share a bias, got "0" and "1"; leave them out by { layers }',
    );
    const changed = new Linear(6, 2);
    parametrize(changed, "bias", { apply: (b: Tensor) => b.mul(2) });
    await expect(biasCorrection(prepare(changed, by()), [x])).rejects.toThrow("a bias must be used as it is");
    const bad = prepare(new Linear(6, 1), by());
    bad.weight.assign(tensor([[1, 2, 3, Infinity, 5, 6]]));
    await expect(biasCorrection(bad, [x])).rejects.toThrow(
      "weights must be finite, got Infinity at index 3 of layer",
    );
    await expect(biasCorrection(new Linear(6, 2), [x])).rejects.toMatchObject({ code: "STAGE" });
    await expect(biasCorrection(prepare(two(), by()), [])).rejects.toThrow(
      "needs at least one batch, got none",
    );
  });

  it("an error halfway leaves biases and held codes as they were", async () => {
    const model = prepare(two(), by());
    const [first, , last] = model as unknown as [Linear, unknown, Linear];
    const codes = quantize(last.weight.value.mul(0.5), quantizedTransform(last.weight)!.quantizer.spec);
    quantizedTransform(last.weight)!.hold(codes);
    const before = [list(first.bias!.value), list(last.bias!.value)];
    const onLayer = ({ layer }: { layer: string }) => {
      if (layer === "2") throw new Error("stop");
    };
    await expect(biasCorrection(model, [x], { onLayer })).rejects.toThrow("stop");
    expect([list(first.bias!.value), list(last.bias!.value)]).toEqual(before);
    expect(held(first)).toBe(null);
    expect(list(held(last)!.codes)).toEqual(list(codes.codes));
    await biasCorrection(model, [x]);
    expect(list(first.bias!.value)).not.toEqual(before[0]);
  });
});
