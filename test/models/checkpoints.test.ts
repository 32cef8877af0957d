import { concat, Rng, randn, type Tensor } from "bitgrad";
import { composeNames, gpt2Names, load, save } from "bitgrad/io";
import { Gpt, gptNames, Llama, readLlama2c } from "bitgrad/models";
import { namedParameters } from "bitgrad/nn";
import { describe, expect, it } from "vitest";

describe("gptNames", () => {
  it("takes a GPT-2 checkpoint, transposed and with its joint projection, into Gpt", async () => {
    const sizes = { vocabulary: 7, context: 5, dim: 8, layers: 2, heads: 2 };
    const from = new Gpt({ ...sizes, rng: new Rng(1) });
    for (const [name, parameter] of namedParameters(from)) {
      parameter.assign(randn(parameter.shape, { rng: new Rng(name) }));
    }
    const state: Record<string, Tensor> = {
      "transformer.wte.weight": from.token.weight.value,
      "transformer.wpe.weight": from.position.weight.value,
      "transformer.ln_f.weight": from.norm!.weight!.value,
      "transformer.ln_f.bias": from.norm!.bias!.value,
      "lm_head.weight": from.token.weight.value,
    };
    from.blocks.forEach(({ attention, mlp, norm1, norm2 }, i) => {
      const at = `transformer.h.${i}`;
      state[`${at}.attn.bias`] = randn([1, 1, 5, 5]);
      const joint = [attention.query, attention.key, attention.value];
      state[`${at}.attn.c_attn.weight`] = concat(joint.map(({ weight }) => weight.value)).transpose();
      state[`${at}.attn.c_attn.bias`] = concat(joint.map(({ bias }) => bias!.value));
      for (const [name, layer] of [
        ["attn.c_proj", attention.out],
        ["mlp.c_fc", mlp.up],
        ["mlp.c_proj", mlp.down],
      ] as const) {
        state[`${at}.${name}.weight`] = layer.weight.value.transpose();
        state[`${at}.${name}.bias`] = layer.bias!.value;
      }
      for (const [name, layer] of [
        ["ln_1", norm1],
        ["ln_2", norm2],
      ] as const) {
        state[`${at}.${name}.weight`] = layer.weight!.value;
        state[`${at}.${name}.bias`] = (layer as { bias: typeof norm1.weight }).bias!.value;
      }
    });
    const bytes = await save(
      null,
      Object.fromEntries(Object.entries(state).map(([k, v]) => [k, v.detach()])),
    );
    const into = new Gpt({ ...sizes, rng: new Rng(2) });
    await load(bytes, { into, rename: composeNames(gpt2Names, gptNames) });
    expect(into.forward([[1, 2, 3]]).toArray()).toEqual(from.forward([[1, 2, 3]]).toArray());
  });
});

/** A llama2.c file of a small model. */
function llama2c(header: number[], floats: number): Uint8Array {
  const bytes = new Uint8Array(28 + 4 * floats);
  const view = new DataView(bytes.buffer);
  header.forEach((n, i) => {
    view.setInt32(4 * i, n, true);
  });
  for (let i = 0; i < floats; i++) view.setFloat32(28 + 4 * i, i / floats, true);
  return bytes;
}

describe("readLlama2c", () => {
  const header = [4, 6, 1, 2, 1, 5, 3];
  const floats = 5 * 4 + 4 + 16 + 8 + 8 + 16 + 4 + 3 * 24 + 4 + 3 * 2;

  it("reads the matrices in the order of the file", () => {
    const model = readLlama2c(llama2c(header, floats));
    expect(model).toBeInstanceOf(Llama);
    expect(model.context).toBe(3);
    const first = (t: Tensor) => Math.round(t.data[0] * floats);
    const [block] = model.blocks;
    expect(first(model.token.weight.value)).toBe(0);
    expect(first(block.norm1.weight!.value)).toBe(20);
    expect(first(block.attention.query.weight.value)).toBe(24);
    expect(first(block.attention.out.weight.value)).toBe(56);
    expect(first(block.mlp.gate!.weight.value)).toBe(76);
    expect(first(block.mlp.down.weight.value)).toBe(100);
    expect(first(block.mlp.up.weight.value)).toBe(124);
    expect(first(model.norm.weight!.value)).toBe(148);
    expect(model.head.weight).toBe(model.token.weight);
  });

  it("reads a head of its own where the vocabulary is negative", () => {
    const model = readLlama2c(llama2c(header.with(5, -5), floats + 20));
    expect(model.head.weight).not.toBe(model.token.weight);
    expect(Math.round(model.head.weight.value.data[0] * (floats + 20))).toBe(floats);
  });

  it("refuses what is no such file, without allocating what its header asks for", () => {
    const read =
      (head: number[], count = floats) =>
      () =>
        readLlama2c(llama2c(head, count));
    expect(() => readLlama2c(new Uint8Array(10))).toThrow("ends within its header, got 10 bytes");
    expect(read(header, floats - 1)).toThrow(
      `the header asks for ${28 + 4 * floats} bytes, got ${24 + 4 * floats}`,
    );
    expect(read(header.with(0, 0))).toThrow("the header makes no sense");
    expect(read(header.with(3, 3))).toThrow("the header makes no sense");
    expect(read(header.with(4, -1))).toThrow("the header makes no sense");
    expect(read(header.with(2, 2 ** 30))).toThrow("the header makes no sense");
    expect(read(header.with(2, 2 ** 20))).toThrow("the header asks for");
  });
});
