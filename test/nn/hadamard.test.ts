/** Hadamard transforms of features, and linear layers that are rotated. */

import { manualSeed, OptionError, ones, Rng, randn, ShapeError, scope, type Tensor, tensor } from "bitgrad";
import {
  clone,
  Hadamard,
  Linear,
  loadStateDict,
  namedParameters,
  Sequential,
  stateDict,
  statistics,
} from "bitgrad/nn";
import { loadPacked, PackedHadamard, PackedWeight } from "bitgrad/packed";
import { dynamicInput, fakeQuantize, int8Dynamic, pack, spec, ste } from "bitgrad/quant";
import { expectClose, gradcheck, gradgradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import { hadamard, powerOfTwoIn, regularHadamard } from "../../kernels/linalg/hadamard.ts";
import { differing, type MethodCase, methodCases, tensorOf } from "../golden/method-cases.ts";
import { bits, random, twins, values } from "../packed/twins.ts";

const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);

/** A layer with signs of ours. */
function signed(features: number, signs: Tensor | null, block: number | null = null): Hadamard {
  const layer = new Hadamard(features, { block, signs: signs !== null });
  if (signs) layer.signs = signs;
  return layer;
}

/** Signs as a case gives them. */
const signsOf = ({ inputs }: MethodCase<object>) => tensor(inputs.signs.data, { dtype: "int8" });

