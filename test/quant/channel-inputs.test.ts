/** Static inputs with a scale for each channel. */

import { manualSeed, Rng, randn, type Tensor, tensor, zeros } from "bitgrad";
import {
  Conv1d,
  Conv2d,
  type CopyFeatures,
  evaluate,
  type InputQuantizer,
  Linear,
  loadStateDict,
  Parameter,
  stateDict,
} from "bitgrad/nn";
import {
  calibrate,
  entropy,
  freeze,
  histogram,
  int8Dynamic,
  lapq,
  minMax,
  mse,
  type Observer,
  pack,
  percentile,
  plan,
  prepare,
  SpecInputQuantizer,
  spec,
  splitOutlierChannels,
  staticInput,
  ste,
} from "bitgrad/quant";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";

beforeEach(() => manualSeed(3));

type Options = NonNullable<Parameters<typeof staticInput>[0]>;
const config = (options?: Options) => ({
  weight: ste({ bits: 8 }),
  input: staticInput({ granularity: "channel", ...options }),
});
const prepared = <M extends object>(model: M, options?: Options): M =>
  prepare(model, plan({ default: config(options) }));
const inputOf = (layer: { inputQuantizer: InputQuantizer | null }) =>
  layer.inputQuantizer as SpecInputQuantizer;
const numbersOf = (layer: { inputQuantizer: InputQuantizer | null }) => {
  const { scale, zeroPoint, range } = inputOf(layer);
  return [scale, zeroPoint, range].map((buffer) => buffer && Array.from(buffer.data));
};

/** Gives what its weight is multiplied by. */
class Shown {
  weight = new Parameter(tensor([1, 0, 0, 0, 1, 0, 0, 0, 1]).reshape([3, 3, 1, 1]));
  inputQuantizer: InputQuantizer | null = null;
  seen: Tensor | null = null;

  forward(x: Tensor): Tensor {
    const product = (given: Tensor, weight: Tensor) => {
      this.seen = given;
      return given.conv2d(weight);
    };
    return this.inputQuantizer!.run(x, this, product, 1);
  }
}

describe("the numbers of PyTorch 1.13 for two batches of 2 and 1 images of 3 channels", () => {
  const batches = [
    tensor([
      -1.1258, -1.1524, -0.2506, -0.4339, 8.4871, 6.9201, -3.1601, -21.1522, 0.0468, -0.0158, 0.1444, 0.0266,
      0.1665, 0.8744, -0.1435, -0.1116, 9.3183, 12.5901, 20.0498, 0.5374, 0.0618, -0.0413, -0.0841, -0.2316,
    ]).reshape([2, 3, 2, 2]),
    tensor([
      0.3704, 1.4565, 0.9398, 0.7748, 1.9187, 12.6379, -12.9044, -7.911, -0.0021, -0.0718, 0.0519, -0.1313,
    ]).reshape([1, 3, 2, 2]),
  ];
  const near = (found: ArrayLike<number>, wanted: readonly number[]) =>
    Array.from(found).forEach((value, i) => {
      expect(Math.abs(value - wanted[i])).toBeLessThanOrEqual(1e-6 * Math.abs(wanted[i]));
    });

  it.each([
    {
      observer: "PerChannelMinMaxObserver",
      momentum: null,
      scale: [0.0102309808, 0.16157648, 0.00147450971],
      zero: [113, 131, 157],
      values: [
        0.368315309, 1.45279932, 0.941250205, 0.777554512, 1.93891776, 12.6029654, -12.9261189, -7.9172473,
        -0.00147450971, -0.0722509772, 0.0516078398, -0.131231368,
      ],
    },
    {
      observer: "MovingAveragePerChannelMinMaxObserver",
      momentum: 0.25,
      scale: [0.00702598039, 0.146223828, 0.00128549023],
      zero: [110, 131, 161],
      values: [
        0.372376949, 1.01876712, 0.941481352, 0.772857845, 1.90090978, 12.5752497, -12.8676968, -7.89608669,
        -0.00257098046, -0.0719874501, 0.0514196083, -0.131119996,
      ],
    },
  ])("$observer", async ({ momentum, scale, zero, values }) => {
    const layer = prepared(new Shown(), { momentum });
    if (momentum === null) await calibrate(layer, batches);
    else for (const batch of batches) layer.forward(batch);
    evaluate(layer).forward(batches[1]);
    near(inputOf(layer).scale!.data, scale);
    expect(Array.from(inputOf(layer).zeroPoint!.data)).toEqual(zero);
    near(layer.seen!.data, values);
  });
});

