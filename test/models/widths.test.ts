/** Models whose layers differ in width: built from lists, written, packed, and generating as any other. */

import { OptionError, ones, Rng, rand, type Tensor, tensor } from "bitgrad";
import { load, save } from "bitgrad/io";
import { Bert, Gpt, Llama, MnistCnn, ResNet, ResNet8, Transformer } from "bitgrad/models";
import { evaluate, namedParameters, stateDict, TransformerDecoderLayer } from "bitgrad/nn";
import { int8Dynamic } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { bits, twins } from "../packed/twins.ts";

const sizes = { vocabulary: 11, dim: 8, layers: 2 };
const rng = () => new Rng(3);
const ids = tensor([[1, 2, 3, 4]], { dtype: "int32" });

const gpt = () =>
  new Gpt({ ...sizes, context: 8, heads: [3, 1], headSize: 4, feedForward: [5, 16], rng: rng() });
const llama = () =>
  new Llama({
    ...sizes,
    context: 8,
    heads: [4, 2],
    kvHeads: [2, 1],
    headSize: 2,
    feedForward: [6, 3],
    rng: rng(),
  });
const bert = () => new Bert({ ...sizes, context: 8, heads: [1, 4], feedForward: [5, 7], rng: rng() });
const transformer = () =>
  new Transformer({
    ...sizes,
    heads: { encoder: [1, 2], decoder: 3, memory: [2, 1] },
    headSize: 4,
    feedForward: { encoder: 6, decoder: [7, 8] },
    rng: rng(),
  });
const resnet = () => new ResNet({ blocks: 1, width: 4, hidden: [3, 5, 6], rng: rng() });
const resnet8 = () => new ResNet8({ hidden: [9, 5, 7], rng: rng() });
const mnist = () => new MnistCnn({ channels: [2, 3, 4], hidden: 6, rng: rng() });

const pixels = (...shape: number[]) => rand(shape, { rng: new Rng(4) });
type Net = { readonly config: object; forward(x: Tensor): Tensor };
const cases: [string, () => Net, Tensor][] = [
  ["Gpt", gpt, ids],
  ["Llama", llama, ids],
  ["Bert", bert, ids],
  ["ResNet", resnet, pixels(2, 3, 8, 8)],
  ["ResNet8", resnet8, pixels(2, 3, 8, 8)],
  ["MnistCnn", mnist, pixels(2, 1, 28, 28)],
];

describe.each(cases)("a %s of layers that differ", (_, make, x) => {
  it("comes back from a file with its lists", async () => {
    const model = make();
    const models = [Gpt, Llama, Bert, ResNet, ResNet8, MnistCnn];
    const again = await load(await save(null, model), { models });
    expect((again as Net).config).toEqual(model.config);
    expect(bits((evaluate(again) as Net).forward(x))).toEqual(bits(evaluate(model).forward(x)));
  });

  it("has a packed twin of the same bits", async () => {
    const { model, packed } = await twins(make(), int8Dynamic(), x);
    expect(bits(packed.forward(x as never))).toEqual(bits(model.forward(x)));
  });
});

it.each<[string, () => Gpt | Llama]>([
  ["Gpt", gpt],
  ["Llama", llama],
])("a %s of layers that differ generates with caches what it does without, packed too", async (_, make) => {
  const model = evaluate(make());
  const text = [1, 2];
  for (let i = 0; i < 4; i++) {
    const logits = model.forward(tensor([text], { dtype: "int32" }));
    text.push(
      logits
        .select(0)
        .select(text.length - 1)
        .argmax()
        .item(),
    );
  }
  const greedy = { maxTokens: 4, temperature: 0 };
  expect(model.generate([1, 2], greedy)).toEqual(text.slice(2));
  const { model: frozen, packed } = await twins(make(), int8Dynamic(), ids);
  expect(packed.generate([1, 2], greedy)).toEqual(frozen.generate([1, 2], greedy));
});

it("a Transformer's stacks differ, each by its layers, and pack", async () => {
  const model = transformer();
  expect(model.encoder.map(({ attention, mlp }) => [attention.heads, mlp.hidden])).toEqual([
    [1, 6],
    [2, 6],
  ]);
  expect(model.decoder.map((b) => [b.attention.heads, b.crossAttention.heads, b.mlp.hidden])).toEqual([
    [3, 2, 7],
    [3, 1, 8],
  ]);
  const again = await load(await save(null, model), { models: [Transformer] });
  expect(again.config).toEqual(model.config);
  expect(bits(again.forward(ids, ids))).toEqual(bits(model.forward(ids, ids)));
  const { model: frozen, packed } = await twins(model, int8Dynamic(), ids);
  expect(bits(packed.forward(ids as never, { target: ids } as never))).toEqual(
    bits(frozen.forward(ids, ids)),
  );
});

