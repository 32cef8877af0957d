/** TensorFlow.js on WebGPU. */

import "@tensorflow/tfjs-backend-webgpu";
import * as tf from "@tensorflow/tfjs-core";
import type { Block } from "../library.ts";
import type { GpuSide } from "./measure.ts";

const tensor = ({ data, shape }: Block): tf.Tensor2D => tf.tensor2d(data, shape as [number, number]);

export async function matmul(a: Block, b: Block, resident: boolean): Promise<GpuSide> {
  tf.enableProdMode();
  if (!(await tf.setBackend("webgpu"))) throw new Error("tfjs has no WebGPU here");
  const [left, right] = [tensor(a), tensor(b)];
  const once = async (): Promise<Float32Array> => {
    const [x, y] = resident ? [left, right] : [tensor(a), tensor(b)];
    const out = tf.matMul(x, y);
    const data = (await out.data()) as Float32Array;
    tf.dispose(resident ? [out] : [x, y, out]);
    return data;
  };
  return {
    name: "tfjs-webgpu",
    async run(count) {
      if (!resident) {
        for (let i = 0; i < count; i++) await once();
        return;
      }
      const first = tf.tidy(() => {
        let x = left;
        for (let i = 0; i < count; i++) x = tf.matMul(x, right);
        return tf.slice(x, [0, 0], [1, 1]);
      });
      await first.data();
      first.dispose();
    },
    result: once,
    close: async () => tf.dispose([left, right]),
  };
}
