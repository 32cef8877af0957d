import { ones, Rng, randn, type Tensor, tensor } from "bitgrad";
import {
  clone,
  Dropout,
  evaluate,
  Linear,
  namedParameters,
  parametrize,
  Sequential,
  train,
} from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import {
  binarySigns,
  bitnet158,
  bwn,
  calibrate,
  dynamicInput,
  freeze,
  int4WeightOnly,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  mixedInput,
  nf4,
  nf4WeightOnly,
  pack,
  plan,
  prepare,
  type QuantConfig,
  type Quantizer,
  quantized,
  signInput,
  spec,
  staticInput,
  ste,
  ternaryDynamic,
} from "bitgrad/quant";
import { trainStep } from "bitgrad/train";
import { describe, expect, it } from "vitest";
import { SpecInputQuantizer } from "../../src/codes/input-quantizer.ts";
import { walk } from "../../src/nn/tree.ts";

const net = () =>
  new Sequential(
    new Linear(12, 8, { rng: new Rng(1) }),
    new Dropout(0.1),
    new Linear(8, 3, { rng: new Rng(2) }),
  );
const prepared = (config: QuantConfig) => prepare(net(), plan({ default: config }));
const x = randn([6, 12], { rng: new Rng(3) });
const stage = (message: RegExp) =>
  expect.objectContaining({ code: "STAGE", message: expect.stringMatching(message) });

describe("the stages of quantization in another order are StageErrors", () => {
  it("prepare twice", () => {
    const model = prepared(int8Dynamic());
    expect(() => prepare(model, plan({ default: int8Dynamic() }))).toThrow(
      stage(/already quantized, got 0.weight/),
    );
  });

  it("calibrate, freeze or pack what was not prepared, static inputs that were not calibrated, and what is frozen", async () => {
    await expect(calibrate(net(), [x])).rejects.toThrow(stage(/calibrate: the model must be prepared/));
    expect(() => freeze(net())).toThrow(stage(/freeze: the model must be prepared/));
    expect(() => freeze(prepared(int8Static()))).toThrow(stage(/must be calibrated/));
    expect(() => prepared(int8Static()).forward(x)).toThrow(stage(/call calibrate first/));
    expect(() => pack(prepared(int8Dynamic()))).toThrow(stage(/call freeze first/));
    const frozen = freeze(prepared(int8Dynamic()));
    expect(() => freeze(frozen)).toThrow(stage(/must not be frozen/));
    await expect(calibrate(frozen, [x])).rejects.toThrow(stage(/must not be frozen/));
    await expect(calibrate(prepared(int8Static()), [])).rejects.toThrow(stage(/at least one batch/));
  });
});

it("prepare, calibrate, train, freeze and pack work in this order", async () => {
  for (const config of [int8Static(), int8Dynamic(), binarySigns()]) {
    const model = prepared(config);
    if (config.input?.().observer) await calibrate(model, [x, x.mul(2)]);
    const update = optimizer(train(model), adamw({ lr: 1e-2 }));
    const loss = () => model.forward(x).square().mean();
    const first = trainStep(model, update, loss);
    let last = first;
    for (let i = 0; i < 30; i++) last = trainStep(model, update, loss);
    expect(last).toBeLessThan(first / 2);
    evaluate(freeze(model));
    const want = model.forward(x);
    expect(Array.from(pack(model).forward({ data: x.data as Float32Array, shape: x.shape }).data)).toEqual(
      Array.from(want.data as Float32Array),
    );
    expect(
      namedParameters(model)
        .filter(([, p]) => p.trainable)
        .map(([name]) => name),
    ).toEqual(["0.bias", "2.bias"]);
  }
});

it("calibration sees the range of all batches, and takes what a callback runs", async () => {
  const model = prepared(int8Static());
  async function* batches() {
    yield { rows: x };
    yield { rows: x.mul(3) };
  }
  await calibrate(model, batches(), { forward: ({ rows }) => model.forward(rows) });
  const { scale, zeroPoint } = (model[0] as Linear).inputQuantizer as never as {
    scale: Tensor;
    zeroPoint: Tensor;
  };
  const all = Array.from(x.data as Float32Array, (v) => Math.fround(v * 3));
  const [low, high] = [Math.min(...all), Math.max(...all)];
  expect(scale.item()).toBeCloseTo((high - low) / 255, 6);
  expect(zeroPoint.item()).toBe(Math.round(-low / scale.item()));
});

