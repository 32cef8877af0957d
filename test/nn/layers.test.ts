import { manualSeed, OptionError, ones, Rng, randn, ShapeError, tensor } from "bitgrad";
import {
  Conv1d,
  Conv2d,
  Dropout,
  Embedding,
  GroupNorm,
  LayerNorm,
  Linear,
  PReLU,
  parameterCount,
  prelu,
  RMSNorm,
  Sequential,
  SqueezeExcite,
  stateDict,
  withoutData,
} from "bitgrad/nn";
import { expectClose, gradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

describe("Linear", () => {
  it("multiplies by the transposed weight and adds the bias", () => {
    const layer = new Linear(3, 2);
    layer.weight.assign([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    layer.bias?.assign([10, 20]);
    expect(layer.forward(tensor([[1, 0, -1]])).toArray()).toEqual([[8, 18]]);
  });

  it("takes any number of leading axes", () => {
    expect(new Linear(3, 2).forward(ones([4, 5, 3])).shape).toEqual([4, 5, 2]);
  });

  it("draws weight and bias within 1/√in, and fills the interval", () => {
    const { weight, bias } = new Linear(100, 400, { rng: new Rng(1) });
    for (const drawn of [weight, bias]) {
      const data = Array.from(drawn?.value.data ?? []);
      expect(Math.max(...data.map(Math.abs))).toBeLessThanOrEqual(0.1);
      expect(Math.max(...data)).toBeGreaterThan(0.098);
      expect(Math.min(...data)).toBeLessThan(-0.098);
    }
  });

  it("draws the same from the same seed, by rng or by default", () => {
    const drawn = new Linear(4, 4, { rng: new Rng("a") }).weight.value.toArray();
    expect(new Linear(4, 4, { rng: new Rng("a") }).weight.value.toArray()).toEqual(drawn);
    manualSeed("a");
    expect(new Linear(4, 4).weight.value.toArray()).toEqual(drawn);
  });

  it("has no bias when told so, and names the rest as PyTorch", () => {
    expect(Object.keys(stateDict(new Linear(2, 3, { bias: false })))).toEqual(["weight"]);
    expect(Object.keys(stateDict(new Linear(2, 3)))).toEqual(["weight", "bias"]);
  });

  it("computes in float64 where its parameters are", () => {
    const layer = new Linear(2, 2, { dtype: "float64" });
    expect(layer.forward(ones([1, 2], { dtype: "float64" })).dtype).toBe("float64");
  });

  it.each([
    ["no inputs", () => new Linear(0, 2), OptionError, "inFeatures must be a positive integer, got 0"],
    ["half an output", () => new Linear(2, 1.5), OptionError, "outFeatures"],
    ["an unknown option", () => new Linear(2, 2, { biased: true } as object), OptionError, '"biased"'],
    ["an input of another size", () => new Linear(3, 2).forward(ones([1, 4])), ShapeError, "input features"],
  ])("refuses %s", (_, run, kind, text) => {
    expect(run).toThrow(kind);
    expect(run).toThrow(text);
  });
});

describe("convolution layers", () => {
  it("shape their weights as PyTorch", () => {
    expect(new Conv2d(4, 6, [3, 5], { groups: 2 }).weight.shape).toEqual([6, 2, 3, 5]);
    expect(new Conv1d(4, 6, 3, { groups: 2 }).weight.shape).toEqual([6, 2, 3]);
  });

  it("pad each side by itself", () => {
    const layer = new Conv2d(1, 1, 2, {
      stride: [1, 2],
      padding: [
        [1, 0],
        [0, 1],
      ],
      bias: false,
    });
    layer.weight.assign([
      [
        [
          [1, 1],
          [1, 1],
        ],
      ],
    ]);
    expect(layer.forward(ones([1, 1, 2, 3])).toArray()).toEqual([
      [
        [
          [2, 1],
          [4, 2],
        ],
      ],
    ]);
    const line = new Conv1d(1, 1, 2, { padding: [1, 0], bias: false });
    line.weight.assign([[[1, 10]]]);
    expect(line.forward(tensor([[[1, 2, 3]]])).toArray()).toEqual([[[10, 21, 32]]]);
  });

  it("bound weight and bias by the fan-in of a group", () => {
    const { weight, bias } = new Conv2d(8, 64, 3, { groups: 2, rng: new Rng(2) });
    const bound = 1 / Math.sqrt(4 * 9);
    for (const drawn of [weight, bias]) {
      const most = Math.max(...Array.from(drawn?.value.data ?? [], Math.abs));
      expect(most).toBeLessThanOrEqual(bound);
      expect(most).toBeGreaterThan(0.9 * bound);
    }
  });

  it.each([
    [
      "groups that do not divide",
      () => new Conv2d(4, 6, 3, { groups: 4 }),
      "groups must divide outChannels, got 4 for 6",
    ],
    ["a kernel of 0", () => new Conv2d(1, 1, 0), "kernelSize"],
    ["a negative padding", () => new Conv2d(1, 1, 1, { padding: -1 }), "padding"],
    ["three paddings of a line", () => new Conv1d(1, 1, 1, { padding: [1, 1, 1] as never }), "padding"],
  ])("refuse %s", (_, run, text) => {
    expect(run).toThrow(OptionError);
    expect(run).toThrow(text);
  });
});

describe("Embedding", () => {
  it("looks rows up by ids of any shape", () => {
    const layer = new Embedding(3, 2);
    layer.weight.assign([
      [0, 1],
      [2, 3],
      [4, 5],
    ]);
    expect(layer.forward([[2, 0]]).toArray()).toEqual([
      [
        [4, 5],
        [0, 1],
      ],
    ]);
  });

  it("keeps the padding row at 0 without a gradient, counted from the end too", () => {
    const layer = new Embedding(3, 2, { paddingIndex: -1 });
    expect(layer.paddingIndex).toBe(2);
    expect(layer.weight.value.toArray()).toEqual([expect.anything(), expect.anything(), [0, 0]]);
    layer.forward([2, 1]).sum().backward();
    expect(layer.weight.grad?.toArray()).toEqual([
      [0, 0],
      [1, 1],
      [0, 0],
    ]);
  });

  it("draws from the standard normal", () => {
    const { value } = new Embedding(500, 20, { rng: new Rng(3) }).weight;
    expect(value.mean().item()).toBeCloseTo(0, 1);
    expect(value.std().item()).toBeCloseTo(1, 1);
  });

  it("refuses a padding index or an id that is no row", () => {
    expect(() => new Embedding(3, 2, { paddingIndex: 3 })).toThrow("got 3");
    expect(() => new Embedding(3, 2).forward([3])).toThrow("got 3");
  });
});

describe("normalisation layers", () => {
  it("say what they are", () => {
    expect([new LayerNorm(2), new RMSNorm(2), new GroupNorm(1, 2)].map(({ kind }) => kind)).toEqual([
      "norm",
      "norm",
      "norm",
    ]);
  });

  it("start as plain normalisation", () => {
    const x = randn([2, 4, 3], { rng: new Rng(4) });
    expectClose(new LayerNorm([4, 3]).forward(x), x.layerNorm(null, null, { normalizedShape: [4, 3] }));
    expectClose(new RMSNorm(3).forward(x), x.rmsNorm());
    expectClose(new GroupNorm(2, 4).forward(x), x.groupNorm(null, null, { groups: 2 }));
  });

  it("have the parameters they are asked for", () => {
    const names = (layer: object) => Object.keys(stateDict(layer));
    expect(names(new LayerNorm(2))).toEqual(["weight", "bias"]);
    expect(names(new LayerNorm(2, { bias: false }))).toEqual(["weight"]);
    expect(names(new LayerNorm(2, { affine: false }))).toEqual([]);
    expect(names(new RMSNorm(2))).toEqual(["weight"]);
  });

  it("normalise over the shape they were made for, even without a weight", () => {
    expect(() => new LayerNorm(4, { affine: false }).forward(ones([2, 3]))).toThrow(ShapeError);
  });

  it("refuse groups that do not divide the channels", () => {
    expect(() => new GroupNorm(3, 4)).toThrow("groups must divide channels, got 3 for 4");
  });
});

describe("Dropout", () => {
  it("drops in training only, by its own generator", () => {
    const layer = new Dropout(0.25, { rng: new Rng(5) });
    const x = ones([4000]);
    const dropped = Array.from(layer.forward(x).data as Float32Array).filter((v) => v === 0).length;
    expect(dropped / 4000).toBeCloseTo(0.25, 1);
    layer.training = false;
    expect(layer.forward(x)).toBe(x);
  });

  it("refuses a share above 1 or NaN", () => {
    expect(() => new Dropout(1.1)).toThrow("got 1.1");
    expect(() => new Dropout(Number.NaN)).toThrow("got NaN");
  });
});

describe("PReLU", () => {
  it("has a slope a channel and learns it", () => {
    const layer = new PReLU(2, { initial: 0.5 });
    const y = layer.forward(
      tensor([
        [
          [-2, 4],
          [-6, 1],
        ],
      ]),
    );
    expect(y.toArray()).toEqual([
      [
        [-1, 4],
        [-3, 1],
      ],
    ]);
    y.sum().backward();
    expect(layer.weight.grad?.toArray()).toEqual([-2, -6]);
  });

  it("has the right gradient", () => {
    gradcheck(
      (x, a) => prelu(x, a),
      [
        [
          [1, -2],
          [-3, 4],
        ],
        [0.3, 0.1],
      ],
    );
  });

  it("refuses slopes that are not one a channel", () => {
    expect(() => prelu(ones([2, 3]), ones([2]))).toThrow(ShapeError);
  });
});

describe("Sequential", () => {
  it("runs layers and functions in order and names them by place", () => {
    const model = new Sequential(new Linear(2, 3), (x) => x.relu(), new Linear(3, 1, { bias: false }));
    expect(Object.keys(stateDict(model))).toEqual(["0.weight", "0.bias", "2.weight"]);
    const x = ones([1, 2]);
    const [first, , last] = [...model] as [Linear, unknown, Linear];
    expectClose(model.forward(x), last.forward(first.forward(x).relu()));
  });

  it("uses a child that was put in another's place", () => {
    const model = new Sequential(new Linear(2, 3));
    model[0] = (x) => x.mul(2);
    expect(model.forward(tensor([1, 2])).toArray()).toEqual([2, 4]);
    expect(model.length).toBe(1);
  });

  it("refuses what is neither layer nor function", () => {
    expect(() => new Sequential((x) => x, [] as never)).toThrow("at place 1");
    expect(() => new Sequential({ act: {} } as never)).toThrow("at place act");
  });
});

describe("SqueezeExcite", () => {
  it("scales whole channels", () => {
    const layer = new SqueezeExcite(2, 1, {
      gate: (x) => x.mul(0).add(tensor([2, 3]).reshape([1, 2, 1, 1])),
    });
    expect(layer.forward(ones([1, 2, 1, 2])).toArray()).toEqual([[[[2, 2]], [[3, 3]]]]);
    expect(Object.keys(stateDict(layer))).toEqual(["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]);
  });
});

describe("withoutData", () => {
  it("builds a model of any size without memory or random draws", () => {
    const rng = new Rng(6);
    const model = withoutData(
      () =>
        new Sequential(
          new Embedding(10 ** 6, 10 ** 5, { rng, paddingIndex: 0 }),
          new Linear(10 ** 5, 10 ** 6),
        ),
    );
    expect(parameterCount(model)).toBe(2 * 10 ** 11 + 10 ** 6);
    expect(rng.counter).toBe(0);
    expect(() => (model[1] as Linear).weight.value.data).toThrow("withoutData");
  });

  it("ends with its function, even one that throws", () => {
    expect(() => withoutData(() => new Linear(0, 0))).toThrow();
    expect(() => new Linear(1, 1).weight.value.data).not.toThrow();
    expect(() => withoutData(async () => {})).toThrow("synchronous");
  });

  it("counts what a function would make", () => {
    expect(parameterCount(() => new Linear(3, 2))).toBe(8);
  });
});
