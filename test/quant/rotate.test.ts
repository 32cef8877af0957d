/** rotate: the function stays, and few bits serve it better. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { manualSeed, OptionError, Rng, randn, StageError, scope, type Tensor, tensor } from "bitgrad";
import { load, save } from "bitgrad/io";
import { Bert, Gpt, type GptConfig, Llama } from "bitgrad/models";
import {
  clone,
  evaluate,
  FeedForward,
  findParameters,
  Hadamard,
  Linear,
  loadStateDict,
  MultiHeadAttention,
  namedParameters,
  Parameter,
  parametrize,
  signs,
  stateDict,
} from "bitgrad/nn";
import type { PackedLanguage } from "bitgrad/packed";
import {
  dynamicInput,
  fakeQuantize,
  gptq,
  int4WeightOnly,
  int8Dynamic,
  plan,
  prepare,
  type RotateOptions,
  rotate,
  spec,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { bits, twins } from "../packed/twins.ts";

const ids = [
  [1, 2, 3, 7, 0, 9],
  [4, 4, 8, 1, 5, 2],
];
const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);
const relative = (got: Tensor, want: Tensor): number =>
  got.sub(want).abs().max().item() / want.abs().max().item();

/** Linear layers of blocks. */
const linear = /^blocks.*(attention|mlp)\.\w+\.weight$/;

/** Gains and biases as after training, so that not folding them would show. */
function trained<M extends object>(model: M): M {
  const rng = new Rng(3);
  for (const [name, parameter] of namedParameters(model)) {
    if (name.endsWith("bias")) parameter.update((data) => rng.fillNormal(data, 0, 0.3));
    else if (name.includes("norm")) parameter.update((data) => rng.fillNormal(data, 1, 0.3));
  }
  return evaluate(model);
}

const llama = (more: object = {}): Llama =>
  trained(
    new Llama({
      vocabulary: 10,
      context: 8,
      dim: 24,
      layers: 2,
      heads: 4,
      headSize: 6,
      kvHeads: 2,
      feedForward: 40,
      initStd: 0.2,
      rng: new Rng(1),
      ...more,
    }),
  );
const gpt = (more: Partial<GptConfig> = {}): Gpt =>
  trained(
    new Gpt({
      vocabulary: 10,
      context: 8,
      dim: 32,
      layers: 2,
      heads: 4,
      initStd: 0.2,
      rng: new Rng(1),
      ...more,
    }),
  );

/** The same model in double precision, ties kept. */
function inDouble<M extends object>(model: M): M {
  const made = new Map<Parameter, Parameter>();
  for (const { path, item, owner } of findParameters(model)) {
    const { data, shape } = item.value;
    const wide = made.get(item) ?? new Parameter(tensor(Float64Array.from(data as Float32Array), { shape }));
    made.set(item, wide);
    Object.assign(owner, { [path.split(".").at(-1)!]: wide });
  }
  return model;
}

const models: [name: string, make: () => Llama | Gpt][] = [
  ["Llama with grouped queries", llama],
  ["Llama with an own head", () => llama({ tied: false })],
  ["Llama of one block, 8 wide", () => llama({ dim: 8, layers: 1, headSize: 2, feedForward: 16 })],
  ["Llama of halves", () => llama({ ropeStyle: "half" })],
  ["Gpt", gpt],
  ["Gpt without biases of projections", () => gpt({ bias: false })],
  ["Gpt with an own head and ReLU", () => gpt({ tied: false, activation: "relu", dim: 12, heads: 2 })],
];
const parts: [name: string, options: Partial<RotateOptions>][] = [
  ["all", {}],
  ["the residual stream", { heads: false, online: false }],
  ["heads", { residual: false, online: false }],
  ["inputs of down", { residual: false, heads: false }],
  ["inputs of out and of query too", { online: ["**.down", "**.out", "**.query"] }],
];

