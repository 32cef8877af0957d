import { openGpu, toGpu } from "bitgrad/gpu";
import { Gpt, Llama, ResNet, Transformer } from "bitgrad/models";
import { Linear, MaxPool2d, MultiHeadAttention, Sequential } from "bitgrad/nn";
import { binarySigns, int4WeightOnly, int8Dynamic, int8Mixed, ste } from "bitgrad/quant";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GpuJsKernels } from "../../src/gpu/gpu-js/kernels.ts";
import type { Gpu } from "../../src/gpu/open.ts";
import {
  bert,
  type Case,
  ids,
  image,
  images,
  llama,
  packed,
  rng,
  signs,
  sizes,
  transformer,
} from "../packed/models.ts";

const gpt = packed(new Gpt({ ...sizes, context: 8 }));

const cases: readonly Case[] = [
  ["a float GPT", gpt, ids(3, 1, 4), null],
  llama,
  [
    "a Llama, int4 weights",
    packed(new Llama({ ...sizes, context: 8, feedForward: 32 }), int4WeightOnly({ group: 8 })),
    ids(3, 1),
    null,
  ],
  bert,
  transformer,
  signs,
  [
    "a ResNet, int8",
    packed(new ResNet({ blocks: 1, width: 4, rng }), int8Dynamic()),
    image(2, 3, 8, 8),
    null,
  ],
  images("layers of images", null),
  images("layers of images, 3 bits with zero points", { weight: ste({ bits: 3, scheme: "affine" }) }),
];

describe.each(["cpu", "webasm"] as const)("gpu.js, %s", (mode) => {
  let gpu: Gpu;
  beforeAll(async () => {
    gpu = await openGpu({ mode });
  });
  afterAll(() => gpu.close());

  it.each(cases)("%s gives the CPU's numbers", async (_, model, x, call) => {
    const want = model.forward(x, call ?? undefined);
    const got = await (await toGpu(model, gpu)).forward(x, call ?? undefined);
    expect(got.shape).toEqual(want.shape);
    const most = Math.max(...want.data.map(Math.abs));
    got.data.forEach((v, i) => {
      expect(Math.abs(v - want.data[i])).toBeLessThan(1e-5 * most);
    });
    expect(gpu.explain()).toMatchObject({ executor: "gpu.js", mode, gpu: false });
  });

  it("finds the largest of the least numbers that float32 has", async () => {
    const x = { data: new Float32Array(4).fill(-3.4028234663852886e38), shape: [1, 1, 2, 2] };
    const { data } = await (await toGpu(packed(new MaxPool2d(2)), gpu)).forward(x);
    expect(data).toEqual(x.data.slice(0, 1));
  });

  it("generates the CPU's tokens, past a full context too", async () => {
    const model = llama[1];
    const options = { maxTokens: 14, temperature: 0 };
    expect(await (await toGpu(model, gpu)).generate([3, 1], options)).toEqual(
      model.generate([3, 1], options),
    );
  });

  it("generates the CPU's tokens with an encoder and a mask", async () => {
    const model = packed(new Transformer(sizes), int8Dynamic());
    const options = { maxTokens: 14, temperature: 0, source: ids(3, 1, 4), sourceMask: ids(1, 1, 0) };
    const there = await toGpu(model, gpu);
    expect(await there.generate([2], options)).toEqual(model.generate([2], options));
    await expect(there.generate([2], { ...options, source: null })).rejects.toThrow(
      'generate: a source goes with an encoder, got none for "seq2seq"',
    );
    await expect(there.generate([2], { ...options, source: ids(99) })).rejects.toThrow("got 99");
    await expect(there.generate([2], { ...options, budget: 10 })).rejects.toThrow("budget of numbers");
  });

  it.each([1001, 4097, 65_537])("sums %i products, loops of over 1,000 among them", async (k) => {
    const models = [null, int8Dynamic(), binarySigns()].map((config) =>
      packed(new Linear(k, 2, { rng }), config),
    );
    const x = image(1, k);
    for (const model of models) {
      const want = model.forward(x).data;
      const got = (await (await toGpu(model, gpu)).forward(x)).data;
      got.forEach((v, i) => {
        expect(Math.abs(v - want[i])).toBeLessThan(1e-4 * Math.max(1, Math.abs(want[i])));
      });
    }
  });
});

