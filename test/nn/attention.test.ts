import {
  bernoulli,
  concat,
  full as fullOf,
  memory,
  noGrad,
  OptionError,
  Rng,
  randn,
  scope,
  shapesOnly,
  type Tensor,
  tensor,
  zeros,
} from "bitgrad";
import { KVCache, Linear, MultiHeadAttention, namedParameters, parameters } from "bitgrad/nn";
import { expectClose, gradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import { attend } from "../../src/ops/attention.ts";

const make = (options: object = {}) => new MultiHeadAttention(8, 4, { rng: new Rng("heads"), ...options });
const input = (t: number, seed = "x") => randn([2, t, 8], { rng: new Rng(seed) });
const inside = () => ({ scores: [] as Tensor[], probabilities: [] as Tensor[], values: [] as Tensor[] });

describe("MultiHeadAttention", () => {
  it("names its projections query, key, value and out", () => {
    expect(namedParameters(make()).map(([name]) => name)).toEqual(
      ["query", "key", "value", "out"].flatMap((part) => [`${part}.weight`, `${part}.bias`]),
    );
    const names = namedParameters(make({ bias: false, outBias: true })).map(([name]) => name);
    expect(names.filter((name) => name.endsWith("bias"))).toEqual(["out.bias"]);
  });

  it("moves no heads where nothing reads them by an axis of their own", () => {
    const ops: string[] = [];
    for (const [layer, call] of [
      [make({ kvHeads: 2 }), { causal: true }],
      [make(), { context: input(3, "context"), mask: zeros([2, 1, 5, 3]) }],
    ] as const)
      shapesOnly(
        () => layer.forward(input(5), call),
        (op) => ops.push(op),
      );
    const products = ["linear", "linear", "linear", "scaledDotProductAttention", "linear"];
    expect(ops.filter((op) => op !== "reshape")).toEqual([...products, ...products]);
  });

  it.each([
    ["plainly", {}],
    ["causally", { causal: true }],
    [
      "under a bool mask",
      {
        mask: bernoulli(0.7, [2, 1, 5, 5], { rng: new Rng(2) }).logicalOr(
          tensor([true, false, false, false, false]),
        ),
      },
    ],
    ["under an added mask", { mask: randn([5, 5], { rng: new Rng(3) }) }],
    ["to a context", { context: input(3, "context") }],
    ["to keys and values of different contexts", { context: [input(3, "k"), input(3, "v")] as const }],
  ])("attends %s the same whether its insides are shown or not", (_, call) => {
    for (const options of [{}, { kvHeads: 2 }, { rotary: true }]) {
      const layer = make(options);
      const capture = inside();
      const shown = layer.forward(input(5), { ...call, capture });
      expectClose(shown, layer.forward(input(5), call), { atol: 1e-5 });
      const keys = capture.scores[0].shape[3];
      expect(capture.probabilities[0].shape).toEqual([2, 4, 5, keys]);
      expect(capture.values[0].shape).toEqual([2, layer.kvHeads, keys, 2]);
      expectClose(
        capture.probabilities[0].sum({ axis: -1 }),
        Array(2).fill(Array(4).fill(Array(5).fill(1))),
        { atol: 1e-5 },
      );
    }
  });

  it("scores are scaled, masked and before the softmax", () => {
    const capture = inside();
    make().forward(input(3), { causal: true, capture });
    expectClose(capture.scores[0].softmax(), capture.probabilities[0]);
    expect(capture.scores[0].slice([0, 0, 0, [1, 3]]).toArray()).toEqual([-Infinity, -Infinity]);
  });

  it("with grouped queries equals full attention whose key heads repeat", () => {
    const grouped = make({ kvHeads: 2, bias: false });
    const full = make({ bias: false });
    for (const part of ["query", "out"] as const) full[part].weight.assign(grouped[part].weight.value);
    for (const part of ["key", "value"] as const) {
      const heads = grouped[part].weight.value.reshape([2, 2, 8]).repeatInterleave(2, { axis: 0 });
      full[part].weight.assign(heads.reshape([8, 8]));
    }
    expectClose(grouped.forward(input(4)), full.forward(input(4)));
  });

  it("a head mask multiplies the heads' contributions", () => {
    const layer = make({ outBias: false });
    const alone = (h: number) =>
      layer.forward(input(4), { headMask: [0, 1, 2, 3].map((i) => Number(i === h)) });
    const sum = [0, 1, 2, 3].map(alone).reduce((a, b) => a.add(b));
    expectClose(sum, layer.forward(input(4)), { atol: 1e-5 });
    expectClose(layer.forward(input(4), { headMask: [0, 0, 2, 0] }), alone(2).mul(2), { atol: 1e-5 });
  });

  it("drops probabilities in training alone, by the generator of the call", () => {
    const layer = make({ dropout: 0.5 });
    const run = (seed: number) => layer.forward(input(4), { rng: new Rng(seed) }).toArray();
    expect(run(1)).toEqual(run(1));
    expect(run(1)).not.toEqual(run(2));
    layer.training = false;
    expect(run(1)).toEqual(run(2));
    expectClose(layer.forward(input(4)), make().forward(input(4)));
  });

  it("with rotary positions depends on distances alone", () => {
    const layer = make({ rotary: { base: 100 } });
    const cache = new KVCache();
    noGrad(() => layer.forward(input(3, "before"), { cache }));
    // Behind a mask that hides what the cache holds, three places later, the outcome is that of the beginning.
    const mask = tensor([false, false, false, true, true]);
    const shifted = layer.forward(input(2), { cache, mask });
    expectClose(shifted, layer.forward(input(2)), { atol: 1e-5 });
  });

  it("has the gradient of what it computes, on both paths", () => {
    const layer = new MultiHeadAttention(4, 2, { kvHeads: 1, rotary: true, rng: new Rng(5) });
    const x = randn([1, 3, 4], { dtype: "float64", rng: new Rng(6) });
    gradcheck((y: Tensor) => layer.forward(y, { causal: true }), [x]);
    gradcheck((y: Tensor) => layer.forward(y, { causal: true, capture: { scores: [] } }), [x]);
  });

  it.each([
    ["query", 9, "9, 8 and 8"],
    ["key", 5, "8, 5 and 8"],
    // Twice as many value heads as key heads, of which the output would take what it can.
    ["value", 16, "8, 8 and 16"],
  ] as const)("refuses a %s projection of %i features", (name, features, got) => {
    for (const call of [{}, { capture: inside() }, { cache: new KVCache() }]) {
      const layer = make();
      layer[name] = new Linear(8, features);
      if (name === "value") layer.out = new Linear(features, 8);
      expect(() => layer.forward(input(3), call)).toThrow(
        `MultiHeadAttention: queries, keys and values do not fit heads of 2 features, got ${got}`,
      );
    }
  });

  it("refuses sizes and options that do not fit", () => {
    expect(() => new MultiHeadAttention(8, 3)).toThrow("got dim 8, heads 3 and kvHeads 3");
    expect(() => make({ kvHeads: 3 })).toThrow("got dim 8, heads 4 and kvHeads 3");
    expect(() => new MultiHeadAttention(6, 2, { rotary: true })).toThrow("even head size, got 3");
    expect(() => make({ dropout: -1 })).toThrow("dropout must lie between 0 and 1, got -1");
    expect(() => make().forward(randn([3, 8]))).toThrow("needs (B, T, C), got (3, 8)");
    expect(() => make().forward(input(2), { masks: null } as object)).toThrow("unknown option");
  });
});

describe("KVCache", () => {
  it("gives the same outputs token by token as all at once", () => {
    for (const options of [{}, { kvHeads: 2, rotary: true }]) {
      const layer = make(options);
      const whole = layer.forward(input(6), { causal: true });
      const cache = new KVCache();
      for (const [from, to] of [
        [0, 2],
        [2, 3],
        [3, 6],
      ]) {
        const part = layer.forward(input(6).slice([null, [from, to]]), { causal: true, cache });
        expectClose(part, whole.slice([null, [from, to]]), { atol: 1e-5 });
      }
      expect(cache.length).toBe(6);
    }
  });

  it("outlives the scopes it is filled in and returns to what it was when cut", () => {
    const layer = make();
    const cache = new KVCache();
    const step = (seed: string) =>
      noGrad(() => scope(() => layer.forward(input(2, seed), { cache, causal: true }).toArray()));
    const before = memory();
    step("a");
    const once = step("b");
    cache.truncate(2);
    expect(cache.length).toBe(2);
    expect(step("b")).toEqual(once);
    cache.clear();
    expect(cache.length).toBe(0);
    expect(memory().bytes).toBe(before.bytes);
  });

  it("lets gradients through to what it holds", () => {
    const cache = new KVCache();
    const first = randn([1, 1, 2, 3], { requiresGrad: true });
    cache.append(first, first);
    const [keys] = cache.append(randn([1, 1, 1, 3]), randn([1, 1, 1, 3]));
    keys.sum().backward();
    expect(first.grad!.toArray()).toEqual([
      [
        [
          [1, 1, 1],
          [1, 1, 1],
        ],
      ],
    ]);
  });

  it("grows in place without gradients: a step gives what a cache that joins copies gives, bit for bit", () => {
    const layer = make({ kvHeads: 2, rotary: true });
    const [grown, joined] = [new KVCache(), new KVCache()];
    const blocks = new Set<unknown>();
    const extend: KVCache["extend"] = (keys, values) => {
      const all = KVCache.prototype.extend.call(grown, keys, values);
      for (const t of all!) blocks.add(t.storage);
      return all;
    };
    const roomy = {
      get length() {
        return grown.length;
      },
      append: () => expect.unreachable() as never,
      extend,
    };
    const plain = {
      get length() {
        return joined.length;
      },
      append: (k: Tensor, v: Tensor) => joined.append(k, v),
    };
    for (let i = 0; i < 40; i++) {
      const step = (cache: typeof plain) =>
        noGrad(() => scope(() => layer.forward(input(1, `${i}`), { cache, causal: true }).toArray()));
      expect(step(roomy)).toEqual(step(plain));
    }
    // 16 positions, then 34, then 70, of keys and of values.
    expect(blocks.size).toBe(6);
  });

  it("takes masks with gradients, and captures, over room for more", () => {
    const layer = make();
    for (const p of parameters(layer)) p.trainable = false;
    const x = input(3);
    const mask = randn([2, 1, 3, 5], { rng: new Rng("mask"), requiresGrad: true });
    const run = (shows: boolean) => {
      const cache = new KVCache();
      noGrad(() => layer.forward(input(2, "before"), { cache }));
      const out = layer.forward(x, { cache, mask, capture: shows ? inside() : null });
      out.square().sum().backward();
      const { grad } = mask;
      mask.grad = null;
      return [out, grad!] as const;
    };
    const [shown, plain] = [run(true), run(false)];
    shown.forEach((t, i) => {
      expectClose(plain[i], t, { atol: 1e-5 });
    });
  });

  it("holds nothing of positions that were cut, also where sums leave float32", () => {
    const full = (value: number) => fullOf([1, 2, 1, 4], value);
    const step = (before: number | null) => {
      const cache = new KVCache();
      cache.extend(full(1), full(3e38));
      // Two, of which the next overwrites one.
      if (before !== null) for (let i = 0; i < 2; i++) cache.extend(full(before), full(before));
      cache.truncate(1);
      const [keys, values] = cache.extend(full(1), full(3e38))!;
      return attend(full(1), keys, values, undefined, cache.length).toArray();
    };
    expect(step(Number.NaN)).toEqual(step(null));
    expect(step(null)).toEqual(full(3e38).toArray());
  });

  it("gives keys and values equal room, also where gradients went through one of the two alone", () => {
    for (const [a, b] of [
      [false, true],
      [true, false],
    ]) {
      const layer = make();
      layer.query.weight.trainable = layer.query.bias!.trainable = false;
      layer.key.weight.trainable = layer.key.bias!.trainable = a;
      layer.value.weight.trainable = layer.value.bias!.trainable = b;
      const [cut, short] = [new KVCache(), new KVCache()];
      layer.forward(input(10), { cache: cut, causal: true });
      layer.forward(input(10).slice([null, [0, 3]]), { cache: short, causal: true });
      noGrad(() => {
        cut.truncate(3);
        for (let i = 0; i < 20; i++) {
          const step = (cache: KVCache) => layer.forward(input(1, `${i}`), { cache, causal: true });
          expectClose(step(cut), step(short), { atol: 1e-6 });
        }
      });
    }
  });

  it("takes what it returned", () => {
    for (const dtype of ["float32", "float64"] as const) {
      const cache = new KVCache();
      const t = randn([1, 2, 3, 4]);
      cache.append(t, t);
      const all = cache.append(t.to(dtype), t.to(dtype));
      const twice = concat(
        [t, t, t, t].map((x) => x.to(dtype)),
        { axis: 2 },
      ).toArray();
      for (const held of cache.append(...all)) expect(held.toArray()).toEqual(twice);
    }
  });

  it("refuses what does not go with what it holds", () => {
    const cache = new KVCache();
    const own = (extend: unknown) => ({
      length: 9,
      append: () => expect.unreachable() as never,
      extend: extend as never,
    });
    expect(() => make().forward(input(1), { cache: own(5) })).toThrow(OptionError);
    const short = own((k: Tensor, v: Tensor) => [k, v]);
    expect(() => noGrad(() => make().forward(input(1), { cache: short }))).toThrow(
      "shapes do not fit together",
    );
    const t = (...shape: number[]) => randn(shape);
    expect(() => cache.append(t(1, 2, 3), t(1, 2, 3))).toThrow("must be (B, H, T, D)");
    expect(() => cache.append(t(1, 2, 3, 4), t(1, 2, 2, 4))).toThrow("KVCache");
    cache.append(t(1, 2, 3, 4), t(1, 2, 3, 5));
    expect(() => cache.append(t(2, 2, 1, 4), t(2, 2, 1, 5))).toThrow("after (1, 2, 3, 4)");
    expect(() => cache.truncate(4)).toThrow("can be cut to 0…3 positions, got 4");
  });
});
