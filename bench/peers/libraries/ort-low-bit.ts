/** Low-bit products as graphs for onnxruntime. */

import type { BlockProblem, IntProblem } from "../library.ts";
import type { Constant, Graph } from "../onnx.ts";

/** (n, k) to (k, n), as these operators take weights. */
function transposedCodes(codes: Int8Array, n: number, k: number): Int8Array<ArrayBuffer> {
  const out = new Int8Array(codes.length);
  for (let row = 0; row < n; row++) for (let i = 0; i < k; i++) out[i * n + row] = codes[row * k + i];
  return out;
}

export function intGraph({ sizes: [m, k, n], x, weight, requantize }: IntProblem): Graph {
  const rows: Constant = { shape: [m, k], data: x };
  const columns: Constant = { shape: [k, n], data: transposedCodes(weight, n, k) };
  const shape = [m, n];
  if (requantize === null)
    return {
      nodes: [{ op: "MatMulInteger", inputs: ["rows", "columns"], outputs: ["out"] }],
      inputs: [],
      outputs: [{ name: "out", shape, type: "int32" }],
      constants: { rows, columns },
    };
  const [scaleX, scaleW, scaleOut] = requantize.scales.map((scale) => ({
    shape: [],
    data: Float32Array.of(scale),
  }));
  const zero: Constant = { shape: [], data: Uint8Array.of(requantize.zero) };
  const zeroW: Constant = { shape: [], data: Int8Array.of(0) };
  const inputs = ["rows", "scaleX", "zero", "columns", "scaleW", "zeroW", "scaleOut", "zero"];
  return {
    nodes: [{ op: "QLinearMatMul", inputs, outputs: ["out"] }],
    inputs: [],
    outputs: [{ name: "out", shape, type: "uint8" }],
    constants: { rows, columns, scaleX, scaleW, scaleOut, zero, zeroW },
  };
}

/** Weights stay as they lie: (n, k / block, block / 2) bytes, the first of two codes low, plus 8. */
export function blockGraph({ sizes: [m, k, n], x, codes, block, scale, integers }: BlockProblem): Graph {
  const bytes = new Uint8Array(codes.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (codes[2 * i] + 8) | ((codes[2 * i + 1] + 8) << 4);
  return {
    nodes: [
      {
        op: "MatMulNBits",
        domain: "com.microsoft",
        inputs: ["rows", "codes", "scales"],
        outputs: ["out"],
        attributes: { K: k, N: n, bits: 4, block_size: block, accuracy_level: integers ? 4 : 1 },
      },
    ],
    inputs: [],
    outputs: [{ name: "out", shape: [m, n] }],
    constants: {
      rows: x,
      codes: { shape: [n, k / block, block / 2], data: bytes },
      scales: { shape: [scale.length], data: scale },
    },
  };
}
