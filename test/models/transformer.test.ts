import { Rng, type Tensor, tensor } from "bitgrad";
import { Transformer } from "bitgrad/models";
import { namedParameters, parameterCount } from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const makeModel = (more: object = {}) =>
  new Transformer({ vocabulary: 11, dim: 16, layers: 2, heads: 4, rng: new Rng("t"), ...more });

const source = [[1, 2, 3, 4]];
const target = [[5, 6, 7]];

describe("Transformer", () => {
  it.each([
    ["base", 63_082_496],
    ["big", 214_245_376],
  ] as const)("in size %s has %i parameters", (name, count) => {
    expect(parameterCount(() => new Transformer(Transformer.configs[name]))).toBe(count);
  });

  it("shares one table between source, target and logits", () => {
    const model = makeModel();
    expect(model.head.weight).toBe(model.token.weight);
    expect(namedParameters(model).filter(([, p]) => p.shape[0] === 11)).toHaveLength(1);
  });

  it("gives logits of every target position", () => {
    expect(makeModel().forward(source, target).shape).toEqual([1, 3, 11]);
  });

  it("is causal in the target and reads all of the source", () => {
    const model = makeModel();
    const row = (logits: Tensor, t: number) => logits.select(0).select(t).toArray();
    const before = model.forward(source, target);
    const later = model.forward(source, [[5, 6, 9]]);
    expect([row(later, 0), row(later, 1)]).toEqual([row(before, 0), row(before, 1)]);
    expect(row(later, 2)).not.toEqual(row(before, 2));
    expect(row(model.forward([[1, 2, 3, 9]], target), 0)).not.toEqual(row(before, 0));
  });

  it("reads past the source's padding", () => {
    const model = makeModel();
    const sourceMask = tensor([[true, true, false, false]]);
    const padded = model.forward([[1, 2, 9, 9]], target, { sourceMask });
    expectClose(padded, model.forward([[1, 2]], target));
  });

  it("decodes token by token with a cache to the same logits", () => {
    const model = makeModel();
    const whole = model.forward(source, target);
    const memory = model.encode(source);
    const cache = model.newCache();
    target[0].forEach((id, t) => {
      const step = model.decode([[id]], memory, { cache });
      expectClose(step, whole.slice([null, [t, t + 1]]), { atol: 1e-4 });
    });
    expect(() => model.decode([[1]], memory, { cache: cache.slice(1) })).toThrow(
      "needs a cache for each of 2 blocks, got 1",
    );
  });

  it("without source positions gives the same logits for the source in any order", () => {
    const logits = (model: Transformer, ids: number[]) => model.forward([ids], target);
    const blind = makeModel({ sourcePositions: false });
    expectClose(logits(blind, [4, 3, 2, 1]), logits(blind, [1, 2, 3, 4]), { atol: 1e-5 });
    const seeing = makeModel();
    const gap = logits(seeing, [4, 3, 2, 1])
      .sub(logits(seeing, [1, 2, 3, 4]))
      .abs()
      .max()
      .item();
    expect(gap).toBeGreaterThan(1e-3);
  });

  it("shows the insides of encoder, decoder and of the attention between them", () => {
    const lists = () => ({ probabilities: [] as Tensor[], values: [] as Tensor[], hidden: [] as Tensor[] });
    const capture = { encoder: lists(), decoder: lists(), memory: lists() };
    makeModel().forward(source, target, { capture });
    const shapes = (list: Tensor[]) => list.map((t) => t.shape);
    expect(shapes(capture.encoder.probabilities)).toEqual(Array(2).fill([1, 4, 4, 4]));
    expect(shapes(capture.decoder.probabilities)).toEqual(Array(2).fill([1, 4, 3, 3]));
    expect(shapes(capture.memory.probabilities)).toEqual(Array(2).fill([1, 4, 3, 4]));
    expect(shapes(capture.encoder.hidden)).toEqual(Array(3).fill([1, 4, 16]));
    expect(shapes(capture.decoder.hidden)).toEqual(Array(3).fill([1, 3, 16]));
  });
});
