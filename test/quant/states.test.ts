/** What a quantized model holds: it outlives scopes, is saved and loaded, and follows what is written. */

import { Rng, randn, scope, type Tensor, tensor } from "bitgrad";
import { load, save } from "bitgrad/io";
import { clone, evaluate, Linear, loadStateDict, parametrize, Sequential, stateDict } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import {
  calibrate,
  freeze,
  heldCodes,
  holdCodes,
  int4WeightOnly,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  pack,
  plan,
  prepare,
  type QuantConfig,
  quantize,
  quantizedTransform,
  ste,
} from "bitgrad/quant";
import { loadCheckpoint, saveCheckpoint } from "bitgrad/train";
import { describe, expect, it } from "vitest";

const net = (seed = 1) =>
  new Sequential(new Linear(12, 8, { rng: new Rng(seed) }), new Linear(8, 3, { rng: new Rng(seed + 1) }));
const prepared = (config: QuantConfig, seed = 1) => prepare(net(seed), plan({ default: config }));
const x = randn([6, 12], { rng: new Rng(3) });
const list = (t: Tensor) => Array.from(t.data);
const packedResult = (model: object) =>
  Array.from(pack(model).forward({ data: x.data as Float32Array, shape: x.shape }).data);
const copied = (model: object) =>
  Object.fromEntries(Object.entries(stateDict(model)).map(([name, t]) => [name, tensor(t)]));
/** Uses the heap again, so that memory which was given back would show. */
const scribble = () =>
  scope(() => {
    for (let i = 0; i < 20; i++) randn([64 + 8 * i]).mul(1e9);
  });

describe("what is made in an open scope outlives it:", () => {
  it("the scales of calibration", async () => {
    const model = prepared(int8Static());
    const open = scope();
    await calibrate(model, [x]);
    const inside = list(model.forward(x));
    open.dispose();
    scribble();
    expect(list(model.forward(x))).toEqual(inside);
    expect(packedResult(freeze(model))).toHaveLength(18);
  });

  it("a gradient that is assigned", () => {
    const layer = new Linear(12, 8, { bias: false, rng: new Rng(1) });
    const before = list(layer.weight.value);
    scope(() => {
      layer.weight.grad = randn([8, 12], { rng: new Rng(2) }).mul(2);
    });
    scribble();
    const grad = list(randn([8, 12], { rng: new Rng(2) }).mul(2));
    optimizer(layer, sgd({ lr: 0.5 })).step();
    expect(list(layer.weight.value)).toEqual(before.map((w, i) => Math.fround(w - 0.5 * grad[i])));
  });
});

describe("states of models with static inputs", () => {
  it.each(["affine", "symmetric"] as const)("%s scales are saved and loaded", async (inputScheme) => {
    const first = await calibrate(prepared(int8Static({ inputScheme })), [x]);
    const second = prepared(int8Static({ inputScheme }), 7);
    loadStateDict(second, stateDict(first));
    expect(list(second.forward(x))).toEqual(list(first.forward(x)));
    expect(packedResult(freeze(second))).toEqual(packedResult(freeze(first)));
  });

  it("travel in a file with the plan that prepares the model anew", async () => {
    const mixed = plan({
      default: int8Static({ inputScheme: "symmetric" }),
      rules: [["1.weight", int8Dynamic()]],
    });
    const first = await calibrate(prepare(net(), mixed), [x]);
    const bytes = await save(null, first, { metadata: { plan: JSON.stringify(mixed) } });
    const { metadata } = await load(bytes);
    const second = prepare(net(7), plan(JSON.parse(metadata.plan)));
    await load(bytes, { into: second });
    expect(list(second.forward(x))).toEqual(list(first.forward(x)));
    expect(packedResult(freeze(second))).toEqual(packedResult(freeze(first)));
  });

  it("travel in a checkpoint, which gives the plan back where the model is prepared by it", async () => {
    const mixed = plan({ default: int8Static() });
    const first = await calibrate(prepare(net(), mixed), [x]);
    const bytes = await saveCheckpoint(null, { model: first, step: 3, extra: { plan: mixed.toJSON() } });
    const second = prepare(net(7), mixed);
    const { extra } = await loadCheckpoint(bytes, { model: second });
    expect(extra.plan).toEqual(mixed.toJSON());
    expect(list(second.forward(x))).toEqual(list(first.forward(x)));
    await expect(loadCheckpoint(bytes, { model: net(7) })).rejects.toThrow("the model does not fit");
  });

  it("have the same names before calibration and after", async () => {
    const model = prepared(int8Static());
    const names = Object.keys(stateDict(model));
    expect(names).toContain("0.inputQuantizer.zeroPoint");
    await calibrate(model, [x]);
    expect(Object.keys(stateDict(model))).toEqual(names);
  });

  it("loaded without scales are not calibrated", async () => {
    const model = await calibrate(prepared(int8Static()), [x]);
    loadStateDict(model, stateDict(prepared(int8Static())));
    expect(() => freeze(model)).toThrow("freeze: static inputs must be calibrated");
  });
});

