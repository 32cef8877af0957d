import { conv2dTranspose, noGrad, OptionError, ones, Rng, relu, ShapeError, type Tensor } from "bitgrad";
import {
  AvgPool2d,
  Conv2d,
  ConvTranspose2d,
  clone,
  evaluate,
  Flatten,
  GlobalAvgPool2d,
  Linear,
  MaxPool2d,
  namedLayers,
  namedParameters,
  Residual,
  Sequential,
  type Step,
  Subsample,
} from "bitgrad/nn";
import { freeze, int8Dynamic, int8WeightOnly, pack, plan, prepare } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { bits, random, values } from "../packed/twins.ts";

const packsAsItIs = (layer: object, x: Tensor): void => {
  const want = noGrad(() => (layer as { forward(x: Tensor): Tensor }).forward(x));
  const got = pack(layer).forward(values(x));
  expect(got.shape).toEqual(want.shape);
  expect(bits(got)).toEqual(bits(want));
};

describe("a named Sequential", () => {
  const net = () =>
    new Sequential({
      conv1: new Conv2d(1, 2, 3, { rng: new Rng(1) }),
      act: relu,
      conv2: new Conv2d(2, 3, 3),
    });

  it("names its parameters, runs in order, clones and packs", () => {
    const model = net();
    expect(namedParameters(model).map(([name]) => name)).toEqual([
      "conv1.weight",
      "conv1.bias",
      "conv2.weight",
      "conv2.bias",
    ]);
    expect(namedLayers(model).map(([path]) => path)).toEqual(["", "conv1", "conv2"]);
    expect(model.length).toBe(3);
    const x = random([2, 1, 7, 7]);
    const steps = [...model] as [Conv2d, (x: Tensor) => Tensor, Conv2d];
    const want = steps[2].forward(relu(steps[0].forward(x)));
    expect(model.forward(x).toArray()).toEqual(want.toArray());
    expect(clone(model).forward(x).toArray()).toEqual(want.toArray());
    packsAsItIs(evaluate(model), x);
  });

  it("takes a plain object that is a layer as a step", () => {
    const twice = { forward: (x: Tensor) => x.mul(2) };
    expect(new Sequential(twice).forward(ones([2])).toArray()).toEqual([2, 2]);
    expect(new Sequential({ twice }).forward(ones([2])).toArray()).toEqual([2, 2]);
  });

  it.each(["1", "10", "a.b", "_a", "", "length", "toPacked", "constructor", "toString"])(
    "refuses the name %j",
    (name) => {
      const make = () => new Sequential({ first: relu, [name]: relu });
      expect(make).toThrow(OptionError);
      expect(make).toThrow("Sequential: ");
    },
  );

  it("refuses what is no step, by its name", () => {
    expect(() => new Sequential({ a: relu, b: 5 as never })).toThrow("got 5 at place b");
    expect(() => new Sequential({ a: Linear as never })).toThrow("a class must be called with new");
  });
});

describe("a class that extends Sequential", () => {
  class Net extends Sequential {
    readonly size = 4;
    fc1 = new Linear(3, 4, { rng: new Rng(1) });
    fc2 = new Linear(4, 2, { rng: new Rng(2) });
    override *[Symbol.iterator](): Generator<Step> {
      yield* [this.fc1, relu, this.fc2];
    }
  }

  it("runs and packs by its steps alone", () => {
    const net = new Net();
    const x = random([2, 3]);
    expect(net.forward(x).toArray()).toEqual(net.fc2.forward(net.fc1.forward(x).relu()).toArray());
    expect(net.length).toBe(3);
    packsAsItIs(net, x);
  });

  it("does not pack by its steps where it has a forward of its own", () => {
    class Other extends Net {
      override forward(x: Tensor): Tensor {
        return super.forward(x).mul(2);
      }
    }
    expect(() => pack(new Other())).toThrow("got a forward of its own");
  });
});

