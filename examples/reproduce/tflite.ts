/** Runs the int8 model that MLPerf Tiny publishes of ResNet-8 (weights/resnet8-mlperf-tiny/int8.json) by integer kernels. */

import { readFileSync } from "node:fs";
import { type Tensor, tensor } from "bitgrad";
import { load } from "bitgrad/io";
import { Conv2d, Linear, loadStateDict } from "bitgrad/nn";
import type { PackedModel } from "bitgrad/packed";
import { freeze, pack, plan, prepare, quantizedTransform, staticInput, ste } from "bitgrad/quant";

/** A tensor of the file: real = scale · (q − zero_point), by channels of axis 0 where there are several scales. */
interface Described {
  readonly shape: number[];
  readonly scale: number[];
  readonly zero_point: number[];
}

interface Operator {
  readonly op: string;
  readonly inputs: number[];
  readonly outputs: number[];
  readonly stride?: number[];
  readonly filter?: number[];
  readonly activation?: "RELU" | "NONE";
}

interface File {
  readonly tensors: Described[];
  readonly operators: Operator[];
}

/** What a packed model makes of a tensor. */
export function packedForward(model: PackedModel, { data, shape }: Tensor): Tensor {
  const result = model.forward({ data: data as Float32Array, shape });
  return tensor(result.data, { shape: result.shape });
}

const halfAway = (value: number): number => Math.sign(value) * Math.floor(Math.abs(value) + 0.5);

const mapped = (x: Tensor, f: (value: number) => number): Tensor =>
  tensor(Float32Array.from(x.data as Float32Array, f), { shape: x.shape });

/** The numbers that codes stand for. */
const valuesOf = (codes: Tensor, { scale: [scale], zero_point: [zero] }: Described): Tensor =>
  mapped(codes, (code) => (code - zero) * scale);

/** Codes of numbers; behind a ReLU none stands for less than 0. */
const codesOf = (x: Tensor, { scale: [scale], zero_point: [zero] }: Described, relu: boolean): Tensor =>
  mapped(x, (value) => Math.min(127, Math.max(relu ? zero : -128, halfAway(value / scale) + zero)));

/** (out, h, w, in) as ours, (out, in, h, w). */
const inOurOrder = (q: Tensor): Tensor => (q.shape.length === 4 ? q.permute([0, 3, 1, 2]) : q);

/** Zeros before and behind a row of `size` windows of `kernel`, as TensorFlow's "SAME". */
function padding(size: number, kernel: number, stride: number): [number, number] {
  const all = Math.max((Math.ceil(size / stride) - 1) * stride + kernel - size, 0);
  return [Math.floor(all / 2), Math.ceil(all / 2)];
}

/** A packed layer that has the codes and scales of the file. Its input's codes are those of the file and 128 more. */
function layerOf(
  { stride }: Operator,
  input: Described,
  weight: Described,
  q: Tensor,
  bias: Tensor,
): PackedModel {
  const codes = inOurOrder(q);
  const [out, inputs, kernel] = codes.shape;
  const pads = kernel === undefined ? null : padding(input.shape[1], kernel, stride![0]);
  const layer = pads
    ? new Conv2d(inputs, out, kernel, { stride: stride![0], padding: [pads, pads] })
    : new Linear(inputs, out);
  const granularity = weight.scale.length > 1 ? "channel" : "tensor";
  const quantizer = ste({ bits: 8, granularity, scaleDtype: "float32" });
  prepare(layer, plan({ default: { weight: quantizer, input: staticInput() } }));
  const scales = weight.scale.length > 1 ? weight.scale : Array<number>(out).fill(weight.scale[0]);
  const state = {
    bias: tensor(Float32Array.from(scales, (scale, i) => Number(bias.data[i]) * scale * input.scale[0])),
    "inputQuantizer.scale": tensor([input.scale[0]]),
    "inputQuantizer.zeroPoint": tensor([input.zero_point[0] + 128]),
  };
  loadStateDict(layer, state, { strict: false });
  const { params, spec } = quantizer;
  const { scale } = params(layer.weight.value);
  quantizedTransform(layer.weight)!.hold({
    codes: codes as Tensor<"int8">,
    scale: tensor(Float32Array.from(weight.scale), { shape: scale.shape }),
    zeroPoint: null,
    spec,
    shape: codes.shape,
  });
  return pack(freeze(layer));
}

/** Reads the model: pixels (N, 3, 32, 32) of 0 to 255 -> codes of the logits, (N, 10). */
export async function readTflite(folder: string): Promise<(pixels: Tensor) => Tensor> {
  const { tensors, operators }: File = JSON.parse(readFileSync(`${folder}/int8.json`, "utf8"));
  const { tensors: numbers } = await load(`${folder}/int8.safetensors`);
  const layers = new Map<Operator, PackedModel>();
  for (const operator of operators.filter(({ op }) => op === "CONV_2D" || op === "FULLY_CONNECTED")) {
    const [input, weight, bias] = operator.inputs;
    layers.set(
      operator,
      layerOf(operator, tensors[input], tensors[weight], numbers[`t${weight}`], numbers[`t${bias}`]),
    );
  }
  /** What an operator makes of codes; the softmax changes no order, and is left out. */
  const run = (operator: Operator, codes: (Tensor | undefined)[]): Tensor => {
    const { op, inputs, outputs, activation } = operator;
    const [first, second] = codes;
    if (op === "SOFTMAX") return first!;
    if (op === "RESHAPE") return first!.flatten({ start: 1 });
    // The scale of a mean is that of its input.
    if (op === "AVERAGE_POOL_2D") return mapped(first!.mean({ axis: [2, 3], keepDims: true }), halfAway);
    const x = valuesOf(first!, tensors[inputs[0]]);
    const y =
      op === "ADD" ? x.add(valuesOf(second!, tensors[inputs[1]])) : packedForward(layers.get(operator)!, x);
    return codesOf(y, tensors[outputs[0]], activation === "RELU");
  };
  return (pixels) => {
    const known = new Map<number, Tensor>([[0, pixels.to("float32").sub(128)]]);
    let last = known.get(0)!;
    for (const operator of operators) {
      last = run(
        operator,
        operator.inputs.map((input) => known.get(input)),
      );
      known.set(operator.outputs[0], last);
    }
    return last;
  };
}
