/** Inputs with outliers: features that stay float32 beside codes, as LLM.int8() has them. */

import { BitgradError, noGrad, OptionError, Rng, scope, shapesOnly, type Tensor, tensor } from "bitgrad";
import { Gpt } from "bitgrad/models";
import { Conv1d, Conv2d, clone, evaluate, type Layer, Linear } from "bitgrad/nn";
import { loadPacked, PackedLinear, PackedWeight } from "bitgrad/packed";
import {
  dynamicInput,
  fakeQuantize,
  freeze,
  int8Dynamic,
  int8Mixed,
  mixedInput,
  pack,
  plan,
  prepare,
  type QuantConfig,
  spec,
  ste,
} from "bitgrad/quant";
import { assert, integer, property, record, uniqueArray } from "fast-check";
import { describe, expect, it } from "vitest";
import { heapUse } from "../../kernels/wasm/heap.ts";
import { bits, random, values } from "../packed/twins.ts";

const weight = ste({ bits: 8, granularity: "channel", scaleDtype: "float32" });
const mixed = (threshold = 6): QuantConfig => ({ weight, input: mixedInput({ threshold }) });
const dynamic: QuantConfig = { weight, input: dynamicInput() };
const prepared = <M extends object>(layer: M, config: QuantConfig): M =>
  prepare(clone(layer), plan({ default: config }));
const frozen = <M extends object>(layer: M, config: QuantConfig): M =>
  evaluate(freeze(prepared(layer, config)));
const run = (layer: Layer, x: Tensor) => noGrad(() => scope(() => layer.forward(x) as Tensor));

/** Feature j of x times factor, for each of `features`. */
const enlarged = (x: Tensor, features: readonly number[], factor: number) =>
  x.mul(tensor(Array.from({ length: x.shape.at(-1)! }, (_, j) => (features.includes(j) ? factor : 1))));

/** Numbers that are codes times scales 0.01 and 0.02 wherever the third feature stays out of the scales. */
const byHand = () => {
  const layer = new Linear(3, 1, { bias: false });
  layer.weight.assign(tensor([[1.27, -0.63, 0.31]]));
  const x = tensor([
    [1.27, 0.5, 10],
    [-2.54, 0.02, 0.305],
  ]);
  return { layer, x, want: [1.27 * 1.27 - 0.5 * 0.63 + 3.1, -2.54 * 1.27 - 0.02 * 0.63 + 0.305 * 0.31] };
};

describe("a feature with an outlier", () => {
  it("is float32 in all rows, and takes no part in their scales", () => {
    const { layer, x, want } = byHand();
    for (const model of [prepared(layer, mixed()), frozen(layer, mixed())]) {
      const got = run(model, x).data;
      want.forEach((y, i) => void expect(got[i]).toBeCloseTo(y, 5));
    }
    // With the third feature among the codes both rows are rounded.
    const got = run(frozen(layer, dynamic), x).data;
    for (const i of [0, 1]) expect(Math.abs(got[i] - want[i])).toBeGreaterThan(1e-3);
  });

  it("has a magnitude above the threshold, not of it", () => {
    const { layer } = byHand();
    const x = tensor([[1, -6, 2]]);
    expect(bits(run(frozen(layer, mixed(6)), x))).toEqual(bits(run(frozen(layer, dynamic), x)));
    expect(bits(run(frozen(layer, mixed(5.99)), x))).not.toEqual(bits(run(frozen(layer, dynamic), x)));
  });

  it("costs others no precision, whatever it is times as large", () => {
    const layer = new Linear(128, 64, { rng: new Rng(1) });
    const loss = (config: QuantConfig, x: Tensor) => {
      const error = run(frozen(layer, config), x).sub(run(layer, x)).square().mean().item();
      return error / run(layer, x).square().mean().item();
    };
    for (const factor of [20, 50, 100]) {
      const x = enlarged(random([256, 128]), [3, 40, 41, 127], factor);
      expect(loss(mixed(), x) * 5).toBeLessThan(loss(dynamic, x));
      expect(loss(mixed(), x)).toBeLessThan(1e-4);
    }
  });
});

