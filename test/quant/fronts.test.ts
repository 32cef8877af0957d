/** What stands in front of a quantizer: masks that it is told of or finds, and what changes after its codes are fixed. */

import { ones, Rng, randn, type Tensor, tensor } from "bitgrad";
import { Linear, loadStateDict, Parameter, parametrize, type Transform } from "bitgrad/nn";
import {
  binaryWeightOnly,
  bitnet158,
  bwn,
  dequantize,
  freeze,
  int8Dynamic,
  pack,
  plan,
  prepare,
  QuantizedTransform,
  type Quantizer,
  quantize,
  quantized,
  quantizedTransform,
  spec,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const list = (t: Tensor) => Array.from(t.data);
const bare = (mask: Tensor): Transform => ({ apply: (w) => w.mul(mask) });
const told = (mask: Tensor): Transform => ({ mask, apply: (w) => w.mul(mask) });
const layerOf = (...weight: number[]) => {
  const layer = new Linear(weight.length, 1, { bias: false });
  layer.weight.assign([weight]);
  return layer;
};
const through = (quantizer: Quantizer, weight: number[], ...fronts: Transform[]) => {
  const layer = layerOf(...weight);
  layer.weight.transforms.push(...fronts);
  prepare(layer, plan({ default: { weight: quantizer } }));
  return list(layer.weight.effective());
};

describe.each([
  ["that says what it keeps", told],
  ["that is found by what it does", bare],
])("a mask %s", (_, masking) => {
  const mask = tensor([1, 0, 0, 0]);

  it("counts where the latent weight is 0 by itself too", () => {
    expect(through(bitnet158(), [1, 0, 0, 0], masking(mask))).toEqual([1, 0, 0, 0]);
    expect(through(bitnet158(), [1, 5, 0, 5], masking(mask))).toEqual([1, 0, 0, 0]);
    for (const weight of [
      [1, 0, 0, 0],
      [1, 1, 1, 1],
      [0, 0, 0, 0],
    ]) {
      expect(() => through(bwn(), weight, masking(mask))).toThrow(
        'quantize: "binary" has no code for the zeros of a mask, got 3 of 4 weights of "weight" masked',
      );
    }
  });

  it("leaves a latent 0 that it keeps a weight like others", () => {
    expect(through(bwn(), [1, 0, 0, 1], masking(tensor([1, 1, 1, 1])))).toEqual([0.5, 0.5, 0.5, 0.5]);
    expect(through(bitnet158(), [1, 0, 0, 2], masking(tensor([1, 1, 0, 1])))).toEqual([1, 0, 0, 1]);
    expect(through(bwn(), [0, 0, 0, 0], masking(tensor([1, 1, 1, 1])))).toEqual([0, 0, 0, 0]);
  });

  it("counts behind a transform that is no mask", () => {
    const tanh: Transform = { apply: (w) => w.tanh(), mask: null };
    expect(through(bwn(), [0, 0], tanh, masking(tensor([1, 1])))).toEqual([0, 0]);
    expect(() => through(bwn(), [0, 0], tanh, masking(tensor([1, 0])))).toThrow("got 1 of 2 weights");
  });
});

describe("a transform in front of a quantizer", () => {
  const centred = (w: Tensor) => w.sub(w.mean({ axis: 1, keepDims: true }));

  it("that says it is no mask may give any zeros", () => {
    expect(through(bwn(), [1, 1], { apply: centred, mask: null })).toEqual([0, 0]);
    expect(through(bwn(), [0, 3, 6], { apply: centred, mask: null })).toEqual([-2, 2, 2]);
    expect(() => through(bwn(), [0, 3, 6], { apply: centred })).toThrow("got 1 of 3 weights");
  });

  it("may fill what a mask left, which is then no longer masked", () => {
    expect(through(bwn(), [1, 5], told(tensor([1, 0])), { apply: (w) => w.add(1), mask: null })).toEqual([
      1.5, 1.5,
    ]);
  });

  it("ranks zeros below all that is not 0 where it keeps the largest", () => {
    const largest: Transform = { apply: (w) => w.abs().greater(1).where(w, 0) };
    expect(through(bitnet158(), [2, 0, -4, 1], largest)).toEqual([3, 0, -3, 0]);
  });

  it("that says what no mask can be is refused", () => {
    const wrong = (mask: unknown) => () =>
      through(bitnet158(), [1, 2], { apply: (w) => w, mask: mask as Tensor });
    expect(wrong("all")).toThrow('quantize: the mask of a transform must be a tensor or null, got "all"');
    expect(wrong(tensor([1, 1, 1]))).toThrow(expect.objectContaining({ code: "SHAPE" }));
  });

  it("is seen by a quantizer that parametrize, or the list itself, puts on a parameter", () => {
    for (const put of [
      (layer: Linear, t: Transform) => parametrize(layer, "weight", t),
      (layer: Linear, t: Transform) => layer.weight.transforms.push(t),
    ]) {
      const layer = layerOf(1, 0, 5, 0);
      layer.weight.transforms.push(told(tensor([1, 1, 0, 0])));
      put(layer, new QuantizedTransform(bitnet158()));
      expect(list(layer.weight.effective())).toEqual([0.5, 0, 0, 0]);
    }
  });
});

describe("a quantized transform", () => {
  const two = () => [layerOf(1, 1), layerOf(-3, -3)];
  const refusal = expect.objectContaining({
    code: "OPTION",
    message: expect.stringContaining("quantized: a transform serves one parameter, got another"),
  });

  it("serves one parameter: a second is refused where it is put on, and nothing changes", () => {
    const model = two();
    expect(() => parametrize(model, "**.weight", new QuantizedTransform(bwn()))).toThrow(refusal);
    expect(model[0].weight.transforms).toEqual([]);
    expect(model[1].weight.transforms).toEqual([]);
    parametrize(model, "**.weight", quantized(bwn()));
    expect(list(model[1].weight.effective())).toEqual([-3, -3]);
  });

  it("is refused on a second parameter when that is read, or frozen, where it came there by the list", () => {
    const model = two();
    const shared = new QuantizedTransform(bwn());
    for (const { weight } of [model[0], model[1]]) weight.transforms.push(shared);
    expect(list(model[0].weight.effective())).toEqual([1, 1]);
    expect(() => model[1].weight.effective()).toThrow(refusal);
    expect(() => shared.freeze(model[1].weight)).toThrow(refusal);
    expect(list(model[0].weight.effective())).toEqual([1, 1]);
  });

  it("stands once on a parameter", () => {
    const layer = layerOf(1, 2);
    const moving = new QuantizedTransform(bwn());
    parametrize(layer, "weight", moving);
    expect(() => parametrize(layer, "weight", moving)).toThrow("stands once on a parameter, got 2 times");
    expect(layer.weight.transforms).toEqual([moving]);
  });

  it("may move to another parameter, and begins anew there", () => {
    const model = two();
    const moving = new QuantizedTransform(bwn());
    parametrize(model[0], "weight", moving);
    moving.freeze(model[0].weight);
    model[0].weight.transforms.length = 0;
    parametrize(model[1], "weight", moving);
    expect(moving.frozen).toBe(false);
    expect(list(model[1].weight.effective())).toEqual([-3, -3]);
  });

  it("freezes a parameter that it is on, and nothing else", () => {
    const frozen = new QuantizedTransform(bwn());
    for (const wrong of [null, undefined, 5, {}, randn([2, 2])]) {
      expect(() => frozen.freeze(wrong as never)).toThrow("freeze: needs a parameter, got");
    }
    expect(() => frozen.freeze(new Parameter(randn([2, 2], { rng: new Rng(1) })))).toThrow(
      expect.objectContaining({ code: "STAGE" }),
    );
    expect(frozen.frozen).toBe(false);
  });
});

describe("codes that are fixed", () => {
  const rowOf = (...weight: number[]) => {
    const layer = layerOf(...weight);
    const mask = tensor([1, 1, 1, 0]);
    const front: Transform & { mask: Tensor } = { mask, apply: (w) => w.mul(front.mask) };
    layer.weight.transforms.push(front);
    return { layer: prepare(layer, plan({ default: { weight: bitnet158() } })), front };
  };
  const written = (mask: Tensor, values: number[]) => {
    mask.storage.write((data) => data.set(values), "test");
  };

  it("follow a mask that is written, another in its place, and a transform that comes or goes", () => {
    const { layer, front } = rowOf(4, 4, 4, 4);
    freeze(layer);
    expect(list(layer.weight.effective())).toEqual([4, 4, 4, 0]);
    written(front.mask, [1, 1, 0, 0]);
    expect(list(layer.weight.effective())).toEqual([4, 4, 0, 0]);
    loadStateDict(layer, { "weight.transforms.0.mask": tensor([0, 1, 1, 1]) }, { strict: false });
    expect(list(layer.weight.effective())).toEqual([0, 4, 4, 4]);
    front.mask = tensor([0, 1, 0, 1]);
    expect(list(pack(layer).forward({ data: new Float32Array(4).fill(1), shape: [1, 4] }) as never)).toEqual([
      8,
    ]);
    layer.weight.transforms.shift();
    expect(list(layer.weight.effective())).toEqual([4, 4, 4, 4]);
    layer.weight.transforms.unshift({ apply: (w) => w.mul(2), mask: null });
    expect(list(layer.weight.effective())).toEqual([8, 8, 8, 8]);
  });

  it("follow what the quantizer learned, loaded after", () => {
    const layer = layerOf(1, -2, 3);
    const step = new Parameter(tensor([1]));
    const how = spec({ bits: 4 });
    const learned = { name: "own", spec: how, step, params: () => ({ scale: step.value, zeroPoint: null }) };
    freeze(prepare(layer, plan({ default: { weight: learned } })));
    expect(list(layer.weight.effective())).toEqual([1, -2, 3]);
    step.assign([2]);
    expect(list(layer.weight.effective())).toEqual([0, -2, 4]);
  });

  it("go, where they were found elsewhere, with the mask that they fitted", () => {
    const { layer, front } = rowOf(4, 4, 4, 4);
    const transform = quantizedTransform(layer.weight)!;
    const found = quantize([[4, 0, 0, 0]], transform.quantizer.spec);
    transform.hold(found);
    expect(list(layer.weight.effective())).toEqual([4, 0, 0, 0]);
    written(front.mask, [0, 1, 1, 1]);
    expect(list(layer.weight.effective())).toEqual([0, 4, 4, 4]);
  });
});

describe("replace of a weight whose codes are fixed", () => {
  const held = (freezes: boolean) => {
    const layer = prepare(new Linear(4, 2, { rng: new Rng(1) }), plan({ default: int8Dynamic() }));
    const transform = quantizedTransform(layer.weight)!;
    const codes = quantize(layer.weight.value.mul(0.5), transform.quantizer.spec);
    transform.hold({ ...codes, scale: codes.scale.mul(3) });
    if (freezes) freeze(layer);
    return layer;
  };

  it.each([false, true])(
    "takes one of another shape, also where it was written as often (frozen: %s)",
    (freezes) => {
      for (const value of [new Linear(4, 3, { rng: new Rng(2) }).weight.value, ones([3, 4]), ones([2, 4])]) {
        const layer = held(freezes);
        layer.weight.replace(value);
        const want = dequantize(quantize(value, quantizedTransform(layer.weight)!.quantizer.spec));
        expect(layer.weight.effective().shape).toEqual(value.shape);
        expect(list(layer.weight.effective())).toEqual(list(want));
      }
    },
  );

  it.each([false, true])("leaves them as they were where it fails (frozen: %s)", (freezes) => {
    for (const spoil of [
      (w: Tensor): Tensor => w.reshape([2, 6]),
      () => {
        throw new Error("no");
      },
    ]) {
      const layer = held(freezes);
      const [want, { codes }] = [list(layer.weight.effective()), quantizedTransform(layer.weight)!];
      const spoiling: Transform = { mask: null, apply: (w) => (w.shape[0] === 3 ? spoil(w) : w) };
      layer.weight.transforms.push(spoiling);
      expect(() => layer.weight.replace(ones([3, 4]))).toThrow();
      layer.weight.transforms.pop();
      expect(quantizedTransform(layer.weight)!.codes).toBe(codes);
      expect(list(layer.weight.effective())).toEqual(want);
    }
  });

  it("is not the only way to fail: prepare that refuses another plan leaves them too", () => {
    const layer = held(false);
    const { codes } = quantizedTransform(layer.weight)!;
    layer.weight.transforms.push(told(tensor([1, 1, 1, 0])));
    const want = list(layer.weight.effective());
    expect(() => prepare(layer, plan({ default: binaryWeightOnly() }), { replace: true })).toThrow("no code");
    expect(quantizedTransform(layer.weight)!.codes).toBe(codes);
    expect(list(layer.weight.effective())).toEqual(want);
  });
});
