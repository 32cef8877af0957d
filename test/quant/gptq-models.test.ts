/** GPTQ of whole models: convolutions, a GPT from end to end, and what is refused. */

import { arange, manualSeed, Rng, randn, relu, scope, type Tensor, tensor } from "bitgrad";
import { Gpt } from "bitgrad/models";
import { Conv2d, evaluate, Flatten, Linear, parametrize, Sequential } from "bitgrad/nn";
import {
  bwn,
  dequantize,
  dynamicInput,
  freeze,
  gptq,
  pack,
  plan,
  prepare,
  type QuantConfig,
  type Quantizer,
  quantizedTransform,
  spec,
  ste,
} from "bitgrad/quant";
import { beforeEach, describe, expect, it } from "vitest";
import { list } from "./setup.ts";

beforeEach(() => manualSeed(7));

const held = (layer: { weight: Linear["weight"] }) => quantizedTransform(layer.weight)!.codes;
const by = (weight: Quantizer, more: Partial<QuantConfig> = {}) => plan({ default: { weight, ...more } });
/** Images whose neighbouring pixels are alike. */
const images = (count: number, channels: number): Tensor =>
  randn([count, channels, 8, 8]).conv2d(randn([channels, channels, 3, 3]), null, { padding: 1 });

describe("convolutions", () => {
  it.each([
    ["of one group", 1, ste({ bits: 3 })],
    ["in groups, a scale a row", 2, ste({ bits: 3 })],
    ["in groups, one scale", 4, ste({ bits: 3, granularity: "tensor" })],
    ["in groups, by ragged groups of a row", 2, ste({ bits: 3, granularity: { group: 7 } })],
    ["of each channel by itself, signs", 4, bwn()],
  ])("%s: the error falls, blocks change no code", async (_, groups, quantizer) => {
    const conv = new Conv2d(4, 8, 3, { groups, padding: 1, stride: 2 });
    const batches = [images(4, 4), images(3, 4)];
    const want = batches.map((x) => conv.forward(x));
    const error = () =>
      batches.reduce((sum, x, i) => sum + conv.forward(x).sub(want[i]).square().sum().item(), 0);
    prepare(conv, by(quantizer));
    const nearest = error();
    await gptq(conv, batches);
    expect(error()).toBeLessThan(0.97 * nearest);
    const values = list(conv.weight.effective());
    await gptq(conv, batches, { blockSize: 4 });
    expect(list(conv.weight.effective())).toEqual(values);
  });

  it("in groups are as so many convolutions", async () => {
    const x = images(4, 4);
    const both = new Conv2d(4, 6, 3, { groups: 2 });
    const codes = held(await gptq(prepare(both, by(ste({ bits: 3 }))), [x]))!;
    for (const g of [0, 1]) {
      const half = new Conv2d(2, 3, 3);
      half.weight.assign(both.weight.value.slice([[3 * g, 3 * g + 3]]));
      await gptq(prepare(half, by(ste({ bits: 3 }))), [x.slice([null, [2 * g, 2 * g + 2]])]);
      expect(list(held(half)!.codes)).toEqual(list(codes.codes.slice([[3 * g, 3 * g + 3]])));
    }
  });
});

