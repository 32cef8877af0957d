/** Decoding with a KV cache in onnxruntime: the graph of one step, fed its own keys and values, as transformers.js does. */

import type { InferenceSession, Tensor } from "onnxruntime-web";
import type { Side } from "../../pair.ts";
import type { Block, GptProblem } from "../library.ts";
import { type Graph, modelBytes, type Node, transposed, type Value } from "../onnx.ts";

/** One step: id (1, 1), position (1) and the keys and values so far, (1, H, past, D), to logits (1, V) and both, longer. */
function stepGraph(problem: GptProblem): Graph {
  const { dim, heads, layers, vocabulary, parameters, eps } = problem;
  const size = dim / heads;
  const nodes: Node[] = [];
  const constants: Record<string, Graph["constants"][string]> = {
    "token.weight": parameters["token.weight"],
    "position.weight": parameters["position.weight"],
    "head.weight": transposed(parameters["head.weight"]),
    scale: { shape: [], data: Float32Array.of(Math.sqrt(1 / size)) },
    split: { shape: [4], integers: [1, heads, 1, size] },
    joined: { shape: [3], integers: [1, 1, dim] },
  };
  let made = 0;
  const node = (
    op: string,
    inputs: string[],
    attributes: Node["attributes"] = {},
    outputs = [`n${made++}`],
  ) => {
    nodes.push({ op, inputs, outputs, attributes });
    return outputs[0];
  };
  const linear = (x: string, name: string, weight: Block, bias: Block) => {
    constants[`${name}.weight`] = transposed(weight);
    constants[`${name}.bias`] = bias;
    return node("Add", [node("MatMul", [x, `${name}.weight`]), `${name}.bias`]);
  };
  const norm = (x: string, name: string) => {
    for (const part of ["weight", "bias"]) constants[`${name}.${part}`] = parameters[`${name}.${part}`];
    return node("LayerNormalization", [x, `${name}.weight`, `${name}.bias`], { axis: -1, epsilon: eps });
  };
  const named = (x: string, name: string) =>
    linear(x, name, parameters[`${name}.weight`], parameters[`${name}.bias`]);
  const caches: Value[] = [];
  const append = (x: string, name: string) => {
    caches.push({ name, shape: [1, heads, "past", size] });
    return node("Concat", [name, node("Reshape", [x, "split"])], { axis: 2 }, [`new ${name}`]);
  };
  const attention = (x: string, name: string) => {
    const parts = ["query", "key", "value"].map((part) => `${name}.${part}`);
    const all = linear(
      x,
      `${name}.all`,
      stacked(parts.map((part) => parameters[`${part}.weight`])),
      stacked(parts.map((part) => parameters[`${part}.bias`])),
    );
    node("Split", [all], { axis: -1, num_outputs: 3 }, parts);
    const keys = append(parts[1], `${name}.keys`);
    const values = append(parts[2], `${name}.values`);
    const query = node("Mul", [node("Reshape", [parts[0], "split"]), "scale"]);
    const scores = node("MatMul", [query, node("Transpose", [keys], { perm: [0, 1, 3, 2] })]);
    const mixed = node("MatMul", [node("Softmax", [scores], { axis: -1 }), values]);
    return named(node("Reshape", [mixed, "joined"]), `${name}.out`);
  };
  let x = node("Add", [
    node("Gather", ["token.weight", "id"]),
    node("Gather", ["position.weight", "position"]),
  ]);
  for (let i = 0; i < layers; i++) {
    x = node("Add", [x, attention(norm(x, `blocks.${i}.norm1`), `blocks.${i}.attention`)]);
    const up = node("Gelu", [named(norm(x, `blocks.${i}.norm2`), `blocks.${i}.mlp.up`)]);
    x = node("Add", [x, named(up, `blocks.${i}.mlp.down`)]);
  }
  node("MatMul", [norm(x, "norm"), "head.weight"], {}, ["logits"]);
  return {
    nodes,
    constants,
    inputs: [
      { name: "id", shape: [1, 1], type: "int64" },
      { name: "position", shape: [1], type: "int64" },
      ...caches,
    ],
    outputs: [
      { name: "logits", shape: [1, 1, vocabulary] },
      ...caches.map(({ name, shape }) => ({ name: `new ${name}`, shape: [1, shape[1], "all", shape[3]] })),
    ],
  };
}

function stacked(blocks: readonly Block[]): Block {
  const data = Float32Array.from(blocks.flatMap((block) => [...block.data]));
  return { shape: [blocks.length * blocks[0].shape[0], ...blocks[0].shape.slice(1)], data };
}

const likeliest = (logits: Float32Array): number => logits.indexOf(Math.max(...logits));

export type MakeTensor = (data: Float32Array | BigInt64Array, shape: readonly number[]) => Tensor;

/** Reads a text id by id. */
export interface Stepper {
  /** The likeliest id behind this one. */
  read(id: number): Promise<number>;
  /** Forgets the text. */
  clear(): void;
  close(): Promise<void>;
}

/** `create` is told what keys and values are called as outputs. */
export async function stepping(
  problem: GptProblem,
  create: (model: Uint8Array, caches: readonly string[]) => Promise<InferenceSession>,
  tensor: MakeTensor,
): Promise<Stepper> {
  const graph = stepGraph(problem);
  const made = graph.outputs.map(({ name }) => name).filter((name) => name !== "logits");
  const session = await create(modelBytes(graph), made);
  const caches = session.inputNames.filter((input) => input !== "id" && input !== "position");
  const empty = [1, problem.heads, 0, problem.dim / problem.heads];
  const none = () => Object.fromEntries(caches.map((cache) => [cache, tensor(new Float32Array(0), empty)]));
  let held: Record<string, Tensor> = none();
  let position = 0;
  const drop = (next: Record<string, Tensor>) => {
    for (const each of Object.values(held)) each.dispose();
    held = next;
  };
  return {
    async read(id) {
      const out = await session.run({
        id: tensor(BigInt64Array.of(BigInt(id)), [1, 1]),
        position: tensor(BigInt64Array.of(BigInt(position++)), [1]),
        ...held,
      });
      drop(Object.fromEntries(caches.map((cache) => [cache, out[`new ${cache}`]])));
      return likeliest(out["logits"].data as Float32Array);
    },
    clear() {
      drop(none());
      position = 0;
    },
    close: () => session.release(),
  };
}

export async function decoding(
  name: string,
  problem: GptProblem,
  create: (model: Uint8Array) => Promise<InferenceSession>,
  tensor: MakeTensor,
): Promise<Side> {
  const { read, clear } = await stepping(problem, create, tensor);
  let made: number[] = [];
  return {
    name,
    async run() {
      made = [];
      clear();
      let id = problem.ids[0];
      for (let position = 0; position < problem.context; position++) {
        id = await read(id);
        made.push(id);
      }
    },
    result: () => made,
  };
}
