/** What a configuration lacks, and what is wrong in it, by name. */

import { Rng } from "bitgrad";
import { Bert, Gpt, Llama, MnistCnn, mlp, ResNet, ResNet8, Transformer } from "bitgrad/models";
import { Embedding, FeedForward, Linear, MultiHeadAttention } from "bitgrad/nn";
import { describe, expect, it } from "vitest";

const sizes = { vocabulary: 11, dim: 8, layers: 1, heads: 2 };
const rng = new Rng(1);

describe("a model's configuration", () => {
  it.each<[string, new (config: never) => object, object, string]>([
    ["Llama", Llama, { dim: 24 }, "vocabulary, context, layers, heads and feedForward are missing, got dim"],
    ["Llama", Llama, {}, "vocabulary, context, dim, layers, heads and feedForward are missing, got none"],
    ["Gpt", Gpt, { ...sizes, rng }, "context is missing, got vocabulary, dim, layers, heads and rng"],
    ["Bert", Bert, { vocabulary: 9, dim: undefined }, "dim, layers and heads are missing, got vocabulary"],
    [
      "Transformer",
      Transformer,
      { dim: 8, layers: 2 },
      "vocabulary and heads are missing, got dim and layers",
    ],
    ["ResNet", ResNet, { classes: 3 }, "blocks is missing, got classes"],
  ])("of %s names all that it lacks", (name, Model, config, want) => {
    expect(() => new Model(config as never)).toThrow(new RegExp(`^${name}: ${want}$`));
  });

  it("may not be left out, nor be anything but an object", () => {
    for (const Model of [Llama, Gpt, Bert, Transformer, ResNet] as (new (
      config: never,
    ) => object)[]) {
      expect(() => new Model(undefined as never)).toThrow(/(is|are) missing, got none$/);
      for (const odd of [null, 5, "small", [1]])
        expect(() => new Model(odd as never)).toThrow(`${Model.name}: options must be a plain object, got `);
    }
    for (const Model of [MnistCnn, ResNet8])
      expect(() => new Model(null as never)).toThrow("options must be a plain object, got null");
  });

  it("names every size that is none", () => {
    const bad = { ...sizes, context: 0, dim: -8, layers: 1.5, heads: "2" } as never;
    const all = "must be positive integers, got";
    expect(() => new Gpt(bad)).toThrow(`Gpt: context, dim, layers and heads ${all} 0, -8, 1.5 and "2"`);
    expect(() => new Llama({ ...sizes, context: 4, feedForward: 0, kvHeads: 0 })).toThrow(
      `Llama: feedForward and kvHeads ${all} 0 and 0`,
    );
    expect(() => new Bert({ ...sizes, segments: 0, classes: 0 })).toThrow(
      `Bert: segments and classes ${all} 0 and 0`,
    );
    expect(() => new Transformer({ ...sizes, feedForward: 0 })).toThrow(
      "Transformer: feedForward must be a positive integer, got 0",
    );
    expect(() => new ResNet({ blocks: 2 ** 31 })).toThrow(
      "ResNet: blocks must be below 2^31, got 2147483648",
    );
    expect(() => new ResNet({ blocks: 0, width: -1 })).toThrow(`ResNet: blocks and width ${all} 0 and -1`);
    expect(() => mlp([3, 0, 2])).toThrow("outFeatures must be a positive integer, got 0");
  });

  it("is refused where it is given, not at the first call", () => {
    const llama = { ...sizes, context: 4, feedForward: 8 };
    expect(() => new Llama({ ...llama, ropeStyle: "odd" as never })).toThrow('unknown style, got "odd"');
    for (const ropeBase of [0, -1, Infinity])
      expect(() => new Llama({ ...llama, ropeBase })).toThrow(
        `base must be above 0 and finite, got ${ropeBase}`,
      );
    expect(() => new MultiHeadAttention(8, 2, { rotary: { odd: 1 } as never })).toThrow("unknown option");
    for (const initStd of [-1, Infinity])
      for (const Model of [Gpt, Llama, Bert] as (new (
        config: object,
      ) => object)[])
        expect(() => new Model({ ...llama, feedForward: 8, initStd })).toThrow(`${initStd}`);
  });
});

it("layers name every size that is none", () => {
  expect(() => new Linear(undefined as never, 0)).toThrow(
    "Linear: inFeatures and outFeatures must be positive integers, got undefined and 0",
  );
  expect(() => new Embedding(0, -1)).toThrow(
    "Embedding: count and size must be positive integers, got 0 and -1",
  );
  expect(() => new MultiHeadAttention(8, 0)).toThrow(
    "MultiHeadAttention: heads must be a positive integer, got 0",
  );
  expect(() => new FeedForward(8, 0)).toThrow("FeedForward: hidden must be a positive integer, got 0");
});
