/** Corrections of low rank beside quantized weights. */

import { arange, OptionError, Rng, randn, relu, StageError, scope, type Tensor, tensor } from "bitgrad";
import { Gpt } from "bitgrad/models";
import {
  Conv2d,
  clone,
  evaluate,
  Flatten,
  Linear,
  LowRank,
  loadStateDict,
  namedParameters,
  Sequential,
  stateDict,
  whileFloat,
} from "bitgrad/nn";
import { adam, optimizer } from "bitgrad/optim";
import { loadPacked } from "bitgrad/packed";
import {
  biasCorrection,
  binarySigns,
  binaryWeightOnly,
  clipSearch,
  freeze,
  gptq,
  int4WeightOnly,
  int8Dynamic,
  int8WeightOnly,
  type LowRankCorrectionOptions,
  lowRankCorrection,
  pack,
  plan,
  prepare,
  quantizedTransform,
  splitOutlierChannels,
  unprepare,
} from "bitgrad/quant";
import { gradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import { roundEven } from "../../kernels/elementwise/special.ts";
import {
  eigenFactors,
  type LowRankFactors,
  lowRankFactors,
  scaledFactors,
} from "../../src/quant/methods/low-rank.ts";
import { differing, methodCases } from "../golden/method-cases.ts";

type Method = LowRankCorrectionOptions<Tensor>["method"];
const methods = ["svd", "activation", "eigen"] as const;
const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);
const correctionOf = (layer: object): LowRank => (layer as Linear).correction as LowRank;
const sumOfSquares = (x: ArrayLike<number>): number => Array.from(x).reduce((sum, v) => sum + v * v, 0);

function productOf({ rank, a, b }: LowRankFactors): Float64Array {
  const columns = a.length / rank;
  return Float64Array.from({ length: (b.length / rank) * columns }, (_, at) => {
    let sum = 0;
    for (let r = 0; r < rank; r++)
      sum += b[Math.floor(at / columns) * rank + r] * a[r * columns + (at % columns)];
    return sum;
  });
}

/** XᵀX. */
const gram = (x: Float64Array, columns: number): Float64Array =>
  Float64Array.from({ length: columns ** 2 }, (_, at) => {
    let sum = 0;
    for (let k = 0; k < x.length; k += columns)
      sum += x[k + Math.floor(at / columns)] * x[k + (at % columns)];
    return sum;
  });

/** tr(E H Eᵀ), the squared error of the outputs. */
function outputs(e: Float64Array, h: Float64Array, columns: number): number {
  let sum = 0;
  for (let i = 0; i < e.length; i += columns)
    for (let j = 0; j < columns; j++)
      for (let k = 0; k < columns; k++) sum += e[i + j] * h[j * columns + k] * e[i + k];
  return sum;
}

const without = (a: Float64Array, b: Float64Array): Float64Array => a.map((v, i) => v - b[i]);
const meanSizes = (x: Float64Array, columns: number): Float64Array =>
  Float64Array.from({ length: columns }, (_, j) => {
    let sum = 0;
    for (let k = j; k < x.length; k += columns) sum += Math.abs(x[k]);
    return (sum * columns) / x.length;
  });

