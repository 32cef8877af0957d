import { elu, hardSwish, noGrad, Rng, relu, scope, silu, type Tensor, tensor, useBackend } from "bitgrad";
import * as models from "bitgrad/models";
import { MnistCnn, mlp, ResNet, ResNet8, ResNetBlock } from "bitgrad/models";
import * as nn from "bitgrad/nn";
import {
  BatchNorm1d,
  BatchNorm2d,
  Conv1d,
  Conv2d,
  Dropout,
  evaluate,
  GroupNorm,
  LayerNorm,
  Linear,
  PReLU,
  RMSNorm,
  Sequential,
  SqueezeExcite,
  train,
} from "bitgrad/nn";
import { loadPacked, PackedModel, type PackedStep, PackedWeight } from "bitgrad/packed";
import {
  binarySigns,
  binaryWeightOnly,
  dynamicInput,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  pack,
  type QuantConfig,
  ste,
  ternaryDynamic,
  ternaryWeightOnly,
} from "bitgrad/quant";
import { afterEach, describe, expect, it } from "vitest";
import { bits, random, twins, values } from "./twins.ts";

const configs: [name: string, config: QuantConfig][] = [
  ["int8, dynamic", int8Dynamic()],
  ["int8, static", int8Static()],
  ["int4 × int8", { weight: ste({ bits: 4 }), input: dynamicInput() }],
  ["ternary × int8", ternaryDynamic()],
  ["1 bit × 1 bit", binarySigns()],
];

type Net = { forward(x: Tensor): Tensor };

/** Batch norms with statistics of their own, so that they move numbers. */
function trained<N extends Net>(net: N, x: Tensor): N {
  train(net);
  noGrad(() => scope(() => void net.forward(x)));
  return evaluate(net);
}

/** Convolutions before and after each of the layers that are no products. */
function mixed(): Sequential {
  const rng = new Rng(4);
  return new Sequential(
    new Conv2d(3, 8, 3, { padding: 1, rng }),
    new GroupNorm(2, 8),
    new PReLU(8),
    new Conv2d(8, 8, 3, { stride: 2, groups: 2, rng }),
    new BatchNorm2d(8, { affine: false }),
    new SqueezeExcite(8, 4, { activation: silu, rng }),
    hardSwish,
    new Dropout(0.3),
    new Conv2d(8, 4, 1, { rng }),
    new GroupNorm(4, 4, { affine: false }),
    new PReLU(),
  );
}

const line = (): Sequential => {
  const rng = new Rng(5);
  return new Sequential(
    new Conv1d(3, 8, 3, { padding: 1, rng }),
    new BatchNorm1d(8),
    elu,
    new Conv1d(8, 6, 4, { stride: 2, dilation: 2, groups: 2, padding: [3, 0], rng }),
  );
};

const networks: [name: string, make: () => Net, shape: number[]][] = [
  ["a ResNet", () => new ResNet({ blocks: 1, width: 4, rng: new Rng(1) }), [2, 3, 12, 12]],
  ["a block that halves an odd picture", () => new ResNetBlock(3, 6, 2, new Rng(2)), [2, 3, 9, 7]],
  ["a block that keeps its shape", () => new ResNetBlock(4, 4, 1, new Rng(2)), [1, 4, 5, 6]],
  ["ResNet-8", () => new ResNet8({ rng: new Rng(2) }), [1, 3, 32, 32]],
  ["an MLP", () => mlp([20, 33, 7], { activation: "leakyRelu", rng: new Rng(3) }), [5, 20]],
  ["norms, slopes and squeeze-excite", mixed, [2, 3, 9, 11]],
  ["convolutions along one axis", line, [2, 3, 19]],
];

afterEach(() => useBackend("simd"));

describe.each(["simd", "reference"] as const)(
  "on %s kernels the packed twin is bitwise the frozen one",
  (backend) => {
    describe.each(configs)("%s", (_, config) => {
      it.each(networks)("%s", async (_, make, shape) => {
        useBackend(backend);
        const x = random(shape);
        const net = trained(make(), random(shape, 8).add(1));
        const { model, packed } = await twins(net, config, x);
        const want = noGrad(() => scope(() => model.forward(x)));
        const got = packed.forward(values(x));
        expect(got.shape).toEqual(want.shape);
        expect(bits(got)).toEqual(bits(want));
        expect(new Set(got.data).size).toBeGreaterThan(4);
      });
    });
  },
);

it("burn's network for MNIST packs", async () => {
  const x = random([2, 1, 28, 28]);
  const { model, packed } = await twins(
    trained(new MnistCnn({ rng: new Rng(1) }), random([4, 1, 28, 28], 5)),
    int8Dynamic(),
    x,
  );
  expect(bits(packed.forward(values(x)))).toEqual(bits(noGrad(() => scope(() => model.forward(x)))));
});

it("norms over several axes are those of the model", () => {
  for (const backend of ["simd", "reference"] as const) {
    useBackend(backend);
    const norm = new LayerNorm([6, 7]);
    norm.weight!.update((data) => data.set(random([42], 1).data as Float32Array));
    norm.bias!.update((data) => data.set(random([42], 2).data as Float32Array));
    const model = new Sequential(norm, new RMSNorm([4, 6, 7]));
    const x = random([2, 4, 6, 7]);
    const packed = loadPacked(pack(model).toBytes());
    expect(bits(packed.forward(values(x)))).toEqual(bits(noGrad(() => scope(() => model.forward(x)))));
  }
});

it("convolutions of weights alone that are quantized are those of their float values, bit for bit", async () => {
  for (const backend of ["simd", "reference"] as const) {
    useBackend(backend);
    for (const config of [int8WeightOnly(), ternaryWeightOnly(), binaryWeightOnly()]) {
      const x = random([2, 3, 9, 11]);
      const { model, packed } = await twins(mixed(), config, x);
      expect(bits(packed.forward(values(x)))).toEqual(bits(noGrad(() => scope(() => model.forward(x)))));
    }
  }
});

