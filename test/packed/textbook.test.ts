import { noGrad, Rng, relu, scope, tensor, useBackend } from "bitgrad";
import {
  BatchNorm2d,
  Conv2d,
  ConvTranspose2d,
  crossEntropy,
  Flatten,
  Linear,
  MaxPool2d,
  Residual,
  Sequential,
  Subsample,
  train,
} from "bitgrad/nn";
import { adam, optimizer } from "bitgrad/optim";
import { loadPacked } from "bitgrad/packed";
import {
  binarySigns,
  binaryWeightOnly,
  freeze,
  int4WeightOnly,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  pack,
  plan,
  prepare,
} from "bitgrad/quant";
import { trainStep } from "bitgrad/train";
import { afterEach, describe, expect, it } from "vitest";
import { bits, random, twins, values } from "./twins.ts";

afterEach(() => useBackend("simd"));

const rng = new Rng(4);
const textbook = () =>
  new Sequential({
    conv1: new Conv2d(1, 8, 3, { padding: 1, rng }),
    act1: relu,
    pool: new MaxPool2d(2),
    conv2: new Conv2d(8, 8, 3, { rng }),
    act2: relu,
    flatten: new Flatten(),
    fc: new Linear(8 * 4 * 4, 4, { rng }),
  });
const residual = () =>
  new Sequential(
    new Conv2d(1, 8, 3, { padding: 1, rng }),
    new BatchNorm2d(8),
    new Residual(
      new Sequential(relu, new Conv2d(8, 12, 3, { stride: 2, padding: 1, rng }), new BatchNorm2d(12)),
      {
        shortcut: new Subsample({ stride: 2, channels: [2, 2] }),
      },
    ),
    new MaxPool2d(3, { stride: 1, padding: 1 }),
    new Flatten(),
    new Linear(12 * 6 * 6, 4, { rng }),
  );

describe.each(["simd", "reference"] as const)("on %s kernels", (backend) => {
  it.each([
    ["int8Static", int8Static],
    ["int8Dynamic", int8Dynamic],
    ["binarySigns", binarySigns],
  ])("the textbook network trains, freezes and packs to the same bits, %s", async (_, config) => {
    useBackend(backend);
    for (const make of [textbook, residual]) {
      const model = train(make());
      const x = random([8, 1, 12, 12]);
      const labels = tensor([0, 1, 2, 3, 0, 1, 2, 3], { dtype: "int32" });
      const rule = optimizer(model, adam({ lr: 0.01 }));
      const loss = () => trainStep(model, rule, () => crossEntropy(model.forward(x), labels)) as number;
      const first = loss();
      for (let i = 0; i < 8; i++) loss();
      expect(loss()).toBeLessThan(first);
      const made = await twins(model, config(), x);
      const want = bits(noGrad(() => scope(() => model.forward(x))));
      expect(bits(made.fresh.forward(values(x)))).toEqual(want);
      expect(bits(made.packed.forward(values(x)))).toEqual(want);
      expect(made.packed.toBytes()).toEqual(made.fresh.toBytes());
    }
  });
});

it("weights of a transposed convolution are codes, and its float input is told of when asked for more", () => {
  const make = () => new ConvTranspose2d(8, 6, 3, { stride: 2, rng: new Rng(1) });
  const x = random([2, 8, 5, 5]);
  for (const config of [int8WeightOnly(), int4WeightOnly(), binaryWeightOnly()]) {
    const model = freeze(prepare(make(), plan({ default: config })));
    const packed = loadPacked(pack(model).toBytes());
    expect(bits(packed.forward(values(x)))).toEqual(bits(noGrad(() => model.forward(x))));
    expect(packed.byteLength).toBeLessThan(8 * 54 + 8 * 20);
  }
  const asked = plan({ default: null, rules: [["weight", int8Dynamic()]] });
  expect(() => prepare(make(), asked)).toThrow(/weight-only/);
});
