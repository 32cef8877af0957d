/** Files that tell the class and the configuration of their model, and the models built from them. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitgradError, FormatError, OptionError, ones, Rng, StageError, tensor } from "bitgrad";
import { load, type ModelClass, readSafetensors, save, saveSharded, writeSafetensors } from "bitgrad/io";
import { Bert, Gpt, Llama, MnistCnn, ResNet, ResNet8, Transformer } from "bitgrad/models";
import { namedParameters, Parameter, parametrize, signs, stateDict } from "bitgrad/nn";
import { int8Dynamic, plan, prepare } from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const rng = () => new Rng(3);
const sizes = { vocabulary: 11, dim: 8, layers: 2, heads: 2 };
const gpt = () => new Gpt({ ...sizes, context: 5, rng: rng() });
const models: ModelClass[] = [Gpt, Llama, Bert, Transformer, ResNet, ResNet8, MnistCnn];
const bits = (model: object) =>
  Object.entries(stateDict(model)).map(([name, { data, shape }]) => [name, shape, Array.from(data)]);

const made: [string, () => { config: object }][] = [
  ["Gpt", gpt],
  [
    "a Gpt of post-norm blocks and a head of its own",
    () => new Gpt({ ...gpt().config, norm: "post", tied: false }),
  ],
  ["Llama", () => new Llama({ ...sizes, context: 5, feedForward: 12, kvHeads: 1, rng: rng() })],
  ["Bert", () => new Bert({ ...sizes, context: 6, rng: rng() })],
  ["Bert for masked tokens", () => new Bert({ ...sizes, context: 6, head: "maskedLm", rng: rng() })],
  ["Bert that classifies", () => new Bert({ ...sizes, context: 6, head: "classifier", classes: 3 })],
  ["Transformer", () => new Transformer({ ...sizes, rng: rng() })],
  ["ResNet", () => new ResNet({ blocks: 1, width: 4, rng: rng() })],
  ["ResNet8", () => new ResNet8({ classes: 4, rng: rng() })],
  ["MnistCnn", () => new MnistCnn({ rng: rng() })],
];

describe("a saved model is built anew", () => {
  it.each(made)("from its class, config and weights: %s", async (_, make) => {
    const model = make();
    const again = await load(await save(null, model), { models });
    expect(again).toBeInstanceOf(model.constructor);
    expect((again as typeof model).config).toEqual(model.config);
    expect(bits(again)).toEqual(bits(model));
    expect(namedParameters(again).length).toBe(namedParameters(model).length);
  });

  it("of the type of its class, from float16 and from parts", async () => {
    const model = gpt();
    const half = await save(null, model, { dtype: "float16", metadata: { step: "7" } });
    const again: Gpt = await load(half, { models: [Gpt], widen: true });
    expect(again.token.weight.value.data[3]).toBeCloseTo(model.token.weight.value.data[3], 3);
    expect((await load(half, { widen: true })).metadata.step).toBe("7");
    const folder = await mkdtemp(join(tmpdir(), "bitgrad-"));
    const path = join(folder, "m.safetensors.index.json");
    await saveSharded(path, model, { shardBytes: 500 });
    const either: Gpt | Bert = await load(path, { models: [Gpt, Bert] });
    expect(bits(either)).toEqual(bits(model));
    await rm(folder, { recursive: true });
  });

  it("with parameters that keep their stores", async () => {
    const model = gpt();
    const { weight } = model.blocks[0].mlp.up;
    weight.replace(weight.value.sign(), { store: signs });
    const again = await load(await save(null, model), { models: [Gpt] });
    expect(again.blocks[0].mlp.up.weight.store).toEqual(signs);
    expect(bits(again)).toEqual(bits(model));
  });

  it("of a class from outside", async () => {
    class Scale {
      static readonly kind = "Scale";
      readonly config: { size: number; name: null; odd: readonly number[] };
      weight: Parameter;
      constructor({ size, odd }: { size: number; odd: number[] }) {
        this.config = { size, name: null, odd };
        this.weight = new Parameter(ones([size]));
      }
    }
    const model = new Scale({ size: 3, odd: [1, 2] });
    model.weight.assign([1, 2, 3]);
    const again = await load(await save(null, model), { models: [Gpt, Scale] });
    expect(bits(again)).toEqual(bits(model));
    Object.assign(model, { config: { size: 3, odd: [Number.NaN] } });
    await expect(save(null, model)).rejects.toThrow(
      "save: a config must be plain JSON, got NaN for config.odd.0",
    );
    // JSON would make null of a hole, and 0 of −0.
    for (const odd of [Array(2), -0]) {
      Object.assign(model, { config: { size: 3, odd } });
      await expect(save(null, model)).rejects.toThrow("save: a config must be plain JSON, got");
    }
  });

  it("by its note alone, which is text in the metadata and stays there", async () => {
    const { tensors, metadata } = await load(await save(null, gpt()));
    const tied = [["token.weight", "head.weight"]];
    expect(JSON.parse(metadata["bitgrad.model"])).toEqual({ class: "Gpt", config: gpt().config, tied });
    const again = await load(writeSafetensors(tensors, { metadata }), { models: [Gpt] });
    expect(bits(again)).toEqual(bits(gpt()));
    await expect(save(null, gpt(), { metadata })).rejects.toThrow("save: a reserved name in the metadata");
  });
});

describe("load refuses", () => {
  it("a file without a class: of tensors, of a class without a kind of its own", async () => {
    class Mine extends Gpt {}
    for (const item of [{ w: tensor([1]) }, new Mine(gpt().config)]) {
      const file = await save(null, item);
      await expect(load(file, { models: [Gpt] })).rejects.toThrow(
        "load: the file names no class, got none in its metadata; build the model and pass { into: model }",
      );
    }
  });

  it("a class that is not among the models, and names those that are", async () => {
    const file = await save(null, gpt());
    await expect(load(file, { models: [Bert, ResNet] })).rejects.toThrow(
      /not among the models, got "Gpt"; known are Bert, ResNet$/,
    );
    await expect(load(file, { models: [] })).rejects.toThrow("known are none");
  });

  it("models that are no classes, two of one kind, and other options beside them", async () => {
    class Other extends Bert {
      static override readonly kind = "Gpt";
    }
    class Unnamed extends Gpt {}
    const file = await save(null, gpt());
    const refused = (options: object, text: string) =>
      expect(load(file, options as never)).rejects.toThrow(new OptionError(text));
    await refused({ models: Gpt }, "load: models must be a list, got Gpt");
    await refused(
      { models: [Gpt, Other] },
      'load: two classes have one kind, got "Gpt"; give one of them another',
    );
    for (const odd of [Unnamed, null, "Gpt", {}, () => 0])
      await expect(load(file, { models: [odd as never] })).rejects.toThrow("needs a static kind of its own");
    await expect(load(file, { models: [Gpt], into: gpt() } as never)).rejects.toThrow(
      "neither into nor strict",
    );
    await expect(load(file, { models: [Gpt], strict: false })).rejects.toThrow("neither into nor strict");
  });

  it("a model that was prepared or parametrized, and says what to do", async () => {
    const prepared = prepare(gpt(), plan({ default: int8Dynamic() }));
    const masked = gpt();
    parametrize(masked, "**.up.weight", { apply: (w) => w.mul(0) });
    for (const model of [prepared, masked]) {
      const file = await save(null, model);
      const attempt = load(file, { models: [Gpt] });
      await expect(attempt).rejects.toThrow(StageError);
      await expect(attempt).rejects.toThrow("prepare it as before, and pass { into: model }");
      const { config } = JSON.parse((await load(file)).metadata["bitgrad.model"]);
      expect(config).toEqual(gpt().config);
    }
  });

  it("a model that shares what its config does not, or no longer what it does", async () => {
    const shared = gpt();
    shared.blocks[1] = shared.blocks[0];
    const apart = gpt();
    apart.head = new Gpt({ ...gpt().config, tied: false }).head;
    for (const model of [shared, apart]) {
      const attempt = load(await save(null, model), { models: [Gpt] });
      await expect(attempt).rejects.toThrow(StageError);
      await expect(attempt).rejects.toThrow("shares other parameters than its config does");
    }
    const again = gpt();
    again.blocks[1] = again.blocks[0];
    expect(bits(await load(await save(null, shared), { into: again }))).toEqual(bits(shared));
    // Files of before tell of none.
    const { tensors, metadata } = readSafetensors(await save(null, gpt()));
    const { tied: _, ...note } = JSON.parse(metadata["bitgrad.model"]);
    const old = writeSafetensors(tensors, { metadata: { "bitgrad.model": JSON.stringify(note) } });
    expect(bits(await load(old, { models: [Gpt] }))).toEqual(bits(gpt()));
  });

  it("tensors that the config does not lead to", async () => {
    const model = gpt();
    model.head = new Gpt({ ...gpt().config, vocabulary: 12, tied: false }).head;
    await expect(load(await save(null, model), { models: [Gpt] })).rejects.toThrow(
      'tensors and config of the file differ, got (12, 8) for "head.weight" of (11, 8)',
    );
    const { tensors, metadata } = readSafetensors(await save(null, gpt()));
    const { "norm.bias": _, ...fewer } = tensors;
    await expect(load(writeSafetensors(fewer, { metadata }), { models: [Gpt] })).rejects.toThrow(
      'got none for "norm.bias" of (8)',
    );
    const more = writeSafetensors({ ...tensors, odd: tensor([1]) }, { metadata });
    await expect(load(more, { models: [Gpt] })).rejects.toThrow('1 unexpected ("odd")');
  });
});

describe("a hostile note", () => {
  const { tensors } = readSafetensors(writeSafetensors({ ...stateDict(gpt()) }));
  const attempt = (note: unknown) => {
    const text = typeof note === "string" ? note : JSON.stringify(note);
    return load(writeSafetensors(tensors, { metadata: { "bitgrad.model": text } }), { models });
  };
  const { config } = gpt();

  it.each<[string, unknown]>([
    ["that is no JSON", "Gpt"],
    ["that is a list", []],
    ["without a class", { config }],
    ["without a config", { class: "Gpt" }],
    ["whose config is a list", { class: "Gpt", config: [] }],
    ["whose config is text", { class: "Gpt", config: "{}" }],
    ["whose class is no text", { class: 7, config }],
    ["whose class is of all objects", { class: "constructor", config }],
    ["with odd preparedness", { class: "Gpt", config, prepared: 1 }],
    ["with odd ties", { class: "Gpt", config, tied: [1] }],
    ["with ties of no names", { class: "Gpt", config, tied: [["head.weight", 1]] }],
    ["with a prototype", `{"class":"Gpt","config":{"__proto__":{"dim":8}}}`],
    ["with a key twice", `{"class":"Gpt","config":{"dim":8,"dim":9}}`],
    ["with an unknown option", { class: "Gpt", config: { ...config, constructor: 1 } }],
    ["with a text for a size", { class: "Gpt", config: { ...config, dim: "8" } }],
    ["with a list for a size", { class: "Gpt", config: { ...config, dim: [8] } }],
    ["with null for a size", { class: "Gpt", config: { ...config, dim: null } }],
    ["with a number beyond all", `{"class":"Gpt","config":{"vocabulary":1e999}}`],
    ["with a generator", { class: "Gpt", config: { ...config, rng: {} } }],
    ["of another class than the tensors", { class: "Transformer", config: sizes }],
    ["of an activation of all objects", { class: "Gpt", config: { ...config, activation: "toString" } }],
  ])("%s is a typed error", async (_, note) => {
    await expect(attempt(note)).rejects.toThrow(FormatError);
  });

  it.each(["vocabulary", "context", "dim", "layers", "heads", "feedForward"])(
    "of a huge %s is refused before memory or time is asked for",
    async (name) => {
      const before = process.memoryUsage().rss;
      const start = performance.now();
      for (const n of [2 ** 20, 33_554_431, 2 ** 31 - 2])
        for (const kind of ["Gpt", "Llama", "Bert"])
          await expect(attempt({ class: kind, config: { ...config, [name]: n } })).rejects.toThrow(
            BitgradError,
          );
      const blocks = { blocks: 33_554_431, width: 2 ** 20 };
      await expect(attempt({ class: "ResNet", config: blocks })).rejects.toThrow(FormatError);
      expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
      expect(performance.now() - start).toBeLessThan(2000);
    },
  );
});
