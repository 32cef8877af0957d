import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OptionError, ones, Rng, relu, tensor } from "bitgrad";
import { load, save, saveSharded } from "bitgrad/io";
import { Linear, Sequential, stateDict } from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "bitgrad-"));
});
afterEach(() => rm(dir, { recursive: true }));

const w = tensor([1, 2]);

describe("save", () => {
  it("names the numbers of an optimizer's state, which a file of tensors cannot hold, and writes nothing", async () => {
    const model = new Linear(2, 3, { bias: false });
    const update = optimizer(model, adamw({ lr: 0.1 }));
    model
      .forward(ones([1, 2]))
      .sum()
      .backward();
    update.step();
    const path = join(dir, "state.safetensors");
    await expect(save(path, update.stateDict())).rejects.toThrow(
      'save: only tensors can be saved, got ("lr.weight", "hyper.weight.betas.0", "hyper.weight.betas.1", "hyper.weight.eps", "hyper.weight.weightDecay", "state.weight.step"); make tensors or metadata of the rest',
    );
    await expect(
      save(path, { model: stateDict(model), optimizer: optimizer(model, adamw()).stateDict() }),
    ).rejects.toThrow('got ("optimizer.lr.weight", "optimizer.hyper.weight.betas.0"');
    await expect(saveSharded(join(dir, "m.safetensors.index.json"), update.stateDict())).rejects.toThrow(
      "saveSharded: only tensors can be saved",
    );
    expect(await readdir(dir)).toEqual([]);
  });

  it.each<[string, object, string]>([
    ["a typed array", { w: new Float32Array([1, 2]) }, '"w"'],
    ["a number", { w, epoch: 3 }, '"epoch"'],
    ["a text", { w, note: "x" }, '"note"'],
    ["a flag", { w, done: false }, '"done"'],
    ["a big integer", { w, n: 1n }, '"n"'],
    ["numbers in a list", { w, losses: [1, 2] }, '"losses.0", "losses.1"'],
    [
      "a Map's number",
      new Map<string, unknown>([
        ["w", w],
        ["n", 1],
      ]),
      '"n"',
    ],
    ["a Set of tensors", { w, all: new Set([w]) }, '"all"'],
    ["a date", { w, at: new Date(0) }, '"at"'],
    ["a generator", { w, rng: new Rng(1) }, '"rng"'],
    ["an ArrayBuffer", { w, raw: new ArrayBuffer(4) }, '"raw"'],
    ["a name that is private", { a: { w, _v: w } }, '"a._v"'],
    ["nested states", { a: { b: { w, step: 1 } } }, '"a.b.step"'],
  ])("names %s among tensors", async (_, model, names) => {
    await expect(save(null, model)).rejects.toThrow(OptionError);
    await expect(save(null, model)).rejects.toThrow(`only tensors can be saved, got (${names});`);
  });

  it.each<[string, unknown]>([
    ["null", null],
    ["a text", "model"],
    ["a typed array", new Float32Array(3)],
    ["a Set", new Set([w])],
    ["a generator", new Rng(1)],
    ["a promise of a model", Promise.resolve(new Linear(1, 1))],
    ["a class", Linear],
  ])("refuses %s, in which there is nothing to save", async (_, model) => {
    await expect(save(null, model as object)).rejects.toThrow(
      "save: expected a model or tensors by name, got",
    );
  });

  it("takes models of plain objects and lists with their functions, and models without parameters", async () => {
    const model = {
      l: new Linear(1, 1),
      act: relu,
      more: [w, null, undefined],
      at: new Map([["a.b/c\0", w]]),
    };
    expect(Object.keys((await load(await save(null, model))).tensors).sort()).toEqual([
      "at.a.b/c\0",
      "l.bias",
      "l.weight",
      "more.0",
    ]);
    for (const empty of [{}, new Sequential(relu), { forward: relu }])
      expect((await load(await save(null, empty))).tensors).toEqual({});
  });
});

describe("stateDict", () => {
  it("refuses what is no model", () => {
    for (const model of [null, undefined, 7, "model", Linear, new Float32Array(2)])
      expect(() => stateDict(model as never)).toThrow("stateDict: expected a model, got");
  });
});