describe.each(models)("a %s", (_, make) => {
  it.each(parts)("computes the same function with %s rotated", async (_part, options) => {
    for (const [model, tolerance] of [
      [make(), 1e-5],
      [inDouble(make()), 1e-10],
    ] as const) {
      const before = model.forward(ids);
      const weights = list(model.blocks[0].attention.value.weight.value);
      const down = list(model.blocks[0].mlp.down.weight.value);
      expect(await rotate(model, { rng: new Rng(5), ...options })).toBe(model);
      expect(before.dtype).toBe(tolerance < 1e-6 ? "float64" : "float32");
      expect(relative(model.forward(ids), before)).toBeLessThan(tolerance);
      const changed = (one: number[], parameter: Parameter) =>
        list(parameter.value).some((v, i) => v !== one[i]);
      const { value } = model.blocks[0].attention;
      expect([changed(weights, value.weight), changed(down, model.blocks[0].mlp.down.weight)]).toContain(
        true,
      );
    }
  });
});

describe("a rotated model", () => {
  it("has norms without gain and shift, and a head with a table of its own", async () => {
    const model = await rotate(gpt({ bias: false }), { rng: new Rng(1) });
    for (const [name, { value }] of namedParameters(model)) {
      if (/norm\d?\.weight$/.test(name))
        expect(new Set(value.data as Float32Array), name).toEqual(new Set([1]));
      if (/norm\d?\.bias$/.test(name))
        expect(new Set(value.data as Float32Array), name).toEqual(new Set([0]));
    }
    expect(model.config.tied).toBe(false);
    expect(model.head.weight).not.toBe(model.token.weight);
    expect(model.head.bias!.shape).toEqual([10]);
    expect(model.blocks[1].mlp.down.inputSteps).toEqual([expect.any(Hadamard)]);
  });

  it("keeps layers without bias where no norm has a shift", async () => {
    const model = await rotate(llama());
    expect(namedParameters(model).filter(([name]) => name.endsWith("bias"))).toEqual([]);
  });

  it("has the same bits by the same seed, also of the default generator", async () => {
    const bitsOf = async (rng: Rng | null) => bits((await rotate(gpt(), { rng })).forward(ids));
    expect(await bitsOf(new Rng(1))).toEqual(await bitsOf(new Rng(1)));
    expect(await bitsOf(new Rng(1))).not.toEqual(await bitsOf(new Rng(2)));
    manualSeed(4);
    const first = await bitsOf(null);
    manualSeed(4);
    expect(await bitsOf(null)).toEqual(first);
  });

  it("may be rotated again, and leaves out what a rotation stands between", async () => {
    const model = llama();
    const want = model.forward(ids);
    await rotate(model, { rng: new Rng(1) });
    const [drawn] = model.blocks[0].mlp.down.inputSteps;
    await rotate(model, { rng: new Rng(2) });
    expect(model.blocks[0].mlp.down.inputSteps).toEqual([drawn]);
    expect(relative(model.forward(ids), want)).toBeLessThan(1e-5);
    const names = [...model.scalePairs(), ...model.units()].flatMap((told) =>
      "places" in told ? told.places : [...told.producer, ...told.consumers],
    );
    expect(names.filter(({ name }) => name.includes("mlp.down"))).toEqual([]);
    expect(names.some(({ name }) => name.includes("attention.out"))).toBe(true);
  });

  it("goes into files: whole without rotations online, else into one that was rotated", async () => {
    const folder = mkdtempSync(join(tmpdir(), "rotate-"));
    try {
      const path = join(folder, "model.safetensors");
      const model = await rotate(llama(), { online: false });
      await save(path, model);
      const back = evaluate((await load(path, { models: [Llama] })) as unknown as Llama);
      expect(bits(back.forward(ids))).toEqual(bits(model.forward(ids)));
    } finally {
      rmSync(folder, { recursive: true });
    }
    const online = await rotate(gpt(), { rng: new Rng(1) });
    const other = await rotate(gpt(), { rng: new Rng(2) });
    loadStateDict(other, stateDict(online));
    expect(bits(other.forward(ids))).toEqual(bits(online.forward(ids)));
    expect(bits(clone(online).forward(ids))).toEqual(bits(online.forward(ids)));
  });

  it.each(models)("packs to the same bits, %s", async (_, make) => {
    const given = await rotate(make(), { rng: new Rng(1) });
    const { model, packed } = await twins(given, int8Dynamic(), tensor([0]), null);
    const want = scope(() => model.forward(ids));
    const data = Int32Array.from(ids.flat());
    const root = packed.root as PackedLanguage;
    expect(bits(root.forward({ data, shape: [2, 6] } as never))).toEqual(bits(want));
  });

  it("is what GPTQ sees the inputs of", async () => {
    const model = await rotate(llama(), { rng: new Rng(1) });
    prepare(model, plan({ rules: [[linear, int4WeightOnly({ group: 8 })]] }));
    await gptq(model, [ids] as never);
    expect(model.forward(ids).isFinite().all().item()).toBe(1);
  });
});

