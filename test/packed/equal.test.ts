import { noGrad, Rng, relu, scope, type Tensor, tensor, useBackend } from "bitgrad";
import { Gpt, Llama } from "bitgrad/models";
import {
  BatchNorm2d,
  Conv2d,
  type Conv2dOptions,
  clone,
  evaluate,
  Linear,
  MultiHeadAttention,
  Sequential,
} from "bitgrad/nn";
import type { PackedLanguage, PackedLinear } from "bitgrad/packed";
import {
  binaryDynamic,
  binarySigns,
  binaryWeightOnly,
  calibrate,
  chooseParams,
  dynamicInput,
  freeze,
  int4Dynamic,
  int8Dynamic,
  int8Mixed,
  int8Static,
  mixedInput,
  pack,
  plan,
  prepare,
  type QuantConfig,
  type Quantizer,
  type SpecOptions,
  signInput,
  spec,
  staticInput,
  ste,
  ternaryDynamic,
  ternaryWeightOnly,
} from "bitgrad/quant";
import { afterEach, describe, expect, it } from "vitest";
import { heapUse } from "../../kernels/wasm/heap.ts";
import { copied, inArena } from "../../src/packed/values.ts";
import { bits, random, twins, values } from "./twins.ts";

const configs: [name: string, config: QuantConfig][] = [
  ["int8 × int8", int8Dynamic()],
  ["int8 × int8 and float32", int8Mixed({ threshold: 2 })],
  ["int8 × uint8, static", int8Static()],
  ["int8 × int8, static", int8Static({ inputScheme: "symmetric" })],
  ["int4 × int8", { weight: ste({ bits: 4 }), input: dynamicInput() }],
  ["int4 in groups of 32 × int8", int4Dynamic()],
  ["int4 in groups of 24 × int8", int4Dynamic({ group: 24 })],
  ["int4 in groups of 10 × int8", int4Dynamic({ group: 10 })],
  [
    "int4 in groups of 10 × int6 and float32",
    { ...int4Dynamic({ group: 10 }), input: mixedInput({ bits: 6, threshold: 1 }) },
  ],
  ["ternary × int8", ternaryDynamic()],
  ["ternary, one scale × int8", ternaryDynamic({ granularity: "tensor" })],
  ["1 bit × int8", binaryDynamic()],
  ["1 bit × int8 and float32", { ...binaryDynamic(), input: mixedInput({ threshold: 2.5 }) }],
  ["1 bit × 1 bit", binarySigns()],
  ["ternary × 1 bit", { ...ternaryWeightOnly(), input: signInput() }],
  ["ternary × uint8, static", { ...ternaryWeightOnly(), input: staticInput() }],
  ["1 bit × int8, static", { ...binaryWeightOnly(), input: staticInput({ scheme: "symmetric" }) }],
  ["1 bit, one scale × 1 bit", binarySigns({ granularity: "tensor" })],
];

/** Codes with zero points, and codes none of which is 0: two bits at ±1/4 and ±3/4. */
const affine = (bits: number, options: Partial<SpecOptions> = {}): Quantizer => {
  const given = spec({ bits, scheme: "affine", granularity: "channel", ...options });
  return { ...ste({ bits: 8 }), spec: given, params: (x) => chooseParams(x, given) };
};
const quarters = [-0.75, -0.25, 0.25, 0.75];
const between = (granularity: SpecOptions["granularity"]) =>
  ste({ bits: 2, scheme: "codebook", codebook: quarters, granularity });
