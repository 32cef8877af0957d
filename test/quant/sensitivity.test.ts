import { grad, memory, noGrad, Rng, randn, relu, StageError, type Tensor, tensor } from "bitgrad";
import {
  Conv2d,
  clone,
  crossEntropy,
  Dropout,
  Embedding,
  evaluate,
  Flatten,
  LayerNorm,
  Linear,
  namedParameters,
  Parameter,
  parametrize,
  Sequential,
  stateDict,
  whileFloat,
} from "bitgrad/nn";
import {
  binaryWeightOnly,
  calibrate,
  fakeQuantize,
  freeze,
  int4WeightOnly,
  int8Dynamic,
  int8Static,
  int8WeightOnly,
  pack,
  plan,
  prepare,
  type QuantConfig,
  sensitivity,
  spec,
  staticInput,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { list, masked, named } from "./setup.ts";

const net = () =>
  named({
    first: new Linear(6, 8, { rng: new Rng(1) }),
    act: relu,
    last: new Linear(8, 5, { rng: new Rng(2) }),
  });
const draw = (seed: number, rows = 7) => randn([rows, 6], { rng: new Rng(seed) });
const batches = [draw(3), draw(4, 2)];
const four = { int4: int4WeightOnly() };

/** A copy of a model with one weight quantized. */
async function only<M extends object>(model: M, path: string, config: QuantConfig): Promise<M> {
  const twin = prepare(clone(model), plan({ rules: [[path, config]] }));
  await calibrate(twin, batches as never);
  return evaluate(twin);
}

const softmax = (row: number[]): number[] => {
  const e = row.map(Math.exp);
  return e.map((v) => v / e.reduce((a, b) => a + b));
};
/** The mean divergence of rows of logits, in the plainest way. */
const divergence = (float: number[][], other: number[][]): number => {
  const rows = float.map((row, i) => {
    const [p, q] = [softmax(row), softmax(other[i])];
    return p.reduce((sum, v, k) => sum + v * Math.log(v / q[k]), 0);
  });
  return rows.reduce((a, b) => a + b) / rows.length;
};
const rowsOf = (model: { forward(x: Tensor): Tensor }, of: readonly Tensor[] = batches): number[][] =>
  of.flatMap((x) => noGrad(() => evaluate(model).forward(x)).toArray() as number[][]);

describe("sensitivity by outputs", () => {
  const following = staticInput({ momentum: 0.5 });
  const choices = {
    ...{ int8: int8WeightOnly(), int4: int4Config(), dynamic: int8Dynamic(), fixed: int8Static() },
    following: { weight: ste({ bits: 8, granularity: "channel" }), input: following },
  };
  function int4Config() {
    return int4WeightOnly({ group: 4, scheme: "affine" });
  }

  it("is the mean divergence of logits with one weight quantized, whatever the sizes of batches", async () => {
    const model = net();
    const { measure, layers } = await sensitivity(model, batches, { choices });
    expect(measure).toBe("kl");
    expect(layers.map(({ layer, path, parameters }) => [layer, path, parameters])).toEqual([
      ["first", "first.weight", 48],
      ["last", "last.weight", 40],
    ]);
    for (const { path, options } of layers) {
      expect(options.map(({ choice }) => choice)).toEqual(Object.keys(choices));
      for (const { choice, cost } of options) {
        const twin = await only(model, path, choices[choice as keyof typeof choices]);
        const want = divergence(rowsOf(model), rowsOf(twin));
        expect(want).toBeGreaterThan(0);
        expect(Math.abs(cost - want), `${choice} of ${path}`).toBeLessThan(1e-9 + 1e-4 * want);
      }
    }
  });

  it("is the mean square of differences by measure mse", async () => {
    const model = net();
    const { layers } = await sensitivity(model, batches, { choices, measure: "mse" });
    const float = rowsOf(model).flat();
    for (const { path, options } of layers) {
      for (const { choice, cost } of options) {
        const other = rowsOf(await only(model, path, choices[choice as keyof typeof choices])).flat();
        const want = float.reduce((sum, v, i) => sum + (v - other[i]) ** 2, 0) / float.length;
        expect(cost).toBeCloseTo(want, 9);
      }
    }
  });

  it("counts the bytes that the packed weight takes", async () => {
    const model = new Linear(33, 5);
    const x = randn([2, 33], { rng: new Rng(1) });
    const given = { ...choices, binary: binaryWeightOnly(), float: null };
    const [{ options }] = (await sensitivity(model, [x], { choices: given })).layers;
    for (const { choice, bytes, cost } of options) {
      const config = given[choice as keyof typeof given];
      if (config === null) {
        expect([bytes, cost]).toEqual([4 * 33 * 5, 0]);
        continue;
      }
      const twin = prepare(clone(model), plan({ default: config }));
      await calibrate(twin, [x]);
      const packed = pack(freeze(twin)) as never as { root: { weight: { byteLength: number } } };
      expect(bytes, choice).toBe(packed.root.weight.byteLength);
    }
  });

  it("takes embeddings and convolutions, ties once, and leaves norms and biases alone", async () => {
    const table = new Embedding(11, 6, { rng: new Rng(1) });
    const head = new Linear(6, 11, { rng: new Rng(2) });
    head.weight = table.weight;
    const tied = new Sequential({ table, norm: new LayerNorm(6), head });
    const found = await sensitivity(tied, [tensor([[1, 2, 3]], { dtype: "int32" })], { choices: four });
    expect(found.layers.map(({ layer }) => layer)).toEqual(["table"]);
    expect(found.layers[0].options[0].cost).toBeGreaterThan(0);

    const image = new Sequential(new Conv2d(2, 3, 3, { rng: new Rng(1) }), new Flatten(), new Linear(12, 4));
    const conv = await sensitivity(image, [randn([2, 2, 4, 4], { rng: new Rng(5) })], { choices: four });
    expect(conv.layers.map(({ layer }) => layer)).toEqual(["0", "2"]);
  });

  it("leaves out choices that cannot serve a layer, and layers that no pattern fits", async () => {
    const model = { scale: new Parameter(randn([3, 3])), net: net() };
    const { layers } = await sensitivity(model, batches, {
      choices: { int8: int8WeightOnly(), dynamic: int8Dynamic() },
      layers: ["net.l*"],
      forward: (x: Tensor) => model.net.forward(x),
    });
    expect(layers.map(({ layer }) => layer)).toEqual(["net.last"]);

    class Own {
      weight = new Parameter(randn([4, 6], { rng: new Rng(1) }));
      forward(x: Tensor) {
        return x.matmul(this.weight.effective(), { transposeB: true });
      }
    }
    const own = await sensitivity(new Sequential(new Own()), batches, {
      choices: [int8Dynamic(), int8WeightOnly()],
    });
    expect(own.layers[0].options.map(({ choice }) => choice)).toEqual(["int8WeightOnly"]);
  });

  it("quantizes behind masks, which stay, and in float64", async () => {
    const model = net();
    const kept = tensor(
      Array.from({ length: 48 }, (_, i) => i % 3 !== 0),
      { shape: [8, 6] },
    );
    parametrize(model, "first.weight", masked(kept));
    const { layers } = await sensitivity(model, batches, { choices: four, layers: "first" });
    const twin = await only(model, "first.weight", four.int4);
    const want = divergence(rowsOf(model), rowsOf(twin));
    expect(Math.abs(layers[0].options[0].cost - want)).toBeLessThan(1e-9 + 1e-4 * want);
    expect(model.first.weight.transforms).toHaveLength(1);
    const exact = new Linear(6, 3, { dtype: "float64", rng: new Rng(1) });
    for (const measure of ["kl", "mse", "fisher", "firstOrder", "proxy"] as const) {
      const found = await sensitivity(exact, [batches[0].to("float64")], {
        ...{ choices: { int4: int4WeightOnly(), dynamic: int8Dynamic() }, measure },
        loss: (x: Tensor) => exact.forward(x).square().mean(),
      });
      for (const { cost } of found.layers[0].options) expect(cost, measure).toBeGreaterThan(0);
    }
  });

  it("costs nothing where a weight is all zeros", async () => {
    const zero = new Linear(6, 3);
    zero.weight.update((data) => data.fill(0));
    const [{ options }] = (await sensitivity(zero, batches, { choices: four })).layers;
    expect(options[0].cost).toBe(0);
  });

  it("draws the same in every run of a batch, and leaves the generator where it was", async () => {
    const zero = new Linear(6, 3);
    zero.weight.update((data) => data.fill(0));
    const rng = new Rng(9);
    const before = JSON.stringify(rng.state);
    const forward = (x: Tensor) => zero.forward(x).add(randn([x.shape[0], 3], { rng }));
    for (const measure of ["kl", "mse"] as const) {
      const { layers } = await sensitivity(zero, batches, { choices: four, forward, measure });
      expect(layers[0].options[0].cost).toBe(0);
    }
    expect(JSON.stringify(rng.state)).toBe(before);
  });

  it("runs batches once, but where static inputs are calibrated", async () => {
    async function* stream() {
      yield* batches;
    }
    const choices = { int8: int8Dynamic() };
    expect((await sensitivity(net(), stream(), { choices })).layers).toEqual(
      (await sensitivity(net(), batches, { choices })).layers,
    );
    await expect(sensitivity(net(), stream(), { choices: { fixed: int8Static() } })).rejects.toThrow(
      "sensitivity: batches are run through once",
    );
  });

  it("prints as a table", async () => {
    const found = await sensitivity(net(), batches, { choices: { int8: int8WeightOnly(), float: null } });
    const lines = String(found).split("\n");
    expect(lines[0]).toMatch(/^layer +parameters +int8 +bytes +float +bytes$/);
    expect(lines).toHaveLength(4);
    expect(lines[2]).toMatch(/^first +48 +\S+ +64 +0 +192$/);
  });

  it("names presets of a list, with their options", async () => {
    const choices = [int8WeightOnly(), int4WeightOnly({ group: 4 }), { preset: "binaryWeightOnly" }, null];
    const { layers } = await sensitivity(net(), batches, { choices });
    expect(layers[0].options.map(({ choice }) => choice)).toEqual([
      "int8WeightOnly",
      "int4WeightOnly(group: 4)",
      "binaryWeightOnly",
      "float32",
    ]);
  });

  it("tells of each layer, once a batch", async () => {
    const heard: unknown[] = [];
    await sensitivity(net(), batches, {
      choices: { ...four, float: null, int8: int8WeightOnly() },
      onLayer: (progress) => heard.push(progress),
    });
    const once = [
      { layer: "first", done: 1, of: 2 },
      { layer: "last", done: 2, of: 2 },
    ];
    expect(heard).toEqual([...once, ...once]);
  });
});

describe("sensitivity by a loss", () => {
  const model = net();
  const labels = [0, 1, 2, 3, 4, 0, 1];
  const labelled = batches.map((x) => ({ x, y: tensor(labels.slice(0, x.shape[0]), { dtype: "int32" }) }));
  type Batch = (typeof labelled)[number];
  const rows = batches.flatMap((x, b) =>
    Array.from({ length: x.shape[0] }, (_, i) => ({
      x: x.slice([[i, i + 1]]),
      y: tensor([labels[i]], { dtype: "int32" }),
      share: 1 / (batches.length * x.shape[0]),
      batch: b,
    })),
  );
  /** The gradient of one sample's loss to a weight, or to the input of a layer, by running the net by hand. */
  const slopes = ({ x, y }: { x: Tensor; y: Tensor }) => {
    const { first, last } = model;
    const hidden = first.forward(x).relu().detach();
    const f = (w: Tensor, v: Tensor, x0: Tensor, x1: Tensor) =>
      crossEntropy(x0.linear(w, first.bias!.value).relu().add(x1).linear(v, last.bias!.value), y);
    const [w, v, x0, x1] = grad(f)(first.weight.value.detach(), last.weight.value.detach(), x, hidden.mul(0));
    return { weights: [list(w), list(v)], inputs: [list(x0), list(x1)], given: [list(x), list(hidden)] };
  };
  const found = rows.map((row) => ({ ...row, ...slopes(row) }));
  const deltas = (config: QuantConfig) =>
    [model.first, model.last].map(({ weight }) => {
      const { weight: quantizer } = config as { weight: { spec: ReturnType<typeof spec> } };
      const values = list(fakeQuantize(weight.value.detach(), quantizer.spec));
      return list(weight.value).map((w, i) => values[i] - w);
    });
  const config = { weight: ste({ bits: 3 }) };
  const whole = { weight: ste({ bits: 3 }), input: int8Dynamic().input };
  const choices = { weights: config, both: whole };
  const loss = ({ x, y }: Batch) => crossEntropy(model.forward(x), y);
  const each = ({ x, y }: Batch) => crossEntropy(model.forward(x), y, { reduction: "none" });

  it("fisher: squares of each sample's gradient, not of their mean", async () => {
    const { layers } = await sensitivity(model, labelled, { choices, measure: "fisher", loss: each });
    for (const [k, { options }] of layers.entries()) {
      const delta = deltas(config)[k];
      const want =
        found.reduce(
          (sum, { weights }) => sum + weights[k].reduce((s, g, j) => s + g * g * delta[j] ** 2, 0),
          0,
        ) / found.length;
      for (const { cost } of options) expect(Math.abs(cost - want)).toBeLessThan(1e-5 * want);
    }
  });

  it("firstOrder: of weights by the mean gradient, of inputs by each one's", async () => {
    const { layers } = await sensitivity(model, labelled, { choices, measure: "firstOrder", loss });
    for (const [k, { options }] of layers.entries()) {
      const delta = deltas(config)[k];
      const ofWeights = delta.reduce((sum, d, j) => {
        const g = found.reduce((total, { weights, share }) => total + share * weights[k][j], 0);
        return sum + Math.abs(g * d);
      }, 0);
      const ofInputs = found.reduce((sum, { inputs, given, share }) => {
        const x = tensor([given[k]]);
        const values = list(fakeQuantize(x, spec({ bits: 8, granularity: "token" })));
        const slope = inputs[k].reduce((s, g, j) => s + Math.abs(share * g * (values[j] - given[k][j])), 0);
        return sum + slope * 1;
      }, 0);
      expect(ofInputs).toBeGreaterThan(0);
      const [weights, both] = options;
      expect(Math.abs(weights.cost - ofWeights)).toBeLessThan(1e-5 * ofWeights);
      expect(Math.abs(both.cost - ofWeights - ofInputs)).toBeLessThan(1e-4 * ofInputs);
    }
  });

  it("touches no gradient, no flag and no weight", async () => {
    const twin = net();
    const { first, last } = twin;
    first.weight.grad = first.weight.value.detach();
    last.bias!.trainable = false;
    const before = JSON.stringify(Object.entries(stateDict(twin)).map(([name, t]) => [name, list(t)]));
    for (const measure of ["fisher", "firstOrder"] as const) {
      await sensitivity(twin, batches, {
        ...{ choices, measure },
        loss: (x: Tensor) => twin.forward(x).square().mean(),
      });
    }
    expect(list(first.weight.grad!)).toEqual(list(first.weight.value));
    expect([first.bias!.grad, last.weight.grad]).toEqual([null, null]);
    expect([last.bias!.trainable, last.weight.trainable]).toEqual([false, true]);
    expect(JSON.stringify(Object.entries(stateDict(twin)).map(([name, t]) => [name, list(t)]))).toBe(before);
    expect([first.weight.transforms, first.inputQuantizer]).toEqual([[], null]);
  });

  it("proxy: the error of products over the products, without running what follows", async () => {
    const { layers } = await sensitivity(model, batches, { choices, measure: "proxy" });
    const inputs = [batches, batches.map((x) => noGrad(() => model.first.forward(x).relu()))];
    for (const [k, { options }] of layers.entries()) {
      const { weight } = [model.first, model.last][k];
      const delta = tensor(Float32Array.from(deltas(config)[k]), { shape: weight.shape });
      const size = (w: Tensor) =>
        inputs[k].reduce(
          (sum, x) => sum + list(x.detach().linear(w.detach())).reduce((s, v) => s + v * v, 0),
          0,
        );
      const want = size(delta) / size(weight.value);
      for (const { cost } of options) expect(Math.abs(cost - want)).toBeLessThan(1e-4 * want);
    }
  });

  it("proxy takes convolutions in groups, and dead inputs", async () => {
    const conv = new Conv2d(4, 6, 3, { groups: 2, rng: new Rng(1) });
    const x = randn([2, 4, 5, 5], { rng: new Rng(2) });
    const read = async (batch: Tensor) =>
      (await sensitivity(conv, [batch], { choices: four, measure: "proxy" })).layers[0].options[0].cost;
    const twin = prepare(clone(conv), plan({ default: int4WeightOnly() }));
    const bare = (layer: Conv2d) => noGrad(() => layer.forward(x).sub(layer.bias!.value.reshape([6, 1, 1])));
    const [y, other] = [list(bare(conv)), list(bare(twin))];
    const want = y.reduce((s, v, i) => s + (v - other[i]) ** 2, 0) / y.reduce((s, v) => s + v * v, 0);
    expect(Math.abs((await read(x)) - want)).toBeLessThan(1e-4 * want);
    expect(await read(x.mul(0))).toBe(0);
  });
});

describe("sensitivity refuses, and leaves the model as it was:", () => {
  const stats = (model: object) => [
    namedParameters(model).map(([name, { transforms, trainable }]) => [name, transforms.length, trainable]),
    Object.entries(stateDict(model)).map(([name, t]) => [name, list(t)]),
  ];
  const drop = () => new Sequential(net(), new Dropout(0.5));
  const bad = tensor([[1, Number.NaN, 1, 1, 1, 1]]);
  const nothing: Tensor[] = [];

  it.each<[string, (model: Sequential) => Promise<unknown>, string]>([
    ["no batches", (m) => sensitivity(m, nothing, { choices: four }), "needs at least one batch, got none"],
    [
      "no batches for a loss",
      (m) => sensitivity(m, nothing, { choices: four, measure: "fisher", loss: () => tensor(1) }),
      "needs at least one batch, got none",
    ],
    [
      "an unknown measure",
      (m) => sensitivity(m, batches, { choices: four, measure: "hessian" as never }),
      "measure must be one of kl, mse, fisher, firstOrder, proxy, got",
    ],
    [
      "a measure by gradients without a loss",
      (m) => sensitivity(m, batches, { choices: four, measure: "fisher" }),
      "measures by gradients need a loss, got none",
    ],
    [
      "a loss without the model",
      (m) => sensitivity(m, batches, { choices: four, measure: "firstOrder", loss: () => tensor(1) }),
      "the loss must depend on the weights",
    ],
    [
      "an async loss",
      (m) =>
        sensitivity(m, batches, { choices: four, measure: "fisher", loss: (async () => tensor(1)) as never }),
      "loss must be synchronous",
    ],
    [
      "the proxy of a table, whose input is ids",
      () =>
        sensitivity(new Embedding(5, 6), [tensor([1], { dtype: "int32" })], {
          choices: four,
          measure: "proxy",
        }),
      "sensitivity: the pattern fits no linear layer or convolution",
    ],
    [
      "a loss that is not finite",
      (m) =>
        sensitivity(m, batches, {
          ...{ choices: four, measure: "fisher" },
          loss: (x: Tensor) => m.forward(x).sum().mul(Infinity),
        }),
      "losses must be finite, got",
    ],
    [
      "no choices",
      (m) => sensitivity(m, batches, {} as never),
      "choices must be configs by name, or a list, got null",
    ],
    [
      "float32 alone",
      (m) => sensitivity(m, batches, { choices: { float: null } }),
      "choices must have a config that quantizes",
    ],
    [
      "one choice twice",
      (m) => sensitivity(m, batches, { choices: [int8WeightOnly(), int8WeightOnly()] }),
      'choices must have names of their own, got "int8WeightOnly" twice',
    ],
    [
      "a pattern that fits none",
      (m) => sensitivity(m, batches, { choices: four, layers: "1" }),
      'the pattern fits no layer that a choice quantizes, got "1"; there are 0.first, 0.last',
    ],
    [
      "NaN",
      (m) => sensitivity(m, [...batches, bad], { choices: four }),
      "forward must return numbers, got NaN",
    ],
    [
      "a weight that is NaN",
      () => {
        const model = net();
        model.last.weight.update((w) => {
          w[3] = Number.NaN;
        });
        return sensitivity(model, batches, { choices: four, measure: "mse" });
      },
      'sensitivity: weights must be finite, got NaN at index 3 of layer "last"; mend them, or leave the layer out',
    ],
    [
      "logits of one class",
      (m) =>
        sensitivity(m, batches, {
          choices: four,
          forward: (x: Tensor) => m.forward(x).sum({ axis: -1 }).unsqueeze(-1),
        }),
      'measure "kl" needs logits of two classes or more, got (7, 1) in batch 0 with int4 of "0.first"',
    ],
    [
      "logits that are all −∞",
      (m) =>
        sensitivity(m, batches, {
          choices: four,
          forward: (x: Tensor) => m.forward(x).abs().add(1).mul(-Infinity),
        }),
      "a row of logits must have a finite one",
    ],
    [
      "a result that is no tensor",
      (m) => sensitivity(m, batches, { choices: four, forward: (x: Tensor) => [m.forward(x)] }),
      "forward must return a tensor of floats, got",
    ],
    [
      "an error of the batches",
      (m) =>
        sensitivity(
          m,
          (function* () {
            yield batches[0];
            throw new RangeError("no more");
          })(),
          { choices: four },
        ),
      "no more",
    ],
    ["an error of calibration", (m) => sensitivity(m, [bad], { choices: { fixed: int8Static() } }), "NaN"],
  ])("%s", async (_, run, text) => {
    const model = drop();
    const as = stats(model);
    await expect(run(model)).rejects.toThrow(text);
    expect(stats(model)).toEqual(as);
    expect((model[1] as Dropout).training).toBe(true);
    expect((model[0] as ReturnType<typeof net>).first.inputQuantizer).toBe(null);
  });

  it("a prepared model, and a frozen one", async () => {
    for (const step of [prepare, (m: object, p: ReturnType<typeof plan>) => freeze(prepare(m, p))]) {
      const model = net();
      step(model, plan({ default: int8WeightOnly() }));
      await expect(sensitivity(model, batches, { choices: four })).rejects.toThrow(StageError);
      await expect(sensitivity(model, batches, { choices: four })).rejects.toThrow(
        "sensitivity: the model must be float, got first.weight prepared; unprepare it, or take a clone",
      );
    }
  });
});

it("sensitivity keeps no memory, and gives the same numbers again", async () => {
  const model = net();
  const options = { choices: { int4: int4WeightOnly(), fixed: int8Static() } };
  const { layers } = await sensitivity(model, batches, options);
  const { tensors, bytes } = memory();
  expect((await sensitivity(model, batches, options)).layers).toEqual(layers);
  expect({ tensors: memory().tensors, bytes: memory().bytes }).toEqual({ tensors, bytes });
  expect(whileFloat(model, () => list(model.forward(batches[0])))).toEqual(list(model.forward(batches[0])));
});