describe("from end to end", () => {
  const net = () =>
    new Sequential(
      new Conv2d(2, 4, 3, { padding: 1 }),
      relu,
      new Flatten(),
      new Linear(256, 16),
      relu,
      new Linear(16, 4),
    );

  it("frozen and packed models compute with the codes, to the bit where inputs are quantized", async () => {
    const batches = [images(16, 2), images(16, 2)];
    const model = prepare(net(), by(ste({ bits: 3 }), { input: dynamicInput() }));
    const heard: string[] = [];
    await gptq(model, batches, { onLayer: ({ layer, done, of }) => heard.push(`${layer} ${done}/${of}`) });
    expect(heard).toEqual(["0 1/3", "3 2/3", "5 3/3"]);
    const layers = [model[0], model[3], model[5]] as Linear[];
    const codes = layers.map((layer) => list(held(layer)!.codes));
    evaluate(freeze(model));
    expect(layers.map((layer) => list(held(layer)!.codes))).toEqual(codes);
    for (const layer of layers) {
      expect(list(layer.weight.effective())).toEqual(list(dequantize(held(layer)!)));
    }
    const x = images(3, 2);
    const packed = pack(model).forward({ data: x.data as Float32Array, shape: x.shape });
    expect(Array.from(packed.data as Float32Array)).toEqual(list(scope(() => model.forward(x))));
  });

  it("each layer meets the codes of those before it, and the whole error falls", async () => {
    const batches = [images(32, 2), images(32, 2)];
    const model = net();
    const x = images(64, 2);
    const want = evaluate(model).forward(x);
    const error = () => model.forward(x).sub(want).square().mean().item();
    prepare(model, by(ste({ bits: 3 })));
    const nearest = error();
    await gptq(model, batches);
    expect(error()).toBeLessThan(0.85 * nearest);
    const codes = list(held(model[3] as Linear)!.codes);
    // Alone it meets the inputs of the float model.
    const alone = prepare(net(), by(ste({ bits: 3 })));
    for (const i of [0, 3, 5]) {
      (alone[i] as Linear).weight.assign((model[i] as Linear).weight.value);
      (alone[i] as Linear).bias!.assign((model[i] as Linear).bias!.value);
    }
    await gptq(alone, batches, { layers: "3" });
    expect(held(alone[0] as Linear)).toBe(null);
    expect(list(held(alone[3] as Linear)!.codes)).not.toEqual(codes);
  });

  it("a GPT of 3 bits comes nearer to its float logits, and packs", async () => {
    const model = evaluate(new Gpt({ vocabulary: 40, context: 16, dim: 32, layers: 2, heads: 4 }));
    const ids = (seed: number) =>
      tensor(
        Array.from({ length: 8 * 16 }, (_, i) => (i * i * seed + 3 * i) % 40),
        { dtype: "int32", shape: [8, 16] },
      );
    const [first, second, heldOut] = [ids(1), ids(2), ids(3)];
    const want = model.forward(heldOut);
    const error = () => model.forward(heldOut).sub(want).square().mean().item();
    prepare(model, by(ste({ bits: 3, granularity: { group: 16 } })));
    const nearest = error();
    await gptq(model, [first, second]);
    expect(error()).toBeLessThan(0.9 * nearest);
    freeze(model);
    const logits = model.forward(heldOut);
    const packed = pack(model).forward({ data: heldOut.data as Int32Array, shape: heldOut.shape });
    const off = tensor(packed.data as Float32Array, { shape: logits.shape })
      .sub(logits)
      .abs()
      .max()
      .item();
    expect(off).toBeLessThan(1e-4);
  });

  it("stochastic rounding draws from the default generator: the same seed gives the same codes", async () => {
    const found: number[][] = [];
    for (const seed of [1, 1, 2]) {
      const layer = new Linear(8, 4, { rng: new Rng(3) });
      prepare(layer, by(ste({ bits: 3, rounding: "stochastic" })));
      manualSeed(seed);
      await gptq(layer, [randn([16, 8], { rng: new Rng(4) })]);
      found.push(list(held(layer)!.codes));
    }
    expect(found[1]).toEqual(found[0]);
    expect(found[2]).not.toEqual(found[0]);
  });

  it("serves weights of double precision", async () => {
    const layer = new Linear(16, 4, { dtype: "float64", bias: false });
    const x = randn([32, 16])
      .matmul(randn([16, 16]))
      .to("float64");
    const want = layer.forward(x);
    const error = () => layer.forward(x).sub(want).square().sum().item();
    prepare(layer, by(ste({ bits: 3, granularity: { group: 4 } })));
    const nearest = error();
    await gptq(layer, [x]);
    expect(error()).toBeLessThan(nearest);
  });
});