const zeroConfigs: [name: string, config: QuantConfig][] = [
  ["uint8 × int8", { weight: affine(8), input: dynamicInput() }],
  [
    "uint8, one scale × uint8, static",
    { weight: affine(8, { granularity: "tensor" }), input: staticInput() },
  ],
  [
    "int8 with a zero point × int8, static",
    { weight: affine(8, { signed: true }), input: staticInput({ scheme: "symmetric" }) },
  ],
  [
    "uint4 in groups of 32 × int8",
    { weight: affine(4, { granularity: { group: 32 } }), input: dynamicInput() },
  ],
  [
    "uint4 in groups of 10 × uint8, static",
    { weight: affine(4, { granularity: { group: 10 } }), input: staticInput() },
  ],
  [
    "uint5 in groups of 24 × int8",
    { weight: affine(5, { granularity: { group: 24 } }), input: dynamicInput() },
  ],
  ["uint3 × int8 and float32", { weight: affine(3), input: mixedInput({ threshold: 1.5 }) }],
  [
    "2 bits without 0 × int8 and float32",
    { weight: between("channel"), input: mixedInput({ threshold: 2 }) },
  ],
  ["uint3 × 1 bit", { weight: affine(3), input: signInput() }],
  ["int1 with a zero point × int8", { weight: affine(1, { signed: true }), input: dynamicInput() }],
  ["uint1 × uint8, static", { weight: affine(1), input: staticInput() }],
  ["2 bits without 0 × int8", { weight: between("channel"), input: dynamicInput() }],
  ["2 bits without 0, one scale × 1 bit", { weight: between("tensor"), input: signInput() }],
  [
    "2 bits without 0 in groups of 16 × uint8, static",
    { weight: between({ group: 16 }), input: staticInput() },
  ],
];
configs.push(...zeroConfigs);

afterEach(() => useBackend("simd"));

describe.each(["simd", "reference"] as const)(
  "on %s kernels the packed layer is bitwise the frozen one",
  (backend) => {
    it.each(configs)("linear, %s", async (_, config) => {
      useBackend(backend);
      for (const [m, k, n] of [
        [1, 33, 7],
        [5, 64, 16],
        [3, 129, 40],
        [2, 7, 1],
        [43, 280, 33],
      ]) {
        const x = random([m, k]);
        const { model, packed } = await twins(new Linear(k, n, { rng: new Rng(k) }), config, x);
        const want = noGrad(() => scope(() => model.forward(x)));
        expect(bits(packed.forward(values(x)))).toEqual(bits(want));
        // It is a product after all: close to that of the latent weights.
        expect(want.shape).toEqual([m, n]);
      }
    });

    it.each(configs)("attention, %s", async (_, config) => {
      useBackend(backend);
      const x = random([2, 17, 64]);
      const attention = new MultiHeadAttention(64, 4, { kvHeads: 2, rotary: true, rng: new Rng(1) });
      const { model, packed } = await twins(attention, config, x);
      const want = noGrad(() => scope(() => model.forward(x)));
      expect(bits(packed.forward(values(x)))).toEqual(bits(want));
    });

    it.each(configs)("convolution, %s", async (_, config) => {
      useBackend(backend);
      for (const { c = 4, o = 8, kernel = 3, ...options } of [
        { padding: 1 },
        { stride: 2, groups: 2, padding: 1 },
        { dilation: 2, groups: 4, bias: false },
        { c: 17, o: 17, groups: 17, padding: 1 },
        { c: 33, o: 9, kernel: 1, stride: 2 },
        { c: 3, o: 16, kernel: 5, padding: 2, dilation: 1 },
      ] as ({ c?: number; o?: number; kernel?: number } & Partial<Conv2dOptions>)[]) {
        const x = random([2, c, 9, 8]);
        const conv = new Conv2d(c, o, kernel, { ...options, rng: new Rng(2) });
        const { model, packed } = await twins(conv, config, x);
        const want = noGrad(() => scope(() => model.forward(x)));
        const got = packed.forward(values(x));
        expect(got.shape).toEqual(want.shape);
        expect(bits(got)).toEqual(bits(want));
      }
    });

    it.each<[string, Quantizer]>([
      ["uint8", affine(8)],
      ["uint4, one scale", affine(4, { granularity: "tensor" })],
      ["int4 in groups of 10", ste({ bits: 4, granularity: { group: 10 } })],
      ["uint4 in groups of 7", affine(4, { granularity: { group: 7 } })],
      [
        "uint4 in groups of 16, float zero points",
        affine(4, { zeroPoint: "float", granularity: { group: 16 } }),
      ],
      ["2 bits without 0 in groups of 9", between({ group: 9 })],
    ])("convolution of float32, %s", async (_, weight) => {
      useBackend(backend);
      for (const groups of [1, 2]) {
        const x = random([2, 4, 9, 8]);
        const conv = new Conv2d(4, 6, 3, { padding: 1, groups, rng: new Rng(2) });
        const { model, packed } = await twins(conv, { weight }, x);
        const want = noGrad(() => scope(() => model.forward(x)));
        expect(bits(packed.forward(values(x)))).toEqual(bits(want));
      }
    });

    it.each(configs)("a GPT, %s", async (_, config) => {
      useBackend(backend);
      const ids = tensor(
        [
          Array.from({ length: 32 }, (_, i) => (i * 7) % 60),
          Array.from({ length: 32 }, (_, i) => (i * 11) % 60),
        ],
        { dtype: "int32" },
      );
      const gpt = new Gpt({
        vocabulary: 60,
        context: 32,
        dim: 64,
        layers: 2,
        heads: 4,
        initStd: 0.2,
        rng: new Rng(5),
      });
      const { model, packed } = await twins(gpt, config, ids);
      const want = noGrad(() => scope(() => model.forward(ids)));
      const got = packed.forward({ data: ids.data as Int32Array, shape: ids.shape });
      expect(bits(got)).toEqual(bits(want));
    });
  },
);

