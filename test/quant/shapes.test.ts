/** Quantized models and losses by shapes alone: nothing on their way reads a number. */

import { ones, relu, shapesOnly, type Tensor, tensor } from "bitgrad";
import * as distill from "bitgrad/distill";
import * as nn from "bitgrad/nn";
import * as quant from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const { calibrate, dequantize, freeze, plan, prepare, quantizedTransform, spec } = quant;
const x = () => ones([2, 1, 8, 8]);
const net = () =>
  new nn.Sequential(new nn.Conv2d(1, 4, 3), relu, new nn.Flatten(), new nn.Linear(4 * 6 * 6, 10));
const masking = (mask: Tensor): nn.Transform => ({ mask, apply: (w) => w.mul(mask) });

const { binaryDynamic, binarySigns, binaryWeightOnly, int4Dynamic, int4WeightOnly, int8Dynamic } = quant;
const { int8Static, int8WeightOnly, nf4WeightOnly, ternaryDynamic, ternaryWeightOnly } = quant;
const presets = [
  ...Object.entries({
    binaryDynamic,
    binarySigns,
    binaryWeightOnly,
    int4Dynamic,
    int4WeightOnly,
    int8Dynamic,
  }),
  ...Object.entries({ int8Static, int8WeightOnly, nf4WeightOnly, ternaryDynamic, ternaryWeightOnly }),
];

describe.each(presets)("a model of %s by shapes", (preset, config) => {
  const made = (masked: boolean) => {
    const model = net();
    if (masked) nn.parametrize(model, "**.weight", (p) => masking(ones(p.shape)));
    return prepare(model, plan({ default: config() }));
  };

  it.each([false, true])("gives what it gives with numbers, live and frozen (masked: %s)", async (masked) => {
    const model = made(masked);
    if (preset === "int8Static") await calibrate(model, [x()]);
    const numbers = () => Object.values(nn.stateDict(model)).map((t) => Array.from(t.data));
    const before = numbers();
    for (const step of [nn.train, nn.evaluate, freeze, nn.train]) {
      step(model);
      const products: string[] = [];
      const y = shapesOnly(
        () => model.forward(x()),
        (op) => {
          if (/^(conv|linear|matmul)/.test(op)) products.push(op);
        },
      );
      const real = nn.evaluate(nn.clone(model)).forward(x());
      expect([y.shape, y.dtype]).toEqual([real.shape, real.dtype]);
      // Every layer is one product, whatever its digits.
      expect(products).toHaveLength(2);
    }
    expect(numbers()).toEqual(before);
  });

  it("needs neither weights nor calibration", () => {
    const model = nn.withoutData(() => prepare(net(), plan({ default: config() })));
    expect(shapesOnly(() => model.forward(x())).shape).toEqual([2, 10]);
    expect(shapesOnly(() => made(true).forward(x())).shape).toEqual([2, 10]);
  });
});

it("codes of shapes alone are found by no other than what needs them, and none are kept", () => {
  const layer = prepare(new nn.Linear(4, 2), plan({ default: quant.int8WeightOnly() }));
  expect(() => shapesOnly(() => freeze(layer))).toThrow(expect.objectContaining({ code: "STAGE" }));
  expect(quantizedTransform(layer.weight)!.codes).toBe(null);
  const grouped = spec({ bits: 4, scheme: "affine", granularity: { group: 3 } });
  shapesOnly(() => {
    const params = quant.chooseParams(ones([2, 4]), grouped);
    expect([params.scale.shape, params.zeroPoint!.shape]).toEqual([
      [2, 2],
      [2, 2],
    ]);
    const codes = quant.quantize(ones([2, 4]), grouped, params);
    expect([codes.codes.dtype, codes.scale.shape]).toEqual(["uint8", [2, 2]]);
    expect(dequantize(codes).shape).toEqual([2, 4]);
    expect(quant.fakeQuantize(ones([2, 4]), grouped, params).shape).toEqual([2, 4]);
    expect(() => quant.quantize(ones([2, 5]), grouped, { ...params, scale: ones([2]) })).toThrow(
      "scale must be",
    );
  });
});

it("a layer of one's own may find scales in ops", () => {
  const own: quant.Quantizer = {
    name: "own",
    spec: spec({ bits: 4 }),
    params: (w) => ({ scale: w.abs().max().div(7).reshape([1]), zeroPoint: null }),
    codes: (w, { scale }) => w.div(scale).round().to("int8"),
  };
  const layer = prepare(new nn.Linear(4, 2), plan({ default: { weight: own } }));
  for (const model of [layer, freeze(nn.clone(layer))]) {
    expect(shapesOnly(() => model.forward(ones([3, 4]))).shape).toEqual([3, 2]);
  }
});

describe("losses by shapes", () => {
  const ids = () => ones([3], { dtype: "int32" });
  const scores = () => ones([3, 5]);
  const losses: [string, () => Tensor][] = [
    ["crossEntropy", () => nn.crossEntropy(scores(), ids())],
    ["crossEntropy of given ids", () => nn.crossEntropy(scores(), [1, 2, 4])],
    ["crossEntropy of other integers", () => nn.crossEntropy(scores(), ones([3], { dtype: "uint8" }))],
    ["crossEntropy, weighted", () => nn.crossEntropy(scores(), ids(), { weight: ones([5]), ignoreIndex: 1 })],
    ["crossEntropy of probabilities", () => nn.crossEntropy(scores(), scores(), { labelSmoothing: 0.1 })],
    ["nllLoss", () => nn.nllLoss(scores(), ids(), { weight: [1, 2, 3, 4, 5] })],
    ["multiMarginLoss", () => nn.multiMarginLoss(scores(), ids(), { weight: ones([5]) })],
    ["bceLoss", () => nn.bceLoss(scores(), scores(), { weight: scores() })],
    [
      "bceWithLogits",
      () => nn.bceWithLogits(scores(), scores(), { weight: scores(), posWeight: [1, 2, 3, 4, 5] }),
    ],
    ["bceWithLogits, weighted by 0", () => nn.bceWithLogits(scores(), scores(), { weight: [0, 1, 1, 1, 1] })],
    ["klDiv", () => nn.klDiv(scores(), scores())],
    ["cosineEmbedding", () => nn.cosineEmbedding(scores(), scores(), ones([3]))],
    ["mseLoss", () => nn.mseLoss(scores(), scores())],
    ["l1Loss", () => nn.l1Loss(scores(), scores())],
    ["huberLoss", () => nn.huberLoss(scores(), scores())],
    ["smoothL1Loss", () => nn.smoothL1Loss(scores(), scores())],
    ["softMarginLoss", () => nn.softMarginLoss(scores(), scores())],
    ["kdLoss", () => distill.kdLoss(scores(), scores())],
    ["hiddenMse", () => distill.hiddenMse(ones([2, 3, 4]), ones([2, 3, 4]), { mask: ones([2, 3]) })],
  ];

  it.each(losses)("%s is one number", (_, loss) => {
    expect(shapesOnly(loss).size).toBe(1);
    expect(loss().size).toBe(1);
  });

  it("still check ids that have numbers", () => {
    expect(() => shapesOnly(() => nn.crossEntropy(scores(), tensor([1, 2, 5], { dtype: "int32" })))).toThrow(
      "target out of range, got 5",
    );
  });
});
