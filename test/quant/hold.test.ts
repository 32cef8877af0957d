/** Codes found elsewhere, held by the transform that quantizes a parameter. */

import { Rng, randn, type Tensor, tensor } from "bitgrad";
import { Conv2d, clone, evaluate, Linear, loadStateDict, parametrize, stateDict, train } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import {
  dequantize,
  freeze,
  int4WeightOnly,
  int8Dynamic,
  pack,
  plan,
  prepare,
  type QTensor,
  QuantizedTransform,
  quantize,
  quantizedTransform,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const list = (t: Tensor) => Array.from(t.data);
const x = randn([5, 8], { rng: new Rng(1) });
const values = { data: x.data as Float32Array, shape: x.shape };
const prepared = () => prepare(new Linear(8, 4, { rng: new Rng(2) }), plan({ default: int8Dynamic() }));
const held = (layer: { weight: Linear["weight"] }) => quantizedTransform(layer.weight)!;

/** Codes that no rounding of the weight gives: each one more, or less at the end of the range. */
function moved(layer: Linear): QTensor {
  const found = quantize(layer.weight.value, held(layer).quantizer.spec);
  const codes = Int8Array.from(found.codes.data, (q) => (q < 127 ? q + 1 : q - 1));
  return { ...found, codes: tensor(codes).reshape([...found.shape]) as Tensor<"int8"> };
}

describe("held codes", () => {
  it("are what a layer computes with, live, frozen and packed; the latent value stays", () => {
    const layer = prepared();
    const latent = list(layer.weight.value);
    const found = moved(layer);
    held(layer).hold(found);
    const want = list(dequantize(found));
    expect(list(layer.weight.effective())).toEqual(want);
    expect(list(clone(layer).weight.effective())).toEqual(want);
    expect(list(layer.weight.value)).toEqual(latent);
    evaluate(freeze(layer));
    expect(list(layer.weight.effective())).toEqual(want);
    expect(list(layer.weight.value)).toEqual(latent);
    expect(list(pack(layer).forward(values) as never)).toEqual(list(layer.forward(x)));
  });

  it("leave the model live: it trains around them, until their weight is written", () => {
    const layer = prepared();
    const own = list(layer.weight.effective());
    const found = moved(layer);
    held(layer).hold(found);
    const optim = optimizer(layer, sgd({ lr: 0.1 }));
    train(layer).forward(x).square().sum().backward();
    expect(layer.weight.grad).toBe(null);
    expect(layer.bias!.grad).not.toBe(null);
    layer.weight.grad = null;
    optim.step();
    expect(list(layer.weight.effective())).toEqual(list(dequantize(found)));
    expect(() => pack(layer)).toThrow("call freeze first");
    layer.weight.assign(layer.weight.value);
    expect(list(layer.weight.effective())).toEqual(own);
  });

  it("are no part of a state, and go when one is loaded, as those of a frozen weight", () => {
    const layer = prepared();
    const names = Object.keys(stateDict(layer));
    const own = list(layer.weight.effective());
    held(layer).hold(moved(layer));
    expect(Object.keys(stateDict(layer))).toEqual(names);
    loadStateDict(layer, stateDict(prepared()));
    expect(list(layer.weight.effective())).toEqual(own);
  });

  it("do not follow what is done to the tensors that they came in", () => {
    const layer = prepared();
    const found = moved(layer);
    held(layer).hold(found);
    const want = list(layer.weight.effective());
    found.codes.data.fill(0);
    found.scale.data.fill(7);
    expect(list(layer.weight.effective())).toEqual(want);
  });

  it("of filters with scales by groups are a matrix", () => {
    const layer = prepare(new Conv2d(3, 4, 3), plan({ default: int4WeightOnly({ group: 9 }) }));
    const { spec } = held(layer).quantizer;
    const found = quantize(layer.weight.value.reshape([4, 27]).mul(0.5), spec);
    held(layer).hold(found);
    expect(layer.weight.effective().shape).toEqual([4, 3, 3, 3]);
    expect(list(layer.weight.effective())).toEqual(list(dequantize(found)));
    expect(() => held(layer).hold(quantize(layer.weight.value, spec))).toThrow(
      "hold: codes must have the shape (4, 27), got (4, 3, 3, 3)",
    );
  });

  it("of another shape or spec, without a parameter, or beside a mask are refused, and nothing changes", () => {
    const layer = prepared();
    const before = list(layer.weight.effective());
    const { spec } = held(layer).quantizer;
    const wrong: [QTensor, string, string][] = [
      [quantize(randn([4, 7], { rng: new Rng(3) }), spec), "SHAPE", "hold: codes must have the shape (4, 8)"],
      [quantize(layer.weight.value, ste({ bits: 4 }).spec), "OPTION", 'must be of the spec of "int8"'],
      [quantize(layer.weight.value, ste({ granularity: "tensor" }).spec), "OPTION", "must be of the spec"],
      [null as never, "OPTION", "dequantize: needs what quantize gives, got null"],
    ];
    for (const [codes, code, message] of wrong) {
      expect(() => held(layer).hold(codes)).toThrow(
        expect.objectContaining({ code, message: expect.stringContaining(message) }),
      );
    }
    expect(list(layer.weight.effective())).toEqual(before);
    expect(() => new QuantizedTransform(ste()).hold(moved(layer))).toThrow("must be on a parameter");
    const masked = new Linear(8, 4, { rng: new Rng(2) });
    const mask = tensor([1, 1, 1, 0, 1, 1, 1, 1]);
    parametrize(masked, "weight", { apply: (w: Tensor) => w.mul(mask) });
    prepare(masked, plan({ default: int8Dynamic() }));
    expect(() => held(masked).hold(moved(masked))).toThrow("hold: codes must be 0 where a mask is, got");
    const fitting = quantize(masked.weight.value.mul(mask), spec);
    held(masked).hold(fitting);
    expect(list(masked.weight.effective())).toEqual(list(dequantize(fitting)));
  });
});