it("channels of very different ranges keep what one scale for all loses", async () => {
  const gains = tensor([1, 10, 100, 1000]);
  const x = randn([64, 4]).mul(gains);
  const decibels = async (granularity: "tensor" | "channel") => {
    const layer = new Linear(4, 8, { rng: new Rng(1), bias: false });
    // What a channel has more of its weights have less of.
    layer.weight.assign(layer.weight.value.div(gains));
    const wanted = layer.forward(x);
    await calibrate(prepared(layer, { granularity }), [x]);
    layer.weight.transforms.length = 0;
    const noise = layer.forward(x).sub(wanted);
    return 10 * Math.log10(wanted.square().sum().item() / noise.square().sum().item());
  };
  const [whole, each] = [await decibels("tensor"), await decibels("channel")];
  expect(each).toBeGreaterThan(40);
  expect(each - whole).toBeGreaterThan(30);
});

describe("each channel is quantized as if it were alone,", () => {
  const observers = { minMax, percentile, mse, histogram, entropy };

  it.each(Object.entries(observers))("by %s, whatever the sizes of batches", async (_name, observer) => {
    const batches = [5, 1, 0, 12].map((n) => randn([n, 2, 3]).mul([0.1, 1, 40]));
    const bits = 4;
    const all = await calibrate(prepared(new Linear(3, 2), { observer, bits }), batches);
    for (let k = 0; k < 3; k++) {
      const alone = prepared(new Linear(1, 2), { observer, bits, granularity: "tensor" });
      await calibrate(
        alone,
        batches.map((batch) => batch.slice([null, null, [k, k + 1]])),
      );
      expect(inputOf(all).scale!.data[k]).toBe(inputOf(alone).scale!.item());
      expect(inputOf(all).zeroPoint!.data[k]).toBe(inputOf(alone).zeroPoint!.item());
    }
  });

  it.each([
    ["a linear layer", () => new Linear(4, 2), [3, 2, 4], -1],
    ["a convolution along one axis", () => new Conv1d(4, 2, 3), [2, 4, 5], 1],
    ["a convolution of two groups", () => new Conv2d(4, 2, 3, { groups: 2 }), [2, 4, 5, 5], 1],
    ["a depthwise convolution", () => new Conv2d(4, 4, 3, { groups: 4, padding: 1 }), [2, 4, 5, 5], 1],
  ] as const)("of %s", async (_name, make, shape, axis) => {
    const gains = tensor([1, 2, 4, 8]);
    const x = randn(shape).mul(axis === -1 ? gains : gains.reshape([4, ...shape.slice(2).map(() => 1)]));
    const layer = await calibrate(prepared(make() as Linear, { scheme: "symmetric" }), [x]);
    const others = [...shape.keys()].filter((i) => i !== (axis === -1 ? shape.length - 1 : axis));
    const wanted = x.abs().max({ axis: others }).div(127);
    expect(Array.from(inputOf(layer).scale!.data)).toEqual(Array.from(wanted.data));
    const live = evaluate(layer).forward(x);
    expect(Array.from(freeze(layer).forward(x).data)).toEqual(Array.from(live.data));
  });

  it("and merged observers are one that saw all batches", () => {
    const given = spec({ scheme: "affine", granularity: "channel" });
    const sizes = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 2, maxLength: 6 });
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(5), (list, seed, cut) => {
        const rng = new Rng(seed);
        const batches = list.map((n) => randn([3, n], { rng }).mul([[0.1], [1], [40]]));
        const fed = (some: readonly Tensor[]): Observer => {
          const observer = minMax(given);
          for (const batch of some) observer.observe(batch);
          return observer;
        };
        const merged = fed(batches.slice(0, cut));
        merged.merge!(fed(batches.slice(cut)));
        if (list.every((n) => n === 0)) return void expect(() => merged.params()).toThrow("no batch");
        const [found, wanted] = [merged.params(), fed(batches).params()];
        expect(found.scale.data).toEqual(wanted.scale.data);
        expect(found.zeroPoint!.data).toEqual(wanted.zeroPoint!.data);
      }),
      { seed: 1, numRuns: 100 },
    );
  });
});

