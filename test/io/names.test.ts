import { tensor } from "bitgrad";
import { composeNames, gpt2Names, nameTable } from "bitgrad/io";
import { describe, expect, it } from "vitest";
import { renameTensors } from "../../src/io/names.ts";

describe("nameTable", () => {
  const map = nameTable({
    "h.*.ln_1": "blocks.*.norm1",
    "h.*.attn.bias": null,
    wte: "embedding",
    "a.*.b.*": "*-*",
  });
  const name = (given: string) => map(given, []);

  it("renames whole leading segments, carrying what the stars stood for", () => {
    expect(name("h.3.ln_1.weight")).toBe("blocks.3.norm1.weight");
    expect(name("wte.weight")).toBe("embedding.weight");
    expect(name("a.x.b.y.z")).toBe("x-y.z");
  });

  it("leaves out what is mapped to null and keeps what nothing fits", () => {
    expect(name("h.3.attn.bias")).toBeNull();
    expect(name("h.3.ln_11.weight")).toBe("h.3.ln_11.weight");
    expect(name("wtes")).toBe("wtes");
  });

  it("refuses more stars than there are to fill them", () => {
    expect(() => nameTable({ "a.*": "*.*" })).toThrow('got "*.*" for "a.*"');
    expect(() => nameTable({ "a.**": "b.**" })).toThrow(
      'rename: a star stands for one segment, got "a.**"; write a star for each, or a function',
    );
    expect(() => nameTable({ "a.*.*": "b.**" })).toThrow('got "b.**"');
    expect(() => nameTable(3 as never)).toThrow("rename: expected a function or a table, got 3");
  });
});

describe("gpt2Names", () => {
  it("drops the prefix and the stored masks, and transposes the Conv1D matrices alone", () => {
    expect(gpt2Names("transformer.wte.weight", [5, 2])).toEqual({ name: "wte.weight", transpose: false });
    expect(gpt2Names("h.0.attn.c_attn.weight", [2, 6])).toEqual({
      name: "h.0.attn.c_attn.weight",
      transpose: true,
    });
    expect(gpt2Names("transformer.h.11.mlp.c_proj.weight", [8, 2])).toMatchObject({ transpose: true });
    expect(gpt2Names("transformer.h.11.mlp.c_proj.bias", [2])).toMatchObject({ transpose: false });
    expect(gpt2Names("h.0.attn.bias", [1, 1, 4, 4])).toBeNull();
    expect(gpt2Names("h.0.attn.masked_bias", [])).toBeNull();
  });
});

describe("composeNames", () => {
  it("applies one map after another, a null anywhere leaving the tensor out", () => {
    const map = composeNames(gpt2Names, { "h.*.attn.c_attn": "blocks.*.qkv", wpe: null });
    expect(map("transformer.h.2.attn.c_attn.weight", [2, 6])).toEqual({
      name: "blocks.2.qkv.weight",
      transpose: true,
    });
    expect(map("transformer.wpe.weight", [2, 6])).toBeNull();
    expect(map("transformer.h.2.attn.bias", [])).toBeNull();
  });

  it("renames the parts of a split, and two transposes are none", () => {
    const split = composeNames(() => ({ name: ["q", "k"], transpose: true }), { q: "query" });
    expect(split("x", [])).toEqual({ name: ["query", "k"], transpose: true });
    const twice = () => ({ name: "x", transpose: true });
    expect(composeNames(twice, twice)("x", [])).toEqual({ name: "x", transpose: false });
  });
});

describe("renaming tensors", () => {
  const matrix = tensor([
    [1, 2, 3, 4],
    [5, 6, 7, 8],
  ]);

  it("transposes, then splits along axis 0", () => {
    const { q, k, b } = renameTensors({ w: matrix, b: tensor([1]) }, (name) =>
      name === "w" ? { name: ["q", "k"], transpose: true } : name,
    );
    expect(q.toArray()).toEqual([
      [1, 5],
      [2, 6],
    ]);
    expect(k.toArray()).toEqual([
      [3, 7],
      [4, 8],
    ]);
    expect(b.toArray()).toEqual([1]);
  });

  it("keeps tied tensors one where nothing changes them", () => {
    const out = renameTensors({ a: matrix, b: matrix }, { a: "c" });
    expect(out.c).toBe(out.b);
  });

  it("refuses what the shapes do not allow and two tensors of one name", () => {
    expect(() => renameTensors({ b: tensor([1, 2]) }, () => ({ name: "b", transpose: true }))).toThrow(
      'got (2) for "b"',
    );
    expect(() => renameTensors({ w: matrix }, () => ({ name: ["a", "b", "c"] }))).toThrow(
      "does not split into 3 equal parts",
    );
    expect(() => renameTensors({ w: matrix }, () => ({ name: ["a", "a"] }))).toThrow(
      'two parts come to one name, got "a"',
    );
    expect(() => renameTensors({ a: matrix, b: matrix }, { a: "b" })).toThrow(
      'two tensors come to one name, got "b"',
    );
  });
});