describe("bits", () => {
  /** Inputs with three large columns, a weight, and the squared error of a product as a share of it. */
  const x = randn([256, 256], { rng: new Rng(7) }).mul(
    tensor(Float32Array.from({ length: 256 }, (_, i) => ([11, 90, 200].includes(i) ? 40 : 1))),
  );
  const w = randn([128, 256], { rng: new Rng(8) });
  const want = x.linear(w);
  const error = (a: number, b: number | null, rotation: Hadamard | null): number => {
    const at = (t: Tensor, bits: number | null) =>
      bits ? fakeQuantize(t, spec({ bits, granularity: "channel" })) : t;
    const turned = (t: Tensor) => (rotation ? rotation.forward(t) : t);
    const got = at(turned(x), a).linear(at(turned(w), b));
    return got.sub(want).square().sum().item() / want.square().sum().item();
  };
  const full = () => new Hadamard(256, { rng: new Rng(1) });
  const blocks = (block: number) => new Hadamard(256, { block, rng: new Rng(1) });

  it("of inputs with outliers cost a quarter at most behind a rotation, and about as much behind one of blocks", () => {
    // Expected: .0515 without at 4 bits, .0073 with, .0081 by blocks of 64, .0213 of 16.
    const none = error(4, null, null);
    const found = error(4, null, full());
    expect(none).toBeGreaterThan(0.03);
    expect(found).toBeLessThan(0.25 * none);
    expect(error(4, null, blocks(64))).toBeLessThan(1.3 * found);
    expect(error(4, null, blocks(16))).toBeGreaterThan(1.5 * found);
    expect(error(4, 4, full())).toBeLessThan(0.5 * error(4, 4, null));
    expect(error(8, null, full())).toBeLessThan(0.1 * error(8, null, null));
  });

  it.each([
    ["Llama", () => llama({ dim: 64, headSize: 16, feedForward: 128 })],
    ["Gpt", () => gpt({ dim: 64, heads: 4 })],
  ] as const)("of a %s with outliers serve it better", async (_, make) => {
    const planted = () => {
      const model = make();
      // A residual feature and some neurons that are large.
      model.token.weight.update((data) => {
        for (let i = 5; i < data.length; i += 64) data[i] += 8;
      });
      for (const { mlp } of model.blocks) {
        mlp.up.weight.update((data) =>
          data.set(
            data.subarray(64, 192).map((v) => 12 * v),
            64,
          ),
        );
      }
      return model;
    };
    const quantized = (model: Llama | Gpt) => {
      const four = { weight: ste({ bits: 4 }), input: dynamicInput({ bits: 4 }) };
      prepare(model, plan({ rules: [[linear, four]] }));
      return evaluate(model).forward(ids);
    };
    const exact = planted().forward(ids);
    const error = (got: Tensor) => got.sub(exact).square().mean().item();
    const plain = error(quantized(planted()));
    const turned = error(quantized(await rotate(planted(), { rng: new Rng(1) })));
    expect(turned).toBeLessThan(0.6 * plain);
  });
});

