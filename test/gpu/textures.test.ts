/** What a GPU holds: textures and kernels, counted by kernels of gpu.js's mode "cpu" whose results are textures. */

import { Rng } from "bitgrad";
import { toGpu } from "bitgrad/gpu";
import { Gpt, Llama, Transformer } from "bitgrad/models";
import { evaluate, type Layer, Linear, Sequential } from "bitgrad/nn";
import type { PackedModel } from "bitgrad/packed";
import { freeze, int8Dynamic, pack, plan, prepare } from "bitgrad/quant";
import { GPU } from "gpu.js";
import { expect, it } from "vitest";
import { openedOf } from "../../src/gpu/gpu-js/executor.ts";
import type { Texture } from "../../src/gpu/gpu-js/far.ts";
import { GpuJsKernels } from "../../src/gpu/gpu-js/kernels.ts";
import { Gpu } from "../../src/gpu/open.ts";

/** A GPU, and what is alive on it. Using or deleting what is gone throws. */
function counted() {
  const held = new Map<Texture, Float32Array>();
  const on = { held, compiled: 0, destroyed: 0, full: false };
  const real = new GPU({ mode: "cpu" });
  const numbersOf = (x: unknown): unknown => {
    if (ArrayBuffer.isView(x)) return x;
    if (on.destroyed || !held.has(x as Texture)) throw new Error("used a texture that is gone");
    return held.get(x as Texture);
  };
  const createKernel = (source: string, settings: object) => {
    on.compiled++;
    const kernel = real.createKernel(source as never, { ...settings, pipeline: false, asyncMode: false });
    const run = async (...args: unknown[]): Promise<Texture> => {
      if (on.destroyed) throw new Error("ran on a GPU that is destroyed");
      if (on.full) throw new Error("no room");
      const numbers = kernel(...(args.map(numbersOf) as never[])) as Float32Array;
      const texture: Texture = {
        toArray: async () => numbersOf(texture) as Float32Array,
        delete() {
          if (on.destroyed || !held.delete(texture)) throw new Error("deleted a texture that is gone");
        },
      };
      held.set(texture, numbers.slice());
      return texture;
    };
    return Object.assign(run, { kernel: { constructor: { mode: "webgpu" } }, destroy() {} });
  };
  const destroy = async (): Promise<void> => {
    if (on.destroyed++) throw new Error("destroyed twice");
    held.clear();
  };
  const engine = new GpuJsKernels({ createKernel, destroy } as never, "webgpu");
  const gpu = new Gpu(openedOf(engine));
  return { gpu, on };
}

/** What is given back by the way is. */
const settled = () => new Promise((done) => setTimeout(done, 5));
const rng = new Rng(5);
const packed = (layer: Layer): PackedModel =>
  pack(freeze(prepare(evaluate(layer), plan({ default: int8Dynamic() }))));
const sizes = { vocabulary: 20, dim: 8, layers: 2, heads: 2, rng };
const gpt = packed(new Gpt({ ...sizes, context: 40 }));
const llama = packed(new Llama({ ...sizes, context: 12, feedForward: 12 }));
const transformer = packed(new Transformer(sizes));
const ids = (...data: number[]) => ({ data, shape: [1, data.length] });

it("runs leave weights alone behind, generated text too, however it ends", async () => {
  const { gpu, on } = counted();
  const model = await toGpu(gpt, gpu);
  await model.forward(ids(3, 1, 4));
  const weights = on.held.size;
  await model.forward(ids(3, 1, 4));
  expect(on.held.size).toBe(weights);
  const options = { maxTokens: 20, temperature: 0 };
  expect(await model.generate([3], options)).toEqual(gpt.generate([3], options));
  await settled();
  expect(on.held.size).toBe(weights);
  for await (const _ of model.stream([3], options)) break;
  await expect(
    model.generate([3], {
      ...options,
      onToken: () => {
        throw new Error("mine");
      },
    }),
  ).rejects.toThrow("mine");
  await settled();
  expect(on.held.size).toBe(weights);
  await gpu.close();
});

it("numbers that layers make for a run go with it", async () => {
  const { gpu, on } = counted();
  const model = await toGpu(transformer, gpu);
  const call = { target: ids(2, 5) };
  await model.forward(ids(3, 1), call);
  const weights = on.held.size;
  await model.forward(ids(3, 1), call);
  const options = { maxTokens: 6, temperature: 0, source: ids(3, 1) };
  expect(await model.generate([2], options)).toEqual(transformer.generate([2], options));
  await settled();
  expect(on.held.size).toBe(weights);
  await gpu.close();
});

it("a run that throws on its way leaves nothing behind", async () => {
  const { gpu, on } = counted();
  const model = await toGpu(packed(new Sequential(new Linear(4, 2), new Linear(2, 4))), gpu);
  const x = { data: new Float32Array(4), shape: [1, 4] };
  await model.forward(x);
  const weights = on.held.size;
  await expect(model.forward(x, { budget: 5 })).rejects.toThrow("budget of numbers");
  expect(on.held.size).toBe(weights);
  await gpu.close();
});

it("a second text compiles no kernels", async () => {
  const { gpu, on } = counted();
  const model = await toGpu(llama, gpu);
  const options = { maxTokens: 30, temperature: 0 };
  await model.generate([3, 1], options);
  const { compiled } = on;
  expect(await model.generate([5, 2], { ...options, maxTokens: 40 })).toEqual(
    llama.generate([5, 2], { ...options, maxTokens: 40 }),
  );
  expect(on.compiled).toBe(compiled);
  await gpu.close();
});

it("close waits for what runs, and twice is once", async () => {
  const { gpu, on } = counted();
  const model = await toGpu(gpt, gpu);
  const run = model.forward(ids(3, 1, 4));
  await gpu.close();
  await gpu.close();
  expect((await run).shape).toEqual([1, 3, 20]);
  expect(on.destroyed).toBe(1);
  const text = model.generate([1], { maxTokens: 2 });
  await expect(text).rejects.toThrow("gpu: ");
});
it("a text that is being made when it is closed ends with an error, and gives nothing back twice", async () => {
  const { gpu } = counted();
  const model = await toGpu(gpt, gpu);
  const stream = model.stream([3], { maxTokens: 8, temperature: 0 });
  await stream.next();
  const next = stream.next();
  await gpu.close();
  expect((await next).done).toBe(false);
  await expect(stream.next()).rejects.toThrow("a model ran on a GPU that is closed");
  await settled();
});

it("weights whose way to the GPU failed go there again", async () => {
  const { gpu, on } = counted();
  const model = await toGpu(packed(new Linear(4, 2)), gpu);
  const x = { data: new Float32Array(4), shape: [1, 4] };
  on.full = true;
  await expect(model.forward(x)).rejects.toThrow("gpu: upload failed in mode webgpu, got no room");
  on.full = false;
  expect((await model.forward(x)).shape).toEqual([1, 2]);
  await gpu.close();
});
