/** jax-js on WebGPU. Its arrays are counted: an argument is used up unless passed as `.ref`. */

import { defaultDevice, init, jit, numpy as np } from "@jax-js/jax";
import type { Block } from "../library.ts";
import type { GpuSide } from "./measure.ts";

const array = ({ data, shape }: Block): np.Array => np.array(data).reshape([...shape]);

export async function matmul(a: Block, b: Block, resident: boolean): Promise<GpuSide> {
  if (!(await init("webgpu")).includes("webgpu")) throw new Error("jax-js has no WebGPU here");
  defaultDevice("webgpu");
  const product = jit((x: np.Array, y: np.Array) => np.matmul(x, y));
  const [left, right] = [array(a), array(b)];
  const once = async (): Promise<Float32Array> => {
    const [x, y] = resident ? [left.ref, right.ref] : [array(a), array(b)];
    return (await product(x, y).data()) as Float32Array;
  };
  return {
    name: "jax-js",
    async run(count) {
      if (!resident) {
        for (let i = 0; i < count; i++) await once();
        return;
      }
      // One of the other: what nobody reads it does not compute.
      let x = left.ref;
      for (let i = 0; i < count; i++) x = product(x, right.ref);
      await x.slice(0, 0).data();
    },
    result: once,
    async close() {
      for (const each of [left, right]) each.dispose();
    },
  };
}
