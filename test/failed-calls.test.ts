/** A call that throws leaves caches, generators, statistics and lists as they were. */

import { manualSeed, noGrad, Rng, randint, randn, type Tensor, tensor, zeros } from "bitgrad";
import { Gpt, Llama, ResNet, Transformer } from "bitgrad/models";
import {
  BatchNorm1d,
  evaluate,
  KVCache,
  Linear,
  MultiHeadAttention,
  Parameter,
  Sequential,
  signs,
  stateDict,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
} from "bitgrad/nn";
import { PackedCache } from "bitgrad/packed";
import { freeze, int8Dynamic, minMax, plan, prepare, spec, staticInput } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { undoing } from "../src/changes.ts";
import { twins } from "./packed/twins.ts";

const sizes = { vocabulary: 11, dim: 8, layers: 2, heads: 2, feedForward: 12 };
const gpt = new Gpt({ ...sizes, context: 12, rng: new Rng(1) });
const llama = new Llama({ ...sizes, context: 12, kvHeads: 1, rng: new Rng(2) });
const transformer = new Transformer({ ...sizes, rng: new Rng(3) });
const layer = new MultiHeadAttention(8, 2, { rotary: true, rng: new Rng(4) });
const block = new TransformerEncoderLayer(8, 2, 12, { rng: new Rng(5) });
const decoder = new TransformerDecoderLayer(8, 2, 12, { rng: new Rng(6) });
const states = (t: number, seed: number) => randn([2, t, 8], { rng: new Rng(seed) });
const ids = (t: number, seed: number) => randint(0, 11, [2, t], { rng: new Rng(seed) });
const wrong = { mask: tensor([[[[true, true, true, true, true, true, true]]]]) };

type Run = (t: number, seed: number, cache: readonly KVCache[], call?: object) => Tensor;
const memory = states(4, 9);
const runs: [name: string, caches: number, run: Run, bad: object[]][] = [
  [
    "MultiHeadAttention",
    1,
    (t, s, [cache], call) => layer.forward(states(t, s), { ...call, cache }),
    [wrong, { headMask: [1, 1, 1] }],
  ],
  [
    "an encoder's block",
    1,
    (t, s, [cache], call) => block.forward(states(t, s), { ...call, cache }),
    [wrong, { headMask: [1, 1, 1] }],
  ],
  [
    "a decoder's block",
    1,
    (t, s, [cache], call) => decoder.forward(states(t, s), memory, { ...call, cache }),
    [wrong, { memoryMask: [true, false] }, { memoryHeadMask: [1, 1, 1] }],
  ],
  [
    "Gpt",
    2,
    (t, s, cache, call) => gpt.forward(ids(t, s), { ...call, cache }),
    [
      wrong,
      {
        headMask: [
          [1, 1, 1],
          [1, 1, 1],
        ],
      },
    ],
  ],
  [
    "Llama",
    2,
    (t, s, cache, call) => llama.forward(ids(t, s), { ...call, cache }),
    [
      wrong,
      {
        headMask: [
          [1, 1, 1],
          [1, 1, 1],
        ],
      },
    ],
  ],
  [
    "Transformer",
    2,
    (t, s, cache, call) => transformer.decode(ids(t, s), memory, { ...call, cache }),
    [wrong, { memoryMask: [true, false] }],
  ],
];

describe.each(runs)("%s, after a call that throws,", (_, caches, run, bad) => {
  it.each([
    ["without gradients", noGrad],
    ["with gradients", <T>(fn: () => T) => fn()],
  ] as const)("has its caches as they were, %s", (_, mode) => {
    const make = () => Array.from({ length: caches }, () => new KVCache());
    const [plain, tried] = [make(), make()];
    const failures = () => {
      const { length } = tried[0];
      for (const call of bad) {
        const capture = { scores: [], probabilities: [], values: [], hidden: [] };
        expect(() => run(2, 8, tried, { ...call, capture })).toThrow();
        expect(tried.map((cache) => cache.length)).toEqual(tried.map(() => length));
        expect(Object.values(capture).flat()).toEqual([]);
      }
    };
    mode(() => {
      failures();
      for (const [t, seed] of [
        [3, 1],
        [1, 2],
        [2, 3],
      ]) {
        expect(run(t, seed, tried).toArray()).toEqual(run(t, seed, plain).toArray());
        failures();
      }
    });
  });
});

