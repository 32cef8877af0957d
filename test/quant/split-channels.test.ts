import { ones, Rng, rand, type Tensor, tensor } from "bitgrad";
import { Bert, Gpt } from "bitgrad/models";
import {
  Conv2d,
  type CopyFeatures,
  clone,
  evaluate,
  Linear,
  loadStateDict,
  parametrize,
  Sequential,
  stateDict,
  statistics,
} from "bitgrad/nn";
import { loadPacked } from "bitgrad/packed";
import {
  calibrate,
  clipSearch,
  freeze,
  int4WeightOnly,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  lowRankCorrection,
  nf4WeightOnly,
  pack,
  plan,
  prepare,
  quantizedTransform,
  splitOutlierChannels,
  ste,
  unprepare,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { splitColumns } from "../../src/quant/methods/split-columns.ts";
import { differing, methodCases } from "../golden/method-cases.ts";
import { bits as bitsOf, random, values } from "../packed/twins.ts";
import { heavy, layerOf } from "./setup.ts";

interface Params {
  readonly ratio: number;
  readonly threshold: number;
  readonly w_scale: number | null;
  readonly bits: number | null;
}

describe("columns split as by the code of OCS, cornell-zhang/dnn-quant-ocs", () => {
  it.each(methodCases<Params>("calib-ocs").map((of) => [of.name, of] as const))("%s", (_name, of) => {
    const [rows, columns] = of.inputs.W.shape;
    const { ratio, threshold, w_scale: scale, bits } = of.params;
    const weight = Float64Array.from(of.inputs.W.data);
    const quarters = scale === null ? null : new Float64Array(rows).fill(0.25 / scale);
    const rule = { splits: Math.ceil(ratio * columns), threshold, quarters };
    const found = splitColumns({ weight, rows, columns }, rule);
    // It compares with a share of a column's largest number, and so halves all of one whose numbers are larger below 0;
    // ours compares magnitudes, as it is meant.
    const counts = (i: number): boolean => {
      const column = i % found.columns;
      const input = column < columns ? column : found.copies[column - columns];
      const numbers = Array.from({ length: rows }, (_, r) => weight[r * columns + input]);
      return threshold === 0 || -Math.min(...numbers) <= Math.max(...numbers);
    };
    const wrong = differing(of, "W_expanded", Array.from(found.weight), counts);
    expect([...wrong, ...differing(of, "index", [...found.copies])]).toEqual([]);
    if (scale === null || bits === null) return;
    const most = 2 ** (bits - 1);
    const codes = Array.from(found.weight, (w) => Math.min(most - 1, Math.max(-most, Math.round(w * scale))));
    expect(differing(of, "codes", codes)).toEqual([]);
  });
});

const whole = (bits: number) => ({ weight: ste({ bits, granularity: "tensor", scaleDtype: "float32" }) });

const copiesOf = ({ inputSteps }: Linear): Tensor[] =>
  (inputSteps as CopyFeatures[]).map(({ copies }) => copies);

/** The matrix (out, in) that a layer multiplies its inputs by, the columns of copies added to those they are of. */
function folded(layer: Linear): Tensor {
  let wide = layer.weight.effective();
  for (const copies of copiesOf(layer).reverse()) {
    const first = wide.shape[1] - copies.size;
    wide = wide
      .slice([null, [0, first]])
      .indexAdd(copies, wide.slice([null, [first, wide.shape[1]]]), { axis: 1 });
  }
  return wide;
}

describe("splitOutlierChannels", () => {
  it("leaves the function of floats as it was, whatever is split", async () => {
    const x = random([5, 24]);
    for (const options of [{}, { ratio: 0.5 }, { ratio: 1, aware: false }, { ratio: 0.3, threshold: 0.5 }]) {
      const layer = layerOf(heavy([6, 24], "float"), whole(4));
      const before = clone(layer);
      await splitOutlierChannels(layer, options);
      expect(layer.weight.shape[1]).toBe(24 + Math.ceil((options.ratio ?? 0.05) * 24));
      expect([layer.inFeatures, layer.outFeatures]).toEqual([24, 6]);
      const [was, is] = [unprepare(before).forward(x), unprepare(layer).forward(x)];
      expect(was.sub(is).abs().max().item()).toBeLessThan(1e-5 * was.abs().max().item());
    }
  });

  it("gives halves whose codes add up to the code of the whole, on the step that they have themselves", async () => {
    for (const config of [whole(4), { weight: ste({ bits: 3 }) }]) {
      const weight = heavy([16, 40], "halves");
      const layer = layerOf(weight, config);
      await splitOutlierChannels(layer, { ratio: 0.2 });
      const { scale } = quantizedTransform(layer.weight)!.quantizer.params(layer.weight.value);
      const steps = scale.size === 1 ? scale : scale.reshape([16, 1]);
      // Within half a step of the whole, where two equal halves may be rounded a whole step away.
      const off = folded(layer).sub(weight).abs().div(steps).max().item();
      expect(off).toBeLessThanOrEqual(0.501);
      const naive = layerOf(weight, config);
      await splitOutlierChannels(naive, { ratio: 0.2, aware: false });
      expect(folded(naive).sub(weight).abs().div(steps).max().item()).toBeGreaterThan(0.8);
    }
  });

  it("takes the step of the wider matrix, which the halves that lie apart make larger", async () => {
    const weight = rand([400, 3], { rng: new Rng("step") })
      .sub(0.5)
      .mul([16, 1, 1]);
    weight.data[0] = 20;
    const layer = layerOf(weight, whole(3));
    await splitOutlierChannels(layer, { ratio: 0.3 });
    const step = quantizedTransform(layer.weight)!.quantizer.params(layer.weight.value).scale.item();
    // 3 steps are half of the largest and a quarter of a step.
    expect(step).toBeCloseTo(10 / 2.75, 5);
    expect(folded(layer).sub(weight).abs().max().item() / step).toBeLessThanOrEqual(0.5001);
  });

  it("has less error than plain codes, and with a clip the least at 4 and 3 bits, as measured elsewhere", async () => {
    // Student-t(4), 128 × 256: plain, 5 % split, 5 % split and OMSE.
    const measured: [bits: number, ...errors: number[]][] = [
      [8, 2.9e-3, 4.3e-4, 3.7e-4],
      [6, 4.9e-2, 7.3e-3, 4.3e-3],
      [4, 0.562, 0.13, 0.039],
      [3, 0.874, 0.474, 0.101],
    ];
    const weight = heavy([128, 256], "t4");
    for (const [bits, ...want] of measured) {
      const layer = layerOf(weight, whole(bits));
      const error = () => folded(layer).sub(weight).square().mean().item() / weight.square().mean().item();
      const errors = [error()];
      await splitOutlierChannels(layer);
      errors.push(error());
      await clipSearch(layer, null, { least: 0 });
      errors.push(error());
      expect(errors[1]).toBeLessThan(0.7 * errors[0]);
      expect(errors[2]).toBeLessThan(errors[1]);
      // What plain codes err by depends on the largest number; what is left of that less.
      for (const [i, share] of want.entries()) {
        expect(errors[i] / share, `${bits} bits`).toBeGreaterThan([0.3, 0.6, 0.6][i]);
        expect(errors[i] / share, `${bits} bits`).toBeLessThan(1.2);
      }
    }
  });

  it("packs: integer products have the bits of the frozen layer, through a file", async () => {
    const x = random([7, 24]);
    for (const config of [
      int8Dynamic(),
      int8Static(),
      { ...int8Static(), weight: ste({ bits: 4, granularity: "tensor" }) },
    ]) {
      const layer = layerOf(heavy([6, 24], "packed"), config);
      await splitOutlierChannels(layer, { ratio: 0.1 });
      if (config.input?.().observer) await calibrate(layer, [x]);
      const packed = pack(evaluate(freeze(layer)));
      const want = bitsOf(layer.forward(x));
      for (const each of [packed, loadPacked(packed.toBytes())])
        expect(bitsOf(each.forward(values(x)))).toEqual(want);
      expect(() => packed.forward(values(random([7, 27])))).toThrow(
        "PackedCopyFeatures: x must end in 24 features, got (7, 27)",
      );
    }
    const floats = layerOf(heavy([6, 24], "packed"), int4WeightOnly({ granularity: "channel" }));
    await splitOutlierChannels(floats, { ratio: 0.1 });
    const got = pack(evaluate(freeze(floats))).forward(values(x)).data;
    for (const [i, want] of floats.forward(x).data.entries()) expect(got[i]).toBeCloseTo(Number(want), 4);
  });

  it("serves the layers of GPT and BERT, packed too", async () => {
    const gpt = new Gpt({ vocabulary: 11, context: 8, dim: 16, layers: 2, heads: 2, rng: new Rng(2) });
    const bert = new Bert({
      vocabulary: 11,
      dim: 16,
      layers: 1,
      heads: 2,
      head: "classifier",
      classes: 3,
      rng: new Rng(2),
    });
    for (const model of [gpt, bert]) {
      const layers = model === gpt ? "blocks.**" : null;
      prepare(model, plan({ default: int8Dynamic() }));
      const ids = [[1, 2, 3, 4]];
      const before = evaluate(model).forward(ids);
      const names: string[] = [];
      await splitOutlierChannels(model, {
        layers,
        ratio: 0.1,
        onLayer: ({ layer, of }) => names.push(`${layer} of ${of}`),
      });
      expect(names).toContain(`blocks.0.attention.out of ${names.length}`);
      expect(model.blocks[0].attention.out.weight.shape).toEqual([16, 18]);
      const close = (got: ArrayLike<number>) => {
        for (const [i, want] of before.data.entries())
          expect(Math.abs(got[i] - Number(want))).toBeLessThan(0.05);
      };
      close(model.forward(ids).data as Float32Array);
      const packed = loadPacked(pack(freeze(model)).toBytes());
      close(packed.forward({ data: ids[0], shape: [1, 4] } as never).data);
    }
  });

  it("trains, is cloned, and its state loads where the same was split", async () => {
    const make = () => layerOf(heavy([6, 24], "state"), int8WeightOnly());
    const layer = make();
    await splitOutlierChannels(layer, { ratio: 0.1 });
    const copy = clone(layer);
    layer
      .forward(ones([2, 24]))
      .sum()
      .backward();
    expect(layer.weight.grad!.shape).toEqual([6, 27]);
    layer.weight.update((w) => w.fill(0.5));
    expect(copy.forward(ones([1, 24])).toArray()).not.toEqual(layer.forward(ones([1, 24])).toArray());
    expect(Object.keys(stateDict(layer))).toEqual(["weight", "inputSteps.0.copies"]);
    loadStateDict(copy, stateDict(layer));
    expect(copy.forward(ones([1, 24])).toArray()).toEqual(layer.forward(ones([1, 24])).toArray());
    expect(() => loadStateDict(make(), stateDict(layer))).toThrow("copies");
    const { absmax } = (await statistics(layer, [random([9, 24])], { keep: ["absmax"] })).get("")!;
    const named = Array.from(copiesOf(layer)[0].data, (i) => absmax.data[i]);
    expect(Array.from(absmax.data.slice(24))).toEqual(named);
    // Again: columns of copies may be split too.
    const more = make();
    for (let i = 0; i < 2; i++) await splitOutlierChannels(more, { ratio: 0.1 });
    expect([more.weight.shape, more.inFeatures, copiesOf(more).map(({ size }) => size)]).toEqual([
      [6, 30],
      24,
      [3, 3],
    ]);
    const x = random([3, 24]);
    const [was, is] = [unprepare(make()).forward(x), unprepare(more).forward(x)];
    expect(was.sub(is).abs().max().item()).toBeLessThan(1e-4);
  });

  it("leaves all as it was for nothing to split, zeros, and dead rows", async () => {
    const layer = layerOf(heavy([6, 24], "none"), whole(4));
    await splitOutlierChannels(layer, { ratio: 0 });
    expect([layer.weight.shape, layer.inputSteps]).toEqual([[6, 24], []]);
    const zeros = layerOf(tensor(new Float32Array(8), { shape: [2, 4] }), whole(4));
    await splitOutlierChannels(zeros, { ratio: 0.5 });
    expect(zeros.forward(ones([1, 4])).toArray()).toEqual([[0, 0]]);
    const empty = layerOf(ones([1, 3]), whole(4));
    empty.weight.replace(tensor(new Float32Array(0), { shape: [0, 3] }));
    expect((await splitOutlierChannels(empty)).inputSteps).toEqual([]);
    const dead = layerOf(heavy([6, 24], "dead").mul(tensor([[1], [0], [1], [1], [1], [1]])), {
      weight: ste({ bits: 4 }),
    });
    await splitOutlierChannels(dead);
    expect(
      dead.weight
        .effective()
        .slice([[1, 2]])
        .abs()
        .max()
        .item(),
    ).toBe(0);
  });

  it("refuses layers that it cannot split, by name, and changes none of them", async () => {
    const refused = async (model: object, message: string, layers: string | null = null) =>
      expect(splitOutlierChannels(model, { layers })).rejects.toThrow(message);
    const first = new Linear(8, 8);
    const grouped = plan({ default: int8WeightOnly(), rules: [["1.weight", int4WeightOnly()]] });
    const model = prepare(new Sequential(first, new Linear(8, 2)), grouped);
    await refused(
      model,
      'splitOutlierChannels: needs one scale a tensor or a row, got "int4" in layer "1"',
      "*",
    );
    expect([first.weight.shape, first.inputSteps]).toEqual([[8, 8], []]);
    await refused(layerOf(ones([2, 8]), nf4WeightOnly()), 'needs evenly spaced codes, got "nf4"');
    const linear = new Linear(4, 2);
    const conv = prepare(new Sequential(new Conv2d(2, 2, 3), linear), plan({ default: int8WeightOnly() }));
    await refused(conv, "splitOutlierChannels: needs linear layers, got Conv2d in layer", "*");
    await splitOutlierChannels(conv);
    expect(copiesOf(linear)[0].size).toBe(1);
    const gpt = new Gpt({ vocabulary: 11, context: 8, dim: 16, layers: 1, heads: 2 });
    const everywhere = plan({ default: int8WeightOnly() });
    prepare(gpt, everywhere);
    await refused(gpt, 'no other part may read the weight, got (11, 16) in layer "head"', "head");
    const masked = new Linear(8, 2);
    parametrize(masked, "weight", { mask: null, apply: (w: Tensor) => w.tanh() });
    await refused(prepare(masked, everywhere), "no transform may stand in front of the quantizer");
    const corrected = await lowRankCorrection(prepare(new Linear(8, 2), everywhere), null, {
      rank: 1,
      method: "svd",
    });
    await refused(
      corrected,
      'a layer must have no correction yet, which fits the codes as they are, got one of ""',
    );
    await refused(new Linear(8, 2), "splitOutlierChannels: the model must be prepared");
    await expect(splitOutlierChannels(model, { ratio: 2 })).rejects.toThrow(
      "ratio must lie between 0 and 1, got 2",
    );
    await expect(splitOutlierChannels(model, { threshold: -1 })).rejects.toThrow(
      "threshold must lie between 0 and 1",
    );
  });

  it("passes over layers that it cannot split where none are named, and tells of those that it split", async () => {
    const heard: string[] = [];
    const onLayer = ({ layer }: { layer: string }) => heard.push(layer);
    const gpt = new Gpt({ vocabulary: 11, context: 8, dim: 16, layers: 1, heads: 2 });
    await splitOutlierChannels(prepare(gpt, plan({ default: int8WeightOnly() })), { onLayer });
    expect(heard).toContain("blocks.0.mlp.up");
    expect(heard).not.toContain("head");
    const rules = [["1.weight", int4WeightOnly()]] as const;
    const mixed = new Sequential(new Linear(8, 8), new Linear(8, 2));
    heard.length = 0;
    await splitOutlierChannels(prepare(mixed, plan({ default: int8WeightOnly(), rules })), { onLayer });
    expect(heard).toEqual(["0"]);
  });

  it("takes back what it split where onLayer throws, with the codes that were held", async () => {
    const first = new Linear(8, 8);
    const model = prepare(new Sequential(first, new Linear(8, 2)), plan({ default: whole(4) }));
    await clipSearch(model);
    const codes = quantizedTransform(first.weight)!.codes!.codes.data.slice();
    const stop = () => {
      throw new Error("stop");
    };
    await expect(splitOutlierChannels(model, { onLayer: stop })).rejects.toThrow("stop");
    expect([first.weight.shape, first.inputSteps]).toEqual([[8, 8], []]);
    expect(quantizedTransform(first.weight)!.codes!.codes.data).toEqual(codes);
  });
});