it("loading a packed ResNet makes no float weights, in memory or in its file", async () => {
  const x = random([1, 3, 8, 8]);
  const { packed } = await twins(new ResNet({ blocks: 1, rng: new Rng(1) }), int8Dynamic(), x);
  const coded: PackedWeight[] = [];
  const visit = (item: unknown): void => {
    if (item instanceof PackedWeight) coded.push(item);
    else if (typeof item === "object" && item && !ArrayBuffer.isView(item))
      Object.values(item).forEach(visit);
  };
  visit(packed.root);
  expect(coded.length).toBeGreaterThanOrEqual(8);
  for (const weight of coded) {
    expect(weight.floats).toBeNull();
    expect(weight.coded!.codes.length).toBe(weight.rows * weight.columns);
  }
  // Codes of a byte, a scale of two bytes a row, and four float32 numbers a channel of a batch norm at most.
  const numbers = coded.reduce((sum, { rows, columns }) => sum + rows * columns + rows * (2 + 16), 0);
  expect(packed.byteLength).toBeLessThanOrEqual(numbers);
});

// A recurrent layer runs step by step, a bag of rows takes offsets, and packed images are not resized.
const floatOnly = ["EmbeddingBag", "GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell", "Upsample"];

it("every layer and model that is exported has a packed form, but for those that are named", () => {
  const classes = Object.entries({ ...nn, ...models }).filter(
    ([, value]) => typeof value === "function" && typeof value.prototype?.forward === "function",
  );
  expect(classes.length).toBeGreaterThan(24);
  const without = classes.filter(
    ([, value]) => typeof (value as typeof Linear).prototype.toPacked !== "function",
  );
  expect(without.map(([name]) => name).sort()).toEqual(floatOnly);
});

describe("mistakes", () => {
  const packed = (net: object) => pack(evaluate(net));
  const zeros = (...shape: number[]) => ({
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
    shape,
  });

  it.each<[name: string, net: object, shape: number[], message: RegExp]>([
    [
      "channels of a batch norm",
      new BatchNorm2d(3),
      [2, 4, 5, 5],
      /PackedBatchNorm: needs \(N, 3, …\), got \(2, 4, 5, 5\)/,
    ],
    ["an axis too few for a batch norm", new BatchNorm2d(1), [4], /PackedBatchNorm: needs \(N, 1, …\)/],
    [
      "channels of a group norm",
      new GroupNorm(2, 4),
      [2, 6, 5],
      /PackedNorm: needs \(N, 4, …\), got \(2, 6, 5\)/,
    ],
    [
      "groups",
      new GroupNorm(2, 4),
      [2, 3, 5],
      /PackedNorm: x must be \(N, C, …\) in 2 groups, got \(2, 3, 5\)/,
    ],
    [
      "axes of a norm",
      new LayerNorm([4, 5]),
      [2, 2, 10],
      /PackedNorm: x must end in 4 x 5 features, got \(2, 2, 10\)/,
    ],
    ["slopes", new PReLU(3), [2, 4], /PackedPReLU: needs \(N, 3, …\)/],
    ["the rank of a line", new Conv1d(2, 2, 3), [1, 2, 1, 5], /PackedConv1d: needs \(N, C, L\)/],
    ["the rank of a picture", new SqueezeExcite(2, 1), [1, 2, 5], /PackedFunction: needs \(N, C, H, W\)/],
    [
      "the rank before a stride",
      new ResNetBlock(2, 4, 2, null),
      [1, 2, 5],
      /needs \(N, C, H, W\)|needs \(N, 2, H, W\)/,
    ],
  ])("%s", (_, net, shape, message) => {
    expect(() => packed(net).forward(zeros(...shape))).toThrow(message);
    expect(() => packed(net).forward(zeros(...shape))).toThrow(expect.objectContaining({ code: "SHAPE" }));
  });

  it("a function that is not one of bitgrad's cannot be packed", () => {
    const gate = (x: Tensor) => x.square();
    expect(() => packed(new SqueezeExcite(2, 1, { gate }))).toThrow(/pack: a function must be one of/);
    expect(() => packed(new Sequential(new Linear(2, 2), relu, gate))).toThrow(/use a layer/);
  });

  it("a norm whose axes are not its features cannot be read", () => {
    const norm = { kind: "norm", type: "layer", size: 20, eps: 1e-5, weight: null, bias: null };
    for (const axes of [[4, 6], 20, [[4], "x"], []])
      expect(() => new PackedModel({ ...norm, axes } as never)).toThrow(/norm: axes must hold 20 features/);
    expect(new PackedModel(norm).forward(zeros(3, 20)).shape).toEqual([3, 20]);
  });

  it("branches whose shapes differ are errors", () => {
    const body = { kind: "function", name: "flatten" };
    const branch = new PackedModel({ kind: "branch", join: "sum", body, shortcut: null } as never);
    expect(() => branch.forward(zeros(2, 3, 4))).toThrow(
      /PackedBranch: needs a shape that broadcasts to \(2, 3, 4\)/,
    );
    expect(() => new PackedModel({ kind: "branch", join: "mean", body, shortcut: null } as never)).toThrow(
      /branch: join must be one of sum, product/,
    );
  });
});

it("a packed sequence returns what it was given where nothing is done", () => {
  const x = tensor([1, 2, 3]);
  const packed = pack(new Sequential(new Dropout(0.5))) as PackedModel & { root: PackedStep };
  const y = packed.forward(values(x));
  expect([...y.data]).toEqual([1, 2, 3]);
  expect(y.data).not.toBe(x.data);
});
