/** What SmoothQuant, AWQ and equalization share: which pairs they scale, and that the float function stays. */

import { OptionError, Rng, randn, StageError, type Tensor, tensor } from "bitgrad";
import type { MnistCnn } from "bitgrad/models";
import {
  clone,
  evaluate,
  Linear,
  namedParameters,
  Parameter,
  parametrize,
  type ScalePair,
  signs,
  stateDict,
  whileFloat,
} from "bitgrad/nn";
import {
  awq,
  calibrate,
  chooseParams,
  equalize,
  freeze,
  int8Static,
  int8WeightOnly,
  type PairProgress,
  pack,
  plan,
  prepare,
  quantize,
  quantizedTransform,
  smoothQuant,
  spec,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { type Net, nets } from "../models/nets.ts";
import { Gained, listening } from "./channels.ts";

type Options = { layers?: string; onPair?: (progress: PairProgress) => void };
type Method = <M extends object>(model: M, run: (model: M) => unknown, options?: Options) => Promise<M>;
const methods: Record<string, Method> = {
  smoothQuant: (model, run, options) => smoothQuant(model, [0], { forward: () => run(model), ...options }),
  awq: (model, run, options) => awq(model, [0], { forward: () => run(model), ...options }),
  equalize: (model, _, options) => equalize(model, options),
};
const each = Object.entries(methods);
const int8 = plan({ default: int8WeightOnly() });
const rng = () => new Rng(3);

/** All numbers of a model, and the codes that its weights hold. */
const stateOf = (model: object) => ({
  ...Object.fromEntries(Object.entries(stateDict(model)).map(([name, t]) => [name, [...t.data]])),
  held: namedParameters(model).map(([, parameter]) => quantizedTransform(parameter)?.codes?.codes.toArray()),
});

const length = (t: Tensor): number => Math.sqrt(t.square().sum().item());

describe.each(each)("%s", (name, method) => {
  const withRows = Object.entries(nets).filter(([, { make }]) => {
    const pairs = (make() as { scalePairs(): ScalePair[] }).scalePairs();
    return name !== "equalize" || pairs.some(({ between }) => between === "attention" || between === "gate");
  });

  it.each(withRows)("leaves the float function of a %s as it is", async (_, net: Net) => {
    const model = prepare(net.make(), int8);
    const plain = whileFloat(model, () => net.run(model));
    const { heard, onPair } = listening();
    expect(await method(model, net.run, { onPair })).toBe(model);
    expect(heard.some(({ factors }) => factors?.some((s) => Math.abs(s - 1) > 0.01))).toBe(true);
    const now = whileFloat(model, () => net.run(model));
    expect(length(now.sub(plain))).toBeLessThanOrEqual(1e-5 * length(plain));
  });

  it("needs a model that is prepared, and not frozen", async () => {
    const model = nets.MnistCnn.make();
    await expect(method(model, nets.MnistCnn.run)).rejects.toThrow(StageError);
    await expect(method(model, nets.MnistCnn.run)).rejects.toThrow(`${name}: the model must be prepared`);
    freeze(prepare(model, int8));
    await expect(method(model, nets.MnistCnn.run)).rejects.toThrow(`${name}: the model must not be frozen`);
  });

  it("refuses static inputs that were calibrated for channels as they were", async () => {
    const net = nets.MnistCnn;
    const model = prepare(net.make(), plan({ default: int8Static() }));
    await calibrate(model, [0], { forward: () => net.run(model) });
    const was = stateOf(model);
    await expect(method(model, net.run)).rejects.toThrow(
      `${name}: static inputs must not be calibrated before, got "conv2" calibrated`,
    );
    expect(stateOf(model)).toEqual(was);
    prepare(model, plan({ default: int8Static() }), { replace: true });
    await method(model, net.run);
    await calibrate(model, [0], { forward: () => net.run(model) });
  });

  it("needs pairs, of which one can be scaled", async () => {
    const layer = prepare(new Linear(3, 2), int8);
    await expect(method(layer, () => 1)).rejects.toThrow(
      `${name}: the model must tell by scalePairs() what may be scaled, got Linear`,
    );
    const empty = prepare(Object.assign(new Linear(3, 2), { scalePairs: () => [] }), int8);
    await expect(method(empty, () => 1)).rejects.toThrow(`${name}: scalePairs() must list pairs, got ()`);
    const model = prepare(
      nets.MnistCnn.make(),
      plan({ default: null, rules: [["conv1.weight", int8WeightOnly()]] }),
    );
    await expect(method(model, nets.MnistCnn.run)).rejects.toThrow(
      `${name}: no pair can be scaled, got 4 skipped, the first to "conv2": none of its consumers is quantized`,
    );
    const all = prepare(nets.MnistCnn.make(), int8);
    await expect(method(all, nets.MnistCnn.run, { layers: "conv1" })).rejects.toThrow(
      `${name}: no pair can be scaled, got no pair that reads into ("conv1")`,
    );
    await expect(method(all, nets.MnistCnn.run, { layers: "conv9" })).rejects.toThrow(
      `${name}: the pattern fits no linear layer or convolution, got "conv9"`,
    );
  });

  it("refuses pairs that name no parameter, or do not fill its axis", async () => {
    const weight = randn([2, 3], { rng: rng() });
    const odd = async (change: (pair: ScalePair) => object) => {
      const model = new Gained(weight);
      const [pair] = model.scalePairs();
      Object.assign(model, { scalePairs: () => [{ ...pair, ...change(pair) }] });
      await method(prepare(model, int8), () => model.forward(weight));
    };
    await expect(odd(() => ({ producer: [{ name: "gain", axis: 0, repeat: 1, size: 1 }] }))).rejects.toThrow(
      `${name}: scalePairs() names no parameter, got "gain"`,
    );
    await expect(odd(({ consumers }) => ({ producer: [{ ...consumers[0], axis: 0 }] }))).rejects.toThrow(
      `${name}: the channels of a pair must fill axis 0 of "linear.weight", got 3 indices for 2`,
    );
    await expect(odd(({ consumers }) => ({ consumers: [{ ...consumers[0], axis: 2 }] }))).rejects.toThrow(
      OptionError,
    );
    await expect(odd(({ consumers }) => ({ consumers: [{ ...consumers[0], repeat: 0 }] }))).rejects.toThrow(
      OptionError,
    );
  });

  it("scales only the pairs that chosen layers read", async () => {
    const net = nets.MnistCnn;
    const model = prepare(net.make(), int8);
    const was = stateOf(model);
    const { heard, onPair } = listening();
    await method(model, net.run, { layers: "fc2", onPair });
    expect(heard.map(({ producer, consumers, done, of }) => [producer, consumers, done, of])).toEqual([
      ["fc1", ["fc2"], 1, 1],
    ]);
    const now = stateOf(model) as Record<string, unknown>;
    const changed = Object.keys(was).filter(
      (key) => JSON.stringify(now[key]) !== JSON.stringify((was as Record<string, unknown>)[key]),
    );
    expect(changed.filter((key) => key !== "held")).toEqual(["fc1.weight", "fc1.bias", "fc2.weight"]);
  });

  it("leaves the model as it was where a listener throws, and where numbers are not finite", async () => {
    const net = nets.MnistCnn;
    const model = prepare(net.make() as MnistCnn, int8);
    const transform = quantizedTransform(model.fc2.weight)!;
    transform.hold(quantize(model.fc2.weight.value.neg(), transform.quantizer.spec));
    const was = stateOf(model);
    let left = 3;
    const onPair = () => {
      if (left-- === 0) throw new Error("enough");
    };
    await expect(method(model, net.run, { onPair })).rejects.toThrow("enough");
    expect(stateOf(model)).toEqual(was);
    await expect(method(model, net.run, { onPair: 5 as never })).rejects.toThrow(
      `${name}: option onPair must be a function, got 5`,
    );
    model.fc2.weight.update((data) => {
      data[1] = Number.NaN;
    });
    const bad = stateOf(model);
    await expect(method(model, net.run)).rejects.toThrow(/must be finite, got NaN in "?(fc2\.weight|layer)/);
    expect(stateOf(model)).toEqual(bad);
  });

  it("skips, with the reason, what cannot be folded, and says which layers no pair reads", async () => {
    const net = nets.MnistCnn;
    const learned = () => ({
      name: "learned",
      spec: spec({ granularity: "tensor" }),
      step: new Parameter(tensor([0.1])),
      params(this: { step: Parameter }) {
        return { scale: this.step.effective(), zeroPoint: null };
      },
    });
    const reasons = async (change: (model: MnistCnn) => void, rules: never[] = []) => {
      const model = net.make() as MnistCnn;
      change(model);
      prepare(model, plan({ default: int8WeightOnly(), rules }));
      const plain = whileFloat(model, () => net.run(model));
      const { heard, onPair } = listening();
      await method(model, net.run as never, { onPair });
      const now = whileFloat(model, () => net.run(model));
      expect(length(now.sub(plain))).toBeLessThanOrEqual(1e-5 * length(plain));
      expect(heard.map(({ done }) => done)).toEqual(heard.map((_, i) => i + 1));
      expect(heard.every(({ of }) => of === heard.length)).toBe(true);
      expect(heard.every(({ factors, skipped }) => (factors === null) === (skipped !== null))).toBe(true);
      return heard.filter(({ skipped }) => skipped).map(({ consumers, skipped }) => [consumers[0], skipped]);
    };
    const norms = name === "equalize" ? [["fc1", expect.stringContaining("normalisation")]] : [];
    expect(await reasons(() => {})).toEqual([...norms, ["conv1", "no pair reads into it"]]);
    const shrink = { apply: (w: Tensor) => w.tanh() };
    expect(await reasons((model) => void parametrize(model, "conv2.weight", shrink))).toEqual([
      ["conv2", 'a transform of "conv2.weight" does not pass factors on'],
      ["conv3", 'a transform of "conv2.weight" does not pass factors on'],
      ...norms,
      ["conv1", "no pair reads into it"],
    ]);
    expect(await reasons(() => {}, [["fc2.weight", { weight: learned }]] as never[])).toEqual([
      ...norms,
      ["fc2", 'the quantizer of "fc2.weight" has learned numbers, which fit the weight as it is'],
      ["conv1", "no pair reads into it"],
    ]);
    const tied = (model: MnistCnn) => Object.assign(model, { again: model.fc2 });
    expect(await reasons(tied)).toEqual([
      ...norms,
      ["fc2", '"fc2.weight" is "again.weight" too'],
      ["conv1", "no pair reads into it"],
    ]);
    const packed = (model: MnistCnn) => {
      const { weight } = model.fc2;
      weight.replace(weight.value.sign().add(0.5).sign(), { store: signs });
    };
    expect(await reasons(packed, [["fc2.weight", null]] as never[])).toContainEqual([
      "fc2",
      "none of its consumers is quantized",
    ]);
  });

  it("scales behind a mask, which stays", async () => {
    const net = nets.MnistCnn;
    const model = net.make() as MnistCnn;
    const mask = randn(model.fc2.weight.shape, { rng: rng() }).greater(0);
    parametrize(model, "fc2.weight", { mask, apply: (w: Tensor) => w.mul(mask.to("float32")) });
    prepare(model, int8);
    const { heard, onPair } = listening();
    await method(model, net.run as never, { onPair });
    expect(heard.find(({ consumers }) => consumers[0] === "fc2")!.skipped).toBe(null);
    const zeros = (t: Tensor) => [...t.data].map((v) => v === 0);
    expect(zeros(model.fc2.weight.effective())).toEqual(zeros(mask));
    const frozen = evaluate(freeze(model));
    expect(zeros(frozen.fc2.weight.effective())).toEqual(zeros(mask));
  });

  it("lets codes go that a scaled weight holds, and leaves a model that packs", async () => {
    const net = nets.MnistCnn;
    const model = prepare(net.make(), int8);
    const copy = clone(model);
    await method(model, net.run);
    await method(copy, net.run);
    expect(stateOf(copy)).toEqual(stateOf(model));
    evaluate(freeze(model));
    const x = randn([2, 1, 28, 28], { rng: rng() });
    const out = pack(model).forward({ data: x.data as Float32Array, shape: x.shape });
    const want = (model as MnistCnn).forward(x);
    expect(
      length(
        tensor(out.data as Float32Array)
          .reshape(want.shape)
          .sub(want),
      ),
    ).toBeLessThan(1e-5 * length(want));
  });
});

it("without a pair that a weight makes nothing can be equalized", async () => {
  const model = prepare(nets.ResNet8.make(), int8);
  const was = stateOf(model);
  await expect(equalize(model)).rejects.toThrow(
    'equalize: no pair can be scaled, got 3 skipped, the first to "s1.conv2": its producer is a normalisation',
  );
  expect(stateOf(model)).toEqual(was);
});

describe.each(each.slice(0, 2))("%s", (name, method) => {
  it("needs batches that reach its layers, and finite inputs", async () => {
    const model = prepare(new Gained(randn([4, 6], { rng: rng() })), int8);
    const was = stateOf(model);
    const call = { smoothQuant, awq }[name as "awq"];
    await expect(call(model, [])).rejects.toThrow(`${name}: needs at least one batch, got none`);
    await expect(method(model, () => model.gains.weight.value)).rejects.toThrow(
      `${name}: no batch reached a layer, got no input of "linear"`,
    );
    const odd = tensor([[1, 2, Number.POSITIVE_INFINITY, 4, 5, 6]]);
    await expect(call(model, [odd])).rejects.toThrow(
      `${name}: inputs must be finite, got Infinity in layer "linear", batch 0`,
    );
    await expect(call(model, 5 as never)).rejects.toThrow(`${name}: batches must be iterable`);
    expect(stateOf(model)).toEqual(was);
  });

  it("leaves channels alone that are 0 in every batch", async () => {
    const model = prepare(new Gained(randn([4, 6], { rng: rng() })), int8);
    const x = randn([9, 6], { rng: new Rng(4) }).mul(tensor([3, 1, 0, 1, 0, 7]));
    const call = { smoothQuant, awq }[name as "awq"];
    const { heard, onPair } = listening();
    await call(model, [x], { onPair });
    const found = heard[0].factors!;
    expect([found[2], found[4]]).toEqual([1, 1]);
    expect(found.every((s) => s > 0 && s < Infinity)).toBe(true);
    expect(new Set(found).size).toBe(5);
  });
});

it("params of a quantizer see the scaled weight", async () => {
  const seen: Tensor[] = [];
  const given = spec({ granularity: "channel" });
  const params = (x: Tensor) => {
    seen.push(x);
    return chooseParams(x, given);
  };
  const model = prepare(
    new Gained(randn([4, 6], { rng: rng() })),
    plan({ default: { weight: { name: "own", spec: given, params } } }),
  );
  const x = randn([9, 6], { rng: rng() });
  await awq(model, [x], { grid: 3, clip: false });
  expect(new Set(seen.map((t) => t.data.join())).size).toBeGreaterThanOrEqual(3);
});
