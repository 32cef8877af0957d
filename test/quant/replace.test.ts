/** Plans of a live model that are replaced or taken back. */

import { OptionError, Rng, randn, ShapeError, type Tensor, tensor } from "bitgrad";
import {
  evaluate,
  Linear,
  parametrize,
  removeParametrization,
  Sequential,
  stateDict,
  type Transform,
} from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import {
  binarySigns,
  binaryWeightOnly,
  bitnet158,
  freeze,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  pack,
  plan,
  prepare,
  quantizedTransform,
  ternaryWeightOnly,
  unprepare,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const list = (t: Tensor) => Array.from(t.data);
const x = randn([5, 8], { rng: new Rng(1) });
const net = () =>
  new Sequential(new Linear(8, 6, { rng: new Rng(2) }), new Linear(6, 4, { rng: new Rng(3) }));
const weightOf = (model: object, i = 0) => (model as Linear[])[i].weight;
const masking = (mask: Tensor): Transform => ({ apply: (w) => w.mul(mask) });

describe("prepare with replace", () => {
  it("goes on from 32 bits to 1 with the same weights and optimizer", () => {
    const [model, other] = [net(), net()];
    const optim = optimizer(model, adamw({ lr: 0.01 }));
    const twin = optimizer(other, adamw({ lr: 0.01 }));
    const step = (m: typeof model, o: typeof optim) => {
      o.zeroGrad();
      m.forward(x).square().mean().backward();
      o.step();
    };
    step(model, optim);
    step(other, twin);
    prepare(model, plan({ default: binaryWeightOnly() }));
    prepare(other, plan({ default: binaryWeightOnly() }));
    step(model, optim);
    step(other, twin);
    const before = list(weightOf(model).value);
    prepare(model, plan({ default: binarySigns() }), { replace: true });
    expect(list(weightOf(model).value)).toEqual(before);
    expect(weightOf(model).transforms).toHaveLength(1);
    unprepare(other);
    prepare(other, plan({ default: binarySigns() }));
    step(model, optim);
    step(other, twin);
    expect(Object.values(stateDict(model)).map(list)).toEqual(Object.values(stateDict(other)).map(list));
    const want = list(evaluate(freeze(model)).forward(x));
    const got = pack(model).forward({ data: x.data as Float32Array, shape: x.shape });
    expect(list(got as never)).toEqual(want);
  });

  it("is the whole of the new plan: what that leaves alone is float again", () => {
    const model = prepare(net(), plan({ default: int8Static() }));
    prepare(model, plan({ rules: [["1.weight", int8WeightOnly()]] }), { replace: true });
    expect(weightOf(model).transforms).toEqual([]);
    expect((model[0] as Linear).inputQuantizer).toBe(null);
    expect((model[1] as Linear).inputQuantizer).toBe(null);
    expect(quantizedTransform(weightOf(model, 1))!.quantizer.name).toBe("int8");
  });

  it("keeps masks before the quantizer, so that it packs, and the mode", () => {
    const model = evaluate(prepare(net(), plan({ default: int8Dynamic() })));
    const mask = tensor([1, 1, 0, 1, 1, 1, 1, 1]);
    parametrize(model, "0.weight", masking(mask));
    prepare(model, plan({ default: { weight: bitnet158(), input: int8Dynamic().input! } }), {
      replace: true,
    });
    expect(weightOf(model).transforms).toHaveLength(2);
    expect((model[0] as Linear).inputQuantizer!.training).toBe(false);
    const packed = pack(freeze(model)).forward({ data: x.data as Float32Array, shape: x.shape });
    expect(list(packed as never)).toEqual(list(model.forward(x)));
    expect(list(weightOf(model).effective()).filter((_, i) => i % 8 === 2)).toEqual(Array(6).fill(0));
  });

  it("leaves the model as it was where the new plan is refused, and refuses a frozen one", () => {
    const model = prepare(net(), plan({ default: int8Dynamic() }));
    const [stage, transform] = [(model[0] as Linear).inputQuantizer, weightOf(model).transforms[0]];
    parametrize(model, "0.weight", masking(tensor([1, 1, 0, 1, 1, 1, 1, 1])));
    expect(() => prepare(model, plan({ default: binaryWeightOnly() }), { replace: true })).toThrow(
      "no code for the zeros of a mask",
    );
    expect((model[0] as Linear).inputQuantizer).toBe(stage);
    expect(weightOf(model).transforms[0]).toBe(transform);
    expect(weightOf(model).transforms).toHaveLength(2);
    expect(() => prepare(model, plan({ default: int8Dynamic() }))).toThrow(
      "{ replace: true } takes another plan",
    );
    freeze(model);
    expect(() => prepare(model, plan({ default: int8Dynamic() }), { replace: true })).toThrow(
      "prepare: a frozen model takes no other plan, got 0.weight frozen; unprepare it",
    );
  });
});

describe("unprepare", () => {
  it("gives the float model back", () => {
    const model = net();
    const want = list(model.forward(x));
    prepare(model, plan({ default: binarySigns() }));
    expect(list(model.forward(x))).not.toEqual(want);
    expect(list(unprepare(model).forward(x))).toEqual(want);
    expect(() => unprepare(model)).toThrow("unprepare: the model must be prepared");
  });

  it("bakes the quantized values in, of frozen weights too, which train again", () => {
    for (const frozen of [false, true]) {
      const model = prepare(net(), plan({ default: ternaryWeightOnly() }));
      if (frozen) freeze(model);
      const want = list(weightOf(model).effective());
      unprepare(model, { bake: true });
      expect(list(weightOf(model).value)).toEqual(want);
      expect(weightOf(model).transforms).toEqual([]);
      expect(weightOf(model).trainable).toBe(true);
    }
  });

  it("bakes behind a mask, but not behind a transform that would come on top", () => {
    const masked = net();
    parametrize(masked, "0.weight", masking(tensor([1, 1, 0, 1, 1, 1, 1, 1])));
    prepare(masked, plan({ default: ternaryWeightOnly() }));
    const want = list(weightOf(masked).effective());
    unprepare(masked, { bake: true });
    expect(list(weightOf(masked).effective())).toEqual(want);
    const halved = net();
    parametrize(halved, "0.weight", { apply: (w: Tensor) => w.mul(0.5) });
    prepare(halved, plan({ default: ternaryWeightOnly() }));
    expect(() => unprepare(halved, { bake: true })).toThrow(
      'another transform would change the baked values, got "0.weight"',
    );
    expect(weightOf(halved).transforms).toHaveLength(2);
  });

  it("bakes nothing where a value does not fit its parameter, and all stays as it was", () => {
    const coarse = () => {
      const model = net();
      const stored = tensor(new Float32Array(24).fill(1).fill(3, 5), { shape: [4, 6] });
      weightOf(model, 1).replace(stored, { store: { bits: 3, signed: true } });
      return prepare(model, plan({ default: ternaryWeightOnly() }));
    };
    const says = '"1.weight" cannot be baked in: the store holds integers from -4 to 3, got';
    for (const frozen of [false, true])
      for (const bake of [
        (model: object) => unprepare(model, { bake: true }),
        (model: object) => removeParametrization(model, "*.weight"),
      ]) {
        const model = coarse();
        if (frozen) freeze(model);
        const before = [0, 1].map((i) => list(weightOf(model, i).value));
        expect(() => bake(model)).toThrow(says);
        expect(() => bake(model)).toThrow(OptionError);
        expect([0, 1].map((i) => list(weightOf(model, i).value))).toEqual(before);
        for (const i of [0, 1]) expect(quantizedTransform(weightOf(model, i))).not.toBeNull();
        expect(weightOf(model, 1).trainable).toBe(!frozen);
        unprepare(model);
        expect(list(weightOf(model, 1).value)).toEqual(before[1]);
      }
    const wide = net();
    parametrize(wide, "0.weight", { apply: (w: Tensor) => w.flatten() });
    prepare(wide, plan({ default: ternaryWeightOnly({ granularity: "tensor" }) }));
    expect(() => unprepare(wide, { bake: true })).toThrow(ShapeError);
    expect(weightOf(wide).transforms).toHaveLength(2);
  });
});

it("prepare refuses sums that int32 does not hold, where pack would", () => {
  const wide = () => new Linear(140_000, 1, { bias: false, rng: new Rng(4) });
  expect(() => prepare(wide(), plan({ default: int8Dynamic() }))).toThrow(
    'prepare: sums of products must fit int32, got 140000 products of 8-bit weights for "weight"',
  );
  const layer = prepare(wide(), plan({ default: int8WeightOnly() }));
  expect(weightOf([layer]).transforms).toHaveLength(1);
  prepare(wide(), plan({ default: binarySigns() }));
});
