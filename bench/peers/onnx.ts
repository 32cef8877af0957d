/** ONNX models made in memory, for onnxruntime. */

import onnxProto from "onnx-proto";
import { type Block, sizeOf } from "./library.ts";

const { onnx } = onnxProto;

export interface Value {
  readonly name: string;
  /** A name stands for a length that varies. */
  readonly shape: readonly (number | string)[];
  readonly type?: keyof typeof types;
}

type Attribute = number | string | readonly number[];

export interface Node {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Whole numbers become integers unless the name is in `floats`. */
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly domain?: string;
}

/** A Block, or codes. */
export interface Constant {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer>;
}

export interface Graph {
  readonly nodes: readonly Node[];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly constants: Readonly<
    Record<string, Constant | { shape: readonly number[]; integers: readonly number[] }>
  >;
}

const floats = new Set(["epsilon", "alpha", "beta", "scale"]);
const { FLOAT, INT64, INT32, INT8, UINT8 } = onnx.TensorProto.DataType;
const types = { float32: FLOAT, int64: INT64, int32: INT32, int8: INT8, uint8: UINT8 };

function typeOf(data: Constant["data"]): number {
  if (data instanceof Float32Array) return types.float32;
  return data instanceof Int8Array ? types.int8 : types.uint8;
}

const dimension = (length: number | string) =>
  typeof length === "string" ? { dimParam: length } : { dimValue: length };

const valueInfo = ({ name, shape, type = "float32" }: Value) => ({
  name,
  type: { tensorType: { elemType: types[type], shape: { dim: shape.map(dimension) } } },
});

function attribute(name: string, value: Attribute) {
  const { FLOAT, INT, INTS, STRING } = onnx.AttributeProto.AttributeType;
  if (typeof value === "string") return { name, type: STRING, s: new TextEncoder().encode(value) };
  if (typeof value !== "number") return { name, type: INTS, ints: [...value] };
  return floats.has(name) ? { name, type: FLOAT, f: value } : { name, type: INT, i: value };
}

const bytesOf = (array: Constant["data"] | BigInt64Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** The bytes of a model: opset 20, with Microsoft's contributed operators. */
export function modelBytes({ nodes, inputs, outputs, constants }: Graph): Uint8Array {
  const model = onnx.ModelProto.create({
    irVersion: 9,
    opsetImport: [
      { domain: "", version: 20 },
      { domain: "com.microsoft", version: 1 },
    ],
    graph: {
      name: "graph",
      input: inputs.map(valueInfo),
      output: outputs.map(valueInfo),
      initializer: Object.entries(constants).map(([name, each]) => ({
        name,
        dims: [...each.shape],
        dataType: "data" in each ? typeOf(each.data) : types.int64,
        rawData: bytesOf("data" in each ? each.data : BigInt64Array.from(each.integers.map(BigInt))),
      })),
      node: nodes.map(({ op, inputs, outputs, attributes = {}, domain = "" }) => ({
        opType: op,
        domain,
        input: [...inputs],
        output: [...outputs],
        attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      })),
    },
  });
  return onnx.ModelProto.encode(model).finish();
}

/** A graph of one node over constants. */
export function single(
  op: string,
  operands: readonly Block[],
  outShape: readonly number[],
  attributes: Node["attributes"] = {},
  extra: Graph["constants"] = {},
): Graph {
  const names = operands.map((_, i) => `in${i}`);
  return {
    nodes: [{ op, inputs: [...names, ...Object.keys(extra)], outputs: ["out"], attributes }],
    inputs: [],
    outputs: [{ name: "out", shape: outShape }],
    constants: { ...Object.fromEntries(operands.map((block, i) => [names[i], block])), ...extra },
  };
}

/**
 * The graph with a second output, "probe": the first number of the output. Asked for alone it makes the run compute the
 * output without copying it out.
 */
export function withProbe(graph: Graph): Graph {
  const [{ name, type }] = graph.outputs;
  const shape = graph.outputs[0].shape as readonly number[];
  const rank = shape.length;
  const starts = { shape: [rank], integers: shape.map(() => 0) };
  const ends = { shape: [rank], integers: shape.map(() => 1) };
  if (sizeOf(shape) === 1) return graph;
  return {
    ...graph,
    nodes: [...graph.nodes, { op: "Slice", inputs: [name, "starts", "ends"], outputs: ["probe"] }],
    outputs: [...graph.outputs, { name: "probe", shape: shape.map(() => 1), type }],
    constants: { ...graph.constants, starts, ends },
  };
}

/** The last two axes swapped. ONNX has no transposed product, so this is done before. */
export function transposed({ shape, data }: Block): Block {
  const [rows, columns] = shape.slice(-2);
  const out = new Float32Array(data.length);
  for (let start = 0; start < sizeOf(shape); start += rows * columns)
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) out[start + j * rows + i] = data[start + i * columns + j];
  return { shape: [...shape.slice(0, -2), columns, rows], data: out };
}
