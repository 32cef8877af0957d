/**
 * What stands in front of the product of a linear layer, and what is added to it: layers, of the library and of one's own.
 */

import { OptionError, ones, Rng, ShapeError, scope, type Tensor, tensor } from "bitgrad";
import { Gpt } from "bitgrad/models";
import {
  BatchNorm1d,
  CopyFeatures,
  clone,
  evaluate,
  FeedForward,
  Hadamard,
  Linear,
  LowRank,
  loadStateDict,
  Parameter,
  Sequential,
  stateDict,
  statistics,
  whileFloat,
} from "bitgrad/nn";
import {
  type Fields,
  loadPacked,
  PackedCopyFeatures,
  PackedLinear,
  type PackedStep,
  PackedWeight,
  type Values,
} from "bitgrad/packed";
import {
  binaryDynamic,
  equalize,
  freeze,
  gptq,
  int8Dynamic,
  int8WeightOnly,
  pack,
  plan,
  prepare,
  rotate,
  smoothQuant,
  splitOutlierChannels,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { bits, random, values } from "../packed/twins.ts";

/** Learned gains of inputs: a step of one's own, which keeps their number. */
class Gains {
  gains = new Parameter(tensor([1, 2, 3, 4, 5, 6, 7, 8]));
  forward(x: Tensor): Tensor {
    return x.mul(this.gains.effective());
  }
  toPacked() {
    return { kind: "gains", gains: Float32Array.from(this.gains.value.data, Number) };
  }
}

class PackedGains implements PackedStep {
  static readonly kind = "gains";
  readonly kind = "gains";
  readonly gains: Float32Array;
  constructor(fields: Fields) {
    this.gains = fields.gains as Float32Array;
  }
  forward({ data, shape }: Values): Values {
    return { data: data.map((v, i) => v * this.gains[i % this.gains.length]), shape };
  }
}

/** Takes 4 of 8 features: a step that says how many it takes. */
class Halves {
  readonly features = 8;
  forward(x: Tensor): Tensor {
    return x.slice([null, [0, 4]]);
  }
}

const make = () => {
  const layer = new Linear(8, 5, { rng: new Rng(1) });
  layer.weight.replace(random([5, 10]));
  layer.inputSteps = [new Gains(), new CopyFeatures(8, [1, 6])];
  layer.correction = new Linear(10, 5, { bias: false, rng: new Rng(2) });
  return layer;
};

describe("steps of one's own in a linear layer", () => {
  const x = random([2, 3, 8]);

  it("are computed in front of the product, and what is added behind it", async () => {
    const layer = make();
    const { gains } = layer.inputSteps[0] as Gains;
    const wide = layer.inputSteps[1].forward(x.mul(gains.value));
    const both = layer.weight.value.add((layer.correction as Linear).weight.value);
    const want = wide.linear(both, layer.bias!.value);
    expect(layer.forward(x).sub(want).abs().max().item()).toBeLessThan(1e-4);
    expect([layer.inFeatures, layer.outFeatures, layer.weight.shape]).toEqual([8, 5, [5, 10]]);
    expect(layer.inputMatrix(x).toArray()).toEqual(wide.reshape([1, 6, 10]).toArray());
    const { absmax } = (await statistics(layer, [x], { keep: ["absmax"] })).get("")!;
    expect(absmax.shape).toEqual([10]);
    layer.forward(x).sum().backward();
    expect(gains.grad!.shape).toEqual([8]);
  });

  it("tell how many features they take, where that is another number than they give", () => {
    const layer = new Linear(4, 2);
    layer.inputSteps = [new Gains(), new Halves(), { forward: (x) => x.neg() }];
    expect([layer.inFeatures, layer.forward(ones([3, 8])).shape]).toEqual([8, [3, 2]]);
    expect(() => layer.inputMatrix(ones([3, 4]))).toThrow(ShapeError);
    layer.inputSteps.length = 1;
    expect(() => layer.inputMatrix(ones([3, 8]))).toThrow("needs 4 features along the last axis, got (3, 8)");
  });

  const same = (x: Tensor) => x;
  const noLayers: [name: string, steps: unknown, message: string][] = [
    ["a function", [same], "inputSteps.0 must be a layer, got same; put functions into a Sequential"],
    ["null in the list", [new Hadamard(4), null], "inputSteps.1 must be a layer, got null"],
    ["no list", null, "inputSteps must be a list of layers, got null"],
  ];

  it.each(noLayers)("are refused where they are no layers: %s", (_, steps, message) => {
    const layer = new Linear(4, 4);
    layer.inputSteps = steps as never;
    const uses: [op: string, use: () => unknown][] = [
      ["Linear", () => layer.forward(ones([2, 4]))],
      ["inputMatrix", () => layer.inputMatrix(ones([2, 4]))],
      ["inFeatures", () => layer.inFeatures],
      ["pack", () => pack(layer)],
    ];
    for (const [op, use] of uses) {
      expect(use).toThrow(OptionError);
      expect(use).toThrow(`${op}: ${message}`);
    }
    const mlp = new FeedForward(4, 8);
    mlp.down.inputSteps = steps as never;
    expect(() => mlp.scalePairs()).toThrow(`scalePairs: ${message}`);
    expect(() => mlp.units()).toThrow(`units: ${message}`);
  });

  it("are refused as corrections where they are no layers", () => {
    const layer = new Linear(4, 4);
    layer.correction = same as never;
    expect(() => layer.forward(ones([2, 4]))).toThrow(
      "Linear: correction must be a layer, got same; put functions into a Sequential",
    );
    layer.correction = { forward: () => 3 } as never;
    expect(() => layer.forward(ones([2, 4]))).toThrow(
      'Linear: a step must give a tensor, got 3 from "correction"',
    );
  });

  it("are refused where they give no tensor", () => {
    const layer = new Linear(4, 4);
    layer.inputSteps = [{ forward: () => 3 }] as never;
    expect(() => layer.forward(ones([2, 4]))).toThrow(
      'Linear: a step must give a tensor, got 3 from "inputSteps.0"',
    );
  });

  it.each([
    ["a layer of another width", 12, () => new Linear(8, 12, { rng: new Rng(3) })],
    ["layers after each other", 10, () => new Sequential(new CopyFeatures(8, [1, 2]))],
    ["a normalisation over rows", 8, () => new BatchNorm1d(8)],
  ])("serve methods and packing without more than forward: %s", async (_, columns, step) => {
    const layer = new Linear(columns, 5, { rng: new Rng(2) });
    layer.inputSteps = [step()];
    const model = evaluate(prepare(layer, plan({ default: { ...int8Dynamic(), weight: ste({ bits: 4 }) } })));
    const rows = random([6, 8]);
    expect(layer.inputMatrix(rows).shape).toEqual([1, 6, columns]);
    await gptq(model, [rows]);
    const packed = loadPacked(pack(freeze(model)).toBytes());
    expect(bits(packed.forward(values(rows)))).toEqual(bits(scope(() => model.forward(rows))));
  });

  it("may widen what each layer of a Gpt is given, packed to the same bits", async () => {
    const ids = tensor([[1, 2, 3, 4]], { dtype: "int32" });
    const model = new Gpt({ vocabulary: 11, context: 8, dim: 16, layers: 1, heads: 2, rng: new Rng(1) });
    const { attention, mlp } = model.blocks[0];
    for (const layer of [attention.query, attention.value, attention.out, mlp.up, mlp.down]) {
      const [rows, columns] = layer.weight.shape;
      layer.weight.replace(random([rows, columns + 4]));
      layer.inputSteps = [new Linear(columns, columns + 4, { rng: new Rng(3) })];
    }
    const frozen = evaluate(freeze(prepare(model, plan({ default: int8Dynamic() }))));
    const packed = loadPacked(pack(frozen).toBytes());
    const got = packed.forward({ data: ids.data as Int32Array, shape: [1, 4] });
    expect(bits(got)).toEqual(bits(scope(() => frozen.forward(ids))));
  });

  it("may add nothing of another shape than the product, packed or not", () => {
    const layer = new Linear(8, 5, { rng: new Rng(2) });
    for (const [outs, shape] of [
      [1, "(6, 1)"],
      [4, "(6, 4)"],
    ] as const) {
      const model = freeze(prepare(evaluate(clone(layer)), plan({ default: int8Dynamic() })));
      model.correction = new Linear(8, outs, { rng: new Rng(3) });
      const rows = random([6, 8]);
      const message = `correction must give (6, 5), got ${shape}`;
      expect(() => model.forward(rows)).toThrow(message);
      expect(() => pack(model).forward(values(rows))).toThrow(message);
    }
  });

  it("are in states and clones", () => {
    const layer = make();
    const names = ["bias", "correction.weight", "inputSteps.0.gains", "inputSteps.1.copies", "weight"];
    expect(Object.keys(stateDict(layer)).sort()).toEqual(names);
    const other = make();
    for (const held of Object.values(stateDict(other)))
      if (held.dtype === "float32") held.storage.write((data) => data.fill(0), "test");
    loadStateDict(other, stateDict(layer));
    expect(bits(other.forward(x))).toEqual(bits(layer.forward(x)));
    expect(bits(clone(layer).forward(x))).toEqual(bits(layer.forward(x)));
    expect(() => loadStateDict(new Linear(8, 5), stateDict(layer))).toThrow("inputSteps.0.gains");
  });

  it.each([
    ["floats", null],
    ["8 bits", int8Dynamic()],
  ])("pack to the same bits, as kinds of one's own, with %s", (_, config) => {
    const layer = make();
    const model = config
      ? evaluate(freeze(prepare(layer, plan({ default: null, rules: [["weight", config]] }))))
      : layer;
    const kinds = { kinds: [PackedGains] };
    const packed = loadPacked(pack(model, kinds).toBytes(), kinds);
    expect(bits(packed.forward(values(x)))).toEqual(bits(scope(() => model.forward(x))));
    layer.inputSteps.length = 1;
    expect(() => layer.forward(x)).toThrow(ShapeError);
  });

  it("hands no bits of signs past a step", () => {
    const [first, second] = [new Linear(8, 8, { rng: new Rng(1) }), new Linear(8, 4, { rng: new Rng(2) })];
    second.inputSteps = [new Gains()];
    const signs = { kinds: [PackedGains] };
    // Turns signs, which bits alone would not show.
    (second.inputSteps[0] as Gains).gains.update((g) => g.fill(-1));
    const model = evaluate(
      freeze(
        prepare(
          new Sequential(first, second),
          plan({ default: binaryDynamic(), rules: [["**.gains", null]] }),
        ),
      ),
    );
    const packed = loadPacked(pack(model, signs).toBytes(), signs);
    const given = random([4, 8]);
    expect(bits(packed.forward(values(given)))).toEqual(bits(scope(() => model.forward(given))));
  });
});

describe("a packed linear layer", () => {
  const weight = PackedWeight.ofFloats(Float32Array.of(1, 2, 3, 4), 1, 4);
  const of = (...inputSteps: unknown[]) =>
    new PackedLinear({ weight, bias: null, input: null, inputSteps } as never);

  it("has the features of its first step, and multiplies what the last one gives", () => {
    const layer = of(new PackedCopyFeatures({ features: 3, copies: [1] }));
    const y = layer.forward({ data: Float32Array.of(1, 10, 100, 2, 20, 200), shape: [2, 3] });
    expect([layer.inputs, of().inputs, Array.from(y.data)]).toEqual([3, 4, [361, 722]]);
    expect(() => layer.forward({ data: new Float32Array(4), shape: [1, 4] })).toThrow(
      "PackedCopyFeatures: x must end in 3 features, got (1, 4)",
    );
  });

  it("refuses steps that do not give what it multiplies", () => {
    const flat = { kind: "flat", forward: ({ data }: Values) => ({ data, shape: [4, 1] }) };
    expect(() => of(flat).forward({ data: new Float32Array(4), shape: [1, 4] })).toThrow(
      "PackedLinear: input steps must give (1, 4), got (4, 1)",
    );
    expect(() => of({ kind: "none" })).toThrow("linear: inputSteps must be a list of packed layers");
    expect(() => new PackedLinear({ weight, bias: null, input: null, inputSteps: 1 } as never)).toThrow(
      "linear: inputSteps must be a list of packed layers, got 1",
    );
  });

  it.each([[[3]], [[-1]], [[0.5]], [["0"]], [1], [{}], [[null]], [null]])(
    "copies no %j of 3 features",
    (copies) => {
      expect(() => new PackedCopyFeatures({ features: 3, copies })).toThrow(
        "copyFeatures: copies must be a list of features from 0 to 2, got",
      );
      expect(() => new CopyFeatures(3, copies as never)).toThrow(
        "CopyFeatures: copies must be a list of features from 0 to 2, got",
      );
    },
  );
});

describe("methods that write into weights", () => {
  const ids = [[1, 2, 3, 4]];
  const gpt = () =>
    evaluate(new Gpt({ vocabulary: 11, context: 8, dim: 16, layers: 1, heads: 2, rng: new Rng(1) }));
  const offOf = (model: Gpt, want: Tensor) =>
    whileFloat(model, () => model.forward(ids))
      .sub(want)
      .abs()
      .max()
      .item() / want.abs().max().item();

  it.each([
    ["smoothQuant", (model: Gpt) => smoothQuant(model, [ids] as never)],
    ["equalize", (model: Gpt) => equalize(model)],
  ])("scale no channels that steps turn, by %s", async (_, scale) => {
    const model = gpt();
    await rotate(model, { residual: false, heads: false, online: "**.{up,value}", rng: new Rng(2) });
    const want = model.forward(ids);
    await scale(prepare(model, plan({ default: int8Dynamic() })));
    expect(offOf(model, want)).toBeLessThan(1e-5);
  });

  it("pass over channels that were split", async () => {
    const model = prepare(
      gpt(),
      plan({ default: { ...int8Dynamic(), weight: ste({ granularity: "tensor" }) } }),
    );
    await splitOutlierChannels(model, { layers: "**.{query,down}" });
    const want = whileFloat(model, () => model.forward(ids));
    const skipped: (string | null)[] = [];
    await smoothQuant(model, [ids] as never, { onPair: (pair) => skipped.push(pair.skipped) });
    expect(skipped).toContain('"blocks.0.attention.query" has steps in front of its columns');
    expect(offOf(model, want)).toBeLessThan(1e-5);
    expect(model.units().map(({ kind }) => kind)).toEqual(["heads"]);
  });

  it.each(["value", "out", "query"] as const)(
    "turn no rows or columns under a correction, of %s",
    async (name) => {
      const model = gpt();
      const layer = model.blocks[0].attention[name];
      const added = new LowRank(16, 16, 2, { rng: new Rng(3) });
      added.b.assign(random([16, 2]));
      layer.correction = added;
      const want = model.forward(ids);
      await expect(rotate(model)).rejects.toThrow(
        `rotate: no correction may stand on what is turned, got "blocks.0.attention.${name}.weight"`,
      );
      expect(model.forward(ids).toArray()).toEqual(want.toArray());
    },
  );

  it("split columns behind what stands in front of them", async () => {
    const model = gpt();
    await rotate(model, { rng: new Rng(1) });
    const want = model.forward(ids);
    await splitOutlierChannels(prepare(model, plan({ default: int8WeightOnly() })), { ratio: 0.1 });
    const { down } = model.blocks[0].mlp;
    expect(down.inputSteps.map(({ features }) => features)).toEqual([64, 64]);
    expect([(down.inputSteps[0] as Hadamard).block, down.weight.shape]).toEqual([64, [16, 71]]);
    expect(offOf(model, want)).toBeLessThan(1e-5);
  });
});