it("an evaluated model before freezing computes with fake-quantized floats, close to the integers", () => {
  const model = evaluate(prepared(int8Dynamic()));
  const floats = model.forward(x).data.slice() as Float32Array;
  const integers = freeze(clone(model)).forward(x).data.slice() as Float32Array;
  floats.forEach((v, i) => {
    expect(Math.abs(v - integers[i])).toBeLessThan(1e-5);
  });
});

it("a mask before a quantizer is packed with it", () => {
  const layer = new Linear(12, 8, { rng: new Rng(1) });
  parametrize(layer, "weight", { apply: (w) => w.mul(w.abs().greater(0.1)) }, quantized(bitnet158()));
  const want = layer.weight.effective();
  const packed = pack(freeze(layer)).root as never as {
    weight: { readRow(out: Float32Array, r: number): void };
  };
  const row = new Float32Array(12);
  packed.weight.readRow(row, 3);
  expect(Array.from(row)).toEqual(Array.from(want.select(3).data as Float32Array));
});

it("an input config on a layer that cannot quantize its input is refused before anything is changed", () => {
  class Scores {
    weight = new Linear(4, 2).weight;
    forward = (x: Tensor) => x.matmul(this.weight.effective(), { transposeB: true });
  }
  const model = new Sequential(new Linear(4, 4), new Scores());
  expect(() => prepare(model, plan({ rules: [["*.weight", int8Dynamic()]] }))).toThrow(
    /the layer of "1.weight" cannot quantize its input, got Scores; give it a weight-only config/,
  );
  expect((model[0] as Linear).weight.transforms).toEqual([]);
  prepare(model, plan({ default: int8Dynamic(), rules: [["1.weight", int8WeightOnly()]] }));
});

