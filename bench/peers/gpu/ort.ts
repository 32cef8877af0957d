/** onnxruntime-web on WebGPU. Its WebAssembly lies at /ort/. */

import { env, InferenceSession, Tensor } from "onnxruntime-web/webgpu";
import type { Block } from "../library.ts";
import { type Graph, modelBytes } from "../onnx.ts";
import type { GpuSide } from "./measure.ts";

type Session = InferenceSession.SessionOptions;

export function create(model: Uint8Array, options: Session = {}): Promise<InferenceSession> {
  env.logLevel = "error";
  env.wasm.numThreads = 1;
  env.wasm.wasmPaths = "/ort/";
  env.webgpu.powerPreference = "high-performance";
  return InferenceSession.create(model, { executionProviders: ["webgpu"], ...options });
}

const tensor = ({ data, shape }: Block): Tensor => new Tensor(data, shape);

/** (n, n) to itself, which stays on the GPU. */
async function brought(block: Block): Promise<Tensor> {
  const { shape } = block;
  const graph: Graph = {
    nodes: [
      { op: "Neg", inputs: ["x"], outputs: ["less"] },
      { op: "Neg", inputs: ["less"], outputs: ["out"] },
    ],
    ...{ inputs: [{ name: "x", shape }], outputs: [{ name: "out", shape }], constants: {} },
  };
  const session = await create(modelBytes(graph), { preferredOutputLocation: "gpu-buffer" });
  return (await session.run({ x: tensor(block) }))["out"];
}

/** The first number of (n, n). */
function firstOf(shape: readonly number[]): Graph {
  const constants = { starts: { shape: [2], integers: [0, 0] }, ends: { shape: [2], integers: [1, 1] } };
  return {
    nodes: [{ op: "Slice", inputs: ["x", "starts", "ends"], outputs: ["first"] }],
    ...{ inputs: [{ name: "x", shape }], outputs: [{ name: "first", shape: [1, 1] }], constants },
  };
}

export async function matmul(a: Block, b: Block, resident: boolean): Promise<GpuSide> {
  const { shape } = a;
  const graph: Graph = {
    nodes: [{ op: "MatMul", inputs: ["a", "b"], outputs: ["out"] }],
    inputs: [
      { name: "a", shape },
      { name: "b", shape: b.shape },
    ],
    ...{ outputs: [{ name: "out", shape }], constants: {} },
  };
  const staying: Session = { preferredOutputLocation: "gpu-buffer" };
  const session = await create(modelBytes(graph), resident ? staying : {});
  const first = await create(modelBytes(firstOf(shape)));
  const [left, right] = resident ? [await brought(a), await brought(b)] : [tensor(a), tensor(b)];
  const product = async (x: Tensor): Promise<Tensor> => (await session.run({ a: x, b: right }))["out"];
  const once = async () => (await (await product(left)).getData(true)) as Float32Array;
  return {
    name: "ort-web",
    async run(count) {
      if (!resident) {
        for (let i = 0; i < count; i++) await once();
        return;
      }
      let x = left;
      for (let i = 0; i < count; i++) {
        const next = await product(x);
        if (x !== left) x.dispose();
        x = next;
      }
      await first.run({ x });
      x.dispose();
    },
    result: once,
    close: async () => {
      for (const each of [session, first]) await each.release();
    },
  };
}
