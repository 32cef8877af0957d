/** Published quantizers, written with the public interface alone, against the numbers of their public code. */

import { readFileSync } from "node:fs";
import { noGrad, Rng, randn, straightThrough, type Tensor, tensor } from "bitgrad";
import { clone, evaluate, Linear, namedParameters, Parameter, parametrize, type Transform } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import { loadPacked } from "bitgrad/packed";
import {
  chooseParams,
  dequantize,
  fakeQuantize,
  freeze,
  int8Dynamic,
  pack,
  plan,
  prepare,
  type Quantizer,
  type QuantParams,
  quantize,
  quantized,
  quantizedTransform,
  spec,
} from "bitgrad/quant";
import { gradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

interface Case {
  name: string;
  shape: number[];
  params: Record<string, number>;
  inputs: Record<string, number[]>;
  outputs: Record<string, number[]>;
}
const cases: Case[] = JSON.parse(readFileSync(new URL("../golden/methods.json", import.meta.url), "utf8"));
const of = (method: string) => cases.filter(({ name }) => name.startsWith(`${method}/`));

const list = (t: Tensor) => Array.from(t.data);
function expectClose(got: Tensor, want: number[]): void {
  expect(got.size).toBe(want.length);
  list(got).forEach((v, i) => {
    expect(Math.abs(v - want[i])).toBeLessThan(2e-6 + 1e-5 * Math.abs(want[i]));
  });
}

/** A parameter of these numbers that is read through transforms. */
function parameterOf(numbers: number[], shape: number[], ...transforms: Transform[]): Parameter {
  const parameter = new Parameter(tensor(numbers).reshape(shape));
  parameter.transforms.push(...transforms);
  return parameter;
}
const through = (quantizer: Quantizer): Transform => {
  const holder = { weight: new Parameter(tensor([0])) };
  parametrize(holder, "weight", quantized(quantizer));
  return { apply: (w) => quantizedTransform(holder.weight)!.apply(w) };
};

/** Learned step sizes, as their public code has them. Esser et al., 2019, arXiv:1902.08153. */
class Lsq implements Quantizer {
  readonly name = "lsq";
  readonly spec;
  readonly step: Parameter;

  constructor(step: Tensor, bits: number) {
    this.spec = spec({ bits, range: "full", granularity: step.size > 1 ? "channel" : "tensor" });
    this.step = new Parameter(step);
  }

  /** The gradient of a step is divided by √(weights · largest code). */
  params = ({ size }: Tensor): QuantParams => {
    const step = this.step.value;
    return {
      scale: straightThrough(step.mul(1 / Math.sqrt(size * this.spec.qmax)), step),
      zeroPoint: null,
    };
  };

  soft?(x: Tensor, { scale }: QuantParams): Tensor {
    const wide = scale.size > 1 ? scale.reshape([-1, 1]) : scale;
    const steps = x.div(wide).clip({ min: this.spec.qmin, max: this.spec.qmax });
    return straightThrough(steps, steps.round()).mul(wide);
  }
}

describe("learned step sizes", () => {
  it.each(of("lsq").concat(of("lsq_boundary")))("$name", ({ shape, params, inputs, outputs }) => {
    const lsq = new Lsq(tensor(inputs.s), params.bits);
    const weight = parameterOf(inputs.x, shape, through(lsq));
    const y = weight.effective();
    expectClose(y, outputs.out);
    y.mul(tensor(inputs.grad_output).reshape(shape)).sum().backward();
    expectClose(weight.grad!, outputs.grad_x);
    expectClose(lsq.step.grad!, outputs.grad_s);
  });

  it("of the paper, whose end codes are outside, need no surrogate", () => {
    const step = new Parameter(tensor([0.25]));
    const paper: Quantizer = {
      name: "lsq",
      spec: spec({ bits: 3, range: "full" }),
      params: () => ({ scale: step.value, zeroPoint: null }),
      boundary: "outside",
    };
    const want = [-4, -4, 0.2, -0.2, 0.48, 0.2, 3];
    [-1.3, -1, -0.3, 0.05, 0.13, 0.7, 0.9].forEach((x, i) => {
      const weight = parameterOf([x], [1], through(paper));
      step.grad = null;
      weight.effective().backward();
      expect(weight.grad!.item()).toBe([0, 0, 1, 1, 1, 1, 0][i]);
      expect(Math.abs(step.grad!.item() - want[i])).toBeLessThan(1e-6);
    });
  });

  it("have the gradient of clip(x/s) · s with the rounding held fast", () => {
    const x = randn([3, 5], { rng: new Rng(1) }).mul(2);
    const lsq = new Lsq(tensor([0.4, 0.5, 0.6]), 3);
    const wide = tensor([[0.4], [0.5], [0.6]]);
    const steps = x.div(wide).clip({ min: -4, max: 3 });
    const rounding = steps.round().sub(steps);
    const stated = (w: Tensor, s: Tensor) =>
      w
        .div(s.reshape([-1, 1]))
        .clip({ min: -4, max: 3 })
        .add(rounding.to(w.dtype))
        .mul(s.reshape([-1, 1]));
    gradcheck(stated, [x.to("float64"), tensor(new Float64Array([0.4, 0.5, 0.6]))]);
    const [a, b] = [parameterOf(list(x), [3, 5]), new Parameter(tensor([0.4, 0.5, 0.6]))];
    stated(a.value, b.value).square().sum().backward();
    const weight = parameterOf(list(x), [3, 5], through(lsq));
    weight.effective().square().sum().backward();
    expectClose(weight.grad!, list(a.grad!));
    expectClose(lsq.step.grad!, list(b.grad!.div(Math.sqrt(45))));
  });

  it("belong to the model: they are trained, copied, and fixed with the codes", () => {
    const layer = new Linear(6, 3, { rng: new Rng(2) });
    const weight = (p: Parameter) => new Lsq(tensor(Array(p.shape[0]).fill(0.1)), 4);
    prepare(layer, plan({ default: { weight } }));
    const path = "weight.transforms.0.quantizer.step";
    const stepOf = (model: object) => namedParameters(model).find(([name]) => name === path)![1];
    const before = list(stepOf(layer).value);
    const x = randn([4, 6], { rng: new Rng(3) });
    const optim = optimizer(layer, sgd({ lr: 0.01 }));
    const copy = clone(layer);
    layer.forward(x).square().sum().backward();
    optim.step();
    expect(list(stepOf(layer).value)).not.toEqual(before);
    expect(list(stepOf(copy).value)).toEqual(before);
    const live = list(layer.weight.effective());
    evaluate(freeze(layer));
    expect(list(layer.weight.effective())).toEqual(live);
    const packed = pack(layer);
    const values = { data: Float32Array.from(x.data), shape: x.shape };
    expect(list(loadPacked(packed.toBytes()).forward(values) as never)).toEqual(
      list(packed.forward(values) as never),
    );
  });
});

describe("DoReFa: a transform in front, codes without a zero behind. Zhou et al., 2016, arXiv:1606.06160.", () => {
  const front: Transform = {
    apply(w) {
      const t = w.tanh();
      return t.div(t.abs().max());
    },
  };
  const dorefa = (bits: number): Quantizer => {
    const half = (2 ** bits - 1) / 2;
    const params = { scale: tensor([1 / half]), zeroPoint: tensor([half]) };
    const affine = spec({ bits, scheme: "affine", zeroPoint: "float" });
    return { name: "dorefa", spec: affine, params: () => params, soft: (x) => x };
  };

  it.each(of("dorefa"))("$name", ({ shape, params, inputs, outputs }) => {
    const weight = parameterOf(inputs.w, shape, front, through(dorefa(params.bits)));
    const y = weight.effective();
    expectClose(y, outputs.w_out);
    y.mul(tensor(inputs.grad_output).reshape(shape)).sum().backward();
    expectClose(weight.grad!, outputs.grad_w);
    gradcheck((w: Tensor) => front.apply(w), [weight.value.detach().to("float64")]);
  });

  it("packs", () => {
    const layer = new Linear(8, 4, { rng: new Rng(4) });
    parametrize(layer, "weight", front);
    prepare(layer, plan({ default: { weight: dorefa(2) } }));
    const x = randn([2, 8], { rng: new Rng(5) });
    const want = list(evaluate(freeze(layer)).forward(x));
    const got = pack(layer).forward({ data: x.data as Float32Array, shape: x.shape });
    expectClose(tensor(got.data), want);
  });
});

/** Ternary weight networks. Li et al., 2016, arXiv:1605.04711. */
const twn: Quantizer = {
  name: "twn",
  spec: spec({ bits: 2, granularity: "channel" }),
  params(x) {
    const size = x.detach().abs();
    const far = size.greater(size.mean({ axis: 1, keepDims: true }).mul(0.7)).to("float32");
    return {
      scale: size
        .mul(far)
        .sum({ axis: 1 })
        .div(far.sum({ axis: 1 })),
      zeroPoint: null,
    };
  },
  codes: (x) =>
    x
      .abs()
      .greater(x.abs().mean({ axis: 1, keepDims: true }).mul(0.7))
      .where(x.sign(), 0)
      .to("int8"),
};

describe("ternary weight networks", () => {
  it.each(of("twn"))("$name", ({ shape, inputs, outputs }) => {
    const layer = new Linear(shape[1], shape[0], { bias: false });
    layer.weight.assign(tensor(inputs.w).reshape(shape));
    freeze(prepare(layer, plan({ default: { weight: twn } })));
    const { codes, scale } = quantizedTransform(layer.weight)!.codes!;
    expect(list(codes)).toEqual(outputs.codes);
    expectClose(scale, outputs.alpha);
  });

  it("give the codes of their threshold, all of them, trained, frozen, packed and read back", () => {
    const layer = new Linear(64, 64, { bias: false, rng: new Rng(6) });
    prepare(layer, plan({ default: { weight: twn, input: int8Dynamic().input! } }));
    const live = list(layer.weight.effective());
    evaluate(freeze(layer));
    const { codes, scale } = quantizedTransform(layer.weight)!.codes!;
    const w = layer.weight.value.data;
    for (let r = 0; r < 64; r++) {
      const row = Array.from(w.subarray(64 * r, 64 * r + 64));
      const threshold = (0.7 * row.reduce((sum, v) => sum + Math.abs(v), 0)) / 64;
      row.forEach((v, c) => {
        const want = Math.abs(v) > threshold ? Math.sign(v) : 0;
        expect(codes.data[64 * r + c]).toBe(want);
        expect(live[64 * r + c]).toBe(want * (scale.data[r] as number) + 0);
      });
    }
    const x = randn([3, 64], { rng: new Rng(7) });
    const got = loadPacked(pack(layer).toBytes()).forward({ data: x.data as Float32Array, shape: x.shape });
    expect(list(got as never)).toEqual(list(layer.forward(x)));
  });

  it("stop the gradient of weights beyond one and a half scales, which are clamped", () => {
    const weight = parameterOf([1, -1, 1, 2], [1, 4], through(twn));
    weight.effective().sum().backward();
    expect(list(weight.grad!)).toEqual([1, 1, 1, 0]);
  });
});

describe("a quantizer of one's own", () => {
  const own = (more: object): Quantizer => {
    const how = spec({ bits: 2, granularity: "channel" });
    return { name: "own", spec: how, params: (x) => chooseParams(x, how), ...more };
  };
  const use = (more: object) => parameterOf([1, 2, 3, 4], [2, 2], through(own(more))).effective();

  it.each<[string, object, string]>([
    ["codes", { codes: 3 }, "a quantizer's codes must be a function, got 3"],
    ["soft", { soft: "mask" }, `a quantizer's soft must be a function, got "mask"`],
    ["boundary", { boundary: "edge" }, `boundary must be "inside" or "outside", got "edge"`],
    ["spec", { spec: { bits: 2 } }, "needs a spec"],
    ["params", { params: 1 }, "needs a quantizer"],
    ["dtype", { codes: (x: Tensor) => x.sign() }, `the codes of "own" must be int8 or uint8, got float32`],
    ["shape", { codes: () => tensor(Int8Array.of(1, 0)) }, "must have the shape (2, 2) of x, got (2)"],
    ["range", { codes: (x: Tensor) => x.to("int8") }, `the codes of "own" lie in -1 … 1, got 2`],
    ["soft's shape", { soft: (x: Tensor) => x.sum() }, "soft must give a tensor of (2, 2), got ()"],
    ["scales", { params: () => ({ scale: 1, zeroPoint: null }) }, "scale must be a tensor, got 1"],
  ])("meets a typed error for wrong %s", (what, more, message) => {
    expect(() => use(more)).toThrow(message);
    if (!["codes", "soft", "boundary", "spec"].includes(what)) return;
    const config = { weight: own(more) };
    expect(() => prepare(new Linear(2, 2), plan({ default: config }))).toThrow(message);
  });

  it.each([Number.NaN, Infinity, -Infinity])("refuses %s, whatever codes it brings for it", (odd) => {
    const how = (onNonFinite: "throw" | "clamp") => ({
      name: "steps",
      spec: spec({ bits: 2, onNonFinite }),
      params: () => ({ scale: tensor([1]), zeroPoint: null }),
      codes: (x: Tensor) => x.greater(1).where(x.sign(), 0).to("int8"),
      soft: (x: Tensor) => x,
    });
    const weight = parameterOf([1, odd, 3, 4], [2, 2], through(how("throw")));
    const says = `every element must be finite, got ${odd} at index 1`;
    expect(() => weight.effective()).toThrow(says);
    expect(() => noGrad(() => weight.effective())).toThrow(says);
    const layer = new Linear(2, 2);
    prepare(layer, plan({ default: { weight: how("throw") } }));
    layer.weight.assign([
      [1, odd],
      [3, 4],
    ]);
    expect(() => freeze(layer)).toThrow(says);
    const clamped = () => parameterOf([1, odd, 3, 4], [2, 2], through(how("clamp"))).effective();
    if (Number.isNaN(odd)) expect(clamped).toThrow(says);
    else expect(list(clamped())).toEqual([0, odd > 0 ? 1 : 0, 1, 1]);
  });
});

it("a learned scale of a codebook scales its levels, and gets a gradient", () => {
  const scale = tensor([0.5], { requiresGrad: true });
  const how = spec({ bits: 2, scheme: "codebook", codebook: [-1, -0.25, 0.25, 1] });
  const x = tensor([-0.6, -0.1, 0.15, 0.4]);
  const y = fakeQuantize(x, how, { scale, zeroPoint: null });
  expect(list(y)).toEqual([-0.5, -0.125, 0.125, 0.5]);
  y.sum().backward();
  // The level less x/s in range, the level where it is clamped.
  const want = [-1, -0.25, 0.25, 1].reduce((a, level, i) => a + level - list(x)[i] / 0.5, 0);
  expect(Math.abs(scale.grad!.item() - want)).toBeLessThan(1e-6);
});

describe("a learned zero point", () => {
  const how = spec({ bits: 4, scheme: "affine" });
  const x = () => {
    const t = tensor([0, 1, 2, 3, 40]);
    t.requiresGrad = true;
    return t;
  };
  const learned = (zero: number) => {
    const [scale, zeroPoint] = [tensor([1]), tensor([zero])];
    scale.requiresGrad = zeroPoint.requiresGrad = true;
    return { scale, zeroPoint };
  };

  // By hand, after _fake_quantize_learnable_per_tensor_affine of PyTorch.
  // By hand, after _fake_quantize_learnable_per_tensor_affine of PyTorch.
  it.each([
    [1.3, [0, 1, 2, 3, 14], 14, -1, [1, 1, 1, 1, 0]],
    [-2.4, [0, 1, 2, 3, 15], 15, -1, [1, 1, 1, 1, 0]],
    [20, [0, 0, 0, 0, 0], 0, -4, [1, 0, 0, 0, 0]],
    [2.5, [0, 1, 2, 3, 13], 13, -1, [1, 1, 1, 1, 0]],
  ])("of %s is rounded and clamped to a code, its gradient passes", (zero, values, dScale, dZero, dX) => {
    const [input, params] = [x(), learned(zero)];
    const y = fakeQuantize(input, how, params);
    expect(list(y)).toEqual(values);
    expect(list(dequantize(quantize(input, how, params)))).toEqual(values);
    y.sum().backward();
    expect(params.zeroPoint.grad!.item()).toBe(dZero);
    expect(params.scale.grad!.item() + 0).toBe(dScale);
    expect(list(input.grad!)).toEqual(dX);
  });

  it("of a quantizer trains, freezes and packs as one number, trainable or not", () => {
    const layer = new Linear(4, 1, { bias: false });
    layer.weight.assign([[0, 1, 2, 3]]);
    const zero = new Parameter(tensor([1.3]));
    const quantizer = {
      name: "own",
      spec: how,
      zero,
      params: () => ({ scale: tensor([1]), zeroPoint: zero.value.mul(1) }),
    };
    prepare(layer, plan({ default: { weight: quantizer } }));
    expect(list(layer.weight.effective())).toEqual([0, 1, 2, 3]);
    zero.trainable = false;
    expect(list(noGrad(() => layer.weight.effective()))).toEqual([0, 1, 2, 3]);
    freeze(layer);
    expect(quantizedTransform(layer.weight)!.codes!.zeroPoint!.item()).toBe(1);
    const packed = pack(layer).forward({ data: new Float32Array([0, 1, 1, 1]), shape: [1, 4] });
    expect(Array.from(packed.data)).toEqual([6]);
    zero.assign([Number.NaN]);
    expect(() => layer.weight.effective()).toThrow("a zero point must be finite, got NaN");
  });
});