describe("codes that weights hold", () => {
  const config = () => int4WeightOnly({ group: 5, scheme: "affine" });
  /** A model whose first weight holds other codes than its quantizer finds. */
  const held = () => {
    const model = prepared(config());
    const { weight } = model[0] as Linear;
    const transform = quantizedTransform(weight)!;
    const q = quantize(weight.value, transform.quantizer.spec);
    const codes = tensor(
      Uint8Array.from(q.codes.data, (code) => Math.max(0, code - 1)),
      { shape: [8, 12] },
    );
    transform.hold({ ...q, codes });
    return model;
  };

  it("come back from a file behind the state, and stay through freeze and pack", async () => {
    const first = held();
    const [state, codes] = [await save(null, first), await save(null, heldCodes(first))];
    const second = prepared(config(), 7);
    await load(state, { into: second });
    expect(list(second.forward(x))).not.toEqual(list(first.forward(x)));
    expect(holdCodes(second, (await load(codes)).tensors)).toBe(second);
    expect(list(second.forward(x))).toEqual(list(first.forward(x)));
    expect(packedResult(freeze(second))).toEqual(packedResult(freeze(first)));
  });

  it("come back from the extra of a checkpoint", async () => {
    const first = held();
    const bytes = await saveCheckpoint(null, { model: first, step: 1, extra: { codes: heldCodes(first) } });
    const second = prepared(config(), 7);
    const { extra } = await loadCheckpoint(bytes, { model: second });
    holdCodes(second, extra.codes as Record<string, Tensor>);
    expect(list(second.forward(x))).toEqual(list(first.forward(x)));
  });

  it("are copies, of weights that hold some alone, and of frozen ones all", () => {
    const model = held();
    const codes = heldCodes(model);
    expect(Object.keys(codes)).toEqual(["0.weight.codes", "0.weight.scale", "0.weight.zeroPoint"]);
    expect(codes["0.weight.codes"].data).not.toBe(
      quantizedTransform((model[0] as Linear).weight)!.codes!.codes.data,
    );
    expect(heldCodes(prepared(config()))).toEqual({});
    expect(Object.keys(heldCodes(freeze(model)))).toHaveLength(6);
    expect(() => heldCodes(net())).toThrow("heldCodes: the model must be prepared, got no quantized weight");
  });

  it.each<[string, (codes: Record<string, Tensor>) => Record<string, unknown>, string]>([
    [
      "of a weight that is not there",
      (codes) => ({ ...codes, "5.weight.codes": x }),
      'got "5.weight.codes"; prepare',
    ],
    ["by another name", (codes) => ({ ...codes, "0.weight.code": x }), 'got "0.weight.code"'],
    [
      "without a scale",
      (codes) => ({ "0.weight.codes": codes["0.weight.codes"] }),
      'got ("codes") of "0.weight"',
    ],
    ["that are no tensors", () => ({ "0.weight.codes": [1] }), 'needs tensors, got (1) for "0.weight.codes"'],
    [
      "that do not fit, after some that do",
      (codes) => ({
        ...codes,
        "1.weight.codes": tensor([[1]], { dtype: "uint8" }),
        "1.weight.scale": tensor([[1]]),
      }),
      "hold: codes must have the shape (3, 8), got (1, 1)",
    ],
  ])("are refused %s, and the model is as it was", (_, change, text) => {
    const model = prepared(config(), 7);
    const before = list(model.forward(x));
    const codes = heldCodes(held());
    expect(() => holdCodes(model, change(codes) as never)).toThrow(text);
    expect(list(model.forward(x))).toEqual(before);
    expect(heldCodes(model)).toEqual({});
    holdCodes(model, codes);
    const after = list(model.forward(x));
    expect(() => holdCodes(model, change(codes) as never)).toThrow(text);
    expect(list(model.forward(x))).toEqual(after);
  });

  it("are refused by a frozen model", () => {
    expect(() => holdCodes(freeze(prepared(config())), {})).toThrow(
      "holdCodes: the model must not be frozen",
    );
  });
});

describe("what is written to a frozen model takes effect:", () => {
  const frozen = (config: QuantConfig, seed: number) => evaluate(freeze(prepared(config, seed)));

  it.each([
    ["weight-only", int8WeightOnly()],
    ["with dynamic inputs", int8Dynamic()],
  ])("a state, %s", (_, config) => {
    const model = frozen(config, 1);
    const other = frozen(config, 5);
    loadStateDict(model, copied(other));
    expect(list(model.forward(x))).toEqual(list(other.forward(x)));
    expect(packedResult(model)).toEqual(packedResult(other));
  });

  it("an assigned weight, through the transforms before the quantizer", () => {
    const halved = () => {
      const model = net();
      parametrize(model, "*.weight", { apply: (w: Tensor) => w.mul(0.5) });
      return freeze(prepare(model, plan({ default: int8WeightOnly() })));
    };
    const [model, other] = [halved(), halved()];
    const weight = randn([3, 8], { rng: new Rng(9) });
    (model[1] as Linear).weight.assign(weight);
    expect(list((model[1] as Linear).weight.effective())).not.toEqual(
      list((other[1] as Linear).weight.effective()),
    );
    const want = ste({ bits: 8 });
    const layer = new Linear(8, 3);
    layer.weight.assign(weight.mul(0.5));
    prepare(layer, plan({ default: { weight: want } }));
    expect(list((model[1] as Linear).weight.effective())).toEqual(list(layer.weight.effective()));
  });

  it("but a gradient from before does not move it", () => {
    const model = prepared(int8WeightOnly());
    model.forward(x).square().mean().backward();
    const before = list(freeze(model).forward(x));
    const biases = [0, 1].map((i) => (model[i] as Linear).bias!);
    for (const bias of biases) bias.grad = null;
    optimizer(model, sgd({ lr: 1 })).step();
    expect(list(model.forward(x))).toEqual(before);
  });

  it("and a copy keeps its codes, drawn as they may be", () => {
    const model = freeze(prepared({ weight: ste({ bits: 4, rounding: "stochastic" }) }));
    const want = list(model.forward(x));
    (model[0] as Linear).bias!.update((data) => data.fill(0));
    (model[0] as Linear).weight.update((data) => data.fill(1));
    expect(list(model.forward(x))).not.toEqual(want);
    const now = list(model.forward(x));
    expect(list(clone(model).forward(x))).toEqual(now);
  });
});
