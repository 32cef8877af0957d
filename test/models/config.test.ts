/** A model keeps what it was built from, and that builds one of the same parameters. */

import { Rng } from "bitgrad";
import { Bert, Gpt, Llama, MnistCnn, ResNet, ResNet8, Transformer } from "bitgrad/models";
import { clone, namedParameters } from "bitgrad/nn";
import { expect, it } from "vitest";

const sizes = { vocabulary: 11, dim: 8, layers: 2, heads: 2 };
const rng = new Rng(3);
const named = (model: object) => namedParameters(model).map(([name, { shape }]) => [name, shape]);

type Model = new (config: never) => { config: object };
const cases: [string, Model, object, object][] = [
  ["Gpt", Gpt, { ...sizes, context: 5, rng }, { feedForward: 32, norm: "pre", tied: true }],
  ["a post-norm Gpt", Gpt, { ...sizes, context: 5, norm: "post", tied: false, bias: false }, { bias: false }],
  ["Llama", Llama, { ...sizes, context: 5, feedForward: 12, rng }, { kvHeads: 2, ropeBase: 10000 }],
  ["Llama of grouped queries", Llama, { ...sizes, context: 5, feedForward: 12, kvHeads: 1 }, { kvHeads: 1 }],
  ["stories260k", Llama, Llama.configs.stories260k, Llama.configs.stories260k],
  ["Bert", Bert, { ...sizes, rng }, { context: 512, segments: 2, head: "none", feedForward: 32 }],
  ["Bert for masked tokens", Bert, { ...sizes, head: "maskedLm" }, { head: "maskedLm" }],
  ["Bert that classifies", Bert, { ...sizes, head: "classifier", classes: 3 }, { classes: 3 }],
  ["Transformer", Transformer, { ...sizes, rng }, { sourcePositions: true, feedForward: 32 }],
  ["ResNet", ResNet, { blocks: 1, rng }, { blocks: 1, classes: 10, width: 16, channels: 3 }],
  ["ResNet-20", ResNet, ResNet.configs.resnet20, { blocks: 3 }],
  ["ResNet8", ResNet8, { classes: 4, rng }, { classes: 4 }],
  ["MnistCnn", MnistCnn, { rng }, {}],
];

it.each(cases)("%s is built anew from its config", (_, Class, given, filled) => {
  const model = new Class(given as never);
  expect(model.config).toMatchObject(filled);
  expect(model.config).not.toHaveProperty("rng");
  const written = JSON.parse(JSON.stringify(model.config));
  expect(written).toEqual(model.config);
  const again = new Class(written as never);
  expect(again.config).toEqual(model.config);
  expect(Object.isFrozen(model.config)).toBe(true);
  expect(Object.values(model.config).every(Object.isFrozen)).toBe(true);
  expect(named(again)).toEqual(named(model));
  expect(clone(model).config).toEqual(model.config);
});