describe("factors", () => {
  // Own numbers from LQER (ChengZhang-98/lqer) and EoRA (NVlabs/EoRA).
  it.each(methodCases<{ rank: number }>("codebook-low-rank").map((each) => [each.name, each] as const))(
    "%s",
    (_, each) => {
      const [rows, columns] = each.inputs.W.shape;
      const { rank } = each.params;
      const w = Float64Array.from(each.inputs.W.data);
      const e = without(w, Float64Array.from(each.inputs.W_quantized.data));
      const x = Float64Array.from(each.inputs.X.data);
      const h = gram(x, columns);
      const sizes = meanSizes(x, columns).map((size) => Math.max(size, 1e-4));
      const norm = Math.sqrt(Math.min(...sizes) * Math.max(...sizes));
      expect(
        differing(
          each,
          "lqer_scale",
          Array.from(sizes, (size) => size / norm),
        ),
      ).toEqual([]);
      const found = {
        svd_product: productOf(lowRankFactors(e, rows, columns, rank)!),
        lqer_product: productOf(scaledFactors(e, rows, columns, rank, sizes)!),
        eora_product: productOf(eigenFactors(e, rows, columns, rank, h)!),
      };
      for (const [name, product] of Object.entries(found))
        expect(differing(each, name, Array.from(product))).toEqual([]);
      const errors = [e, ...Object.values(found).map((product) => without(e, product))].map(
        (left) => outputs(left, h, columns) / outputs(w, h, columns),
      );
      expect(differing(each, "errors", errors)).toEqual([]);
    },
  );

  // (8, 8): W_ij = ((29(8i + j) mod 61) − 30) / 20, column 3 times 4; three bits with a scale for each row.
  const w = Float64Array.from(
    { length: 64 },
    (_, i) => ((((29 * i) % 61) - 30) / 20) * (i % 8 === 3 ? 4 : 1),
  );
  // In double precision: where a quotient lies halfway between codes, a scale rounded to float32 moves it.
  const e = w.map((v, i) => {
    const row = w.subarray(i - (i % 8), i - (i % 8) + 8);
    const scale = row.reduce((most, each) => Math.max(most, Math.abs(each)), 0) / 3;
    return v - roundEven(v / scale) * scale;
  });
  // (16, 8): X_kj = (((5k + 7j) mod 13) − 6) / 6, column 2 times 6.
  const x = Float64Array.from({ length: 128 }, (_, i) => {
    const [k, j] = [Math.floor(i / 8), i % 8];
    return ((((5 * k + 7 * j) % 13) - 6) / 6) * (j === 2 ? 6 : 1);
  });
  const h = gram(x, 8);

  it("leave what the reference leaves of a matrix", () => {
    expect(sumOfSquares(e)).toBeCloseTo(5.192778, 5);
    for (const [rank, want] of [
      [1, 3.109479],
      [2, 1.47752],
      [4, 0.301241],
    ]) {
      expect(sumOfSquares(without(e, productOf(lowRankFactors(e, 8, 8, rank)!)))).toBeCloseTo(want, 5);
    }
  });

  it("leave what the reference leaves of the outputs", () => {
    const left = (factors: LowRankFactors | null) =>
      outputs(factors ? without(e, productOf(factors)) : e, h, 8) / outputs(w, h, 8);
    expect(left(null)).toBeCloseTo(0.035635, 5);
    const sizes = meanSizes(x, 8);
    for (const [rank, ...want] of [
      [1, 0.028102, 0.005817, 0.00481],
      [2, 0.018231, 0.003142, 0.001971],
    ]) {
      const found = [
        lowRankFactors(e, 8, 8, rank),
        scaledFactors(e, 8, 8, rank, sizes),
        eigenFactors(e, 8, 8, rank, h),
      ];
      found.forEach((factors, i) => {
        expect(left(factors)).toBeCloseTo(want[i], 5);
      });
    }
  });

  it("of the whole rank are exact, whatever the shape", () => {
    for (const [rows, columns] of [
      [3, 7],
      [7, 3],
      [1, 5],
      [5, 1],
      [6, 6],
    ]) {
      const given = Float64Array.from(list(randn([rows, columns], { rng: new Rng("m"), dtype: "float64" })));
      const inputs = Float64Array.from(list(randn([20, columns], { rng: new Rng("x"), dtype: "float64" })));
      for (const factors of [
        lowRankFactors(given, rows, columns, 9),
        scaledFactors(given, rows, columns, 9, meanSizes(inputs, columns)),
        eigenFactors(given, rows, columns, 9, gram(inputs, columns)),
      ]) {
        expect(factors!.rank).toBe(Math.min(rows, columns));
        expect(sumOfSquares(without(given, productOf(factors!)))).toBeLessThan(1e-18 * sumOfSquares(given));
      }
    }
  });

  it("by eigenvectors have the least error of the outputs, also where inputs are 0 or depend on one another", () => {
    const rng = new Rng("inputs");
    for (const kept of [8, 3, 1]) {
      const inputs = randn([20, kept], { rng })
        .matmul(randn([kept, 8], { rng }))
        .mul(tensor([1, 1, 9, 1, 0, 1, 1, 0.1]));
      const seen = gram(Float64Array.from(list(inputs)), 8);
      for (const rank of [1, 2, 5]) {
        const least = outputs(without(e, productOf(eigenFactors(e, 8, 8, rank, seen)!)), seen, 8);
        const others = [
          lowRankFactors(e, 8, 8, rank),
          scaledFactors(e, 8, 8, rank, meanSizes(Float64Array.from(list(inputs)), 8)),
        ];
        for (const other of others) {
          expect(least).toBeLessThanOrEqual(
            outputs(without(e, productOf(other!)), seen, 8) + 1e-9 * outputs(e, seen, 8),
          );
        }
      }
    }
  });

  it("are the plain ones where all inputs are 0, and none of what is not finite", () => {
    const plain = productOf(lowRankFactors(e, 8, 8, 2)!);
    expect(productOf(eigenFactors(e, 8, 8, 2, new Float64Array(64))!)).toEqual(
      expect.objectContaining({ length: plain.length }),
    );
    const off = without(plain, productOf(eigenFactors(e, 8, 8, 2, new Float64Array(64))!));
    expect(sumOfSquares(off)).toBeLessThan(1e-20);
    expect(lowRankFactors(Float64Array.of(1, Number.NaN), 1, 2, 1)).toBeNull();
  });
});