describe("pooling layers", () => {
  const x = random([2, 3, 9, 8]);

  it("stride by their kernel unless told otherwise, and pack", () => {
    expect(new MaxPool2d(3)).toMatchObject({ kernelSize: [3, 3], stride: [3, 3], dilation: [1, 1] });
    expect(new AvgPool2d([2, 3], { stride: 1 })).toMatchObject({ kernelSize: [2, 3], stride: [1, 1] });
    for (const layer of [
      new MaxPool2d(2),
      new MaxPool2d([3, 2], { stride: [2, 1], padding: 1, dilation: [1, 2], ceilMode: true }),
      new MaxPool2d(3, {
        padding: [
          [1, 0],
          [0, 1],
        ],
      }),
      new AvgPool2d(2),
      new AvgPool2d(3, { stride: 2, padding: 1, ceilMode: true }),
      new AvgPool2d(3, { stride: 2, padding: 1, ceilMode: true, countIncludePad: false }),
      new GlobalAvgPool2d(),
    ]) {
      packsAsItIs(layer, x);
    }
    expect(
      new AvgPool2d(3, { padding: 1, countIncludePad: false }).forward(ones([1, 1, 3, 3])).toArray(),
    ).toEqual([[[[1]]]]);
    expect(new AvgPool2d(2, { stride: 2, padding: 1 }).forward(ones([1, 1, 2, 2])).toArray()).toEqual([
      [
        [
          [0.25, 0.25],
          [0.25, 0.25],
        ],
      ],
    ]);
    expect(new GlobalAvgPool2d().forward(x).shape).toEqual([2, 3, 1, 1]);
  });

  it.each([
    [
      "a padding of more than half",
      () => new MaxPool2d(2, { padding: 2 }),
      OptionError,
      "MaxPool2d: padding",
    ],
    ["an unknown option", () => new AvgPool2d(2, { dilation: 2 } as never), OptionError, '"dilation"'],
    ["a kernel of 0", () => new AvgPool2d(0), OptionError, "AvgPool2d: kernelSize"],
    ["options that are none", () => new MaxPool2d(2, 3 as never), OptionError, "plain object"],
    ["a matrix", () => new GlobalAvgPool2d().forward(ones([2, 2])), ShapeError, "GlobalAvgPool2d: needs"],
    ["a window too large", () => new MaxPool2d(5).forward(ones([1, 1, 4, 4])), ShapeError, "larger than"],
    [
      "a window too large, packed",
      () => pack(new MaxPool2d(5)).forward(values(ones([1, 1, 4, 4]))),
      ShapeError,
      "PackedPool: the window must fit",
    ],
  ])("refuse %s", (_, run, kind, says) => {
    expect(run).toThrow(kind);
    expect(run).toThrow(says);
  });
});

describe("residual sums", () => {
  it("add what the shortcut gives, or x itself, and pack", () => {
    const x = random([2, 4, 6, 6]);
    const conv = new Conv2d(4, 4, 3, { padding: 1, rng: new Rng(1) });
    expect(new Residual(conv).forward(x).toArray()).toEqual(conv.forward(x).add(x).toArray());
    packsAsItIs(new Residual(conv), x);
    const narrow = new Conv2d(4, 7, 3, { padding: 1, stride: 2, rng: new Rng(2) });
    const shortcut = new Subsample({ stride: 2, channels: [1, 2] });
    expect(shortcut.forward(x).shape).toEqual([2, 7, 3, 3]);
    packsAsItIs(new Sequential(new Residual(narrow, { shortcut }), relu), x);
    packsAsItIs(new Residual(relu, { join: "product" }), x);
    const gate = new Sequential(new GlobalAvgPool2d(), new Conv2d(4, 4, 1, { rng: new Rng(3) }));
    packsAsItIs(new Residual(gate, { join: "product" }), x);
  });

  it("are refused where shapes do not fit, and of what is no step", () => {
    expect(() => new Residual(new Linear(3, 2)).forward(ones([1, 3]))).toThrow(ShapeError);
    // The packed twin takes nothing else.
    expect(() => new Residual(relu, { shortcut: new GlobalAvgPool2d() }).forward(ones([1, 2, 3, 3]))).toThrow(
      "Residual: the body must give what broadcasts to (1, 2, 1, 1), got (1, 2, 3, 3)",
    );
    expect(() => new Residual(5 as never)).toThrow("got 5 as the body");
    expect(() => new Residual(relu, { join: "max" as never })).toThrow(OptionError);
  });
});

