/** TensorFlow.js on its WebAssembly backend. What it has no op for is composed, as its own layers do. */

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import type { Side } from "../../pair.ts";
import type { Block, Library } from "../library.ts";
import { gptStep, mlpStep } from "./tfjs-models.ts";

const name = "tfjs-wasm";

const tensor = ({ data, shape }: Block): tf.Tensor => tf.tensor(data.slice(), shape.slice());

/** Inputs stay; what a run makes is freed by the next. Kernels run when they are called. */
const tidied = (make: () => tf.Tensor, show: (result: tf.Tensor) => tf.Tensor = (result) => result): Side => {
  let last: tf.Tensor | null = null;
  return {
    name,
    run() {
      last?.dispose();
      last = tf.tidy(make);
    },
    result: () => tf.tidy(() => show(last!).dataSync() as Float32Array),
  };
};

export async function load(): Promise<Library> {
  const entry = createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm");
  setWasmPaths(`${join(dirname(entry), "../wasm-out")}/`);
  setThreadsCount(1);
  tf.enableProdMode();
  await tf.setBackend("wasm");
  return {
    name,
    sides: {
      // It packs b once for each tensor and keeps that, as long as the tensor lives.
      matmul({ a, b, transposeB }) {
        const [left, right] = [tensor(a), tensor(b)];
        return tidied(() => tf.matMul(left, right, false, transposeB));
      },
      softmax({ x }) {
        const input = tensor(x);
        return tidied(() => tf.softmax(input));
      },
      layerNorm({ x, weight, bias, eps }) {
        const [input, w, b] = [tensor(x), tensor(weight), tensor(bias)];
        return tidied(() => {
          const { mean, variance } = tf.moments(input, -1, true);
          const scaled = tf.mul(tf.mul(tf.sub(input, mean), tf.rsqrt(tf.add(variance, eps))), w);
          return tf.add(scaled, b);
        });
      },
      gelu({ x }) {
        const input = tensor(x);
        return tidied(() => tf.mul(tf.mul(tf.add(tf.erf(tf.mul(input, Math.SQRT1_2)), 1), input), 0.5));
      },
      add({ a, b }) {
        const [left, right] = [tensor(a), tensor(b)];
        return tidied(() => tf.add(left, right));
      },
      mul({ a, b }) {
        const [left, right] = [tensor(a), tensor(b)];
        return tidied(() => tf.mul(left, right));
      },
      sum({ x }) {
        const input = tensor(x);
        return tidied(() => tf.sum(input));
      },
      sumRows({ x }) {
        const input = tensor(x);
        return tidied(() => tf.sum(input, 1));
      },
      // In its own order of axes, NHWC with HWIO weights.
      conv2d({ x, w }) {
        const input = tf.tidy(() => tf.transpose(tensor(x), [0, 2, 3, 1])) as tf.Tensor4D;
        const weight = tf.tidy(() => tf.transpose(tensor(w), [2, 3, 1, 0])) as tf.Tensor4D;
        return tidied(
          () => tf.conv2d(input, weight, 1, "same"),
          (result) => tf.transpose(result, [0, 3, 1, 2]),
        );
      },
      mlpStep,
      gptStep,
    },
  };
}
