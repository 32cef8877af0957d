import { Rng, type Tensor, tensor } from "bitgrad";
import { gpt2Names, load, save, writeSafetensors } from "bitgrad/io";
import { describe, expect, it } from "vitest";
import { Parameter } from "../../src/nn/parameter.ts";
import { loadStateDict, stateDict } from "../../src/nn/state.ts";
import { parameters } from "../../src/nn/tree.ts";

class Block {
  readonly attention: { readonly weight: Parameter };
  /** A buffer, as running statistics are. */
  readonly mean: Tensor;

  constructor(rng: Rng) {
    this.attention = { weight: new Parameter(normal(rng, [4, 4])) };
    this.mean = normal(rng, [4]);
  }
}

/** A language model in miniature: a list of blocks, a buffer in each, and a head tied to the embedding. */
class TinyGpt {
  readonly embedding: Parameter;
  readonly blocks: Block[];
  readonly head: Parameter;

  constructor(seed: number) {
    const rng = new Rng(seed);
    this.embedding = new Parameter(normal(rng, [50, 4]));
    this.blocks = [new Block(rng), new Block(rng)];
    this.head = this.embedding;
  }
}

function normal(rng: Rng, shape: readonly number[]): Tensor {
  const data = new Float32Array(shape.reduce((product, n) => product * n, 1));
  rng.fillNormal(data);
  return tensor(data, { shape }) as Tensor;
}

const bits = (model: object) =>
  Object.fromEntries(Object.entries(stateDict(model)).map(([name, { data }]) => [name, Array.from(data)]));

describe("a model saved and loaded into another of its class", () => {
  it("is the same bit by bit, buffers and ties included", async () => {
    const [trained, fresh] = [new TinyGpt(1), new TinyGpt(2)];
    expect(bits(fresh)).not.toEqual(bits(trained));
    const file = await save(null, trained, { metadata: { step: "10" } });
    expect(await load(file, { into: fresh })).toBe(fresh);
    expect(bits(fresh)).toEqual(bits(trained));
    expect(fresh.blocks[1].mean.data).toEqual(trained.blocks[1].mean.data);
    expect(fresh.head).toBe(fresh.embedding);
    expect(parameters(fresh)).toHaveLength(3);
    expect(Object.keys((await load(file)).tensors).sort()).toEqual([
      "blocks.0.attention.weight",
      "blocks.0.mean",
      "blocks.1.attention.weight",
      "blocks.1.mean",
      "embedding",
      "head",
    ]);
  });

  it("stores tied weights once", async () => {
    const file = await save(null, new TinyGpt(1));
    const elements = 50 * 4 + 2 * (16 + 4);
    expect(file.length).toBeGreaterThan(4 * elements);
    expect(file.length).toBeLessThan(4 * elements + 1000);
  });

  it("does not share the memory of the file", async () => {
    const [trained, fresh] = [new TinyGpt(1), new TinyGpt(2)];
    const file = await save(null, trained);
    await load(file, { into: fresh });
    file.fill(0);
    expect(bits(fresh)).toEqual(bits(trained));
  });

  it("is close after a way through bfloat16", async () => {
    const [trained, fresh] = [new TinyGpt(1), new TinyGpt(2)];
    const file = await save(null, trained, { dtype: "bfloat16" });
    await load(file, { into: fresh, widen: true });
    const [was, is] = [trained.embedding.value.data, fresh.embedding.value.data];
    was.forEach((x, i) => {
      expect(Math.abs(is[i] - x)).toBeLessThanOrEqual(Math.abs(x) * 2 ** -8);
    });
  });
});

describe("a file that differs from the model", () => {
  it("is refused, names and all, unless strict is off, and leaves the model as it was", async () => {
    const model = new TinyGpt(1);
    const before = bits(model);
    const { head: _, ...rest } = stateDict(model);
    const file = writeSafetensors({ ...rest, "extra.weight": tensor([1]) });
    await expect(load(file, { into: model })).rejects.toThrow("extra.weight");
    expect(bits(model)).toEqual(before);
    const fresh = new TinyGpt(2);
    await load(file, { into: fresh, strict: false });
    expect(bits(fresh)).toEqual(before);
  });

  it("fits by its renamed and transposed layers", async () => {
    const matrix = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const model = {
      h: [{ attn: { c_attn: { weight: new Parameter(tensor(new Float32Array(6), { shape: [3, 2] })) } } }],
    };
    const file = writeSafetensors({
      "transformer.h.0.attn.c_attn.weight": matrix,
      "transformer.h.0.attn.bias": tensor([1]),
    });
    await load(file, { into: model, rename: gpt2Names });
    expect(model.h[0].attn.c_attn.weight.value.toArray()).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
  });

  it("loads what loadStateDict of its tensors loads", async () => {
    const [one, other] = [new TinyGpt(3), new TinyGpt(4)];
    const file = await save(null, new TinyGpt(1));
    await load(file, { into: one });
    loadStateDict(other, (await load(file)).tensors);
    expect(bits(other)).toEqual(bits(one));
  });
});
