/** What the executor of WebGPU does where its device fails: real devices, and real errors of theirs. */

import { Rng, randn, relu } from "bitgrad";
import { openGpu, toGpu } from "bitgrad/gpu";
import { Llama } from "bitgrad/models";
import { evaluate, type Layer, LayerNorm, Linear, Sequential } from "bitgrad/nn";
import { type PackedModel, PackedWeight, type Values } from "bitgrad/packed";
import { pack } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { BackendError, ShapeError } from "../../src/errors.ts";
import type { Gpu } from "../../src/gpu/open.ts";
import { checkKernel } from "../../src/gpu/webgpu/limits.ts";
import type { Call, WebGpuRuns } from "../../src/gpu/webgpu/runs.ts";
import { each, kernel } from "../../src/gpu/webgpu/wgsl.ts";
import { Double, type Failing } from "./double.ts";
import { webgpu } from "./node.ts";

const rng = new Rng(5);
const packed = (layer: Layer): PackedModel => pack(evaluate(layer));
const numbers = (...shape: number[]) => randn(shape, { rng }) as unknown as Values;
const linear = (k: number, n: number) => packed(new Linear(k, n, { rng }));
const text = { vocabulary: 20, dim: 16, layers: 2, heads: 4, kvHeads: 2, context: 64, feedForward: 24 };
const llama = packed(new Llama({ ...text, initStd: 0.4, rng }));

async function opened(failing: Failing = {}): Promise<{ double: Double; gpu: Gpu }> {
  const double = new Double(webgpu!, failing);
  return { double, gpu: await openGpu({ executor: "webgpu", webgpu: double.webgpu }) };
}

/** What a run gives is the CPU's. */
async function expectRight(gpu: Gpu, model: PackedModel, x: Values): Promise<void> {
  const want = model.forward(x).data;
  const got = (await (await toGpu(model, gpu)).forward(x)).data;
  const most = want.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  expect(got.reduce((a, v, i) => Math.max(a, Math.abs(v - want[i])), 0) / most).toBeLessThan(1e-5);
}