it("a packed GPT generates the tokens of the frozen one, past the end of its context", async () => {
  useBackend("reference");
  const gpt = new Gpt({
    vocabulary: 60,
    context: 12,
    dim: 32,
    layers: 2,
    heads: 4,
    initStd: 0.2,
    rng: new Rng(5),
  });
  const { model, packed } = await twins(gpt, ternaryDynamic(), tensor([[1]], { dtype: "int32" }));
  for (const temperature of [0, 1]) {
    const options = () => ({ maxTokens: 30, temperature, rng: new Rng(9) });
    expect(packed.generate([3, 1, 4], options())).toEqual(model.generate([3, 1, 4], options()));
    expect([...packed.stream([3, 1, 4], options())]).toEqual(model.generate([3, 1, 4], options()));
  }
});

it("decoding with a cache is bitwise that of the frozen model, on SIMD kernels too", async () => {
  const cached = async (dim: number) => {
    const config = { vocabulary: 60, context: 32, dim, layers: 2, heads: 4, initStd: 0.2, rng: new Rng(5) };
    const { model, fresh } = await twins(new Gpt(config), int8Dynamic(), tensor([[1]], { dtype: "int32" }));
    const root = fresh.root as PackedLanguage;
    const [caches, own] = [model.newCache(), root.newCache()];
    for (const ids of [[1, 2, 3], [4], [5], [6, 7], [8]]) {
      const given = tensor([ids], { dtype: "int32" });
      const want = noGrad(() => scope(() => model.forward(given, { cache: caches })));
      const got = inArena(
        () => root.forward({ data: ids, shape: [1, ids.length] }, { cache: own, last: true }),
        copied,
      );
      const last = bits(want).slice(-60);
      expect(bits(got)).toEqual(last);
    }
  };
  for (const backend of ["simd", "reference"] as const) {
    useBackend(backend);
    for (const dim of [16, 64, 128, 256, 640]) await cached(dim);
  }
});

it("a packed Llama is bitwise the frozen one, and generates what it does", async () => {
  useBackend("reference");
  const ids = tensor([[5, 3, 8, 1, 0, 2]], { dtype: "int32" });
  const llama = new Llama({
    vocabulary: 40,
    context: 12,
    dim: 32,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    feedForward: 48,
    initStd: 0.2,
    rng: new Rng(6),
  });
  const { model, packed } = await twins(llama, int4Dynamic({ group: 16 }), ids);
  const want = noGrad(() => model.forward(ids));
  expect(bits(packed.forward({ data: ids.data as Int32Array, shape: ids.shape }))).toEqual(bits(want));
  const options = { maxTokens: 20, temperature: 0 };
  expect(packed.generate([3, 1, 4], options)).toEqual(model.generate([3, 1, 4], options));
});

it("a network of convolutions, batch norm and functions packs as a whole", async () => {
  const net = () =>
    new Sequential(
      new Conv2d(3, 8, 3, { padding: 1, rng: new Rng(1) }),
      new BatchNorm2d(8),
      relu,
      new Conv2d(8, 8, 3, { rng: new Rng(2) }),
    );
  const x = random([2, 3, 12, 12]);
  for (const [, config] of configs) {
    const model = net();
    (model[1] as BatchNorm2d).forward(random([4, 8, 5, 5], 8));
    const { packed } = await twins(model, config, x);
    expect(bits(packed.forward(values(x)))).toEqual(bits(noGrad(() => scope(() => model.forward(x)))));
  }
});

