/** Scales that are learned, or given in another precision: what is made by them is theirs at that time, in float32. */

import { Rng, randn, type Tensor, tensor, zeros } from "bitgrad";
import { evaluate, Linear, Parameter } from "bitgrad/nn";
import {
  dequantize,
  dynamicInput,
  fakeQuantize,
  freeze,
  int8Dynamic,
  pack,
  plan,
  prepare,
  type Quantizer,
  type QuantParams,
  quantize,
  quantizedTransform,
  type SpecOptions,
  spec,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const list = (t: { data: ArrayLike<number> }) => Array.from(t.data);
const x = randn([3, 4], { rng: new Rng(1) });

/** A quantizer of a scale for each row that is a parameter, of codes that rounding gives or of codes of its own. */
function learnedBy(step: Parameter, own: boolean): Quantizer {
  const how = spec({ bits: 4, granularity: "channel" });
  const params = () => ({ scale: step.value, zeroPoint: null });
  if (!own) return { name: "learned", spec: how, params };
  return { name: "learned", spec: how, params, codes: (w) => w.sign().to("int8") };
}

describe("codes that were made by a learned scale", () => {
  it.each([
    ["rounding", false],
    ["their quantizer", true],
  ])("of %s do not change with it unless they are found anew", (_, own) => {
    const step = new Parameter(tensor([0.25, 0.5]));
    const quantizer = learnedBy(step, own);
    const layer = new Linear(4, 2, { rng: new Rng(2) });
    evaluate(freeze(prepare(layer, plan({ default: { weight: quantizer } }))));
    const { codes, scale } = quantizedTransform(layer.weight)!.codes!;
    step.assign(tensor([9, 9]));
    expect(list(scale)).toEqual([0.25, 0.5]);
    // As they were, or made anew by the new scale: old codes are never read by it.
    const now = quantizedTransform(layer.weight)!.codes!;
    const anew = quantize(layer.weight.value, quantizer.spec, { scale: step.value, zeroPoint: null });
    if (list(now.scale)[0] === 0.25) expect(list(now.codes)).toEqual(list(codes));
    else if (!own) expect(list(now.codes)).toEqual(list(anew.codes));
    expect(list(layer.weight.effective())).toEqual(list(dequantize(now)));
  });

  it("by quantize do not change with scale or zero point", () => {
    const [scale, zeroPoint] = [tensor([0.5]), tensor([3])];
    const found = quantize(x, spec({ bits: 4, scheme: "affine" }), { scale, zeroPoint });
    const before = list(dequantize(found));
    new Parameter(scale).assign(tensor([9]));
    new Parameter(zeroPoint).assign(tensor([1]));
    expect(list(dequantize(found))).toEqual(before);
  });
});

describe("the learned scale of signs", () => {
  it.each<[string, Partial<SpecOptions>, number[], number[]]>([
    ["a tensor", {}, [0.5], [1 - 2 + 4 + 3 - 5 - 6]],
    ["a row", { granularity: "channel" }, [0.5, 2], [1 - 2 + 4, 3 - 5 - 6]],
    ["a group", { granularity: { group: 2 } }, [0.5, 1, 2, 4], [1 - 2, 4, 3 - 5, -6]],
  ])("of %s has the gradient of scale · sign(x), and x has that of 1", (_, layout, scales, want) => {
    const signs = spec({ bits: 1, ...layout });
    const given = tensor([
      [1, -2, 3],
      [0.1, -0.2, -9],
    ]).detach();
    given.requiresGrad = true;
    const shape = scales.length === 4 ? [2, 2] : [scales.length];
    const scale = tensor(scales).reshape(shape).detach();
    scale.requiresGrad = true;
    const upstream = tensor([
      [1, 2, 4],
      [3, 5, 6],
    ]);
    fakeQuantize(given, signs, { scale, zeroPoint: null }).mul(upstream).sum().backward();
    expect(list(scale.grad!)).toEqual(want);
    expect(list(given.grad!)).toEqual(list(upstream));
  });

  it("is that of any boundary", () => {
    for (const options of [{ boundary: "outside" }, { boundary: "inside" }, { mask: false }] as const) {
      const scale = tensor([0.5], { requiresGrad: true });
      const y = fakeQuantize(tensor([1, -2, 3]), spec({ bits: 1 }), { scale, zeroPoint: null }, options);
      y.mul(tensor([1, 2, 4]))
        .sum()
        .backward();
      expect(scale.grad!.item()).toBe(3);
    }
  });
});

it.each<[string, Partial<SpecOptions>, number[]]>([
  ["groups", { granularity: { group: 3 } }, [0]],
  ["rows", { granularity: "channel" }, [0]],
  ["tokens", { granularity: "token" }, [0]],
  ["rows, one each", { granularity: "channel" }, [2]],
  ["a tensor", {}, [1]],
])("an empty tensor is quantized by learned scales of %s", (_, layout, shape) => {
  const scale = zeros([...shape])
    .add(0.5)
    .detach();
  scale.requiresGrad = true;
  for (const bits of [1, 4]) {
    const y = fakeQuantize(zeros([2, 0]), spec({ bits, ...layout }), { scale, zeroPoint: null });
    expect(y.shape).toEqual([2, 0]);
    y.sum().backward();
    expect(list(scale.grad!)).toEqual(new Array(scale.size).fill(0));
  }
});

describe("scales and zero points of float64 are those of float32", () => {
  const wide: QuantParams = {
    scale: tensor(Float64Array.of(0.1)),
    zeroPoint: tensor(Float64Array.of(1.3)),
  };
  const narrow: QuantParams = { scale: tensor([0.1]), zeroPoint: tensor([1.3]) };
  const hqq = spec({ bits: 4, scheme: "affine", zeroPoint: "float" });

  it("in quantize, dequantize and fakeQuantize", () => {
    const [a, b] = [quantize(x, hqq, wide), quantize(x, hqq, narrow)];
    expect([a.scale.dtype, a.zeroPoint!.dtype]).toEqual(["float32", "float32"]);
    expect(list(a.codes)).toEqual(list(b.codes));
    expect(list(dequantize({ ...a, ...wide }))).toEqual(list(dequantize(b)));
    expect(list(fakeQuantize(x, hqq, wide))).toEqual(list(dequantize(b)));
  });

  it("in codes that are held, frozen and packed, and in those of a quantizer", () => {
    const values = { data: x.data as Float32Array, shape: x.shape };
    const how = spec({ bits: 8, granularity: "channel", scaleDtype: "float16" });
    const layer = new Linear(4, 2, { rng: new Rng(2) });
    prepare(layer, plan({ default: int8Dynamic() }));
    const found = quantize(layer.weight.value, how);
    quantizedTransform(layer.weight)!.hold({ ...found, scale: tensor(Float64Array.of(0.1, 0.2)) });
    evaluate(freeze(layer));
    const y = layer.forward(x);
    expect(y.dtype).toBe("float32");
    expect(list(pack(layer).forward(values))).toEqual(list(y));

    const own: Quantizer = {
      name: "own",
      spec: spec({ bits: 4, scheme: "affine" }),
      params: () => ({ scale: tensor(Float64Array.of(0.1)), zeroPoint: tensor(Float64Array.of(7)) }),
    };
    const second = new Linear(4, 2, { rng: new Rng(3) });
    prepare(second, plan({ default: { weight: own, input: dynamicInput() } }));
    const trained = list(second.weight.effective());
    evaluate(freeze(second));
    expect(list(second.weight.effective())).toEqual(trained);
    expect(list(pack(second).forward(values))).toEqual(list(second.forward(x)));
  });

  it("and are refused where float32 holds them as 0 or infinity", () => {
    for (const s of [1e-60, 1e60]) {
      const params = { scale: tensor(Float64Array.of(s)), zeroPoint: null };
      expect(() => quantize(x, spec(), params)).toThrow("a scale must be finite and not 0 in float32, got");
      expect(() => fakeQuantize(x, spec(), params)).toThrow("fakeQuantize: a scale must be finite");
    }
  });

  it("and pass their gradients", () => {
    const scale: Tensor = tensor(Float64Array.of(0.5), { requiresGrad: true });
    fakeQuantize(tensor([0.6]), spec({ bits: 4 }), { scale, zeroPoint: null }).backward();
    expect(scale.grad!.dtype).toBe("float64");
    expect(Math.abs(scale.grad!.item() - (1 - 1.2))).toBeLessThan(1e-6);
  });
});
