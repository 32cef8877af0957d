/** Learned scales and zero points: saved with the model that holds them, and the same numbers wherever they are loaded. */

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mean, noGrad, Rng, randn, scope, type Tensor, tensor } from "bitgrad";
import { load, save } from "bitgrad/io";
import {
  clone,
  evaluate,
  Linear,
  loadStateDict,
  Parameter,
  parametrize,
  Sequential,
  stateDict,
  type Transform,
} from "bitgrad/nn";
import { adamw, optimizer, sgd } from "bitgrad/optim";
import { loadPacked } from "bitgrad/packed";
import {
  dequantize,
  dynamicInput,
  fakeQuantize,
  freeze,
  int8Dynamic,
  pack,
  plan,
  prepare,
  type QuantConfig,
  type Quantizer,
  type QuantParams,
  quantize,
  type SpecOptions,
  spec,
  unprepare,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { bits, values } from "../packed/twins.ts";

/** Steps, and zero points where the codes are affine, that belong to the model. Bhalgat et al., 2020, arXiv:2004.09576. */
class Learned implements Quantizer {
  readonly name = "learned";
  readonly spec;
  readonly step: Parameter;
  readonly zero: Parameter | null;

  constructor(rows: number, how: Partial<SpecOptions>) {
    this.spec = spec({ bits: 4, granularity: "channel", ...how });
    const each = (value: number) => new Parameter(tensor(Array<number>(rows).fill(value)));
    this.step = each(0.05);
    this.zero = this.spec.scheme === "affine" ? each(7) : null;
  }

  params(): QuantParams {
    return { scale: this.step.value, zeroPoint: this.zero?.value ?? null };
  }
}

const hows: [name: string, how: Partial<SpecOptions>][] = [
  ["a step a row", {}],
  ["a float16 step a row", { scaleDtype: "float16" }],
  ["a step and a zero point a row", { scheme: "affine" }],
  ["a step and a float zero point a row", { scheme: "affine", zeroPoint: "float" }],
];
const inputs: [name: string, input: QuantConfig["input"]][] = [
  ["float32 inputs", undefined],
  ["int8 inputs", dynamicInput()],
];
const cases = hows.flatMap(([name, how]) =>
  inputs
    .filter(([, input]) => how.zeroPoint !== "float" || input === undefined)
    .map(([of, input]) => [`${name}, ${of}`, how, input] as const),
);

const x = randn([5, 12], { rng: new Rng(3) });
const made = (how: (typeof hows)[number][1], input: QuantConfig["input"], seed: number) =>
  prepare(
    new Sequential(new Linear(12, 8, { rng: new Rng(seed) }), new Linear(8, 3, { rng: new Rng(seed + 1) })),
    plan({ default: { weight: ({ shape }) => new Learned(shape[0], how), ...(input && { input }) } }),
  );
const result = (model: { forward(x: Tensor): Tensor }) => bits(noGrad(() => scope(() => model.forward(x))));

describe("a model of learned scales", () => {
  it.each(cases)("trained, saved and loaded gives the same bits, with %s", async (_, how, input) => {
    const model = made(how, input, 1);
    const optim = optimizer(model, adamw({ lr: 0.01 }));
    const before = stateDict(clone(model));
    for (let i = 0; i < 4; i++) {
      optim.zeroGrad();
      mean(model.forward(x).square()).backward();
      optim.step();
    }
    const state = stateDict(model);
    const names = Object.keys(state).filter((name) => /\.(step|zero)$/.test(name));
    expect(names).toHaveLength(how.scheme === "affine" ? 4 : 2);
    for (const name of names) expect(bits(state[name]), name).not.toEqual(bits(before[name]));

    const path = join(mkdtempSync(join(tmpdir(), "learned-")), "model.safetensors");
    await save(path, model);
    const read = made(how, input, 7);
    await load(path, { into: read });
    const taken = made(how, input, 8);
    loadStateDict(taken, stateDict(clone(model)));

    const want = result(model);
    const all = [model, read, taken, clone(model)];
    for (const one of all) expect(result(one)).toEqual(want);
    for (const one of all) evaluate(freeze(one));
    const frozen = result(model);
    const packed = all.map((one) => pack(one));
    for (const [i, one] of all.entries()) {
      expect(result(one)).toEqual(frozen);
      expect(packed[i].toBytes()).toEqual(packed[0].toBytes());
    }
    const run = bits(packed[0].forward(values(x)));
    expect(bits(loadPacked(packed[0].toBytes()).forward(values(x)))).toEqual(run);
    if (input) expect(run).toEqual(frozen);
    else expect(frozen).toEqual(want);
  });

  it.each(cases)("loaded into a frozen one takes effect, with %s", (_, how, input) => {
    const source = made(how, input, 1);
    const state = stateDict(clone(source));
    for (const name of Object.keys(state).filter((key) => key.endsWith(".step"))) {
      state[name] = state[name].mul(1.5);
    }
    loadStateDict(source, state);
    const target = evaluate(freeze(made(how, input, 1)));
    result(target);
    pack(target).forward(values(x));
    loadStateDict(target, state);
    evaluate(freeze(source));
    expect(result(target)).toEqual(result(source));
    expect(pack(target).toBytes()).toEqual(pack(source).toBytes());
  });

  it.each(cases)("that is written to alone takes effect in a frozen one, with %s", (_, how, input) => {
    const [source, target] = [made(how, input, 1), made(how, input, 1)];
    evaluate(freeze(target));
    result(target);
    const stepsOf = (model: object) =>
      Object.entries(stateDict(model)).filter(([name]) => name.endsWith(".step"));
    const steps = Object.fromEntries(stepsOf(source).map(([name, step]) => [name, step.mul(1.5)]));
    for (const model of [source, target]) loadStateDict(model, steps, { strict: false });
    evaluate(freeze(source));
    expect(result(target)).toEqual(result(source));
    expect(pack(target).toBytes()).toEqual(pack(source).toBytes());
  });

  it("is not changed by gradients of before, once it is frozen", () => {
    const model = made({ scheme: "affine" }, undefined, 1);
    const optim = optimizer(model, sgd({ lr: 0.1 }));
    mean(model.forward(x).square()).backward();
    freeze(model);
    const before = stateDict(clone(model));
    optim.step();
    for (const [name, t] of Object.entries(stateDict(model))) {
      const kept = /weight/.test(name);
      expect(bits(t).join() === bits(before[name]).join(), name).toBe(kept);
    }
  });
});

it("a learned zero point is rounded to a code and clamped, its gradient passes", () => {
  const how = spec({ bits: 4, scheme: "affine" });
  const x = tensor([0.5, -0.25, 9]);
  for (const [given, code] of [
    [6.6, 7],
    [6.5, 6],
    [-0.3, 0],
    [17.2, 15],
  ]) {
    const scale = tensor([0.125]);
    const zeroPoint = tensor([given], { requiresGrad: true });
    const fixed = tensor([code], { requiresGrad: true });
    const y = fakeQuantize(x, how, { scale, zeroPoint });
    const want = fakeQuantize(x, how, { scale, zeroPoint: fixed });
    expect(bits(y)).toEqual(bits(want));
    expect(bits(want)).toEqual(bits(fakeQuantize(x, how, { scale, zeroPoint: tensor([code]) })));
    y.sum().backward();
    want.sum().backward();
    expect(bits(zeroPoint.grad!)).toEqual(bits(fixed.grad!));
    expect(bits(dequantize(quantize(x, how, { scale, zeroPoint })))).toEqual(bits(want));
  }
  const zeroPoint = tensor([Number.NaN], { requiresGrad: true });
  expect(() => fakeQuantize(x, how, { scale: tensor([1]), zeroPoint })).toThrow("got NaN");
});

describe("a learned transform in front of a quantizer", () => {
  class Gain implements Transform {
    readonly gain = new Parameter(tensor([1]));
    apply(weight: Tensor): Tensor {
      return weight.mul(this.gain.value);
    }
  }
  const front = () => {
    const layer = new Linear(12, 3, { rng: new Rng(1) });
    const gain = new Gain();
    parametrize(layer, "weight", gain);
    return { layer: prepare(layer, plan({ default: int8Dynamic() })), gain };
  };

  it("that is written to takes effect in a frozen layer", () => {
    const [source, target] = [front(), front()];
    evaluate(freeze(target.layer));
    result(target.layer);
    for (const { gain } of [source, target]) gain.gain.assign([3]);
    evaluate(freeze(source.layer));
    expect(result(target.layer)).toEqual(result(source.layer));
    expect(pack(target.layer).toBytes()).toEqual(pack(source.layer).toBytes());
  });

  it("is fixed with the codes, and trainable again without them", () => {
    const { layer, gain } = front();
    mean(layer.forward(x)).backward();
    freeze(layer);
    expect([gain.gain.trainable, gain.gain.grad]).toEqual([false, null]);
    unprepare(layer);
    expect([gain.gain.trainable, layer.weight.trainable]).toEqual([true, true]);
  });
});