describe("what is refused", () => {
  const x = randn([12, 6], { rng: new Rng(1) });
  const two = () => prepare(new Sequential(new Linear(6, 5), new Linear(5, 2)), by(ste({ bits: 3 })));

  it.each<[string, Partial<Record<string, unknown>>, string]>([
    ["blockSize", { blockSize: 0 }, "gptq: blockSize must be an integer of at least 1, got 0"],
    ["damping", { damping: -1 }, "gptq: damping must be finite and not negative, got -1"],
    ["order", { order: "act" }, 'gptq: order must be one of given, activation, got "act"'],
    ["scales", { scales: "max" }, 'gptq: scales must be one of range, mse, got "max"'],
    ["layers", { layers: "encoder" }, "gptq: the pattern fits no"],
    ["onLayer", { onLayer: 1 }, "gptq: option onLayer must be a function, got 1"],
    ["a name", { actOrder: true }, 'gptq: unknown option, got "actOrder"'],
  ])("an option: %s", async (_, options, message) => {
    await expect(gptq(two(), [x], options)).rejects.toThrow(message);
  });

  it("models that are not prepared, or frozen, and batches that are none, or run out", async () => {
    await expect(gptq(new Linear(6, 2), [x])).rejects.toMatchObject({ code: "STAGE" });
    await expect(gptq(freeze(two()), [x])).rejects.toThrow("gptq: the model must not be frozen");
    await expect(gptq(two(), [])).rejects.toThrow("gptq: needs at least one batch, got none");
    await expect(gptq(two(), [x.slice([[0, 0]])])).rejects.toThrow("gptq: no batch reached a layer");
    const late = { forward: async (batch: Tensor) => batch };
    await expect(gptq(two(), [x], late)).rejects.toThrow("gptq: forward must be synchronous");
    await expect(gptq(two(), [x][Symbol.iterator]())).rejects.toThrow("gptq: batches are run through once");
    const model = two();
    const first = { forward: (batch: Tensor) => (model[0] as Linear).forward(batch) };
    await expect(gptq(model, [x], first)).rejects.toThrow('no batch reached a layer, got no input of "1"');
  });

  it("codes that are not a rounding, and names the layer", async () => {
    const own: Quantizer = {
      name: "own",
      spec: spec({ bits: 4, granularity: "channel" }),
      params: (w) => ({ scale: w.abs().max({ axis: 1 }), zeroPoint: null }),
      codes: (w) => w.sign().to("int8"),
    };
    const model = new Sequential(new Linear(6, 5), new Linear(5, 2));
    prepare(model, plan({ default: { weight: ste() }, rules: [["1.weight", { weight: own }]] }));
    await expect(gptq(model, [x])).rejects.toThrow(
      'gptq: needs quantizers that round, got "own", which brings codes of its own, in layer "1"',
    );
    expect(held(model[0] as Linear)).toBe(null);
    await gptq(model, [x], { layers: "0" });
    expect(held(model[0] as Linear)).not.toBe(null);
  });

  it.each([Number.NaN, Infinity])(
    "weights with %f among them, inputs with it, and names the layer",
    async (odd) => {
      const model = two();
      const before = list((model[1] as Linear).weight.value);
      const weight = [...before];
      weight[3] = odd;
      (model[1] as Linear).weight.assign(tensor(weight, { shape: [2, 5] }));
      await expect(gptq(model, [x])).rejects.toThrow(
        `gptq: weights must be finite, got ${odd} at index 3 of layer "1"`,
      );
      expect(held(model[0] as Linear)).toBe(null);
      (model[1] as Linear).weight.assign(tensor(before, { shape: [2, 5] }));
      const bad = x.add(tensor([0, odd, 0, 0, 0, 0]));
      await expect(gptq(model, [bad])).rejects.toThrow(/gptq: inputs must be finite, got .* in layer "0"/);
    },
  );

  it("a Hessian beyond double precision, and names the layer", async () => {
    const layer = prepare(new Linear(64, 2, { dtype: "float64" }), by(ste({ bits: 3 })));
    const large = arange(64).add(1).to("float64").mul(1.2e152).unsqueeze(0);
    await expect(gptq(layer, [large])).rejects.toThrow(
      /gptq: the Hessian of a layer must be positive definite .* in layer ""/,
    );
    expect(held(layer)).toBe(null);
  });

  it("an error halfway leaves codes that were held, and none where none were", async () => {
    const model = two();
    await gptq(model, [x], { layers: "1" });
    const codes = list(held(model[1] as Linear)!.codes);
    const onLayer = ({ layer }: { layer: string }) => {
      if (layer === "1") throw new Error("stop");
    };
    await expect(gptq(model, [x.mul(tensor([3, 1, 1, 1, 0.1, 1]))], { onLayer })).rejects.toThrow("stop");
    expect(held(model[0] as Linear)).toBe(null);
    expect(list(held(model[1] as Linear)!.codes)).toEqual(codes);
  });

  it("is nothing of a mask, which stays", async () => {
    const model = new Sequential(new Linear(6, 5), new Linear(5, 2));
    const mask = tensor([1, 0, 1, 0, 1, 1]);
    parametrize(model, "0.weight", { apply: (w: Tensor) => w.mul(mask) });
    await gptq(prepare(model, by(ste({ bits: 3 }))), [x]);
    const values = freeze(model)[0] as Linear;
    expect(list(values.weight.effective().abs().max({ axis: 0 })).map((v) => v === 0)).toEqual(
      [1, 0, 1, 0, 1, 1].map((kept) => kept === 0),
    );
  });
});
