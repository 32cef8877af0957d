import { Rng, type Tensor, tensor } from "bitgrad";
import { Bert } from "bitgrad/models";
import { namedParameters, parameterCount } from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const small = { vocabulary: 13, context: 8, dim: 16, layers: 2, heads: 4 };
const makeBert = (more: object = {}) => new Bert({ ...small, rng: new Rng("bert"), ...more });

describe("Bert", () => {
  it.each([
    ["base", 109_482_240],
    ["large", 335_141_888],
    ["tiny", 4_385_920],
  ] as const)("in size %s, with its pooler, has %i parameters", (name, count) => {
    expect(parameterCount(() => new Bert(Bert.configs[name]))).toBe(count);
  });

  it("gives hidden states, logits of tokens or logits of classes, as its head is", () => {
    const ids = [
      [1, 2, 3],
      [4, 5, 6],
    ];
    expect(makeBert().forward(ids).shape).toEqual([2, 3, 16]);
    expect(makeBert({ head: "maskedLm" }).forward(ids).shape).toEqual([2, 3, 13]);
    expect(makeBert({ head: "classifier", classes: 5 }).forward(ids).shape).toEqual([2, 5]);
    const bert = makeBert();
    const pooled = bert.pool(bert.forward(ids));
    expect(pooled.shape).toEqual([2, 16]);
    expect(pooled.abs().max().item()).toBeLessThan(1);
    expect(() => makeBert({ head: "maskedLm" }).pool(bert.forward(ids))).toThrow("has no pooler");
  });

  it("ties the decoder of its masked-token head to the token table, with a bias of its own", () => {
    const bert = makeBert({ head: "maskedLm" });
    expect(bert.maskedLm!.decoder.weight).toBe(bert.token.weight);
    const names = namedParameters(bert).map(([name]) => name);
    expect(names).toContain("maskedLm.decoder.bias");
    expect(names).not.toContain("maskedLm.decoder.weight");
    bert.maskedLm!.decoder.bias!.update((data) => data.fill(0, 3).fill(50, 3, 4));
    expect(
      bert
        .forward([[1, 2]])
        .argmax({ axis: -1 })
        .toArray(),
    ).toEqual([[3, 3]]);
  });

  it("reads in both directions: the first state depends on the last token", () => {
    const bert = makeBert();
    const first = (last: number) =>
      bert
        .forward([[1, 2, 3, last]])
        .select(0)
        .select(0);
    expect(first(4).toArray()).not.toEqual(first(5).toArray());
  });

  it("reads past padding: masked positions change nothing", () => {
    const bert = makeBert();
    const mask = tensor([[true, true, false, false]]);
    const states = (pad: number) => bert.forward([[1, 2, pad, pad]], { mask }).slice([0, [0, 2]]);
    expect(states(3).toArray()).toEqual(states(7).toArray());
    expectClose(states(3), bert.forward([[1, 2]]).select(0));
  });

  it("tells segments apart, all of the first unless told otherwise", () => {
    const bert = makeBert();
    const plain = bert.forward([[1, 2]]).toArray();
    expect(bert.forward([[1, 2]], { segments: [[0, 0]] }).toArray()).toEqual(plain);
    expect(bert.forward([[1, 2]], { segments: [[0, 1]] }).toArray()).not.toEqual(plain);
    expect(() => bert.forward([[1, 2]], { segments: [[0]] })).toThrow(
      "segments must have the shape of the ids",
    );
  });

  it("shows every layer's scores and hidden states", () => {
    const bert = makeBert();
    const seen = { scores: [] as Tensor[], hidden: [] as Tensor[] };
    const last = bert.forward([[1, 2, 3]], { capture: seen });
    expect(seen.scores.map((t) => t.shape)).toEqual([
      [1, 4, 3, 3],
      [1, 4, 3, 3],
    ]);
    expect(seen.hidden).toHaveLength(3);
    expect(seen.hidden[2].toArray()).toEqual(last.toArray());
  });

  it("begins with weights cut at two deviations of 0.02", () => {
    const { data } = makeBert({ dim: 64 }).token.weight.value;
    expect(Math.max(...data.map(Math.abs))).toBeLessThanOrEqual(0.04);
    expect(Math.max(...data.map(Math.abs))).toBeGreaterThan(0.03);
  });

  it("refuses unknown heads and texts beyond its context", () => {
    expect(() => makeBert({ head: "mlm" })).toThrow(
      'head must be "none", "maskedLm" or "classifier", got "mlm"',
    );
    expect(() => makeBert().forward([Array(9).fill(1)])).toThrow("the context holds 8 positions, got 9");
  });
});
