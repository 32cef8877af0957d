import { manualSeed, memory, OptionError, Rng, randint, type Tensor, tensor } from "bitgrad";
import { Gpt } from "bitgrad/models";
import { Linear, namedParameters, parameterCount, stateDict, withoutDraws } from "bitgrad/nn";
import { leakCheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const small = { vocabulary: 11, context: 12, dim: 16, layers: 2, heads: 4 };
const makeGpt = (more: object = {}) => new Gpt({ ...small, rng: new Rng("gpt"), ...more });

const largestDifference = (a: Tensor, b: Tensor): number => {
  expect(a.shape).toEqual(b.shape);
  return a.sub(b).abs().max().item();
};

describe.each([["pre"], ["post"]] as const)("a Gpt in the %s form", (norm) => {
  it("gives logits of every position, (B, T, V)", () => {
    const gpt = makeGpt({ norm });
    expect(
      gpt.forward([
        [1, 2, 3],
        [4, 5, 6],
      ]).shape,
    ).toEqual([2, 3, 11]);
  });

  it("keeps earlier logits bit-identical when a later token changes", () => {
    const gpt = makeGpt({ norm });
    const ids = [3, 1, 4, 1, 5, 9, 2, 6];
    const before = gpt.forward([ids]);
    for (let t = 0; t < ids.length; t++) {
      const after = gpt.forward([ids.map((id, i) => (i === t ? (id + 1) % 11 : id))]);
      const rows = (logits: Tensor, from: number, to: number) => [...logits.data.slice(from * 11, to * 11)];
      expect(rows(after, 0, t)).toEqual(rows(before, 0, t));
      expect(rows(after, t, t + 1)).not.toEqual(rows(before, t, t + 1));
    }
  });

  it("gives the same logits token by token with a cache as all at once", () => {
    const gpt = makeGpt({ norm });
    const ids = randint(0, 11, [2, 12], { rng: new Rng(1) });
    const whole = gpt.forward(ids);
    const cache = gpt.newCache();
    gpt.forward(ids.slice([null, [0, 3]]), { cache });
    for (let t = 3; t < 12; t++) {
      const step = gpt.forward(ids.slice([null, [t, t + 1]]), { cache });
      expect(largestDifference(step, whole.slice([null, [t, t + 1]]))).toBeLessThan(1e-4);
    }
    expect(cache[0].length).toBe(12);
  });
});

describe("Gpt", () => {
  it("reads past padding: masked positions change nothing", () => {
    const gpt = makeGpt();
    const mask = tensor([[true, true, false, true]]);
    const logits = (pad: number) => gpt.forward([[1, 2, pad, 4]], { mask }).slice([0, 3]);
    expect(largestDifference(logits(5), logits(7))).toBe(0);
    expect(largestDifference(logits(5), gpt.forward([[1, 2, 5, 4]]).slice([0, 3]))).toBeGreaterThan(1e-6);
  });

  it("shows scores, probabilities, values and hidden states of every layer, and its logits do not change", () => {
    const gpt = makeGpt();
    const seen = {
      scores: [] as Tensor[],
      probabilities: [] as Tensor[],
      values: [] as Tensor[],
      hidden: [] as Tensor[],
    };
    const ids = [[1, 2, 3, 4, 5]];
    const logits = gpt.forward(ids, { capture: seen });
    expect(seen.scores.map((t) => t.shape)).toEqual([
      [1, 4, 5, 5],
      [1, 4, 5, 5],
    ]);
    expect(seen.probabilities.map((t) => t.shape)).toEqual([
      [1, 4, 5, 5],
      [1, 4, 5, 5],
    ]);
    expect(seen.values.map((t) => t.shape)).toEqual([
      [1, 4, 5, 4],
      [1, 4, 5, 4],
    ]);
    expect(seen.hidden.map((t) => t.shape)).toEqual([
      [1, 5, 16],
      [1, 5, 16],
      [1, 5, 16],
    ]);
    expect(largestDifference(logits, gpt.forward(ids))).toBeLessThan(1e-5);
    const last = gpt.head.forward(gpt.norm!.forward(seen.hidden[2]));
    expect(largestDifference(last, logits)).toBe(0);
  });

  it("a head mask of ones changes nothing, of zeros takes a head out", () => {
    const gpt = makeGpt();
    const ids = [[1, 2, 3, 4]];
    const ones = [
      [1, 1, 1, 1],
      [1, 1, 1, 1],
    ];
    const plain = gpt.forward(ids);
    expect(largestDifference(gpt.forward(ids, { headMask: ones }), plain)).toBeLessThan(1e-5);
    const without = gpt.forward(ids, {
      headMask: [
        [0, 1, 1, 1],
        [1, 1, 1, 1],
      ],
    });
    // Head 0 of block 0 owns the first four columns of its output projection.
    gpt.blocks[0].attention.out.weight.update((w) => {
      for (let row = 0; row < 16; row++) w.fill(0, row * 16, row * 16 + 4);
    });
    expect(largestDifference(gpt.forward(ids), without)).toBeLessThan(1e-5);
  });

  it("ties its head to the token table: one parameter with two names", () => {
    const gpt = makeGpt();
    expect(gpt.head.weight).toBe(gpt.token.weight);
    expect(namedParameters(gpt).map(([name]) => name)).not.toContain("head.weight");
    expect(Object.keys(stateDict(gpt))).toContain("head.weight");
    const untied = parameterCount(makeGpt({ tied: false }));
    expect(untied - parameterCount(gpt)).toBe(11 * 16);
  });

  it("starts as GPT-2 does: deviations 0.02, 0.01 for positions, branch ends divided by the root of twice the depth", () => {
    const gpt = new Gpt({ ...small, dim: 64, context: 200, vocabulary: 300, rng: new Rng(3) });
    const deviation = (t: Tensor) => t.std({ correction: 0 }).item();
    expect(deviation(gpt.token.weight.value)).toBeCloseTo(0.02, 3);
    expect(deviation(gpt.position.weight.value)).toBeCloseTo(0.01, 3);
    expect(deviation(gpt.blocks[0].attention.query.weight.value)).toBeCloseTo(0.02, 3);
    expect(deviation(gpt.blocks[1].mlp.down.weight.value)).toBeCloseTo(0.01, 3);
    expect(gpt.blocks[0].mlp.up.bias!.value.toArray()).toEqual(Array(256).fill(0));
  });

  it("the same seed gives the same weights", () => {
    expect(
      makeGpt()
        .forward([[1, 2]])
        .toArray(),
    ).toEqual(
      makeGpt()
        .forward([[1, 2]])
        .toArray(),
    );
  });

  it("without draws is built with norms at their beginning and everything drawn left at 0", () => {
    const rng = new Rng("untouched");
    const gpt = withoutDraws(() => makeGpt({ rng }));
    expect(rng.state).toEqual(new Rng("untouched").state);
    const sizes = namedParameters(gpt).map(([name, p]) => [name, p.value.abs().max().item()] as const);
    for (const [name, size] of sizes) expect(size, name).toBe(/norm\d?\.weight$/.test(name) ? 1 : 0);
    expect(makeGpt().token.weight.value.abs().max().item()).toBeGreaterThan(0);
    expect(() => withoutDraws(async () => 1)).toThrow("withoutDraws: the callback must be synchronous");
  });

  it("refuses what does not fit", () => {
    const gpt = makeGpt();
    expect(() => gpt.forward([1, 2])).toThrow("Gpt: ids must be (B, T), got (2)");
    expect(() => gpt.forward([Array(13).fill(1)])).toThrow("the context holds 12 positions, got 13");
    expect(() => gpt.forward([[1]], { headMask: [[1, 1, 1, 1]] })).toThrow("headMask must be (2, H)");
    expect(() => gpt.forward([[1]], { heads: 2 } as object)).toThrow("Gpt: unknown option");
    expect(() => makeGpt({ heads: 3 })).toThrow(
      "heads must divide dim, and kvHeads heads, got dim 16, heads 3",
    );
    expect(() => makeGpt({ layers: 0 })).toThrow("layers must be a positive integer");
    expect(() => makeGpt({ dropout: 2 })).toThrow("dropout must lie between 0 and 1");
  });

  it.each([
    ["a function", (x: Tensor) => x],
    ["nothing", null],
    ["a layer without attention", new Linear(8, 8)],
  ])("refuses blocks that are none: %s", (_, block) => {
    const model = new Gpt({ vocabulary: 8, context: 4, dim: 8, layers: 2, heads: 1 });
    model.blocks[1] = block as never;
    const run = () => model.forward(tensor([[1, 2]], { dtype: "int32" }));
    expect(run).toThrow(OptionError);
    expect(run).toThrow(/^Gpt: a block must be a layer with attention, got .* at place 1$/);
  });
});

describe("generate", () => {
  it("with temperature 0 takes the likeliest token at every step, as without a cache", () => {
    const gpt = makeGpt();
    const made = gpt.generate([1, 2, 3], { maxTokens: 9, temperature: 0 });
    const text = [1, 2, 3];
    for (const id of made) {
      const logits = gpt
        .forward([text])
        .select(0)
        .select(text.length - 1);
      expect(logits.argmax().item()).toBe(id);
      text.push(id);
    }
    expect(made).toHaveLength(9);
  });

  it("refuses a prompt or stop ids that are no token ids", () => {
    const gpt = makeGpt();
    const options = { maxTokens: 1 };
    for (const prompt of ["hi", [1.5], [-1], [Number.NaN], null, undefined]) {
      expect(() => gpt.generate(prompt as never, options)).toThrow(OptionError);
    }
    expect(() => gpt.generate([1], { ...options, stop: "." as never })).toThrow(OptionError);
    expect(() => gpt.generate([1], undefined as never)).toThrow(OptionError);
  });

  it("streams the tokens that generate returns, one at a time", () => {
    const gpt = makeGpt();
    const options = () => ({ maxTokens: 6, rng: new Rng("s"), temperature: 2 });
    const seen: number[] = [];
    const made = gpt.generate([5], { ...options(), onToken: (id) => seen.push(id) });
    expect(seen).toEqual(made);
    expect([...gpt.stream([5], options())]).toEqual(made);
    for (const id of gpt.stream([5], options())) {
      expect(id).toBe(made[0]);
      break;
    }
  });

  it("stops after a stop token, which it returns", () => {
    const gpt = makeGpt();
    const options = { maxTokens: 12, temperature: 1, topK: 11 };
    const free = gpt.generate([5], { ...options, rng: new Rng(4) });
    const stop = free[2];
    const made = gpt.generate([5], { ...options, rng: new Rng(4), stop });
    expect(made).toEqual(free.slice(0, free.indexOf(stop) + 1));
    expect(gpt.generate([5], { ...options, rng: new Rng(4), stop: [stop, 99] })).toEqual(made);
  });

  it("goes on past its context by reading the newest half again", () => {
    const gpt = makeGpt();
    const made = gpt.generate([1], { maxTokens: 20, temperature: 0 });
    expect(made).toHaveLength(20);
    const text = [1, ...made];
    const next = (...[from, to]: [number, number]) =>
      gpt
        .forward([text.slice(from, to)])
        .select(0)
        .select(to - from - 1)
        .argmax()
        .item();
    expect(next(0, 12)).toBe(text[12]);
    // Twelve positions are full: the newest six of thirteen tokens are read again, then one a step until it is full.
    expect(next(7, 13)).toBe(text[13]);
    expect(next(7, 19)).toBe(text[19]);
    expect(next(14, 20)).toBe(text[20]);
  });

  it("is not disturbed by dropout and puts the training mode back", () => {
    const gpt = makeGpt({ dropout: 0.5 });
    const run = () => gpt.generate([1, 2], { maxTokens: 8, temperature: 0 });
    manualSeed(1);
    const first = run();
    manualSeed(2);
    expect(run()).toEqual(first);
    expect(gpt.training && gpt.blocks[0].training && gpt.blocks[1].attention.training).toBe(true);
  });

  it("holds no memory between and after its steps", () => {
    const gpt = makeGpt();
    const before = memory();
    for (const _ of gpt.stream([1, 2], { maxTokens: 30 })) {
      const { tensors, bytes } = memory();
      expect({ tensors, bytes }).toEqual({ tensors: before.tensors, bytes: before.bytes });
    }
    leakCheck(() => gpt.generate([1, 2], { maxTokens: 30 }));
  });

  it("refuses empty and overlong prompts and meaningless options at once", () => {
    const gpt = makeGpt();
    for (const empty of [[], new Int32Array(0)]) {
      expect(() => gpt.stream(empty, { maxTokens: 1 })).toThrow("at least one token, got ()");
    }
    expect(() => gpt.stream(Array(13).fill(1), { maxTokens: 1 })).toThrow(
      "must fit the context of 12, got 13",
    );
    expect(() => gpt.stream([1], { maxTokens: -1 })).toThrow("maxTokens must be a non-negative integer");
    expect(() => gpt.stream([1], { maxTokens: 1, temperature: -1 })).toThrow("temperature");
    expect(() => gpt.stream([1], { maxTokens: 1, topK: 0 })).toThrow("topK");
    expect(() => gpt.stream([1], { maxTokens: 1, topP: 0 })).toThrow("topP");
    expect(() => gpt.stream([1], { maxTokens: 1, topq: 0 } as never)).toThrow("unknown option");
  });
});

describe("the published sizes of Gpt", () => {
  it.each([
    ["gpt1", 116_534_784],
    ["gpt2", 124_439_808],
    ["gpt2Medium", 354_823_168],
    ["gpt2Large", 774_030_080],
    ["gpt2Xl", 1_557_611_200],
  ] as const)("%s has %i parameters", (name, count) => {
    expect(parameterCount(() => new Gpt(Gpt.configs[name]))).toBe(count);
  });
});
