import { OptionError, ones, Rng, tensor } from "bitgrad";
import { loader } from "bitgrad/data";
import { Linear, parameters, stateDict } from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import { binaryWeightOnly, freeze, pack, plan, prepare } from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const packed = () => pack(freeze(prepare(new Linear(4, 2), plan({ default: binaryWeightOnly() }))));
const trained = () => {
  const model = new Linear(2, 2);
  const update = optimizer(model, adamw({ lr: 0.1 }));
  model
    .forward(ones([1, 2]))
    .sum()
    .backward();
  update.step();
  return { model, update };
};

describe("JSON.stringify", () => {
  it.each<[string, () => unknown]>([
    ["a tensor", () => tensor([1, 2])],
    ["a number as a tensor", () => tensor(1)],
    ["a computed tensor", () => tensor([1, 2], { requiresGrad: true }).mul(2)],
    ["a parameter", () => parameters(new Linear(1, 1))[0]],
    ["a model", () => new Linear(1, 1)],
    ["a model's state", () => stateDict(new Linear(1, 1))],
    ["a trained model", () => trained().model],
    ["an optimizer's state", () => trained().update.stateDict()],
    ["a list of tensors", () => [tensor([1])]],
    ["a packed model", packed],
    ["what holds a packed model", () => ({ small: packed() })],
  ])("refuses %s by a typed error that names save", (_, make) => {
    const value = make();
    expect(() => JSON.stringify(value)).toThrow(OptionError);
    expect(() => JSON.stringify(value)).toThrow(/^JSON.stringify: .*save of bitgrad\/io/);
  });

  it("takes the numbers of a tensor, and states of generators and loaders", () => {
    expect(JSON.stringify(tensor([[1, 2]]).toArray())).toBe("[[1,2]]");
    const { state } = new Rng(1);
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
    const place = loader({ x: [1] }, { batch: 1 }).state;
    expect(JSON.parse(JSON.stringify(place))).toEqual(place);
  });
});

it("a state that has no JSON either is refused by a typed error", () => {
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  for (const state of [{ key: 1n }, circular, { counter: tensor([1]) }]) {
    expect(() => {
      new Rng(1).state = state as never;
    }).toThrow(/^Rng: a state must be/);
    expect(() => {
      loader({ x: [1] }, { batch: 1 }).state = state as never;
    }).toThrow(/^loader: a state must be/);
  }
});
