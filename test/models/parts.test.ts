/** Models in three parts: forward is finish(runBlocks(embed(…))), also with caches, and a part may be run alone. */

import { OptionError, Rng, rand, ShapeError, tensor } from "bitgrad";
import { Bert, Gpt, Llama, ResNet, ResNet8, Transformer } from "bitgrad/models";
import { evaluate } from "bitgrad/nn";
import { describe, expect, it } from "vitest";
import { bits } from "../packed/twins.ts";

const sizes = { vocabulary: 11, dim: 8, layers: 2, heads: 2, dropout: 0.3 };
const rng = () => new Rng(3);
const ids = tensor([[1, 2, 3, 4]], { dtype: "int32" });
const mask = [[1, 1, 1, 0]];
const intMask = tensor(mask, { dtype: "int32" });

describe.each<[string, () => Gpt | Llama]>([
  ["Gpt", () => new Gpt({ ...sizes, context: 6, rng: rng() })],
  ["a Gpt without a last norm", () => new Gpt({ ...sizes, context: 6, norm: "post", rng: rng() })],
  ["Llama", () => new Llama({ ...sizes, context: 6, feedForward: 12, rng: rng() })],
])("%s", (_, make) => {
  it("is its three parts, dropout and masks included", () => {
    const model = make();
    const call = () => ({ mask: intMask, rng: new Rng(8) });
    const options = call();
    const parts = model.finish(model.runBlocks(model.embed(ids, { rng: options.rng }), options));
    expect(bits(parts)).toEqual(bits(model.forward(ids, call())));
  });

  it("counts positions on from its caches", () => {
    const model = evaluate(make());
    const [whole, byParts] = [model.newCache(), model.newCache()];
    model.forward([[1, 2]], { cache: whole });
    const run = (part: number[][]) => {
      const options = { cache: byParts };
      return model.finish(model.runBlocks(model.embed(part, options), options));
    };
    run([[1, 2]]);
    expect(byParts.map(({ length }) => length)).toEqual([2, 2]);
    expect(bits(run([[3]]))).toEqual(bits(model.forward([[3]], { cache: whole })));
  });

  it("refuses what its parts cannot read", () => {
    const model = make();
    expect(() => model.embed([1, 2])).toThrow(ShapeError);
    expect(() => model.embed([[1, 2, 3, 4, 5, 6, 7]])).toThrow("the context holds 6 positions, got 7");
    expect(() => model.embed([[1]], { cache: model.newCache().slice(1) })).toThrow(
      "a cache for each of 2 blocks",
    );
    expect(() => model.runBlocks(rand([2, 8]))).toThrow("states must be (B, T, C), got (2, 8)");
    expect(() => model.finish(rand([8]))).toThrow("states must be (B, T, C), got (8)");
    expect(() => model.embed([[1]], { odd: 1 } as never)).toThrow(OptionError);
  });
});

describe("Bert", () => {
  it.each(["none", "maskedLm", "classifier"] as const)("with head %s is its three parts", (head) => {
    const model = new Bert({ ...sizes, context: 6, head, rng: rng() });
    const call = () => ({ mask: intMask, segments: [[0, 0, 1, 1]], rng: new Rng(8) });
    const { segments, ...options } = call();
    const { rng: drops } = options;
    const x = model.embed(ids, { segments, rng: drops });
    const parts = model.finish(model.runBlocks(x, options), { rng: drops });
    expect(bits(parts)).toEqual(bits(model.forward(ids, call())));
    expect(() => model.runBlocks(rand([8]))).toThrow("Bert: states must be (B, T, C)");
    expect(() => model.finish(rand([8]))).toThrow("Bert: states must be (B, T, C)");
  });
});

describe("Transformer", () => {
  const make = () => new Transformer({ ...sizes, rng: rng() });

  it("is its parts, an encoder's and a decoder's", () => {
    const model = make();
    const random = new Rng(8);
    const memory = model.runEncoder(model.embed(ids, { stack: "encoder", rng: random }), {
      mask: intMask,
      rng: random,
    });
    const x = model.embed([[5, 6]], { rng: random });
    const y = model.finish(model.runDecoder(x, memory, { memoryMask: intMask, rng: random }));
    expect(bits(y)).toEqual(bits(model.forward(ids, [[5, 6]], { sourceMask: intMask, rng: new Rng(8) })));
  });

  it("counts positions on from its caches, in the decoder alone", () => {
    const model = evaluate(make());
    const memory = model.encode(ids);
    const [whole, cache] = [model.newCache(), model.newCache()];
    for (const part of [[[5, 6]], [[7]]])
      expect(bits(model.finish(model.runDecoder(model.embed(part, { cache }), memory, { cache })))).toEqual(
        bits(model.decode(part, memory, { cache: whole })),
      );
    expect(() => model.embed(ids, { stack: "encoder", cache })).toThrow("the encoder takes no cache");
    expect(() => model.embed(ids, { stack: "both" as never })).toThrow(
      'must be "encoder" or "decoder", got "both"',
    );
  });
});

it.each([
  ["ResNet", () => new ResNet({ blocks: 2, width: 4, rng: rng() }), 6],
  ["ResNet8", () => new ResNet8({ rng: rng() }), 3],
] as const)("%s is its three parts", (_, make, count) => {
  const model: ResNet | ResNet8 = make();
  const x = rand([2, 3, 8, 8], { rng: new Rng(4) });
  expect(model.blocks).toHaveLength(count);
  const parts = model.finish(model.runBlocks(model.embed(x)));
  expect(bits(parts)).toEqual(bits(make().forward(x)));
});