it("a layer without a packed form is named", () => {
  class Doubled {
    forward = (x: Tensor) => x.mul(2);
  }
  expect(() => pack(new Sequential(new Doubled()))).toThrow(/the layer has no packed form, got Doubled/);
  expect(() => pack(new Sequential((t: Tensor) => t.relu()))).toThrow(/one of bitgrad's activations/);
});

describe("prepare leaves a model in its mode", () => {
  const packedData = (model: object) =>
    Array.from(pack(model).forward({ data: x.data as Float32Array, shape: x.shape }).data);

  it("so that one in evaluation computes as its packed twin once it is frozen", () => {
    const model = freeze(prepare(evaluate(net()), plan({ default: int8Dynamic() })));
    expect(Array.from(model.forward(x).data)).toEqual(packedData(model));
  });

  it("and one in training, or of both, trains through its inputs", () => {
    const mixed = net();
    evaluate(mixed);
    const linear = new Linear(3, 2, { rng: new Rng(4) });
    for (const model of [train(net()), new Sequential(mixed, new Dropout(0.1)), linear]) {
      prepare(model, plan({ default: int8Dynamic() }));
      const modes: boolean[] = [];
      walk(model, (item) => {
        if (item instanceof SpecInputQuantizer) modes.push(item.training);
        return true;
      });
      expect(new Set(modes)).toEqual(new Set([true]));
    }
  });
});

it.each<[string, QuantConfig]>([
  ["a codebook", { weight: nf4({ granularity: { group: 4 } }), input: dynamicInput() }],
  [
    "zero points between codes",
    { weight: ste({ scheme: "affine", zeroPoint: "float" }), input: dynamicInput() },
  ],
  ["a scale a column", { weight: ste({ axis: 1 }), input: dynamicInput() }],
])("a frozen layer whose codes integer products cannot take, %s, computes with its values", (_, config) => {
  // Square, so that scales of the wrong axis would go unnoticed.
  const layer = new Linear(12, 12, { rng: new Rng(1) });
  parametrize(layer, "weight", quantized(config.weight as Quantizer));
  layer.inputQuantizer = config.input!();
  const live = layer.forward(x).data.slice() as Float32Array;
  const frozen = evaluate(freeze(layer)).forward(x).data as Float32Array;
  live.forEach((v, i) => void expect(Math.abs(v - frozen[i])).toBeLessThan(1e-5));
  expect(() => pack(layer)).toThrow(/pack: weights need a scale a tensor|needs weights of integers/);
});

describe("what is not what it should be is named", () => {
  const option = (message: RegExp) =>
    expect.objectContaining({ code: "OPTION", message: expect.stringMatching(message) });

  it("a quantizer in the place of a config", () => {
    expect(() => plan({ default: bwn() as never })).toThrow(
      option(/got a quantizer; put it in one: { weight: … }$/),
    );
    expect(() => plan({ rules: [["head.weight", bwn() as never]] })).toThrow(option(/put it in one/));
    expect(() => plan({ rules: { "head.weight": int8Dynamic() } as never })).toThrow(
      option(/plan: rules must be a list of pairs \[match, config\], got Object/),
    );
  });

  it("options of a preset that it does not know", () => {
    expect(() => int4WeightOnly({ size: 3 } as never)).toThrow(option(/int4WeightOnly: unknown option/));
    expect(() => nf4WeightOnly(32 as never)).toThrow(option(/nf4WeightOnly: options must be a plain object/));
    expect(() => ternaryDynamic("tensor" as never)).toThrow(option(/ternaryDynamic: options must be/));
    expect(() => binarySigns({ group: 3 } as never)).toThrow(
      option(/binarySigns: unknown option, got "group"/),
    );
  });

  it("no model and no batches", async () => {
    expect(() => prepare(null as never, plan({}))).toThrow(option(/prepare: needs a model, got null/));
    for (const given of [undefined, x, 3]) {
      await expect(calibrate(prepared(int8Dynamic()), given as never)).rejects.toThrow(
        option(/calibrate: batches must be iterable: put one in a list, got/),
      );
    }
  });

  it("static inputs that no batch reached", async () => {
    const model = prepared(int8Static());
    await expect(calibrate(model, [x], { forward: (b) => (model[0] as Linear).forward(b) })).rejects.toThrow(
      stage(
        /calibrate: no batch reached the input of a layer, got "2.inputQuantizer"; run it by \{ forward \}/,
      ),
    );
  });
});

describe("an input that is no input", () => {
  const layer = () => new Linear(4, 2);
  const prepared = (input: unknown) =>
    prepare(layer(), plan({ default: { weight: ste(), input: input as never } }));

  it("is refused by prepare, which leaves the model as it was", () => {
    for (const input of [5, {}, "int8"]) {
      expect(() => prepared(input)).toThrow(
        "prepare: the input of a config must be a function such as dynamicInput()",
      );
    }
    for (const input of [() => 5, () => null, () => ({ run: () => 1 })]) {
      expect(() => prepared(input)).toThrow(
        "prepare: the input of a config must give a SpecInputQuantizer, got",
      );
    }
    // A function that makes inputs in the place of one that it made.
    for (const input of [staticInput, dynamicInput, mixedInput, signInput]) {
      expect(() => prepared(input)).toThrow(
        `prepare: the input of a config must be a function such as dynamicInput(), got one that fails for "weight": ${input.name}: options must be`,
      );
    }
    for (const observer of [() => 5, () => null, () => ({}), () => ({ observe: () => 1 })]) {
      expect(() => prepared(staticInput({ observer: observer as never }))).toThrow(
        "staticInput: an observer needs the functions observe and params, got",
      );
    }
    const again = layer();
    expect(() => prepare(again, plan({ default: { weight: ste(), input: (() => 5) as never } }))).toThrow();
    expect([again.weight.transforms, again.inputQuantizer]).toEqual([[], null]);
  });

  it("is refused by calibrate where its observer gives no scales", async () => {
    for (const params of [undefined, 5, {}, { scale: 1 }, { scale: tensor([1]), zeroPoint: 3 }]) {
      const observer = () => ({ spec: spec(), observe: () => {}, params: () => params });
      const model = prepared(staticInput({ observer: observer as never }));
      await expect(calibrate(model, [ones([1, 4])])).rejects.toThrow(
        "calibrate: an observer must give { scale, zeroPoint } of tensors, got",
      );
    }
  });
});