describe("Flatten", () => {
  it("joins the axes it is told, packed too", () => {
    const x = random([2, 3, 4, 5]);
    for (const [options, shape] of [
      [{}, [2, 60]],
      [{ startDim: 0 }, [120]],
      [{ startDim: -2 }, [2, 3, 20]],
      [{ startDim: 1, endDim: 2 }, [2, 12, 5]],
      [{ startDim: 0, endDim: -2 }, [24, 5]],
    ] as const) {
      expect(new Flatten(options).forward(x).shape).toEqual(shape);
      packsAsItIs(new Flatten(options), x);
    }
    for (const options of [{ startDim: 3, endDim: 1 }, { startDim: 4 }, { endDim: -5 }]) {
      expect(() => new Flatten(options).forward(x)).toThrow(ShapeError);
      expect(() => pack(new Flatten(options)).forward(values(x))).toThrow(ShapeError);
    }
    expect(() => new Flatten({ startDim: 0.5 })).toThrow("Flatten: startDim must be an integer, got 0.5");
  });
});

describe("ConvTranspose2d", () => {
  it("is the op, with weights as PyTorch draws them", () => {
    const layer = new ConvTranspose2d(64, 8, 3, { groups: 2, rng: new Rng(1) });
    expect(layer.weight.shape).toEqual([64, 4, 3, 3]);
    expect(layer.bias!.shape).toEqual([8]);
    const bound = 1 / Math.sqrt(4 * 9);
    const most = Math.max(...Array.from(layer.weight.value.data, Math.abs));
    expect(most).toBeLessThanOrEqual(bound);
    expect(most).toBeGreaterThan(0.9 * bound);
    const x = random([2, 4, 5, 6]);
    for (const options of [
      {},
      { stride: 2, padding: 1, outputPadding: 1 },
      { stride: [2, 3], dilation: 2, groups: 2, bias: false },
      {
        padding: [
          [0, 1],
          [1, 0],
        ],
      },
    ] as const) {
      const { bias, ...geometry } = { bias: true, ...options };
      const made = new ConvTranspose2d(4, 6, [3, 2], { bias, ...geometry, rng: new Rng(2) });
      const want = conv2dTranspose(x, made.weight.value, made.bias?.value, geometry as object);
      expect(made.forward(x).toArray()).toEqual(want.toArray());
      packsAsItIs(made, x);
    }
    expect(() => pack(new ConvTranspose2d(4, 6, 1, { padding: 3 })).forward(values(x))).toThrow(ShapeError);
  });

  it("packs quantized weights as codes, and is no layer that quantizes its input", () => {
    const model = () => new Sequential(new ConvTranspose2d(4, 6, 3, { groups: 2, rng: new Rng(1) }));
    const bitsOf = (made: Sequential, weights: "packed" | "auto") =>
      (pack(made, { weights }).root as unknown as { steps: { weight: { bits: number } }[] }).steps[0].weight
        .bits;
    const frozen = evaluate(freeze(prepare(model(), plan({ default: int8WeightOnly() }))));
    expect([bitsOf(frozen, "packed"), bitsOf(frozen, "auto")]).toEqual([8, 8]);
    expect(() => prepare(model(), plan({ rules: [["0.weight", int8Dynamic()]] }))).toThrow(
      'prepare: the layer of "0.weight" cannot quantize its input, got ConvTranspose2d',
    );
    expect(plan({ default: int8Dynamic() }).explain(model())[0].config).toBe(null);
  });

  it.each([
    [
      "groups that do not divide",
      () => new ConvTranspose2d(4, 6, 3, { groups: 4 }),
      "groups must divide outChannels",
    ],
    ["no inputs", () => new ConvTranspose2d(0, 6, 3), "inChannels must be a positive integer"],
    ["a negative output padding", () => new ConvTranspose2d(4, 6, 3, { outputPadding: -1 }), "outputPadding"],
    ["an unknown option", () => new ConvTranspose2d(4, 6, 3, { out: 1 } as never), '"out"'],
  ])("refuses %s", (_, make, says) => {
    expect(make).toThrow(OptionError);
    expect(make).toThrow(says);
  });
});