describe("bit for bit, prepared, frozen and packed,", () => {
  const all = (layer: Layer & object, config: QuantConfig, x: Tensor) => {
    const last = frozen(layer, config);
    return [run(prepared(layer, config), x), run(last, x), pack(last).forward(values(x))].map(bits);
  };

  it("no outlier is dynamicInput", () => {
    const sizes = record({ m: integer({ min: 1, max: 9 }), k: integer({ min: 1, max: 70 }) });
    assert(
      property(sizes, integer({ min: 0, max: 99 }), ({ m, k }, seed) => {
        const x = random([m, k], seed).clip({ min: -6, max: 6 });
        const layer = new Linear(k, 5, { rng: new Rng(seed) });
        expect(all(layer, int8Mixed(), x)).toEqual(all(layer, int8Dynamic(), x));
      }),
      { numRuns: 30 },
    );
    const conv = new Conv2d(3, 4, 3, { rng: new Rng(1) });
    const x = random([2, 3, 6, 6]);
    expect(all(conv, int8Mixed(), x)).toEqual(all(conv, int8Dynamic(), x));
  });

  it("outliers alone are a product of floats, plus the bias", () => {
    const layer = new Linear(40, 7, { rng: new Rng(4) });
    const x = random([5, 40]).add(tensor([[20]]));
    const values = prepared(layer, dynamic).weight.effective();
    const want = bits(noGrad(() => x.linear(values).add(layer.bias!.value)));
    // 0 + bias, and what the floats make, are added.
    expect(all(layer, mixed(), x)).toEqual([want, want, want]);
  });

  it("the packed twin is the frozen layer while outliers move from feature to feature, also once it is disposed", () => {
    const layer = frozen(new Linear(70, 33, { rng: new Rng(2) }), int8Mixed());
    const packed = loadPacked(pack(layer).toBytes());
    const features = uniqueArray(integer({ min: 0, max: 69 }), { maxLength: 9 });
    assert(
      property(features, integer({ min: 1, max: 9 }), (some, m) => {
        const x = enlarged(random([m, 70]), some, 30);
        expect(bits(packed.forward(values(x)))).toEqual(bits(run(layer, x)));
      }),
      { numRuns: 40 },
    );
    const x = enlarged(random([3, 70]), [7, 9], 30);
    packed.dispose();
    const [held, first] = [heapUse().bytes, bits(packed.forward(values(x)))];
    expect(heapUse().bytes).toBeGreaterThan(held);
    packed.dispose();
    expect(heapUse().bytes).toBe(held);
    expect(bits(packed.forward(values(x)))).toEqual(first);
  });

  it.each<[string, Layer & object, number[]]>([
    ["a convolution", new Conv2d(6, 8, 3, { groups: 2, padding: 1, rng: new Rng(1) }), [2, 6, 7, 5]],
    ["one of depth", new Conv2d(6, 6, 3, { groups: 6, stride: 2, rng: new Rng(1) }), [1, 6, 7, 7]],
    ["one of 1 x 1", new Conv2d(6, 9, 1, { bias: false, rng: new Rng(1) }), [3, 6, 4, 4]],
    ["one of texts", new Conv1d(6, 5, 3, { dilation: 2, rng: new Rng(1) }), [2, 6, 12]],
  ])("%s keeps channels with outliers", (_, layer, shape) => {
    const far = tensor([1, 1, 40, 1, 25, 1]).reshape([6, ...shape.slice(2).fill(1)]);
    const x = random(shape).mul(far);
    const [, one, two] = all(layer, int8Mixed(), x);
    expect(two).toEqual(one);
    const error = (config: QuantConfig) =>
      run(frozen(layer, config), x).sub(run(layer, x)).square().mean().item();
    expect(error(int8Mixed()) * 2).toBeLessThan(error(int8Dynamic()));
  });
});