it("a list of one width is that width: same names, same bits", () => {
  const plain = new Gpt({ ...sizes, context: 8, heads: 2, rng: rng() });
  const listed = new Gpt({
    ...sizes,
    context: 8,
    heads: [2, 2],
    headSize: 4,
    feedForward: [32, 32],
    rng: rng(),
  });
  expect(Object.keys(stateDict(listed))).toEqual(Object.keys(stateDict(plain)));
  expect(bits(listed.forward(ids))).toEqual(bits(plain.forward(ids)));
});

it("a config's lists are its own", () => {
  const heads = [2, 1];
  const model = new Gpt({ ...sizes, context: 8, heads });
  heads[0] = 8;
  expect(model.config.heads).toEqual([2, 1]);
});

it("a layer of fewer heads reads the first of its row of a head mask", () => {
  const model = gpt();
  expect(bits(model.forward(ids, { headMask: ones([2, 3]) }))).toEqual(
    bits(model.forward(ids, { headMask: ones([2, 1]) })),
  );
  const off = tensor([
    [1, 1, 1],
    [1, 0, 0],
  ]);
  expect(bits(model.forward(ids, { headMask: off }))).toEqual(
    bits(model.forward(ids, { headMask: ones([2, 3]) })),
  );
  expect(() => model.forward(ids, { headMask: ones([2, 2]) })).toThrow("headMask must be (H)");
});

it("head size alone makes attention of another inner size", () => {
  const model = new Gpt({ ...sizes, context: 8, heads: 3, headSize: 2 });
  const shapes = Object.fromEntries(namedParameters(model).map(([name, { shape }]) => [name, shape]));
  expect(shapes["blocks.1.attention.query.weight"]).toEqual([6, 8]);
  expect(shapes["blocks.1.attention.out.weight"]).toEqual([8, 6]);
});

describe("sizes per layer are refused", () => {
  const config = { ...sizes, context: 8, heads: 2 };
  it.each<[string, () => object, string]>([
    [
      "of another number",
      () => new Gpt({ ...config, heads: [2] }),
      "heads must be one number, or one for each of 2 layers, got (2)",
    ],
    [
      "of none",
      () => new Gpt({ ...config, feedForward: [] }),
      "feedForward must be one number, or one for each of 2",
    ],
    [
      "that are no sizes",
      () => new Gpt({ ...config, heads: [2, 0.5] }),
      "Gpt: heads[1] must be a positive integer, got 0.5",
    ],
    [
      "with holes",
      () => new Gpt({ ...config, heads: Object.assign([2], { length: 2 }) }),
      "heads[1] must be a positive integer, got undefined",
    ],
    [
      "that are texts",
      () => new Llama({ ...config, feedForward: ["8", 8] as never }),
      "feedForward[0] must be",
    ],
    [
      "as a function",
      () => new Bert({ ...config, headSize: (() => 1) as never }),
      "Bert: headSize must be a positive integer",
    ],
    ["of heads that do not divide dim", () => new Gpt({ ...config, heads: [2, 3] }), "heads must divide dim"],
    [
      "of key heads",
      () => new Llama({ ...config, feedForward: 8, heads: [2, 1], kvHeads: 2 }),
      "kvHeads heads",
    ],
    [
      "of other stacks",
      () => new Transformer({ ...sizes, heads: { encoder: 2, decoder: 2 } as never }),
      "heads by stack needs encoder, decoder, memory, got",
    ],
    [
      "of one stack",
      () => new Transformer({ ...sizes, heads: 2, feedForward: { encoder: 0, decoder: [1] } }),
      "Transformer: feedForward.encoder must be a positive integer, got 0",
    ],
    [
      "of blocks",
      () => new ResNet({ blocks: 2, hidden: [1, 2] }),
      "ResNet: hidden must be one number, or one for each of 6 layers",
    ],
    ["of stages", () => new ResNet8({ hidden: [1] }), "one for each of 3 layers"],
    [
      "of convolutions",
      () => new MnistCnn({ channels: [1, 2, 0] }),
      "MnistCnn: channels[2] must be a positive integer, got 0",
    ],
    [
      "of memory",
      () => new TransformerDecoderLayer(8, 2, 8, { memoryHeads: 0 }),
      "memoryHeads must be a positive integer, got 0",
    ],
  ])("%s", (_, make, text) => {
    expect(make).toThrow(OptionError);
    expect(make).toThrow(text);
  });
});
