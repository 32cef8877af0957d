import { Rng, randint, type Tensor } from "bitgrad";
import { Llama } from "bitgrad/models";
import { namedParameters, parameterCount } from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const makeLlama = (more: object = {}) =>
  new Llama({
    vocabulary: 11,
    context: 10,
    dim: 16,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    feedForward: 24,
    rng: new Rng("llama"),
    ...more,
  });

describe("Llama", () => {
  it("keeps earlier logits bit-identical when a later token changes", () => {
    const llama = makeLlama();
    const row = (ids: number[], t: number) => llama.forward([ids]).select(0).select(t).toArray();
    expect(row([1, 2, 3, 9], 2)).toEqual(row([1, 2, 3, 4], 2));
    expect(row([1, 2, 3, 9], 3)).not.toEqual(row([1, 2, 3, 4], 3));
  });

  it.each(["interleaved", "half"] as const)(
    "with a cache gives the same logits, rotary pairs %s",
    (ropeStyle) => {
      const llama = makeLlama({ ropeStyle });
      const ids = randint(0, 11, [2, 10], { rng: new Rng(1) });
      const whole = llama.forward(ids);
      const cache = llama.newCache();
      for (const [from, to] of [
        [0, 4],
        [4, 5],
        [5, 10],
      ]) {
        const part = llama.forward(ids.slice([null, [from, to]]), { cache });
        expectClose(part, whole.slice([null, [from, to]]), { atol: 1e-4 });
      }
    },
  );

  it("has no biases, and a head of its own where it is not tied", () => {
    expect(namedParameters(makeLlama()).filter(([name]) => name.endsWith("bias"))).toEqual([]);
    expect(parameterCount(makeLlama({ tied: false })) - parameterCount(makeLlama())).toBe(11 * 16);
  });

  it("shows key heads' values, and scores of every query head", () => {
    const seen = { scores: [] as Tensor[], values: [] as Tensor[], hidden: [] as Tensor[] };
    makeLlama().forward([[1, 2, 3]], { capture: seen });
    expect(seen.scores.map((t) => t.shape)).toEqual(Array(2).fill([1, 4, 3, 3]));
    expect(seen.values.map((t) => t.shape)).toEqual(Array(2).fill([1, 2, 3, 4]));
    expect(seen.hidden).toHaveLength(3);
  });

  it("generates past its context", () => {
    expect(makeLlama().generate([1], { maxTokens: 25, rng: new Rng(2) })).toHaveLength(25);
  });

  it("refuses texts beyond its context and missing sizes", () => {
    expect(() => makeLlama().forward([Array(11).fill(1)])).toThrow("the context holds 10 positions, got 11");
    expect(() => makeLlama({ feedForward: undefined })).toThrow("feedForward is missing");
  });
});