/** Rows of correlated columns, some of which are large. */
function inputs(rows: number, columns: number, seed: string): Tensor {
  const rng = new Rng(seed);
  const sizes = Float32Array.from({ length: columns }, (_, i) => (i % 6 === 1 ? 8 : 1));
  return randn([rows, columns], { rng })
    .matmul(randn([columns, columns], { rng }))
    .mul(tensor(sizes));
}

const net = () => {
  const rng = new Rng("net");
  return new Sequential(new Linear(24, 32, { rng }), relu, new Linear(32, 6, { rng }));
};

describe("a corrected model", () => {
  const x = inputs(128, 24, "x");
  const want = net().forward(x).detach();
  const errorOf = (model: Sequential): number => model.forward(x).sub(want).square().sum().item();
  const int4 = plan({ default: int4WeightOnly() });

  it("is nearer to the float model the better the method knows its inputs", async () => {
    const errors: number[] = [errorOf(prepare(net(), int4))];
    for (const method of methods) {
      const batches = method === "svd" ? null : x.chunk(3);
      errors.push(errorOf(await lowRankCorrection(prepare(net(), int4), batches, { method, rank: 3 })));
    }
    for (let i = 1; i < errors.length; i++) expect(errors[i]).toBeLessThan(errors[i - 1]);
  });

  it.each(methods)("is the float model with the whole rank of %s", async (method) => {
    const model = await lowRankCorrection(prepare(net(), int4), [x], { method, rank: 99 });
    expect(errorOf(model)).toBeLessThan(1e-9 * want.square().sum().item());
    expect(correctionOf(model[2]).rank).toBe(6);
  });

  it("corrects later layers for what earlier ones give by codes and corrections", async () => {
    const model = prepare(net(), int4);
    await lowRankCorrection(model, [x], { layers: "0", rank: 2 });
    const hidden = relu((model[0] as Linear).forward(x));
    const alone = prepare(net()[2] as Linear, int4);
    await lowRankCorrection(alone, [hidden], { rank: 2 });
    await lowRankCorrection(model, [x], { layers: "2", rank: 2 });
    const [a, b] = [model[2], alone].map(correctionOf).map(({ a, b }) => b.value.matmul(a.value));
    expect(a.sub(b).abs().max().item()).toBeLessThan(1e-5);
  });

  it.each([
    ["int8Dynamic", int8Dynamic()],
    ["binaryWeightOnly", binaryWeightOnly()],
    ["int4WeightOnly", int4WeightOnly()],
  ] as const)("of %s packs as it freezes, also through a file", async (name, config) => {
    const model = prepare(net(), plan({ default: config }));
    await lowRankCorrection(model, [x], { rank: 3 });
    const live = evaluate(model).forward(x);
    const frozen = evaluate(freeze(model));
    const floats = { data: x.data as Float32Array, shape: x.shape };
    const packed = pack(frozen);
    const [direct, read] = [packed, loadPacked(packed.toBytes())].map((each) =>
      Array.from(each.forward(floats).data),
    );
    expect(read).toEqual(direct);
    const given = scope(() => list(frozen.forward(x)));
    if (name === "int8Dynamic") expect(direct).toEqual(given);
    const size = Math.max(...given.map(Math.abs));
    for (const [i, v] of given.entries()) {
      expect(Math.abs(direct[i] - v)).toBeLessThan(1e-5 * size);
      expect(Math.abs(list(live)[i] - v)).toBeLessThan(1e-4 * size);
    }
  });

  it("packs beside columns that are multiplied twice", async () => {
    const model = prepare(net(), plan({ default: int8Dynamic() }));
    await splitOutlierChannels(model, { ratio: 0.1 });
    expect((model[0] as Linear).inputSteps).toHaveLength(1);
    await lowRankCorrection(model, [x], { rank: 99 });
    expect(model.forward(x).sub(want).square().sum().item()).toBeLessThan(1e-3 * want.square().sum().item());
    const frozen = evaluate(freeze(model));
    const packed = loadPacked(pack(frozen).toBytes()).forward({
      data: x.data as Float32Array,
      shape: x.shape,
    });
    expect(Array.from(packed.data)).toEqual(scope(() => list(frozen.forward(x))));
  });

  it("of signs whose inputs are signs hands no bits past a correction", async () => {
    const rng = new Rng("signs");
    const layers = [24, 32, 16].map(
      (width, i, all) => new Linear(all[i - 1] ?? 24, width, { bias: false, rng }),
    );
    const model = prepare(new Sequential(...layers), plan({ default: binarySigns() }));
    await lowRankCorrection(model, null, { method: "svd", rank: 2 });
    const frozen = evaluate(freeze(model));
    const direct = pack(frozen).forward({ data: x.data as Float32Array, shape: x.shape }).data;
    expect(Array.from(direct)).toEqual(scope(() => list(frozen.forward(x))));
  });

  it("may be a GPT, whose attention and networks pack with their corrections", async () => {
    const gpt = new Gpt({ vocabulary: 16, context: 8, dim: 16, layers: 1, heads: 2, rng: new Rng("gpt") });
    const ids = tensor([[1, 2, 3, 4, 5, 6, 7, 8]], { dtype: "int32" });
    const float = evaluate(gpt).forward(ids);
    prepare(
      gpt,
      plan({
        default: null,
        rules: [["blocks.**.{query,key,value,out,up,down}.weight", binaryWeightOnly()]],
      }),
    );
    const before = gpt.forward(ids).sub(float).square().sum().item();
    await lowRankCorrection(gpt, [ids], { rank: 4, forward: (batch) => gpt.forward(batch) });
    expect(gpt.forward(ids).sub(float).square().sum().item()).toBeLessThan(0.5 * before);
    expect(correctionOf(gpt.blocks[0].attention.query).rank).toBe(4);
    const frozen = evaluate(freeze(gpt));
    const packed = pack(frozen).forward({ data: Array.from(ids.data), shape: ids.shape });
    const [a, b] = [list(frozen.forward(ids)), Array.from(packed.data)];
    expect(Math.max(...a.map((v, i) => Math.abs(v - b[i])))).toBeLessThan(1e-4);
  });

  it("trains its corrections, also when it is frozen", async () => {
    const model = await lowRankCorrection(prepare(net(), int4), [x], { rank: 2 });
    evaluate(freeze(model));
    const trained = optimizer(model, adam({ lr: 1e-3 }));
    const before = errorOf(model);
    for (let step = 0; step < 30; step++) {
      trained.zeroGrad();
      model.forward(x).sub(want).square().mean().backward();
      trained.step();
    }
    expect(errorOf(model)).toBeLessThan(before);
    const names = namedParameters(model)
      .filter(([, { trainable }]) => trainable)
      .map(([name]) => name);
    expect(names).toEqual(expect.arrayContaining(["0.correction.a", "0.correction.b"]));
    expect(names).not.toContain("0.weight");
  });

  it("takes corrections of few bits by a rule of another plan", async () => {
    const model = await lowRankCorrection(prepare(net(), int4), [x], { rank: 4 });
    const before = [errorOf(model), pack(freeze(clone(model))).byteLength];
    prepare(model, plan({ default: null, rules: [["**.correction.*", int8WeightOnly()]] }));
    expect(errorOf(model)).toBeLessThan(1.2 * before[0]);
    const frozen = evaluate(freeze(model));
    const packed = pack(frozen);
    expect(packed.byteLength).toBeLessThan(0.7 * before[1]);
    const given = scope(() => list(frozen.forward(x)));
    const read = loadPacked(packed.toBytes()).forward({ data: x.data as Float32Array, shape: x.shape }).data;
    const size = Math.max(...given.map(Math.abs));
    expect(Math.max(...given.map((v, i) => Math.abs(v - read[i])))).toBeLessThan(1e-5 * size);
  });

  it("is loaded into a model whose layers have corrections of the same ranks", async () => {
    const model = await lowRankCorrection(prepare(net(), int4), [x], { rank: 4 });
    const state = stateDict(model);
    expect(Object.keys(state)).toContain("2.correction.b");
    const into = prepare(net(), int4);
    expect(() => loadStateDict(into, state)).toThrow(/correction/);
    for (const layer of [into[0], into[2]] as Linear[]) {
      layer.correction = new LowRank(layer.inFeatures, layer.outFeatures, 4);
    }
    loadStateDict(into, state);
    expect(list(into.forward(x))).toEqual(list(model.forward(x)));
  });

  it("has no corrections while it is float, nor when it is unprepared, but with what is baked", async () => {
    const model = await lowRankCorrection(prepare(net(), int4), [x], { rank: 2 });
    expect(list(whileFloat(model, () => model.forward(x)))).toEqual(list(want));
    const corrected = list(model.forward(x));
    const baked = unprepare(clone(model), { bake: true });
    expect(list(baked.forward(x))).toEqual(corrected);
    expect((baked[0] as Linear).correction).not.toBeNull();
    expect(list(unprepare(clone(model)).forward(x))).toEqual(list(want));
    const again = prepare(clone(model), plan({ default: int8Dynamic() }), { replace: true });
    expect((again[0] as Linear).correction).toBeNull();
  });

  it("keeps codes that were found for it", async () => {
    const model = prepare(net(), int4);
    const transform = quantizedTransform((model[0] as Linear).weight)!;
    transform.hold(heldOf());
    const before = list(transform.codes!.codes);
    await lowRankCorrection(model, [x], { rank: 32, layers: "0" });
    expect(list(transform.codes!.codes)).toEqual(before);
    const error = (model[0] as Linear)
      .forward(x)
      .sub((net()[0] as Linear).forward(x))
      .abs()
      .max()
      .item();
    expect(error).toBeLessThan(1e-3);
  });

  it("leaves convolutions as they are", async () => {
    const rng = new Rng("conv");
    const model = new Sequential(new Conv2d(2, 4, 3, { rng }), new Flatten(), new Linear(16, 3, { rng }));
    prepare(model, int4);
    const batches = [randn([5, 2, 4, 4], { rng })];
    const heard: string[] = [];
    await lowRankCorrection(model, batches, { onLayer: ({ layer }) => heard.push(layer) });
    expect(heard).toEqual(["2"]);
    await expect(lowRankCorrection(model, batches, { layers: "0" })).rejects.toThrow(
      'lowRankCorrection: corrections go to linear layers, got another in layer "0"',
    );
  });
});