describe("what is refused", () => {
  const unchanged = async (
    model: object,
    options: object,
    type: new (...args: never[]) => Error,
    says: string,
  ) => {
    const before = Object.entries(stateDict(model)).map(([name, t]) => [name, list(t)]);
    const tried = rotate(model, options as Partial<RotateOptions>);
    await expect(tried).rejects.toThrow(type);
    await expect(rotate(model, options as Partial<RotateOptions>)).rejects.toThrow(says);
    expect(Object.entries(stateDict(model)).map(([name, t]) => [name, list(t)])).toEqual(before);
  };
  const post = () => trained(new Bert({ vocabulary: 10, dim: 16, layers: 1, heads: 2, rng: new Rng(1) }));

  it("post-norm models, but for their heads and inputs", async () => {
    await unchanged(
      post(),
      {},
      OptionError,
      "leave the states between blocks as they are by { residual: false }",
    );
    await unchanged(gpt({ norm: "post" }), {}, OptionError, "by residualStream()");
    const model = post();
    const before = list(model.forward(ids) as never as Tensor);
    await rotate(model, { residual: false });
    const got = list(model.forward(ids) as never as Tensor);
    expect(Math.max(...got.map((v, i) => Math.abs(v - before[i])))).toBeLessThan(1e-5);
  });

  it.each<[string, () => object, object, new (...args: never[]) => Error]>([
    ["rotate: needs something to rotate", () => new Linear(4, 2), { residual: false }, OptionError],
    ["the residual stream must have an even number", () => llama({ dim: 25 }), {}, OptionError],
    [
      "the residual stream must have a number of features that 4 divides, got 6",
      () => gpt({ dim: 6, heads: 2 }),
      {},
      OptionError,
    ],
    [
      'the input of layer "blocks.0.mlp.down" must have an even number',
      () => llama({ feedForward: 41 }),
      {},
      OptionError,
    ],
    ['the heads of "blocks.0.attention.value.weight"', () => gpt({ dim: 12, heads: 4 }), {}, OptionError],
    ["unknown option", llama, { seed: 1 }, OptionError],
    ["needs linear layers", llama, { online: "nothing" }, OptionError],
  ])("%s", async (says, make, options, type) => {
    if (says.startsWith("needs linear layers")) {
      await unchanged(make(), options, type, "nothing");
      return;
    }
    await unchanged(make(), options, type, says);
  });

  it("prepared models, masks, stores, and numbers that are not finite", async () => {
    const ready = llama();
    prepare(ready, plan({ default: int8Dynamic() }));
    await unchanged(ready, {}, StageError, "needs a float model");
    const masked = llama();
    parametrize(masked, "blocks.1.mlp.up.weight", { apply: (w) => w.mul(1) });
    await unchanged(masked, {}, OptionError, "no transform may stand on what is turned");
    const odd = llama();
    odd.blocks[1].mlp.up.weight.update((data) => {
      data[7] = Number.NaN;
    });
    await unchanged(
      odd,
      {},
      OptionError,
      "weights must be finite, and blocks.1.mlp.up.weight is not, got NaN",
    );
    const packed = new FeedForward(4, 8);
    packed.down.weight = new Parameter(tensor(new Float32Array(32).fill(1), { shape: [4, 8] }), {
      store: signs,
    });
    await unchanged(packed, { residual: false }, OptionError, "weights must be floats");
  });

  it("weights that parts share, but for the table of tokens, and inputs that are rotated", async () => {
    const model = llama();
    model.blocks[1].mlp.down.weight = model.blocks[0].mlp.down.weight;
    await unchanged(model, {}, OptionError, "two parts of the model share a weight");
    const attention = new MultiHeadAttention(8, 2);
    await rotate(attention, { residual: false, online: "out" });
    await unchanged(
      attention,
      { residual: false, online: "out" },
      OptionError,
      "no steps may stand in front of what is turned",
    );
  });
});
