import { OptionError, tensor } from "bitgrad";
import {
  findParameters,
  Linear,
  loadStateDict,
  namedBuffers,
  namedLayers,
  namedParameters,
  Parameter,
  parameterCount,
  setTrainable,
  stateDict,
} from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import { describe, expect, it } from "vitest";

const linear = () => new Linear(1, 1);
const clashes: [string, object, string][] = [
  ["a key with a dot", { "a.b": linear(), a: { b: linear() } }, "a.b"],
  [
    "keys of a Map that are written alike",
    {
      layers: new Map<unknown, object>([
        [1, linear()],
        ["1", linear()],
      ]),
    },
    "layers.1",
  ],
  [
    "objects as keys of a Map",
    new Map<unknown, object>([
      [{}, linear()],
      [{}, linear()],
    ]),
    "[object Object]",
  ],
  ["an empty key", { "": { a: linear() }, a: linear() }, "a"],
];

describe("a state that shares the model's own memory", () => {
  it("is read before anything is written", () => {
    const model = { a: new Parameter(tensor([1])), b: new Parameter(tensor([2])), c: tensor([3]) };
    const { a, b, c } = stateDict(model);
    loadStateDict(model, { a: b, b: c, c: a });
    expect([model.a.value, model.b.value, model.c].map((t) => t.item())).toEqual([2, 3, 1]);
  });
});

describe("names in a model", () => {
  it.each(clashes)("that clash by %s are an error that names them", (_, model, name) => {
    for (const look of [
      () => namedParameters(model),
      () => findParameters(model),
      () => stateDict(model),
      () => loadStateDict(model, {}),
      () => parameterCount(model),
      () => optimizer(model, sgd()),
      () => setTrainable(model, "**", true),
    ]) {
      expect(look).toThrow(OptionError);
      expect(look).toThrow(`model: two parts have one name, got "${name}.weight"; rename a key`);
    }
    expect(() => namedLayers(model)).toThrow(`got "${name}"`);
  });

  it("that clash between buffers, or a buffer and a parameter, are an error", () => {
    const buffers = { "a.b": tensor([1]), a: { b: tensor([2]) } };
    expect(() => namedBuffers(buffers)).toThrow('got "a.b"');
    const mixed = { "a.b": tensor([1]), a: { b: new Parameter(tensor([2])) } };
    expect(() => stateDict(mixed)).toThrow('got "a.b"');
  });

  it("that lead to one thing twice are none", () => {
    const one = linear();
    expect(namedParameters({ "a.b": one, a: { b: one } }).map(([name]) => name)).toEqual([
      "a.b.weight",
      "a.b.bias",
    ]);
    expect(Object.keys(stateDict({ "a.b": linear() }))).toEqual(["a.b.weight", "a.b.bias"]);
  });
});

it("loads the state of a model that itself has names as PyTorch writes them", () => {
  const build = (value: number) => ({
    weight_ih: new Parameter(tensor([value])),
    running_mean: tensor([value + 1]),
  });
  const model = build(0);
  loadStateDict(model, stateDict(build(1)));
  expect([model.weight_ih.value.item(), model.running_mean.item()]).toEqual([1, 2]);
});