/** Rejects with a BackendError of such a message. */
async function expectFault(run: Promise<unknown>, message: RegExp): Promise<void> {
  const error = await run.then(
    () => null,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(BackendError);
  expect((error as Error).message).toMatch(message);
}

/** What a kernel of its own gives. */
const run = (gpu: Gpu, call: Partial<Call>, length = 4): Promise<Float32Array> => {
  const engine = gpu._opened.engine as WebGpuRuns;
  const whole = { op: "odd", reason: "a test", code: "", inputs: [], workgroups: 1, ...call };
  return engine.during("odd", () => engine.run(whole, length).read());
};

/** Whatever a device has still to tell. */
const quiet = () => new Promise((done) => setTimeout(done, 50));

const lost = (op: string) =>
  new RegExp(`^gpu: ${op} needs its device, got one that is lost: .+; open another$`);
const outOfMemory = (op: string) => new RegExp(`^gpu: ${op} failed in WebGPU, got .*OUT_OF_DEVICE_MEMORY`);

describe.skipIf(webgpu === null)("a device that is lost", () => {
  it("rejects what waits for it, and what comes later, by the op's name; another one works", async () => {
    const { double, gpu } = await opened();
    const [model, x] = [linear(8, 4), numbers(2, 8)];
    const far = await toGpu(model, gpu);
    const waiting = [far.forward(x), far.forward(x), gpu.matmul(numbers(2, 3), numbers(3, 2))];
    double.devices[0].destroy();
    const atOnce = far.forward(x);
    await expectFault(waiting[0], lost("product float32"));
    await expectFault(waiting[1], lost("product float32"));
    await expectFault(waiting[2], lost("matmul"));
    await expectFault(atOnce, lost("product float32"));
    await expectFault(far.forward(x), lost("a model"));
    await expectFault(gpu.matmul(numbers(2, 3), numbers(3, 2)), lost("matmul"));
    await expectFault(
      gpu.gemm.f32(numbers(2, 1), PackedWeight.ofFloats(Float32Array.of(1), 1, 1)),
      lost("gemm.f32"),
    );
    expect(double.uncaught).toEqual([]);
    await gpu.close();
    const other = (await opened()).gpu;
    await expectRight(other, model, x);
    await other.close();
  });

  it("is heard of where what it broke is heard of first", async () => {
    const { double, gpu } = await opened({ lostAfterMs: 20 });
    const waiting = (await toGpu(linear(8, 4), gpu)).forward(numbers(2, 8));
    double.devices[0].destroy();
    await expectFault(waiting, lost("product float32"));
    await gpu.close();
  });

  it("ends a stream that it is lost in", async () => {
    const { double, gpu } = await opened();
    const stream = (await toGpu(llama, gpu)).stream([3, 1], { maxTokens: 9, temperature: 0 });
    expect((await stream.next()).done).toBe(false);
    const next = stream.next();
    double.devices[0].destroy();
    await expectFault(next, lost(".+"));
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    await gpu.close();
  });
});

describe.skipIf(webgpu === null)("a device without room", () => {
  it("rejects by the name of the op; what runs later is right, of the same size too", async () => {
    let full = true;
    const { double, gpu } = await opened({ full: (_, label) => full && label === "relu" });
    const model = packed(new Sequential(new Linear(8, 32, { rng }), relu));
    const far = await toGpu(model, gpu);
    await expectFault(far.forward(numbers(64, 8)), outOfMemory("relu"));
    await expectRight(gpu, linear(8, 4), numbers(2, 8));
    full = false;
    await expectRight(gpu, model, numbers(64, 8));
    await quiet();
    expect(double.uncaught).toEqual([]);
    await gpu.close();
  });

  it("fails the run that it fails, and not another that waits beside it", async () => {
    const { double, gpu } = await opened({ full: (_, label) => label === "relu" });
    const large = await toGpu(packed(new Sequential(relu)), gpu);
    const [model, x] = [linear(8, 4), numbers(2, 8)];
    const runs = [large.forward(numbers(64)), expectRight(gpu, model, x)];
    await expectFault(runs[0], outOfMemory("relu"));
    await runs[1];
    await quiet();
    expect(double.uncaught).toEqual([]);
    await gpu.close();
  });

  it.each([
    ["weights", "product float32", 8000],
    ["the input", "upload", 4096],
    ["a result", "product float32", 4096],
    ["what is read", "product float32", 4000],
  ])("takes %s anew once there is room", async (what, op, bytes) => {
    let full = true;
    const { double, gpu } = await opened({ full: (size, label) => full && label === op && size === bytes });
    const model = what === "weights" ? linear(1000, 2) : linear(10, 10);
    const x = what === "weights" ? numbers(1, 1000) : numbers(100, 10);
    await expectFault((await toGpu(model, gpu)).forward(x), outOfMemory(op));
    full = false;
    await expectRight(gpu, model, x);
    await quiet();
    expect(double.uncaught).toEqual([]);
    await gpu.close();
  });

  it("does not fail the run after one that threw", async () => {
    let full = true;
    const { double, gpu } = await opened({ full: (_, label) => full && label === "relu" });
    const model = packed(new Sequential(relu, new Linear(8, 4, { rng })));
    const far = await toGpu(model, gpu);
    const runs = [far.forward(numbers(8, 9)), expectRight(gpu, linear(8, 4), numbers(2, 8))];
    await expect(runs[0]).rejects.toBeInstanceOf(ShapeError);
    await runs[1];
    full = false;
    await expectRight(gpu, packed(new Sequential(relu)), numbers(8, 9));
    await quiet();
    expect(double.uncaught).toEqual([]);
    await gpu.close();
  });

  it("gives back what waits for its size", async () => {
    let full = false;
    const { double, gpu } = await opened({ full: (_, label) => full && label === "relu" });
    await expectRight(gpu, linear(8, 4), numbers(64, 8));
    const before = double.live.size;
    full = true;
    const far = await toGpu(packed(new Sequential(relu)), gpu);
    await expectFault(far.forward(numbers(1000)), outOfMemory("relu"));
    expect(double.live.size).toBeLessThan(before);
    await gpu.close();
  });
});

describe.skipIf(webgpu === null)("a kernel that is wrong", () => {
  it.each([
    ["does not compile", { code: "nonsense" }, /Error while parsing WGSL/],
    ["reads what it is not given", { code: each(["x: f32"], "return x[at];") }, /[Bb]ind/],
  ])(
    "that %s rejects by its op, each time, and the runs beside and after it are right",
    async (_, call, why) => {
      const { double, gpu } = await opened();
      const [model, x] = [linear(8, 4), numbers(2, 8)];
      for (let time = 0; time < 3; time++) {
        const beside = expectRight(gpu, model, x);
        const failed = run(gpu, call);
        const behind = expectRight(gpu, model, x);
        await expectFault(failed, /^gpu: odd failed in WebGPU, got /);
        await expectFault(run(gpu, call), why);
        await beside;
        await behind;
      }
      expect(await run(gpu, { code: each([], "return f32(at);") })).toEqual(Float32Array.of(0, 1, 2, 3));
      await quiet();
      expect(double.uncaught).toEqual([]);
      await gpu.close();
    },
  );
});

describe.skipIf(webgpu === null)("limits of a device", () => {
  it("asks for none that the adapter does not have", async () => {
    const { double, gpu } = await opened({ limits: { maxComputeInvocationsPerWorkgroup: undefined } });
    expect(Object.keys(double.required)).not.toContain("maxComputeInvocationsPerWorkgroup");
    expect(Object.keys(double.required)).toContain("maxBufferSize");
    await gpu.close();
  });

  it.each(["maxBufferSize", "maxStorageBufferBindingSize"])(
    "says what is needed and what there is, by %s, before anything is sent",
    async (name) => {
      // No multiple of the sizes that buffers come in.
      const { double, gpu } = await opened({ limits: { [name]: 10_012 } });
      await expectRight(gpu, linear(8, 4), numbers(312, 8));
      const { submits } = double;
      const far = await toGpu(linear(8, 4), gpu);
      const much = "needs a buffer of at most 10000 bytes here, got";
      await expectFault(far.forward(numbers(313, 8)), new RegExp(`^gpu: upload ${much} 10016; `));
      await expectFault(
        (await toGpu(linear(8, 16), gpu)).forward(numbers(157, 8)),
        new RegExp(`^gpu: product float32 ${much} 10048; `),
      );
      await expectFault(
        (await toGpu(linear(2504, 1), gpu)).forward(numbers(1, 2504)),
        new RegExp(`^gpu: (upload|product float32) ${much} 10016; `),
      );
      expect(double.submits).toBe(submits);
      await quiet();
      expect(double.uncaught).toEqual([]);
      await gpu.close();
    },
  );

  it.each([
    ["maxStorageBuffersPerShaderStage", 3, "storage buffers", 4],
    ["maxComputeWorkgroupStorageSize", 1000, "bytes of workgroup memory", 1024],
    ["maxComputeInvocationsPerWorkgroup", 64, "threads", 128],
  ])("says what a kernel needs and what there is, by %s", async (name, given, what, needed) => {
    const { double, gpu } = await opened({ limits: { [name]: given } });
    const message = `^gpu: product float32 needs at most ${given} ${what} here, got ${needed}; `;
    // Whether threads add across a subgroup was asked when it was opened.
    const { submits } = double;
    const far = await toGpu(linear(8, 4), gpu);
    await expectFault(far.forward(numbers(2, 8)), new RegExp(message));
    expect(double.submits).toBe(submits);
    await gpu.close();
  });

  it.each(["vec2<u32>", "vec2<f32>", "vec3<i32>", "vec4<i32>"])(
    "counts the bytes of arrays of %s that threads share",
    (type) => {
      const code = `var<workgroup> parts: array<${type}, 5>;`;
      const bytes = type.startsWith("vec2") ? 48 : 80;
      expect(() => checkKernel("odd", code, { maxComputeWorkgroupStorageSize: bytes })).not.toThrow();
      expect(() => checkKernel("odd", code, { maxComputeWorkgroupStorageSize: bytes - 1 })).toThrow(
        `gpu: odd needs at most ${bytes - 1} bytes of workgroup memory here, got ${bytes}`,
      );
    },
  );

  it("runs more workgroups than one axis has", async () => {
    const { gpu } = await opened();
    const outs = ["out: f32"];
    const code = kernel({
      outs,
      inputs: [],
      threads: 1,
      body: "if (group < arrayLength(&out)) { out[group] = f32(group); }",
    });
    const count = 70_001;
    const got = await run(gpu, { code, workgroups: count }, count);
    expect(got).toEqual(Float32Array.from({ length: count }, (_, i) => i));
    await gpu.close();
  });
});

describe.skipIf(webgpu === null)("what a device holds", () => {
  it("does not grow with the number of runs", async () => {
    const { double, gpu } = await opened();
    const far = await toGpu(llama, gpu);
    const options = { maxTokens: 12, temperature: 0 };
    const once = async (): Promise<void> => {
      await far.forward({ data: [3, 1, 4], shape: [1, 3] });
      await far.generate([3, 1], options);
      const stream = far.stream([5, 2], options);
      await stream.next();
      await stream.return();
      await expect(far.forward({ data: [3, 99], shape: [1, 2] })).rejects.toThrow();
    };
    await once();
    const held = double.live.size;
    for (let time = 0; time < 4; time++) await once();
    expect(double.live.size).toBe(held);
    await gpu.close();
  });

  it("is told apart by runs that go on at the same time", async () => {
    const { gpu } = await opened();
    const far = await toGpu(llama, gpu);
    const options = { maxTokens: 20, temperature: 0 };
    const prompts = [[3, 1], [7], [2, 5, 5]];
    const model = linear(8, 4);
    const [tokens] = await Promise.all([
      Promise.all(prompts.map((prompt) => far.generate(prompt, options))),
      ...Array.from({ length: 8 }, (_, i) => expectRight(gpu, model, numbers(i + 1, 8))),
    ]);
    expect(tokens).toEqual(prompts.map((prompt) => llama.generate(prompt, options)));
    await gpu.close();
  });

  it("stays until what runs has ended, and not longer", async () => {
    const { double, gpu } = await opened();
    const far = await toGpu(llama, gpu);
    const stream = far.stream([3], { maxTokens: 5, temperature: 0 });
    await stream.next();
    const waiting = [far.forward({ data: [3, 1], shape: [1, 2] }), stream.next()];
    const closed = gpu.close();
    const closing = /^gpu: a model ran on a GPU that is closed/;
    await expectFault(far.forward({ data: [3], shape: [1, 1] }), closing);
    expect(await Promise.all(waiting)).toHaveLength(2);
    await closed;
    await expectFault(stream.next(), closing);
    expect(double.uncaught).toEqual([]);
  });

  it("serves a run of more kernels than have their sizes at once", async () => {
    const { gpu } = await opened();
    const norms = Array.from({ length: 300 }, () => new LayerNorm(4));
    await expectRight(gpu, packed(new Sequential(...norms)), numbers(3, 4));
    await gpu.close();
  });
});