describe("a call that throws", () => {
  it("in the last layer leaves the caches of all", () => {
    const model = new Llama({ ...sizes, context: 12, tied: false, rng: new Rng(2) });
    const cache = model.newCache();
    const { head } = model;
    model.head = new Linear(9, 11);
    expect(() => model.forward(ids(3, 1), { cache })).toThrow("linear");
    expect(cache.map(({ length }) => length)).toEqual([0, 0]);
    model.head = head;
    expect(model.forward(ids(3, 1), { cache }).shape).toEqual([2, 3, 11]);
  });

  it("leaves generators where they were", () => {
    const model = new Gpt({ ...sizes, context: 12, dropout: 0.5, rng: new Rng(1) });
    const rng = new Rng(4);
    const { state } = rng;
    expect(() => model.forward(ids(3, 1), { rng, mask: [[true, false]] })).toThrow();
    expect(rng.state).toEqual(state);
    const random = manualSeed(2);
    const before = random.state;
    expect(() =>
      model.forward(ids(3, 1), {
        headMask: [
          [1, 1, 1],
          [1, 1, 1],
        ],
      }),
    ).toThrow();
    expect(() => randint(0, 300, [4], { dtype: "uint8" })).toThrow();
    expect(random.state).toEqual(before);
  });

  it("leaves running statistics as they were", () => {
    const norm = new BatchNorm1d(4);
    norm.bias = new Parameter(zeros([3]));
    const x = randn([5, 4], { rng: new Rng(1) });
    const model = new Sequential(new BatchNorm1d(4), new Linear(3, 2));
    const images = new ResNet({ blocks: 1, width: 4, rng: new Rng(1) });
    images.linear = new Linear(3, 2);
    for (const [part, run] of [
      [norm, () => norm.forward(x)],
      [model, () => model.forward(x)],
      [images, () => images.forward(randn([2, 3, 8, 8], { rng: new Rng(2) }))],
    ] as const) {
      const numbers = () => Object.values(stateDict(part)).map((t) => t.toArray());
      const before = numbers();
      expect(run).toThrow();
      expect(numbers()).toEqual(before);
    }
  });

  it("counts a write that throws half-way, so that frozen codes are those of the numbers that are there", () => {
    const linear = new Linear(3, 2, { rng: new Rng(1) });
    evaluate(freeze(prepare(linear, plan({ default: int8Dynamic() }))));
    const { weight } = linear;
    const version = weight.version;
    const half = (data: { fill(value: number): unknown }) => {
      data.fill(50);
      throw new RangeError("half-way");
    };
    expect(() => weight.update(half)).toThrow("half-way");
    expect(weight.version).toBe(version + 1);
    expect(Math.abs(Number(weight.effective().data[0]) - 50)).toBeLessThan(0.05);
    // A graph of the numbers before runs no more.
    const y = linear.bias!.effective().square().sum();
    expect(() => linear.bias!.update(half)).toThrow("half-way");
    expect(() => y.backward()).toThrow("changed in place");
    // Numbers that lie packed are written when all are known.
    const packed = new Parameter(tensor([1, -1]), { store: signs });
    expect(() => packed.update(half)).toThrow("half-way");
    expect([packed.version, ...packed.value.data]).toEqual([0, 1, -1]);
  });

  it("leaves observers as they were", () => {
    const linear = new Linear(4, 2, { rng: new Rng(1) });
    prepare(linear, plan({ default: { ...int8Dynamic(), input: staticInput({ observer: minMax }) } }));
    const input = linear.inputQuantizer as unknown as { observing: boolean; observed: boolean };
    input.observing = true;
    expect(() => linear.forward(randn([2, 3]))).toThrow("linear");
    expect(input.observed).toBe(false);
    const seen = minMax(spec({ bits: 8, scheme: "affine" }));
    expect(() => seen.params()).toThrow("no batch was observed");
  });

  it("leaves the caches of packed layers and models as they were", async () => {
    const x = ids(3, 1).slice([[0, 1]]);
    const { packed } = await twins(new Gpt({ ...sizes, context: 12, rng: new Rng(1) }), int8Dynamic(), x);
    const language = packed.root as import("bitgrad/packed").PackedLanguage;
    const [plain, tried] = [0, 1].map(() => [new PackedCache(), new PackedCache()]);
    const step = (row: number[], cache: readonly PackedCache[], mask?: number[]) =>
      language.forward(
        { data: row, shape: [1, row.length] },
        { cache, mask: mask && { data: mask, shape: [1, mask.length] } },
      ).data;
    for (const row of [[1, 2, 3], [4], [5, 6]]) {
      const { length } = tried[0];
      expect(() => step(row, tried, [1, 1, 1, 1, 1, 1, 1, 1])).toThrow("a mask must be");
      expect(() => step(row, [tried[0], tried[0]])).toThrow();
      expect(tried.map((cache) => cache.length)).toEqual([length, length]);
      expect([...step(row, tried)]).toEqual([...step(row, plain)]);
    }
  });

  it("leaves a packed cache as if it had read no NaN", () => {
    const [clean, tried] = [new PackedCache(), new PackedCache()];
    const of = (value: number, t = 1) => new Float32Array(8 * t).fill(value);
    for (const cache of [clean, tried]) cache.append(of(1), of(2), 2, 1, 4);
    const failing = () => {
      tried.append(of(Number.NaN, 2), of(Number.NaN, 2), 2, 2, 4);
      throw new Error("later");
    };
    expect(() => undoing(failing)).toThrow("later");
    const [keys, values, rows] = tried.append(of(3), of(4), 2, 1, 4);
    expect([keys, values, rows]).toEqual(clean.append(of(3), of(4), 2, 1, 4));
    // In place: the same arrays until they are full.
    expect(tried.append(of(5), of(6), 2, 1, 4)[0]).toBe(keys);
    expect(() => tried.append(of(5), of(6), 2, 2, 2)).toThrow("PackedCache");
    expect(tried.length).toBe(3);
  });
});