/** The codes of the first layer with every other one further from 0. */
function heldOf() {
  const layer = prepare(net(), plan({ default: int4WeightOnly() }))[0] as Linear;
  const q = quantizedTransform(freeze(layer).weight)!.codes!;
  const codes = (q.codes.data as Int8Array).map((code, i) => (i % 2 === 0 ? code : Math.min(7, code + 1)));
  return { ...q, codes: tensor(codes, { shape: q.codes.shape }) as typeof q.codes };
}

it("corrects layers of more inputs than there are rows", async () => {
  const rng = new Rng("few");
  const layer = new Linear(128, 8, { rng });
  const x = randn([64, 128], { rng });
  const wanted = layer.forward(x);
  const error = () => layer.forward(x).sub(wanted).square().mean().item();
  prepare(layer, plan({ default: int4WeightOnly() }));
  const rounded = error();
  await lowRankCorrection(layer, [x], { rank: 4 });
  expect(error()).toBeLessThan(0.5 * rounded);
});

describe("the wrong call", () => {
  const x = [inputs(8, 24, "x")];
  const prepared = () => prepare(net(), plan({ default: int4WeightOnly() }));

  it("refuses models that are not prepared, or frozen, and batches of null", async () => {
    await expect(lowRankCorrection(net(), x)).rejects.toThrow(StageError);
    await expect(lowRankCorrection(freeze(prepared()), x)).rejects.toThrow(/must not be frozen/);
    await expect(lowRankCorrection(prepared(), null)).rejects.toThrow(
      'lowRankCorrection: eigen needs batches, got null; give some, or use { method: "svd" }',
    );
  });

  it("refuses a weight that is not finite, and names its layer", async () => {
    for (const batches of [x, null]) {
      const model = prepared();
      (model[2] as Linear).weight.update((w) => w.fill(Number.NaN, 5, 6));
      await expect(lowRankCorrection(model, batches, { method: batches ? "eigen" : "svd" })).rejects.toThrow(
        'lowRankCorrection: weights must be finite, got NaN at index 5 of layer "2"',
      );
      expect((model[0] as Linear).correction).toBe(null);
    }
  });

  it("refuses options that are none, and layers that have a correction", async () => {
    const wrong = (options: object) => lowRankCorrection(prepared(), x, options);
    await expect(wrong({ rank: 0 })).rejects.toThrow(/rank must be an integer of at least 1, got 0/);
    await expect(wrong({ method: "lqer" as Method })).rejects.toThrow(
      /method must be one of svd, activation, eigen/,
    );
    await expect(wrong({ layers: "3" })).rejects.toThrow(OptionError);
    const model = await lowRankCorrection(prepared(), x);
    const { correction } = model[0] as Linear;
    await expect(lowRankCorrection(model, x)).rejects.toThrow(
      'lowRankCorrection: a layer must have no correction yet, which fits the codes as they are, got one of "0"; set it to null',
    );
    expect((model[0] as Linear).correction).toBe(correction);
  });

  it("refuses other codes, and other biases, under a correction", async () => {
    const model = await lowRankCorrection(prepared(), x, { layers: "0" });
    const before = list(model.forward(x[0]));
    const other = [gptq, clipSearch, biasCorrection] as ((
      m: Sequential,
      b: Tensor[],
      o?: object,
    ) => Promise<unknown>)[];
    for (const method of other) {
      await expect(method(model, x)).rejects.toThrow(`${method.name}: a layer must have no correction yet`);
    }
    expect(list(model.forward(x[0]))).toEqual(before);
    await gptq(model, x, { layers: "2" });
  });

  it("leaves the model as it was after an error", async () => {
    const model = prepared();
    const stop = () => {
      throw new Error("stop");
    };
    await expect(lowRankCorrection(model, x, { onLayer: stop })).rejects.toThrow("stop");
    await expect(lowRankCorrection(model, null, { method: "svd", onLayer: stop })).rejects.toThrow("stop");
    expect((model[0] as Linear).correction).toBeNull();
    expect(quantizedTransform((model[0] as Linear).weight)!.codes).toBeNull();
  });
});

describe("LowRank", () => {
  it("has gradients of both orders", () => {
    const layer = new LowRank(3, 2, 2, { rng: new Rng(1) });
    const given = [
      randn([4, 3], { dtype: "float64" }),
      randn([2, 3], { dtype: "float64" }),
      randn([2, 2], { dtype: "float64" }),
    ];
    gradcheck((x: Tensor, a: Tensor, b: Tensor) => x.linear(a).linear(b), given);
    const x = arange(3).reshape([1, 3]);
    expect(list(layer.forward(x))).toEqual([0, 0]);
    layer.b.assign(
      tensor([
        [1, 0],
        [0, 2],
      ]),
    );
    const [p, q] = list(x.linear(layer.a.value));
    expect(list(layer.forward(x))).toEqual([p, 2 * q]);
    expect(layer.rank).toBe(2);
  });
});
