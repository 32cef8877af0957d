/**
 * onnxruntime, compiled to WebAssembly and native. Operands are constants of the graph and outputs stay within it, so that
 * no copy between JavaScript and the runtime is timed; rewriting is off, which would compute all of it once.
 */

import type { InferenceSession } from "onnxruntime-web";
import type { Side } from "../../pair.ts";
import type { Library } from "../library.ts";
import { type Graph, modelBytes, single, transposed, withProbe } from "../onnx.ts";
import { decoding, type MakeTensor } from "./ort-decode.ts";
import { blockGraph, intGraph } from "./ort-low-bit.ts";

/** What both packages export. */
export interface Runtime {
  readonly name: string;
  readonly native?: true;
  create(model: Uint8Array, options: InferenceSession.SessionOptions): Promise<InferenceSession>;
  readonly tensor: MakeTensor;
}

const oneThread = { intraOpNumThreads: 1, interOpNumThreads: 1 } as const;

export function library(runtime: Runtime): Library {
  const { name, native, create, tensor } = runtime;
  const side = async (graph: Graph): Promise<Side> => {
    const probed = withProbe(graph);
    const session = await create(modelBytes(probed), { ...oneThread, graphOptimizationLevel: "disabled" });
    const whole = (await session.run({}, ["out"]))["out"].data as ArrayLike<number>;
    const asked = [probed.outputs.at(-1)!.name];
    return {
      name,
      run: async () => void (await session.run({}, asked)),
      result: () => whole,
    };
  };
  return {
    name,
    native,
    sides: {
      matmul({ a, b, transposeB }) {
        const right = transposeB ? transposed(b) : b;
        return side(single("MatMul", [a, right], [...a.shape.slice(0, -1), right.shape.at(-1)!]));
      },
      softmax: ({ x }) => side(single("Softmax", [x], x.shape, { axis: -1 })),
      layerNorm: ({ x, weight, bias, eps }) =>
        side(single("LayerNormalization", [x, weight, bias], x.shape, { axis: -1, epsilon: eps })),
      gelu: ({ x }) => side(single("Gelu", [x], x.shape)),
      add: ({ a, b }) => side(single("Add", [a, b], a.shape)),
      mul: ({ a, b }) => side(single("Mul", [a, b], a.shape)),
      sum: ({ x }) => side(single("ReduceSum", [x], [], { keepdims: 0 })),
      sumRows: ({ x }) =>
        side(
          single("ReduceSum", [x], [x.shape[0]], { keepdims: 0 }, { axes: { shape: [1], integers: [1] } }),
        ),
      conv2d: ({ x, w }) =>
        side(single("Conv", [x, w], [x.shape[0], w.shape[0], ...x.shape.slice(2)], { pads: [1, 1, 1, 1] })),
      intProduct: (problem) => side(intGraph(problem)),
      blockProduct: (problem) => side(blockGraph(problem)),
      gptDecode: (problem) => decoding(name, problem, (model) => create(model, oneThread), tensor),
    },
  };
}
