import { memory, noGrad, Rng, randn, relu, type Tensor, tensor } from "bitgrad";
import {
  BatchNorm1d,
  clone,
  crossEntropy,
  Dropout,
  Embedding,
  evaluate,
  Linear,
  Parameter,
  parametrize,
  Sequential,
  taps,
  whileFloat,
} from "bitgrad/nn";
import {
  binarySigns,
  binaryWeightOnly,
  calibrate,
  freeze,
  int4WeightOnly,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  plan,
  prepare,
  type QuantConfig,
  quantize,
  quantizedTransform,
  quantReport,
  unprepare,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { reportTable } from "../../src/quant/report/report-text.ts";
import { list, masked, named } from "./setup.ts";

const net = () =>
  named({
    first: new Linear(6, 8, { rng: new Rng(1) }),
    act: relu,
    last: new Linear(8, 5, { rng: new Rng(2) }),
  });
const batches = [randn([7, 6], { rng: new Rng(3) }), randn([2, 6], { rng: new Rng(4) })];
const read = (model: { forward(x: Tensor): Tensor }) =>
  noGrad(() => batches.flatMap((x) => list(evaluate(model).forward(x))));

const sqnr = (y: number[], other: number[]) =>
  10 * Math.log10(y.reduce((s, v) => s + v * v, 0) / y.reduce((s, v, i) => s + (v - other[i]) ** 2, 0));
const divergences = (float: number[], other: number[], n: number) =>
  Array.from({ length: float.length / n }, (_, i) => {
    const soft = (all: number[]) => {
      const e = all.slice(i * n, (i + 1) * n).map(Math.exp);
      return e.map((v) => v / e.reduce((a, b) => a + b));
    };
    const [p, q] = [soft(float), soft(other)];
    return p.reduce((sum, v, k) => sum + v * Math.log(v / q[k]), 0);
  });
const mean = (numbers: number[]) => numbers.reduce((a, b) => a + b) / numbers.length;

const configs: Record<string, QuantConfig> = {
  int4WeightOnly: int4WeightOnly({ group: 4 }),
  int8Dynamic: int8Dynamic(),
  int8Static: int8Static(),
  binarySigns: binarySigns(),
};
const steps = { prepared: <M extends object>(model: M) => model, frozen: freeze };

describe.each(Object.entries(steps))("quantReport of a %s model", (step, finish) => {
  it.each(Object.entries(configs))("%s: compares layers alone and accumulated by hand", async (_, config) => {
    const model = prepare(net(), plan({ default: config }));
    await calibrate(model, batches);
    const float = unprepare(clone(model));
    const twin = evaluate(finish(clone(model)));
    const { layers, output } = await quantReport(finish(model), batches);

    const run = (of: ReturnType<typeof net>, x: Tensor) => {
      const tap = taps(of, ["first", "last"]);
      try {
        const { calls } = noGrad(() => tap.collect(() => of.forward(x)));
        const [a, b] = ["first", "last"].map((name) => calls.get(name)![0]);
        return { inputs: [a.inputs[0], b.inputs[0]] as Tensor[], outputs: [a.output, b.output] as Tensor[] };
      } finally {
        tap.dispose();
      }
    };
    for (const [k, name] of ["first", "last"].entries()) {
      const { alone, accumulated, kl, bits } = layers.find(({ layer }) => layer === name)!;
      const y = batches.flatMap((x) => list(run(float, x).outputs[k]));
      const within = batches.flatMap((x) => list(run(twin, x).outputs[k]));
      const layer = [twin.first, twin.last][k];
      const own = batches.flatMap((x) => list(noGrad(() => layer.forward(run(float, x).inputs[k]))));
      expect(alone.sqnr).toBeCloseTo(sqnr(y, own), 8);
      expect(accumulated.sqnr).toBeCloseTo(sqnr(y, within), 8);
      expect(alone.maxError).toBe(Math.max(...y.map((v, i) => Math.abs(v - own[i]))));
      expect(alone.relative).toBeCloseTo(10 ** (-alone.sqnr / 10), 10);
      expect(alone.cosine).toBeGreaterThan(0.4);
      const single = prepare(clone(float), plan({ rules: [[`${name}.weight`, config]] }));
      await calibrate(single, batches);
      const want = mean(divergences(read(float), read(single), 5));
      // Integer sums of a frozen layer differ in their last bits; static scales are those of the whole model.
      if (config !== configs.int8Static) expect(Math.abs(kl! - want)).toBeLessThan(1e-6 + 1e-3 * want);
      expect(bits).toBe((model.first.weight.transforms[0] as { bits?: number }).bits);
    }
    const [y, other] = [read(float), read(twin)];
    const kls = divergences(y, other, 5);
    expect(output.kl!.mean).toBeCloseTo(mean(kls), 6);
    expect(output.kl!.p99).toBeLessThanOrEqual(Math.max(...kls) + 1e-6);
    expect(output.kl!.p99).toBeGreaterThan(0.7 * Math.max(...kls));
    expect(output.distortion.sqnr).toBeCloseTo(sqnr(y, other), 8);
    expect(layers.map((layer) => layer.kl)).toEqual(layers.map(({ kl }) => kl).toSorted((a, b) => b! - a!));
  });

  it("counts how often the best class stays, and what cross entropy costs", async () => {
    const model = finish(prepare(net(), plan({ default: binaryWeightOnly() })));
    const labels = [0, 1, 2, 3, 4, -100, 1, 2, 3];
    const split = [labels.slice(0, 7), labels.slice(7)];
    const labelled = batches.map((x, i) => ({ x, y: tensor(split[i], { dtype: "int32" }) }));
    const { output } = await quantReport(model, labelled, {
      forward: ({ x }) => model.forward(x),
      targets: ({ y }) => y,
    });
    const entropy = (of: () => number[]) =>
      crossEntropy(tensor(of(), { shape: [9, 5] }), tensor(labels, { dtype: "int32" })).item();
    const float = entropy(() => whileFloat(model, () => read(model)));
    const quantized = entropy(() => read(model));
    expect(output.crossEntropy!.float).toBeCloseTo(float, 5);
    expect(output.crossEntropy!.quantized).toBeCloseTo(quantized, 5);
    expect(output.crossEntropy!.change).toBeCloseTo(quantized - float, 5);
    const best = (of: number[]) =>
      Array.from({ length: 9 }, (_, i) => {
        const row = of.slice(5 * i, 5 * i + 5);
        return row.indexOf(Math.max(...row));
      });
    const [a, b] = [best(whileFloat(model, () => read(model))), best(read(model))];
    expect(output.agreement).toBeCloseTo(a.filter((v, i) => v === b[i]).length / 9, 12);
    expect(step).toBeTruthy();
  });
});

describe("quantReport", () => {
  const prepared = (config = int4WeightOnly({ group: 4 })) => prepare(net(), plan({ default: config }));

  it("adds up the bytes of packed weights", async () => {
    const { bytes, floatBytes, layers } = await quantReport(prepared(), batches);
    expect([bytes, floatBytes]).toEqual([24 + 20 + 2 * (8 * 2 + 5 * 2), 4 * (48 + 40)]);
    expect(layers.map((layer) => layer.bytes).reduce((a, b) => a + b)).toBe(bytes);
  });

  it("sees codes that weights hold, which stay, and masks in front", async () => {
    const model = net();
    const kept = tensor(
      Array.from({ length: 48 }, (_, i) => i % 3 !== 0),
      { shape: [8, 6] },
    );
    parametrize(model, "first.weight", masked(kept));
    prepare(model, plan({ default: int4WeightOnly({ group: 4 }) }));
    const float = whileFloat(model, () => list(noGrad(() => model.first.forward(batches[0]))));
    const transform = quantizedTransform(model.first.weight)!;
    const zero = quantize(model.first.weight.effective().mul(0), transform.quantizer.spec);
    transform.hold(zero);
    const { layers } = await quantReport(model, [batches[0]]);
    const first = layers.find(({ layer }) => layer === "first")!;
    const bias = float.map((_, i) => model.first.bias!.value.data[i % 8]);
    expect(first.alone.sqnr).toBeCloseTo(sqnr(float, bias), 6);
    expect(list(transform.codes!.codes)).toEqual(list(zero.codes));
    expect(model.first.weight.transforms).toHaveLength(2);
  });

  it("lists each layer of a shared weight, whose bytes count once", async () => {
    const table = new Embedding(11, 6, { rng: new Rng(1) });
    const head = new Linear(6, 11, { rng: new Rng(2) });
    head.weight = table.weight;
    const model = prepare(new Sequential({ table, head }), plan({ default: int4WeightOnly({ group: 6 }) }));
    const ids = tensor([[1, 5, 3]], { dtype: "int32" });
    const { layers, bytes } = await quantReport(model, [ids]);
    expect(layers.map(({ layer, path }) => [layer, path]).toSorted()).toEqual([
      ["head", "table.weight"],
      ["table", "table.weight"],
    ]);
    expect(bytes).toBe(layers[0].bytes);
    expect(layers[0].kl).toBe(layers[1].kl);
  });

  it("takes the nearest layer around a weight that lies in no layer", async () => {
    class Own {
      parts = { weight: new Parameter(randn([4, 6], { rng: new Rng(1) })) };
      forward(x: Tensor) {
        return x.linear(this.parts.weight.effective());
      }
    }
    const model = prepare(new Sequential({ own: new Own() }), plan({ default: int8WeightOnly() }));
    const { layers } = await quantReport(model, batches);
    expect(layers.map(({ layer, path }) => [layer, path])).toEqual([["own", "own.parts.weight"]]);
  });

  it("sees a weight whose layer does not run by the nearest one around it that does", async () => {
    class Places {
      table = new Embedding(6, 6, { rng: new Rng(1) });
      body = new Linear(6, 5, { rng: new Rng(2) });
      forward(x: Tensor) {
        return this.body.forward(x.add(this.table.weight.effective().slice([[0, 1]])));
      }
    }
    const model = prepare(
      named({ inner: new Places(), scale: relu }),
      plan({ default: int4WeightOnly({ group: 6 }) }),
    );
    const { layers } = await quantReport(model, batches);
    const table = layers.find(({ layer }) => layer === "inner.table")!;
    const float = batches.flatMap((x) => list(whileFloat(model, () => model.inner.forward(x))));
    const twin = clone(model);
    twin.inner.body.weight.transforms.pop();
    const alone = batches.flatMap((x) => list(noGrad(() => twin.inner.forward(x))));
    expect(table.alone.sqnr).toBeCloseTo(sqnr(float, alone), 8);
    expect(table.accumulated).toEqual(layers.find(({ layer }) => layer === "inner.body")!.accumulated);
  });

  it("has no divergence where outputs are no logits, and sorts by the SQNR of the layer alone", async () => {
    const model = prepared();
    const { layers, output } = await quantReport(model, batches, {
      forward: (x: Tensor) => model.forward(x).sum({ axis: -1, keepDims: true }),
    });
    expect([output.kl, output.agreement, output.crossEntropy]).toEqual([null, null, null]);
    expect(layers.every(({ kl }) => kl === null)).toBe(true);
    expect(layers[0].alone.sqnr).toBeLessThan(layers[1].alone.sqnr);
  });

  it("is exact where nothing is lost, and never NaN: zeros, dead layers, masked classes", async () => {
    const zero = net();
    for (const weight of [zero.first.weight, zero.last.weight]) weight.update((data) => data.fill(0));
    prepare(zero, plan({ default: int8WeightOnly() }));
    const { layers, output } = await quantReport(zero, batches);
    for (const { alone, accumulated, kl } of layers) {
      expect([alone, accumulated]).toMatchObject([
        { sqnr: Infinity, relative: 0, cosine: 1 },
        { sqnr: Infinity, relative: 0, cosine: 1 },
      ]);
      expect(kl).toBe(0);
    }
    expect(output).toMatchObject({ kl: { mean: 0, p99: 0 }, agreement: 1 });

    const model = prepared();
    const masked = await quantReport(model, batches, {
      forward: (x: Tensor) => model.forward(x).add(tensor([0, 0, 0, 0, -Infinity])),
      targets: (x: Tensor) =>
        x
          .slice([null, [0, 1]])
          .squeeze(1)
          .mul(0)
          .add(4),
    });
    expect(masked.output.crossEntropy).toEqual({ float: Infinity, quantized: Infinity, change: 0 });
    expect(Number.isFinite(masked.output.distortion.sqnr)).toBe(true);
    expect(JSON.stringify(masked)).not.toContain("null,null");
    expect(String(masked)).not.toContain("NaN");
    expect(masked.toSvg()).not.toContain("NaN");
  });

  it("is JSON, with words for numbers that JSON lacks", async () => {
    const model = prepare(net(), plan({ default: int8WeightOnly() }));
    model.first.weight.update((data) => data.fill(1));
    const report = await quantReport(model, batches);
    const { layers, bytes } = JSON.parse(JSON.stringify(report));
    expect(bytes).toBe(report.bytes);
    expect(layers).toHaveLength(2);
    expect(layers.find((row: { layer: string }) => row.layer === "first").path).toBe("first.weight");
    const zero = net();
    zero.last.weight.update((data) => data.fill(0));
    const exact = await quantReport(prepare(zero, plan({ default: int8WeightOnly() })), batches, {
      layers: "last",
    });
    expect(JSON.parse(JSON.stringify(exact)).layers[0].alone.sqnr).toBe("Infinity");
  });

  it("prints as a table, and draws a picture", async () => {
    const report = await quantReport(prepared(), batches, {
      targets: (x) =>
        x
          .slice([null, [0, 1]])
          .squeeze(1)
          .mul(0),
    });
    const lines = String(report).split("\n");
    expect(lines[0]).toMatch(/^layer +bits +bytes +KL +alone dB +cosine +error +all dB +cosine +error$/);
    expect(lines[2]).toMatch(/^(first|last) +W4A32 +\d+ +\S+ +[\d.]+ +[01]\.\d{4}/);
    expect(lines.slice(-4).join("\n")).toMatch(
      /^96 bytes of weights, 352 as float32\nKL per row: mean \S+, 99th percentile \S+ nats\nsame best class: [\d.]+ %\ncross entropy: /,
    );
    const svg = report.toSvg();
    expect(svg.match(/<rect/g)).toHaveLength(2 + 2 * 2);
    expect(svg).toMatch(/^<svg [\s\S]*<\/svg>$/);
    const odd = new Sequential({ 'a<"&': new Linear(6, 3, { rng: new Rng(1) }) });
    const escaped = await quantReport(prepare(odd, plan({ default: int8WeightOnly() })), batches);
    expect(escaped.toSvg()).toContain("a&lt;&quot;&amp;");
  });

  it("prints no line of over 110 columns for names and numbers of usual length", () => {
    const distortion = { sqnr: -12.34, cosine: 0.98765, maxError: 0.00123456, relative: 1 };
    const row = { layer: "decoder.5.crossAttention.query", bits: 4, inputBits: 32, bytes: 1_234_567 };
    const measured = { kl: 0.00123456, alone: distortion, accumulated: distortion };
    const output = { distortion, kl: null, agreement: null, crossEntropy: null };
    const sums = { bytes: 98_765_432, floatBytes: 987_654_321 };
    const lines = reportTable({ layers: [{ ...row, ...measured }], output, ...sums }).split("\n");
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(110);
    expect(lines[2]).toMatch(/ 0\.00123 +-12\.3 +0\.9877 +0\.00123 +-12\.3 +0\.9877 +0\.00123$/);
  });

  it("runs layers in evaluation, chosen by patterns, tells of each, and leaves the model as it was", async () => {
    const model = named({ net: net(), norm: new BatchNorm1d(5), drop: new Dropout(0.5) });
    prepare(model, plan({ default: int8Dynamic() }));
    const heard: unknown[] = [];
    const { layers } = await quantReport(model, batches, {
      layers: "net.last",
      onLayer: (at) => heard.push(at),
    });
    expect(layers.map(({ layer }) => layer)).toEqual(["net.last"]);
    const at = { layer: "net.last", done: 1, of: 1 };
    expect(heard).toEqual([at, at]);
    expect([model.drop.training, model.norm.training, model.net.first.inputQuantizer!.training]).toEqual([
      true,
      true,
      true,
    ]);
    expect(list(model.norm.runningMean)).toEqual([0, 0, 0, 0, 0]);
    expect(model.net.first.weight.transforms).toHaveLength(1);
    expect(Object.hasOwn(model.net.last, "forward")).toBe(false);
  });

  it("keeps no memory, and gives the same numbers again", async () => {
    const model = prepared();
    const first = JSON.stringify(await quantReport(model, batches));
    const { tensors, bytes } = memory();
    expect(JSON.stringify(await quantReport(model, batches))).toBe(first);
    expect({ tensors: memory().tensors, bytes: memory().bytes }).toEqual({ tensors, bytes });
  });

  const nothing: Tensor[] = [];
  it.each<[string, (model: ReturnType<typeof net>) => Promise<unknown>, string]>([
    ["no batches", (m) => quantReport(m, nothing), "needs at least one batch, got none"],
    [
      "a float model",
      () => quantReport(net(), batches),
      "the model must be prepared, got no quantized weight",
    ],
    [
      "static inputs without scales",
      () => quantReport(prepare(net(), plan({ default: int8Static() })), batches),
      "static scales must be calibrated, got none",
    ],
    [
      "a pattern that fits none",
      (m) => quantReport(m, batches, { layers: "act" }),
      'got "act"; there are first, last',
    ],
    [
      "a layer that no batch reaches",
      (m) => quantReport(m, batches, { forward: (x: Tensor) => m.first.forward(x) }),
      'no batch reached a layer, got no input of "last"',
    ],
    ["NaN", (m) => quantReport(m, [tensor([[Number.NaN, 1, 1, 1, 1, 1]])]), "must return numbers, got NaN"],
    [
      "targets of another length",
      (m) => quantReport(m, batches, { targets: () => [1, 2] }),
      "needs one target per row of logits, got (2) for (7, 5) in batch 0",
    ],
    [
      "a target that is no class",
      (m) => quantReport(m, [randn([2, 6])], { targets: () => [1, 5] }),
      "a target must be a class from 0 to 4, or -100 where it does not count, got 5",
    ],
    [
      "async targets",
      (m) => quantReport(m, batches, { targets: (async () => [1]) as never }),
      "targets must be synchronous",
    ],
    [
      "an async forward",
      (m) => quantReport(m, batches, { forward: async (x: Tensor) => m.forward(x) }),
      "must be synchronous",
    ],
  ])("refuses %s, and leaves the model as it was", async (_, run, text) => {
    const model = prepared();
    await expect(run(model)).rejects.toThrow(text);
    expect(model.first.weight.transforms).toHaveLength(1);
    expect(Object.hasOwn(model.first, "forward")).toBe(false);
    await quantReport(model, batches);
  });
});
