import { Rng, randn, type Tensor, tensor } from "bitgrad";
import {
  Conv2d,
  clone,
  Embedding,
  evaluate,
  Linear,
  namedParameters,
  Parameter,
  parametrize,
  Sequential,
  train,
} from "bitgrad/nn";
import {
  bitnet158,
  bwn,
  chooseParams,
  freeze,
  int8Dynamic,
  int8WeightOnly,
  nf4WeightOnly,
  pack,
  plan,
  prepare,
  type QuantConfig,
  type Quantizer,
  quantized,
  spec,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const list = (t: Tensor) => Array.from(t.data);
const row = (values: number[]) => {
  const layer = new Linear(values.length, 1, { bias: false });
  layer.weight.assign([values]);
  return layer;
};
const masked = (layer: Linear, mask: number[]) => {
  const kept = tensor([mask]);
  parametrize(layer, "weight", { apply: (w: Tensor) => w.mul(kept) });
  return layer;
};
const option = (message: string) =>
  expect.objectContaining({ code: "OPTION", message: expect.stringContaining(message) });

describe("a mask before a quantizer", () => {
  const weights = [1, 1, 1, 1];
  const mask = [1, 0, 0, 0];

  it("leaves ternary scales to what is left", () => {
    const layer = prepare(masked(row(weights), mask), plan({ default: { weight: bitnet158() } }));
    expect(list(layer.weight.effective())).toEqual([1, 0, 0, 0]);
    expect(list(clone(layer).weight.effective())).toEqual([1, 0, 0, 0]);
    const frozen = evaluate(freeze(layer));
    expect(list(frozen.weight.effective())).toEqual([1, 0, 0, 0]);
    const x = { data: Float32Array.of(1, 2, 3, 4), shape: [1, 4] };
    expect(list(pack(frozen).forward(x) as never)).toEqual([1]);
    const whole = parametrize(row(weights), "weight", {
      apply: (w: Tensor) => w.mul(tensor([mask])),
    });
    expect(whole).toHaveLength(1);
  });

  it("in groups, counts what is left of each", () => {
    const layer = masked(row([3, 1, 2, 4]), [1, 0, 1, 1]);
    parametrize(layer, "weight", quantized(bitnet158({ granularity: { group: 2 } })));
    expect(list(layer.weight.effective())).toEqual([3, 0, 3, 3]);
  });

  it("does not hide zeros that weights have of themselves", () => {
    const layer = masked(row([2, 0, 2, 0]), [1, 1, 1, 1]);
    parametrize(layer, "weight", quantized(bitnet158()));
    expect(list(layer.weight.effective())).toEqual([1, 0, 1, 0]);
  });

  it("is refused where there is no code for 0, when the model is prepared and when it is used", () => {
    const levels = { bits: 2, scheme: "codebook" as const, codebook: [-1, -0.3, 0.3, 1] };
    for (const weight of [bwn(), ste({ ...levels, granularity: { group: 2 } })]) {
      const layer = masked(row(weights), mask);
      expect(() => prepare(layer, plan({ default: { weight } }))).toThrow(
        option(`no code for the zeros of a mask, got 3 of 4 weights of "weight" masked`),
      );
      expect(layer.weight.transforms).toHaveLength(1);
      parametrize(layer, "weight", quantized(weight));
      expect(() => layer.weight.effective()).toThrow(option("no code for the zeros of a mask"));
      expect(() => freeze(layer)).toThrow(option("no code for the zeros of a mask"));
      prepare(masked(row(weights), [1, 1, 1, 1]), plan({ default: { weight } }));
    }
  });
});

describe("a mask after a quantizer", () => {
  it("is used in evaluation as in training, and not packed", () => {
    const layer = prepare(new Linear(6, 4, { rng: new Rng(1) }), plan({ default: int8Dynamic() }));
    const kept = randn([4, 6], { rng: new Rng(2) })
      .greater(0)
      .to("float32");
    parametrize(layer, "weight", { apply: (w: Tensor) => w.mul(kept) });
    const x = randn([3, 6], { rng: new Rng(3) });
    const training = list(train(layer).forward(x));
    evaluate(freeze(layer));
    expect(list(layer.forward(x))).toEqual(training);
    expect(() => pack(layer)).toThrow(
      option(
        "pack: a quantizer must be the last transform of a weight, got 1 of 2; put masks on before prepare",
      ),
    );
  });
});

describe("prepare refuses what pack would:", () => {
  const conv = () => new Sequential(new Conv2d(4, 8, 3), new Linear(8, 2));
  it.each<[string, QuantConfig, string]>([
    [
      "float zero points of codes with a sign",
      { weight: ste({ scheme: "affine", zeroPoint: "float", signed: true }) },
      'packed codes with float zero points have no sign, got signed ones for "0.weight"; use signed: false',
    ],
    [
      "float zero points under a quantized input",
      { weight: ste({ scheme: "affine", zeroPoint: "float" }), input: int8Dynamic().input! },
      'needs weights of integers, got float zero points for "0.weight"; leave out the input',
    ],
    [
      "a codebook under a quantized input",
      { ...nf4WeightOnly(), input: int8Dynamic().input! },
      'needs weights of integers, got a codebook for "0.weight"; leave out the input',
    ],
    [
      "scales by another axis",
      { weight: ste({ axis: 1 }) },
      'got symmetric codes a channel of axis 1 for "0.weight"',
    ],
  ])("%s", (_, config, message) => {
    const model = conv();
    expect(() => prepare(model, plan({ default: config }))).toThrow(option(message));
    expect(namedParameters(model).every(([, p]) => p.transforms.length === 0)).toBe(true);
    const rest = plan({ default: config, rules: [["0.weight", int8WeightOnly()]] });
    expect(() => prepare(conv(), rest)).toThrow(option(message.replaceAll("0.weight", "1.weight")));
  });

  it("a codebook under a quantized input, but not for a table of rows", () => {
    const config = { ...nf4WeightOnly(), input: int8Dynamic().input! };
    expect(() => prepare(new Linear(64, 2), plan({ default: config }))).toThrow(
      option('prepare: a quantized input needs weights of integers, got a codebook for "weight"'),
    );
    prepare(new Embedding(4, 64), plan({ default: config }));
  });
});

describe("a quantizer with numbers of its own", () => {
  /** A learned step, shared by all that it quantizes. */
  class Learned implements Quantizer {
    readonly name = "learned";
    readonly spec = spec({ bits: 4 });
    readonly step = new Parameter(tensor([0.1]));
    params = () => ({ scale: this.step.value, zeroPoint: null });
  }
  const net = () => new Sequential(new Linear(4, 4), new Linear(4, 2));

  it("is refused for several parameters, which are named", () => {
    const model = net();
    expect(() => prepare(model, plan({ default: { weight: new Learned() } }))).toThrow(
      option(
        'prepare: a quantizer with numbers of its own serves one parameter, got "0.weight" and "1.weight"; give a function',
      ),
    );
    expect((model[0] as Linear).weight.transforms).toEqual([]);
    prepare(net(), plan({ rules: [["0.weight", { weight: new Learned() }]] }));
  });

  it("is made for each parameter by a function, which is told which", () => {
    const told: string[] = [];
    const make = (parameter: Parameter, path: string) => {
      told.push(`${path} ${parameter.size}`);
      return new Learned();
    };
    const model = prepare(net(), plan({ default: { weight: make } }));
    expect(told).toEqual(["0.weight 16", "1.weight 8"]);
    const steps = namedParameters(model).filter(([path]) => path.endsWith("step"));
    expect(steps).toHaveLength(2);
    (steps[0][1] as Parameter).assign([0.5]);
    expect((steps[1][1] as Parameter).value.item()).toBeCloseTo(0.1, 7);
    expect(() => prepare(net(), plan({ default: { weight: (() => 3) as never } }))).toThrow(
      option('prepare: the weight of a config must give a quantizer, got 3 for "0.weight"'),
    );
  });

  it("without any, serves all", () => {
    const shared = { name: "own", spec: spec({ bits: 4 }) };
    prepare(net(), plan({ default: { weight: { ...shared, params: (x) => chooseParams(x, shared.spec) } } }));
  });
});