// Own numbers (float64), compared with scipy.linalg.hadamard.
describe("the transform", () => {
  const cases = methodCases<{ n: number; block: number }>("codebook-rotations");
  const named = (method: string) =>
    cases.filter(({ name }) => name.includes(`/${method}/`)).map((each) => [each.name, each] as const);

  it.each(named("hadamard"))("is that of %s", (_, each) => {
    const { n, block } = each.params;
    const x = tensorOf(each.inputs.x);
    const got = {
      unnormalised: signed(n, null).forward(x).mul(Math.sqrt(n)),
      normalised: signed(n, null).forward(x),
      randomized: signed(n, signsOf(each)).forward(x),
      block_normalised: signed(n, null, block).forward(x),
    };
    expect(Object.keys(got).sort()).toEqual(Object.keys(each.outputs).sort());
    for (const [name, y] of Object.entries(got)) expect(differing(each, name, list(y))).toEqual([]);
  });

  it.each(named("rotated_linear"))("makes inputs of 4 bits cost less, as of %s", (_, each) => {
    const [x, w] = [tensorOf(each.inputs.X), tensorOf(each.inputs.W)];
    const rotation = signed(x.shape[1], signsOf(each));
    const four = (t: Tensor) => fakeQuantize(t, spec({ bits: 4, granularity: "channel" }));
    const product = (a: Tensor, b: Tensor) => four(a).linear(four(b));
    const turned = rotation.forward(w);
    const y = product(rotation.forward(x), turned);
    expect(differing(each, "W_rotated", list(turned))).toEqual([]);
    expect(differing(each, "y_rotated_quantized", list(y))).toEqual([]);
    const want = x.linear(w);
    const error = (got: Tensor) => got.sub(want).square().sum().item() / want.square().sum().item();
    for (const [name, got] of [
      ["error_plain", product(x, w)],
      ["error_rotated", y],
    ] as const) {
      // Codes near ties.
      expect(Math.abs(error(got) / each.outputs[name].data[0] - 1), name).toBeLessThan(0.05);
    }
  });

  it("takes numbers by sums and differences of pairs, after their signs", () => {
    const x = tensor([1, 2, 3, 4]);
    expect(list(signed(4, null).forward(x))).toEqual([5, -1, -2, 0]);
    expect(list(signed(4, tensor([1, -1, -1, 1], { dtype: "int8" })).forward(x))).toEqual([0, -2, -1, 5]);
  });

  it("is its own inverse, and keeps the mean where its rows have equal sums", () => {
    const x = Float64Array.from(random([64]).data as Float32Array);
    for (const [transform, block] of [
      [hadamard, 64],
      [hadamard, 16],
      [regularHadamard, 64],
      [regularHadamard, 4],
    ] as const) {
      const y = x.slice();
      transform(y, block);
      const largest = Math.max(...y.map((v, i) => Math.abs(v - x[i])));
      expect(largest).toBeGreaterThan(0.1);
      if (transform === regularHadamard) {
        const sum = (row: Float64Array) => row.subarray(0, block).reduce((a, b) => a + b, 0);
        expect(sum(y)).toBeCloseTo(sum(x), 12);
      }
      transform(y, block);
      expect(Math.max(...y.map((v, i) => Math.abs(v - x[i])))).toBeLessThan(1e-14);
    }
    const alone = new Float64Array(16).fill(3);
    regularHadamard(alone, 16);
    expect(Array.from(alone)).toEqual(new Array(16).fill(3));
    expect([1, 12, 32, 172].map(powerOfTwoIn)).toEqual([1, 4, 32, 4]);
  });

  it("has a gradient of first and second order", () => {
    const rotation = new Hadamard(12, { rng: new Rng(4) });
    const x = randn([3, 12], { dtype: "float64", rng: new Rng(1) });
    const squared = (t: Tensor) => rotation.forward(t).mul(rotation.forward(t).sin());
    gradcheck(squared, [x]);
    gradgradcheck(squared, [x]);
    expect(rotation.forward(x).dtype).toBe("float64");
  });

  it("takes no rows at all, and passes on what is not finite", () => {
    const rotation = new Hadamard(4, { block: 2, signs: false });
    expect(rotation.forward(ones([0, 4])).shape).toEqual([0, 4]);
    const y = list(rotation.forward(tensor([Number.NaN, 1, Number.POSITIVE_INFINITY, 1])));
    expect(y).toEqual([Number.NaN, Number.NaN, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
  });

  it("draws signs from the generator it is given, else from the default one", () => {
    const drawn = (seed: number) => list(new Hadamard(32, { rng: new Rng(seed) }).signs!);
    expect(drawn(1)).toEqual(drawn(1));
    expect(drawn(1)).not.toEqual(drawn(2));
    expect(new Set(drawn(1))).toEqual(new Set([1, -1]));
    manualSeed(3);
    const first = list(new Hadamard(32).signs!);
    manualSeed(3);
    expect(list(new Hadamard(32).signs!)).toEqual(first);
  });

  it.each([
    [
      "block must be a power of two that divides the features, got 3 for 12",
      () => new Hadamard(12, { block: 3 }),
    ],
    [
      "block must be a power of two that divides the features, got 8 for 12",
      () => new Hadamard(12, { block: 8 }),
    ],
    ["unknown option", () => new Hadamard(12, { size: 4 } as never)],
  ])("says that %s", (says, make) => {
    expect(make).toThrow(OptionError);
    expect(make).toThrow(says);
  });

  it("refuses other features", () => {
    expect(() => new Hadamard(4).forward(ones([2, 8]))).toThrow(ShapeError);
    expect(() => new Hadamard(4).forward(ones([2, 8]))).toThrow(
      "Hadamard: x must end in 4 features, got (2, 8)",
    );
  });
});

describe("a rotated linear layer", () => {
  const rotated = (features = 32, outputs = 5) => {
    const layer = new Linear(features, outputs, { rng: new Rng(2) });
    layer.inputSteps = [new Hadamard(features, { rng: new Rng(3) })];
    return layer;
  };

  it("multiplies what is rotated, and gives it to statistics", async () => {
    const layer = rotated();
    const x = random([7, 32]);
    const turned = layer.inputSteps[0].forward(x);
    expectClose(layer.forward(x), turned.linear(layer.weight.value, layer.bias!.value));
    expect(list(layer.inputMatrix(x))).toEqual(list(turned));
    const found = await statistics(layer, [x], { keep: ["absmax"] });
    expect(list(found.get("")!.absmax)).toEqual(
      Array.from(list(turned.abs().max({ axis: 0 } as never)), Math.fround),
    );
  });

  it("has its signs in its state and in clones", () => {
    const layer = rotated();
    expect(Object.keys(stateDict(layer)).sort()).toEqual(["bias", "inputSteps.0.signs", "weight"]);
    expect(namedParameters(layer)).toHaveLength(2);
    const other = rotated();
    other.inputSteps = [new Hadamard(32, { rng: new Rng(9) })];
    const x = random([2, 32]);
    expect(list(other.forward(x))).not.toEqual(list(layer.forward(x)));
    loadStateDict(other, stateDict(layer));
    expect(list(other.forward(x))).toEqual(list(layer.forward(x)));
    expect(list(clone(layer).forward(x))).toEqual(list(layer.forward(x)));
  });

  it.each([
    ["float32", null],
    ["int8 × int8", int8Dynamic()],
    ["4 bits × 4 bits", { weight: ste({ bits: 4 }), input: dynamicInput({ bits: 4 }) }],
  ])("packs to the same bits, %s", async (_, config) => {
    for (const [features, block, signs] of [
      [32, null, true],
      [24, 4, true],
      [6, null, false],
    ] as const) {
      const layer = new Linear(features, 5, { rng: new Rng(2) });
      layer.inputSteps = [new Hadamard(features, { block, signs, rng: new Rng(3) })];
      const x = random([3, features]);
      const { model, packed } = config
        ? await twins(layer, config, x)
        : { model: layer, packed: loadPacked(pack(layer).toBytes()) };
      const want = scope(() => model.forward(x));
      expect(bits(packed.forward(values(x)))).toEqual(bits(want));
      layer.inputSteps = [];
      expect(bits(packed.forward(values(x)))).not.toEqual(bits(scope(() => model.forward(x))));
    }
  });

  it("packs by itself within a sequence, signs as one bit each", () => {
    const model = new Sequential(
      new Hadamard(1024, { rng: new Rng(1) }),
      new Linear(1024, 1, { rng: new Rng(2) }),
    );
    const packed = pack(model);
    const x = random([2, 1024]);
    expect(bits(packed.forward(values(x)))).toEqual(bits(model.forward(x)));
    const without = pack(model[1] as Linear).toBytes().length;
    expect(packed.toBytes().length - without).toBeLessThan(128 + 400);
  });
});

describe("a packed transform", () => {
  const signs = PackedWeight.ofFloats(Float32Array.of(1, -1, 2, 1), 1, 4);
  it.each([
    [
      "block must be a power of two that divides the features, got 3 for 6",
      { features: 6, block: 3, signs: null },
    ],
    ["signs must be 1 or -1, got 2", { features: 4, block: 4, signs }],
    ["signs must be (1, 8)", { features: 8, block: 4, signs }],
  ])("says of a file that %s", (says, fields) => {
    expect(() => new PackedHadamard(fields)).toThrow(`hadamard: ${says}`);
  });
});