it("a model that is not quantized packs as float32", () => {
  const gpt = evaluate(
    new Gpt({ vocabulary: 60, context: 32, dim: 64, layers: 2, heads: 4, rng: new Rng(5) }),
  );
  const ids = tensor([Array.from({ length: 32 }, (_, i) => i)], { dtype: "int32" });
  const got = pack(gpt).forward({ data: ids.data as Int32Array, shape: ids.shape });
  expect(bits(got)).toEqual(bits(noGrad(() => scope(() => gpt.forward(ids)))));
});

it("clones quantize for themselves", async () => {
  const x = random([4, 32]);
  const one = prepare(new Linear(32, 8, { rng: new Rng(1) }), plan({ default: int8Static() }));
  const other = clone(one);
  await calibrate(one, [x]);
  await calibrate(other, [x.mul(10)]);
  freeze(other);
  expect(one.inputQuantizer).toMatchObject({ frozen: false });
  const scale = (layer: Linear) => (layer.inputQuantizer as never as { scale: Tensor }).scale.item();
  expect(scale(other) / scale(one)).toBeCloseTo(10, 4);
});

it("products lie on the heap after a run where SIMD runs, so that the fast way was taken", async () => {
  useBackend("simd");
  const laid = async (model: object, config: QuantConfig, x: Tensor) => {
    const { packed } = await twins(model, config, x);
    packed.forward(values(x));
    return (packed.root as PackedLinear)._product.laid as never as {
      layers: Map<string, { layer: object }>;
    };
  };
  const x = random([4, 64]);
  const integers = await laid(new Linear(64, 16, { rng: new Rng(1) }), int8Dynamic(), x);
  expect(integers.layers.get("integers")!.layer).toMatchObject({ n: 16, k: 64 });
  const signs = await laid(new Linear(64, 16, { rng: new Rng(1) }), binarySigns(), x);
  expect(signs.layers.get("signs")!.layer).toMatchObject({ n: 16, k: 64 });
  const conv = await laid(new Conv2d(8, 8, 3, { rng: new Rng(1) }), binarySigns(), random([1, 8, 6, 6]));
  expect(conv.layers.get("signs")!.layer).toMatchObject({ step: 32 });
  const codes = await laid(new Conv2d(8, 8, 3, { rng: new Rng(1) }), int8Static(), random([1, 8, 6, 6]));
  expect(codes.layers.get("integers")!.layer).toMatchObject({ address: expect.any(Number) });
});

it("a row of codes takes at most 16 bytes more on the heap than in the file, beside the scales and biases of its row", () => {
  useBackend("simd");
  const configs: [number, QuantConfig][] = [
    [8, int8Dynamic()],
    [4, { weight: ste({ bits: 4 }), input: dynamicInput() }],
    [3, { weight: ste({ bits: 3 }), input: dynamicInput() }],
    [2, ternaryDynamic()],
    [1, binaryDynamic()],
    [1, binarySigns()],
  ];
  for (const [width, config] of configs) {
    const [n, k] = [512, 1001];
    const packed = pack(freeze(prepare(new Linear(k, n, { rng: new Rng(1) }), plan({ default: config }))));
    const x = { data: Float32Array.from({ length: k }, (_, i) => Math.sin(i)), shape: [1, k] };
    // Tables and scratch that all layers share are there after the first.
    packed.forward(x);
    packed.dispose();
    const before = heapUse().bytes;
    packed.forward(x);
    const taken = heapUse().bytes - before;
    packed.dispose();
    expect(heapUse().bytes).toBe(before);
    // A scale, a bias, and two words for sums and limits.
    expect(taken).toBeLessThanOrEqual(n * (Math.ceil((k * width) / 8) + 16 + 16) + 4096);
    expect(taken).toBeGreaterThan((n * k * width) / 8);
  }
});

it.each(configs)(
  "%s: an empty batch gives an empty result, in training, frozen and packed",
  async (_, config) => {
    const nothing = tensor([], { shape: [0, 9] });
    const layer = prepare(new Linear(9, 5, { rng: new Rng(1) }), plan({ default: config }));
    await calibrate(layer, [random([2, 9])]);
    expect(layer.forward(nothing).shape).toEqual([0, 5]);
    evaluate(freeze(layer));
    expect(layer.forward(nothing).shape).toEqual([0, 5]);
    expect(pack(layer).forward(values(nothing)).shape).toEqual([0, 5]);
  },
);