describe("ranges that follow the batches", () => {
  const momentum = 0.5;

  it("move from the calibrated ones, and go on from a state to the same bits", async () => {
    const whole = prepared(new Linear(2, 1), { momentum });
    await calibrate(whole, [
      tensor([
        [0, -10],
        [1, 30],
      ]),
    ]);
    whole.forward(
      tensor([
        [0, -20],
        [3, 30],
      ]),
    );
    const [, , range] = numbersOf(whole);
    [0, 2, -15, 30].forEach((wanted, i) => void expect(range![i]).toBeCloseTo(wanted, 1));
    const resumed = prepared(new Linear(2, 1), { momentum });
    loadStateDict(resumed, stateDict(whole));
    for (const layer of [whole, resumed]) layer.forward(tensor([[-1, 5]]));
    expect(numbersOf(resumed)).toEqual(numbersOf(whole));
  });

  it("begin for each channel with the first batch in which it is not 0", async () => {
    const layer = prepared(new Linear(2, 1), { momentum });
    const [first, second] = [
      tensor([
        [0, 0],
        [0, 4],
      ]),
      tensor([
        [0, 0],
        [6, 8],
      ]),
    ];
    for (const batch of [first, second]) layer.forward(batch);
    expect(numbersOf(layer)[2]).toEqual([0, 6, 0, 6]);
    const calibrated = await calibrate(prepared(new Linear(2, 1), { momentum }), [first]);
    calibrated.forward(second);
    const [, , range] = numbersOf(calibrated);
    [0, 6, 0, 6].forEach((wanted, i) => void expect(range![i]).toBeCloseTo(wanted, 5));
  });
});

describe("a channel", () => {
  it("of zeros has scale 1, and stays 0", async () => {
    const layer = await calibrate(prepared(new Linear(3, 1)), [tensor([[1, 0, -1]])]);
    expect(inputOf(layer).scale!.data[1]).toBe(1);
    expect(inputOf(layer).zeroPoint!.data[1]).toBe(0);
  });

  it.each([Number.NaN, Infinity])("with %d is refused, and nothing of the batches is kept", async (odd) => {
    const layer = prepared(new Linear(3, 1), { momentum: 0.5 });
    const held = numbersOf(layer);
    const batches = [tensor([[1, 2, 3]]), tensor([[1, odd, 3]])];
    await expect(calibrate(layer, batches)).rejects.toThrow("every element must be finite");
    expect(() => layer.forward(batches[1])).toThrow("every element must be finite");
    expect(numbersOf(layer)).toEqual(held);
  });

  it("whose scale is none in a state is named", async () => {
    const layer = await calibrate(prepared(new Linear(3, 1)), [randn([4, 3])]);
    loadStateDict(layer, { ...stateDict(layer), "inputQuantizer.scale": tensor([1, 1, -2]) });
    expect(() => freeze(layer)).toThrow("must have a positive scale, got -2 for channel 2");
    expect(() =>
      loadStateDict(layer, { ...stateDict(layer), "inputQuantizer.scale": tensor([1, 1]) }),
    ).toThrow("inputQuantizer.scale");
  });
});

