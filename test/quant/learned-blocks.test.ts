/** Roundings of whole blocks, learned together. */

import { noGrad, Rng, randint, randn, relu, type Tensor, tensor } from "bitgrad";
import { Gpt } from "bitgrad/models";
import { Dropout, evaluate, Linear, parameters, Residual, Sequential, whileFloat } from "bitgrad/nn";
import {
  adaRound,
  freeze,
  type LayerProgress,
  pack,
  plan,
  prepare,
  quantizedTransform,
  signRound,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { squaredGradients } from "../../src/quant/methods/output-weights.ts";

interface Options {
  blocks?: string | string[];
  layers?: string;
  forward?: (batch: Tensor) => unknown;
  loss?: (batch: Tensor) => Tensor;
  iterations?: number;
  onLayer?: (progress: LayerProgress) => void;
}
type Learn = (model: object, batches: Iterable<Tensor>, options: Options) => Promise<unknown>;
const methods: [string, Learn][] = [
  ["adaRound", (model, x, options) => adaRound(model, x, { iterations: 200, ...options })],
  ["signRound", (model, x, options) => signRound(model, x, { iterations: 120, ...options })],
];

const list = (t: Tensor) => Array.from(t.data);
const codesOf = (layer: Linear) => quantizedTransform(layer.weight)!.codes;
const learned = (layer: Linear) => [list(codesOf(layer)!.codes), list(codesOf(layer)!.scale)];

/** Two blocks of two layers each, around which the input goes on, and a head. */
function network() {
  const rng = new Rng(4);
  const linears = [new Linear(16, 24, { rng }), new Linear(24, 16, { rng }), new Linear(16, 24, { rng })];
  const [a, b, c, d, head] = [...linears, new Linear(24, 16, { rng }), new Linear(16, 4, { rng })];
  const first = new Residual(new Sequential(a, relu, new Dropout(0.5), b));
  const second = new Residual(new Sequential(c, relu, new Dropout(0.5), d));
  const model = prepare(
    new Sequential({ first, second, head }),
    plan({ default: { weight: ste({ bits: 2 }) } }),
  );
  return { model, layers: [a, b, c, d], head };
}

const inputs = (seed: number, rows = 64) =>
  randn([rows, 16], { rng: new Rng(seed) }).matmul(randn([16, 16], { rng: new Rng(99) }));

/** How much of what a float model computes its codes change, in evaluation. */
function errorOf(model: { forward(x: Tensor): Tensor }, x: Tensor): number {
  return noGrad(() => {
    const want = whileFloat(model, () => model.forward(x));
    return model.forward(x).sub(want).square().sum().item() / want.square().sum().item();
  });
}

describe.each(methods)("%s of blocks", (name, learn) => {
  const blocks = ["second", "first"];

  it("errs less than nearest rounding, and leaves layers outside as they are", async () => {
    const { model, layers, head } = network();
    const heard: string[] = [];
    const onLayer = ({ layer, done, of }: LayerProgress) => heard.push(`${layer} ${done} of ${of}`);
    const x = inputs(1);
    const nearest = errorOf(evaluate(network().model), x);
    await learn(model, [x, inputs(2, 32)], { blocks, onLayer });
    expect(parameters(model).every(({ grad, trainable }) => grad === null && trainable)).toBe(true);
    expect(errorOf(evaluate(model), x)).toBeLessThan(0.8 * nearest);
    expect(heard).toEqual([
      "first.body.0 1 of 4",
      "first.body.3 2 of 4",
      "second.body.0 3 of 4",
      "second.body.3 4 of 4",
    ]);
    for (const layer of layers) expect(codesOf(layer)).not.toBe(null);
    expect(codesOf(head)).toBe(null);
  });

  it("learns a block with the codes of earlier ones in place, and gives the same bits each time", async () => {
    const x = [inputs(1), inputs(2)];
    const [both, apart] = [network(), network()];
    await learn(both.model, x, { blocks });
    await learn(apart.model, x, { blocks: "first" });
    await learn(apart.model, x, { blocks: "second" });
    expect(apart.layers.map(learned)).toEqual(both.layers.map(learned));
    const alone = network();
    await learn(alone.model, x, { blocks: "second" });
    expect(learned(alone.layers[3])).not.toEqual(learned(both.layers[3]));
  });

  it("learns only the layers that are chosen", async () => {
    const { model, layers } = network();
    await learn(model, [inputs(1)], { blocks, layers: "first.body.3" });
    expect(layers.map((layer) => codesOf(layer) !== null)).toEqual([false, true, false, false]);
  });

  it("learns a block that runs more than once in a pass from all its calls", async () => {
    const rng = new Rng(5);
    const block = new Residual(
      new Sequential(new Linear(16, 16, { rng }), relu, new Linear(16, 16, { rng })),
    );
    const half = (on: boolean) =>
      inputs(1).mul(tensor(Float32Array.from({ length: 16 }, (_, i) => (i < 8 === on ? 1 : 0))));
    const forward = () => {
      block.forward(half(true));
      return block.forward(half(false));
    };
    prepare(block, plan({ default: { weight: ste({ bits: 2 }) } }));
    const errors = () => [errorOf(block, half(true)), errorOf(block, half(false))];
    const nearest = errors();
    await learn({ block }, [inputs(1)], { blocks: "block", forward });
    errors().forEach((error, i) => {
      expect(error).toBeLessThan(0.8 * nearest[i]);
    });
  });

  it("learns blocks that some batches alone reach", async () => {
    const rng = new Rng("ways");
    class Ways {
      readonly all = new Linear(4, 4, { rng });
      readonly some = new Linear(4, 4, { rng });
      forward(x: Tensor): Tensor {
        const y = this.all.forward(x);
        return x.shape[0] === 1 ? y : this.some.forward(y);
      }
    }
    for (const sizes of [
      [1, 3],
      [3, 1],
    ]) {
      const model = prepare(new Ways(), plan({ default: { weight: ste({ bits: 3 }) } }));
      const batches = sizes.map((rows) => randn([rows, 4], { rng }));
      await learn(model, batches, { blocks: ["all", "some"] });
      expect(codesOf(model.some)).not.toBe(null);
    }
  });

  it("holds codes that freeze keeps and pack reads", async () => {
    const { model } = network();
    await learn(model, [inputs(1)], { blocks });
    const x = inputs(3);
    const live = list(evaluate(model).forward(x)) as number[];
    freeze(model);
    expect(list(model.forward(x))).toEqual(live);
    const packed = pack(model).forward({ data: Float32Array.from(x.data), shape: x.shape });
    live.forEach((want, i) => {
      expect(Math.abs(packed.data[i] - want)).toBeLessThan(1e-4);
    });
  });

  it.each<[string, Options, string]>([
    ["patterns that fit nothing", { blocks: "third" }, 'the pattern fits no layer, got "third"'],
    [
      "blocks in blocks",
      { blocks: ["first", "first.body"] },
      'blocks must not share weights, got "first" and "first.body"; take one of them',
    ],
    [
      "blocks without such weights",
      { blocks: "first.body.2" },
      'needs blocks with quantized weights, got none by "first.body.2"',
    ],
    ["no pattern", { blocks: [] }, "needs blocks with quantized weights, got none by ()"],
    ["blocks that do not run", { blocks, forward: () => 0 }, 'no batch reached a layer, got no input of "'],
  ])("refuses %s", async (_, options, message) => {
    await expect(learn(network().model, [inputs(1)], options)).rejects.toThrow(`${name}: ${message}`);
  });

  it("refuses layers of a block that nothing reaches, and learns those that some batches pass by", async () => {
    const rng = new Rng(6);
    const parts = [new Linear(16, 16, { rng }), new Linear(16, 16, { rng })];
    const block = {
      parts,
      other: (x: Tensor) => x.shape[0] > 40,
      forward: (x: Tensor): Tensor => parts[block.other(x) ? 1 : 0].forward(x).add(x),
    };
    prepare(block, plan({ default: { weight: ste({ bits: 2 }) } }));
    const forward = (x: Tensor) => block.forward(x);
    const nearest = [inputs(1, 64), inputs(2, 32)].map((x) => errorOf(block, x));
    await expect(learn({ block }, [inputs(1, 64)], { blocks: "block", forward })).rejects.toThrow(
      `${name}: no batch reached a layer, got no input of "block.parts.0"`,
    );
    await learn({ block }, [inputs(1, 64), inputs(2, 32)], {
      blocks: "block",
      forward,
    });
    [inputs(1, 64), inputs(2, 32)].forEach((x, i) => {
      expect(errorOf(block, x)).toBeLessThan(0.9 * nearest[i]);
    });
  });

  it("refuses what is not finite", async () => {
    const { model } = network();
    const odd = inputs(1).mul(tensor(Float32Array.from({ length: 16 }, (_, i) => (i === 3 ? Infinity : 1))));
    await expect(learn(model, [odd], { blocks })).rejects.toThrow(
      new RegExp(`^${name}: what a block returns must be finite, got (NaN|-?Infinity) of "first"`),
    );
    const { model: bad, layers } = network();
    layers[2].weight.assign(layers[2].weight.value.mul(Infinity));
    await expect(learn(bad, [inputs(1)], { blocks })).rejects.toThrow(`${name}: `);
    expect(layers.map(codesOf)).toEqual([null, null, null, null]);
  });

  it("refuses no batches, batches that run once, and blocks that return no tensor", async () => {
    const { model } = network();
    await expect(learn(model, [], { blocks })).rejects.toThrow(`${name}: needs at least one batch, got none`);
    await expect(learn(model, [inputs(1)].values(), { blocks })).rejects.toThrow("got an iterator");
    const fc = prepare(new Linear(16, 4), plan({ default: { weight: ste({ bits: 2 }) } }));
    const pair = { fc, forward: (x: Tensor) => [fc.forward(x)] };
    const holder = { pair, forward: (x: Tensor) => pair.forward(x) };
    await expect(learn(holder, [inputs(1)], { blocks: "pair" })).rejects.toThrow(
      `${name}: a block must return a tensor, got (`,
    );
  });

  it("leaves the model as it was after an error", async () => {
    const { model, layers } = network();
    await learn(model, [inputs(1)], { blocks: "first" });
    const before = layers.slice(0, 2).map(learned);
    const transforms = parameters(model).map((parameter) => [...parameter.transforms]);
    const onLayer = ({ done }: LayerProgress) => {
      if (done === 3) throw new Error("enough");
    };
    await expect(learn(model, [inputs(2)], { blocks, onLayer })).rejects.toThrow("enough");
    expect(layers.slice(0, 2).map(learned)).toEqual(before);
    expect(layers.slice(2).map(codesOf)).toEqual([null, null]);
    expect(parameters(model).map((parameter) => [...parameter.transforms])).toEqual(transforms);
  });
});

describe("a loss", () => {
  const block = () => {
    const rng = new Rng(7);
    const layers = [new Linear(16, 24, { rng }), relu, new Linear(24, 4, { rng })] as const;
    return prepare(
      new Sequential({ block: new Sequential(...layers) }),
      plan({ default: { weight: ste({ bits: 2 }) } }),
    );
  };
  const first = tensor([1, 0, 0, 0]);

  it("weighs what a block returns by the squares of its gradients", () => {
    const layer = new Linear(16, 4, { rng: new Rng(8) });
    const [x, y] = [inputs(1, 8), inputs(2, 8)];
    const own = layer.forward;
    const outputs = [layer.forward(x), layer.forward(y)];
    const loss = () => layer.forward(x).square().sum().div(2).add(layer.forward(y).sum().mul(3));
    const [a, b] = squaredGradients("test", layer, "layer", outputs, loss);
    list(a).forEach((weight, i) => {
      expect(Math.abs((weight as number) - (outputs[0].data[i] as number) ** 2)).toBeLessThan(1e-4);
    });
    expect(list(b)).toEqual(Array(32).fill(9));
    expect(layer.forward).toBe(own);
    expect(Object.hasOwn(layer, "forward")).toBe(false);
    expect(layer.weight.grad).toBe(null);
  });

  it.each(methods)("has %s err less in what it minds", async (_, learn) => {
    const x = [inputs(1), inputs(2)];
    const [plain, minded] = [block(), block()];
    const loss = (batch: Tensor) => minded.forward(batch).mul(first).sum();
    await learn(plain, x, { blocks: "block", iterations: 600 });
    await learn(minded, x, { blocks: "block", iterations: 600, loss });
    const error = (model: Sequential) => {
      const of = { forward: (batch: Tensor) => model.forward(batch).mul(first), model };
      return errorOf(of, x[0]) + errorOf(of, x[1]);
    };
    expect(error(minded)).toBeLessThan(0.85 * error(plain));
    expect(errorOf(minded, x[0])).toBeGreaterThan(errorOf(plain, x[0]));
  });

  it("is refused beside no blocks, where it does not run the block, and where it is no number", async () => {
    const model = block();
    const x = [inputs(1)];
    const number = () => tensor(1);
    await expect(adaRound(model, x, { loss: number })).rejects.toThrow(
      "adaRound: a loss weighs the outputs of blocks",
    );
    await expect(adaRound(model, x, { blocks: "block", loss: 3 as never })).rejects.toThrow(
      "option loss must be",
    );
    await expect(adaRound(model, x, { blocks: "block", loss: number })).rejects.toThrow(
      'adaRound: the loss must run a block as often as a batch does, got 0 times for 1 of "block"',
    );
    const many = (batch: Tensor) => model.forward(batch);
    await expect(adaRound(model, x, { blocks: "block", loss: many })).rejects.toThrow(
      "must return a single number",
    );
  });

  it.each([5, 1])("is refused where it runs the block on %d rows of more", async (rows) => {
    const model = block();
    const x = inputs(1);
    const loss = (batch: Tensor) => model.forward(batch.slice([[0, rows]])).sum();
    await expect(adaRound(model, [x], { blocks: "block", loss })).rejects.toThrow(
      `adaRound: the loss must run a block on all of a batch, got outputs (${rows}, 4) for (${x.shape[0]}, 4) of "block"`,
    );
  });
});

it("blocks of a GPT err less than its layers, learned one by one", async () => {
  const ids = (seed: number) => randint(0, 64, [4, 32], { rng: new Rng(seed) });
  const config = { vocabulary: 64, context: 32, dim: 32, layers: 2, heads: 4, dropout: 0 };
  const weight = ste({ bits: 3 });
  const rules: [RegExp, null][] = [[/^(?!blocks)/, null]];
  const gpt = () =>
    prepare(evaluate(new Gpt({ ...config, rng: new Rng(3) })), plan({ default: { weight }, rules }));
  const [nearest, layers, blocks] = [gpt(), gpt(), gpt()];
  const batches = [ids(1), ids(2)];
  await adaRound(layers, batches, { layers: "blocks.**", iterations: 300 });
  await adaRound(blocks, batches, { blocks: "blocks.*", iterations: 300 });
  const [most, some, few] = [nearest, layers, blocks].map((model) => errorOf(model, ids(9)));
  expect(some).toBeLessThan(0.6 * most);
  expect(few).toBeLessThan(0.6 * some);
});
