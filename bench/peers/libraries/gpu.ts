/** gpu.js in its CPU mode: compiled JavaScript loops. The kernels are what its readme would write. */

import { createRequire } from "node:module";
import type { Side } from "../../pair.ts";
import type { Library } from "../library.ts";

// Its main file is CommonJS.
const { GPU, input } = createRequire(import.meta.url)("gpu.js") as typeof import("gpu.js") & {
  input(values: Float32Array, size: readonly number[]): unknown;
};

const name = "gpu.js";

interface Thread {
  thread: { x: number; y: number };
  constants: { k: number };
}

function side(make: () => unknown): Side {
  let last: unknown;
  return {
    name,
    run() {
      last = make();
    },
    result: () => {
      const rows = (Array.isArray(last) ? last : [last]) as Float32Array[];
      return Float32Array.from(rows.flatMap((row) => [...row]));
    },
  };
}

export function load(): Library {
  const gpu = new GPU({ mode: "cpu" });
  return {
    name,
    sides: {
      matmul({ a, b, transposeB }) {
        if (a.data.length > 256 * 256 || transposeB) return null;
        const [m, k] = a.shape;
        const n = b.shape[1];
        const kernel = gpu
          .createKernel(function (this: Thread, a: number[][], b: number[][]) {
            let sum = 0;
            for (let i = 0; i < this.constants.k; i++) sum += a[this.thread.y][i] * b[i][this.thread.x];
            return sum;
          })
          .setOutput([n, m])
          .setConstants({ k });
        const [left, right] = [input(a.data, [k, m]), input(b.data, [n, k])];
        return side(() => kernel(left as never, right as never));
      },
      add({ a, b }) {
        const kernel = gpu
          .createKernel(function (this: Thread, a: number[], b: number[]) {
            return a[this.thread.x] + b[this.thread.x];
          })
          .setOutput([a.data.length]);
        return side(() => kernel(a.data as never, b.data as never));
      },
      mul({ a, b }) {
        const kernel = gpu
          .createKernel(function (this: Thread, a: number[], b: number[]) {
            return a[this.thread.x] * b[this.thread.x];
          })
          .setOutput([a.data.length]);
        return side(() => kernel(a.data as never, b.data as never));
      },
    },
  };
}