it("a layer that no batch reaches is named, and one of another width is refused before it changes", async () => {
  const model = prepared({ used: new Linear(3, 2), idle: new Linear(4, 2) });
  const forward = (x: Tensor) => model.used.forward(x);
  await expect(calibrate(model, [randn([2, 3])], { forward })).rejects.toThrow('got "idle.inputQuantizer"');
  const layer = prepared(new Linear(3, 2), { momentum: 0.5 });
  expect(() => layer.forward(zeros([2, 4]))).toThrow("input: needs 3 channels along axis 1");
  expect(numbersOf(layer)).toEqual(numbersOf(prepared(new Linear(3, 2), { momentum: 0.5 })));
});

describe("what does not go with them:", () => {
  it("packing, which names the layer and what to do, and packs all others", async () => {
    const model = { first: new Linear(3, 4), second: new Linear(4, 2) };
    prepare(model, plan({ default: int8Dynamic(), rules: [["second.weight", config()]] }));
    const forward = (x: Tensor) => model.second.forward(model.first.forward(x));
    freeze(await calibrate(model, [randn([5, 3])], { forward }));
    expect(() => pack(model)).toThrow(
      'pack: packed sums of integers need one scale for all they add, got 4 static scales, one a channel, for "second.inputQuantizer"; use granularity "tensor", with smoothQuant',
    );
    pack(model.first);
  });

  it("packing, but not of an input of one channel, whose scale is that of all", async () => {
    const x = randn([2, 1, 5, 5]);
    const layer = freeze(await calibrate(prepared(new Conv2d(1, 2, 3)), [x]));
    const { data } = pack(layer).forward({ data: x.data as Float32Array, shape: [2, 1, 5, 5] });
    expect(Array.from(data)).toEqual(Array.from(evaluate(layer).forward(x).data));
  });

  it("columns that are split under them; prepared anew, each has a scale", async () => {
    const layer = prepared(new Linear(4, 2));
    await expect(splitOutlierChannels(layer)).rejects.toThrow(
      "needs inputs without scales of their own, got a static scale per channel",
    );
    prepare(layer, plan({ default: { weight: ste({ bits: 8 }) } }), { replace: true });
    await splitOutlierChannels(layer);
    prepare(layer, plan({ default: config() }), { replace: true });
    await calibrate(layer, [randn([6, 4])]);
    expect(inputOf(layer).scale!.shape).toEqual([5]);
    const [copied] = (layer.inputSteps[0] as CopyFeatures).copies.data;
    expect(inputOf(layer).scale!.data[4]).toBe(inputOf(layer).scale!.data[Number(copied)]);
  });

  it("other granularities, another axis, and observers that give another number of scales", async () => {
    expect(() => staticInput({ granularity: "token" as never })).toThrow("staticInput: granularity");
    const along = spec({ granularity: "channel", axis: 1 });
    expect(() => new SpecInputQuantizer(along, minMax(along))).toThrow("channels lie along axis 0");
    const observer = () => minMax(spec({ scheme: "affine" }));
    await expect(calibrate(prepared(new Linear(3, 1), { observer }), [randn([2, 3])])).rejects.toThrow(
      "calibrate: an observer must give 3 scales, one a channel, got (1)",
    );
  });
});

it("lapq moves the scales of a layer together", async () => {
  const x = randn([32, 4]).mul([1, 2, 4, 50]);
  const layer = prepared(new Linear(4, 3), { bits: 3 });
  await calibrate(layer, [x]);
  const before = Array.from(inputOf(layer).scale!.data, Number);
  const wanted = new Linear(4, 3).forward(x);
  await lapq(layer, [x], { loss: (batch) => layer.forward(batch).sub(wanted).square().mean() });
  const factors = before.map((scale, k) => Number(inputOf(layer).scale!.data[k]) / scale);
  expect(factors[0]).not.toBe(1);
  for (const factor of factors) expect(factor).toBeCloseTo(factors[0], 5);
});