describe("in training", () => {
  it("gradients are those of codes and floats side by side, straight through the rounding", () => {
    const layer = prepared(new Linear(6, 4, { rng: new Rng(1) }), mixed());
    const x = enlarged(random([3, 6]), [1, 4], 50);
    x.requiresGrad = true;
    const up = random([3, 4], 8);
    layer.forward(x).mul(up).sum().backward();
    const near = (got: Tensor, want: Tensor) =>
      want.data.forEach((y, i) => void expect(got.data[i]).toBeCloseTo(y, 4));
    near(x.grad!, up.matmul(layer.weight.effective()));
    const isOutlier = tensor([0, 1, 0, 0, 1, 0]).greater(0);
    const codes = fakeQuantize(isOutlier.where(0, x.detach()), spec({ granularity: "token" }));
    near(layer.weight.grad!, up.transpose().matmul(isOutlier.where(x.detach(), codes)));
    near(layer.bias!.grad!, up.sum({ axis: 0 }));
  });

  it("a copy of a prepared model, and one that is only asked for shapes, are the same model", () => {
    const gpt = new Gpt({ vocabulary: 11, context: 8, dim: 16, layers: 1, heads: 2, rng: new Rng(1) });
    prepare(gpt, plan({ default: int8Mixed({ threshold: 1 }) }));
    const ids = tensor([[1, 5, 9]], { dtype: "int32" });
    expect(bits(run(clone(gpt), ids))).toEqual(bits(run(gpt, ids)));
    expect(bits(run(gpt, ids))).not.toEqual(bits(run(prepared(new Gpt(gpt.config), int8Dynamic()), ids)));
    expect(shapesOnly(() => gpt.forward(ids)).shape).toEqual([1, 3, 11]);
  });
});

describe("what is refused", () => {
  it.each([Number.NaN, Infinity, -Infinity])("an input of %d, prepared, frozen and packed", (odd) => {
    const x = tensor([[1, odd, 50]]);
    const { layer } = byHand();
    const last = frozen(layer, mixed());
    const refused = expect.objectContaining({
      code: "NUMERICS",
      message: expect.stringContaining(`must be finite, got ${odd} at index 1`),
    });
    for (const model of [prepared(layer, mixed()), last]) expect(() => model.forward(x)).toThrow(refused);
    expect(() => pack(last).forward(values(x))).toThrow(refused);
    expect(() => (pack(last).root as PackedLinear).forward(values(x))).toThrow(BitgradError);
  });

  it("thresholds that are none, and bits of signs", () => {
    for (const threshold of [0, -0, -6, Number.NaN, Infinity, "6" as never, null as never])
      for (const make of [mixedInput, int8Mixed] as const)
        expect(() => make({ threshold })).toThrow(OptionError);
    expect(() => int8Mixed({ threshold: 0 })).toThrow(
      "int8Mixed: threshold must be a positive number, got 0; without outliers use dynamicInput()",
    );
    expect(() => mixedInput({ bits: 1 })).toThrow("mixedInput: bits must be an integer from 2 to 8, got 1");
  });

  it("packed thresholds that are none", () => {
    const made = (threshold: unknown) => () =>
      new PackedLinear({
        weight: PackedWeight.ofFloats(new Float32Array(2), 1, 2),
        bias: null,
        input: { kind: "mixed", bits: 8, threshold } as never,
      });
    for (const threshold of [0, -6, Number.NaN, Infinity, "6", undefined])
      expect(made(threshold)).toThrow('an input must be dynamic, static, signs or mixed, got "mixed"');
    expect(made(6)).toThrow("linear: a quantized input needs weights of integers");
  });

  it("numbers whose sums overflow are infinite in both twins", () => {
    const { layer } = byHand();
    const x = tensor([[3e38, 3e38, 3e38]]).mul(tensor([1, -1, 1]));
    layer.weight.assign(tensor([[2, -2, 2]]));
    const last = frozen(layer, mixed());
    expect([...run(last, x).data]).toEqual([Infinity]);
    expect([...pack(last).forward(values(x)).data]).toEqual([Infinity]);
  });
});
