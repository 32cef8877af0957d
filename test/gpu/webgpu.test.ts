/** The executor of WebGPU in Node, where the package webgpu finds a driver; it skips elsewhere. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Rng, randn, type Tensor } from "bitgrad";
import { type Gpu, openGpu, toGpu } from "bitgrad/gpu";
import { Llama } from "bitgrad/models";
import { evaluate, type Layer, Linear } from "bitgrad/nn";
import type { PackedModel } from "bitgrad/packed";
import {
  binarySigns,
  freeze,
  int4WeightOnly,
  int8Dynamic,
  pack,
  plan,
  prepare,
  type QuantConfig,
} from "bitgrad/quant";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { webgpu } from "./node.ts";

const rng = new Rng(3);

function packed(layer: Layer, config: QuantConfig | null): PackedModel {
  const model = evaluate(layer);
  return pack(config ? freeze(prepare(model, plan({ default: config }))) : model);
}

const configs: Record<string, QuantConfig | null> = {
  float32: null,
  "8 bits": int8Dynamic(),
  "4 bits": int4WeightOnly({ granularity: "channel" }),
  "4 bits by groups": int4WeightOnly(),
  "1 bit": binarySigns(),
};

describe.skipIf(webgpu === null)("WebGPU", () => {
  let gpu: Gpu;
  beforeAll(async () => {
    gpu = await openGpu({ executor: "webgpu", webgpu });
  });
  afterAll(() => gpu?.close());

  const sizes = [1001, 4097, 65_537].flatMap((k) => [1, 2, 9, 70].map((m) => [k, m] as const));
  it.each(Object.keys(configs).flatMap((name) => sizes.map(([k, m]) => [name, k, m] as const)))(
    "products of %s, %i features and %i rows",
    async (name, k, m) => {
      const model = packed(new Linear(k, k > 60_000 ? 3 : 37, { rng }), configs[name]);
      const x = randn([m, k], { rng }) as unknown as { data: Float32Array; shape: number[] };
      const want = model.forward(x).data;
      const got = (await (await toGpu(model, gpu)).forward(x)).data;
      const most = want.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      expect(got.reduce((a, v, i) => Math.max(a, Math.abs(v - want[i])), 0) / most).toBeLessThan(1e-5);
    },
  );

  it.each([
    [7, 1025, 3],
    [64, 64, 64],
    [33, 6, 129],
  ])("matmul multiplies (%i, %i) by what it multiplies on the CPU", async (m, k, n) => {
    const [a, b] = [randn([m, k], { rng }), randn([k, n], { rng })] as (Tensor & { data: Float32Array })[];
    const want = a.matmul(b).data;
    const { data, shape } = await gpu.matmul(a, b);
    expect(shape).toEqual([m, n]);
    expect(data.reduce((most, v, i) => Math.max(most, Math.abs(v - Number(want[i]))), 0)).toBeLessThan(1e-3);
  });

  it("numbers below 0 have a sign however small, and −0 has none", async () => {
    const model = packed(new Linear(4, 3, { rng }), configs["1 bit"]);
    const x = { data: Float32Array.of(-1e-38, -1e-42, -0, 1e-42), shape: [1, 4] };
    const got = await (await toGpu(model, gpu)).forward(x);
    expect(Array.from(got.data)).toEqual(Array.from(model.forward(x).data));
  });

  it("generates the CPU's tokens, more of them than its first caches hold", async () => {
    const text = { vocabulary: 20, dim: 16, layers: 2, heads: 4, kvHeads: 2, context: 64, feedForward: 24 };
    const model = packed(new Llama({ ...text, initStd: 0.4, rng }), int8Dynamic());
    const far = await toGpu(model, gpu);
    const options = { maxTokens: 40, temperature: 0 };
    expect(await far.generate([3, 1], options)).toEqual(model.generate([3, 1], options));
  });

  it("keeps what its device comes from, which must not be collected before it", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const { create } = await import("webgpu");
    const sources: WeakRef<object>[] = [];
    const open = async (): Promise<Gpu> => {
      const source = create([]);
      sources.push(new WeakRef(source));
      return openGpu({ webgpu: source });
    };
    const other = await open();
    for (let i = 0; i < 3; i++) {
      await new Promise((done) => setTimeout(done, 5));
      collect();
    }
    expect(sources[0].deref()).toBeDefined();
    await other.close();
  });

  it("tells what ran, where and why", () => {
    const { executor, adapter, lanes, reasons, ran } = gpu.explain();
    expect(executor).toBe("webgpu");
    expect(adapter).toHaveProperty("software");
    expect(lanes).toBe(32);
    expect(reasons["product 8 bits"]).toMatch(/codes of 8 bits as int8/);
    expect(ran["product 8 bits"]).toBeGreaterThan(0);
  });
});