describe("openGpu and toGpu", () => {
  it("say what does not work here, and take no other mode for it", async () => {
    await expect(openGpu({ mode: "webgl2" })).rejects.toThrow("openGpu: mode webgl2 does not work here");
    await expect(openGpu({ strict: true })).rejects.toThrow("openGpu: needs WebGL2 where it is strict");
    const gpu = await openGpu();
    expect(gpu.explain()).toMatchObject({ executor: "gpu.js", mode: "webasm", gpu: false, ran: {} });
    await gpu.close();
  });

  it("a kernel that falls back to the CPU is an error", async () => {
    const ran = { constructor: { mode: "cpu" } };
    const kernel = Object.assign(async () => Float32Array.of(1), { kernel: ran, destroy() {} });
    const gpu = { createKernel: () => kernel, destroy: async () => {} };
    const far = new GpuJsKernels(gpu, "webgl2").run("relu", "function(x) { return x[0]; }", 1, []);
    await expect(far.read()).rejects.toThrow("gpu: relu must run in mode webgl2, got cpu");
  });

  it("a failure rejects the read behind it with the name of the op, and another GPU works after it", async () => {
    const gpu = await openGpu({ mode: "cpu" });
    const kernels = gpu._opened.engine as GpuJsKernels;
    const bad = kernels.run("attention", "function(x) { return no(x[0]); }", 1, [Float32Array.of(1)]);
    const behind = kernels.run("relu", "function(x) { return x[0]; }", 1, [bad]);
    await expect(behind.read()).rejects.toMatchObject({
      code: "BACKEND",
      message: /^gpu: attention failed in mode cpu/,
    });
    await gpu.close();
    const model = await toGpu(gpt, gpu);
    await expect(model.forward(ids(1))).rejects.toThrow(
      "ran on a GPU that is closed, got mode cpu; open another",
    );
    const next = await openGpu({ mode: "cpu" });
    expect((await (await toGpu(gpt, next)).forward(ids(1))).shape).toEqual([1, 1, 20]);
    await next.close();
  });

  it("results beyond what kernels can find their way in are refused before they run", async () => {
    const gpu = await openGpu({ mode: "cpu" });
    const model = await toGpu(packed(new Linear(1, 4)), gpu);
    const many = { data: new Float32Array(2 ** 20 + 1), shape: [2 ** 20 + 1, 1] };
    await expect(model.forward(many)).rejects.toThrow("makes at most 4194304 numbers at once, got 4194308");
    await gpu.close();
  });

  it("attends where the scores of all queries are too many at once", async () => {
    const gpu = await openGpu({ mode: "webasm" });
    // 3 heads of 1201 queries and keys: two parts, which split a head and overlap by a query.
    const model = packed(new MultiHeadAttention(6, 3, { kvHeads: 1, rng }));
    const t = 1201;
    const x = image(1, t, 6);
    const flags = Array.from({ length: t }, (_, i) => Number(i % 5 !== 1));
    const call: object = { causal: true, mask: { data: flags, shape: [1, 1, 1, t] } };
    const want = model.forward<object>(x, call).data;
    const got = (await (await toGpu(model, gpu)).forward<object>(x, call)).data;
    expect(gpu.explain().ran.attention).toBe(2 * 4);
    const most = Math.max(...want.map(Math.abs));
    got.forEach((v, i) => {
      expect(Math.abs(v - want[i])).toBeLessThan(1e-5 * most);
    });
    await gpu.close();
  });

  it("what a call may not be given is refused as on the CPU, and masks and runs leave nothing behind", async () => {
    const gpu = await openGpu({ mode: "cpu" });
    const model = await toGpu(gpt, gpu);
    await expect(model.forward(ids(99))).rejects.toThrow("ids lie in 0 … 19, got 99");
    await expect(model.forward(ids(1), { budget: 10 })).rejects.toThrow("budget of numbers");
    await expect(model.generate([], { maxTokens: 1 })).rejects.toThrow("at least one token");
    await expect(model.forward(ids(1), { memory: 1 } as never)).rejects.toThrow("forward: ");
    expect((await model.forward(ids(1))).shape).toEqual([1, 1, 20]);
    const odd = [
      { budget: -1 },
      { source: ids(1) },
      { onToken: 3 },
      { onToken: 3, temperature: "x" },
      { onToken: async () => {} },
    ].map((more) => ({ maxTokens: 1, ...more }));
    for (const options of [undefined, null, 3, "x", ...odd] as never[]) {
      let message = "";
      try {
        gpt.generate([1], options);
      } catch (error) {
        message = (error as Error).message;
      }
      await expect(model.generate([1], options)).rejects.toThrow(message);
    }
    const image = await toGpu(signs[1], gpu);
    await expect(image.generate([1], { maxTokens: 1 })).rejects.toThrow("generate: needs a language model");
    const x = { data: new Float32Array(192).fill(Number.NaN), shape: [1, 3, 8, 8] };
    await expect(image.forward(x)).rejects.toThrow("every input must be finite");
    await gpu.close();
  });

  it("runs at the same time, and layers that share a GPU, do not disturb each other", async () => {
    const gpu = await openGpu({ mode: "webasm" });
    const models = await Promise.all(cases.map(([, model]) => toGpu(model, gpu)));
    const all = await Promise.all(
      models.map((model, i) => model.forward(cases[i][2], cases[i][3] ?? undefined)),
    );
    for (const [i, { data }] of all.entries()) {
      const want = cases[i][1].forward(cases[i][2], cases[i][3] ?? undefined).data;
      const most = Math.max(...want.map(Math.abs));
      data.forEach((v, at) => {
        expect(Math.abs(v - want[at])).toBeLessThan(1e-5 * most);
      });
    }
    await gpu.close();
  });
});

it("a model whose inputs have outliers is refused", async () => {
  const model = packed(new Sequential(new Linear(4, 3), new Linear(3, 2)), int8Mixed());
  await expect(toGpu(model, { _opened: { engine: { during() {} } } } as never)).rejects.toThrow(
    "toGpu: outliers of inputs are found on the CPU, got a mixed one at steps.0.input; take dynamicInput()",
  );
});
