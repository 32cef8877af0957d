/** The verbs of packed layers by kernels of WebGPU. */

import type { Executor, HadamardCall } from "../../packed/executor.ts";
import type { PackedWeight } from "../../packed/file/weight.ts";
import type { Values } from "../../packed/values.ts";
import { sizeOf } from "../../shape.ts";
import type { Opened } from "../engine.ts";
import { attention, rotary } from "./attention.ts";
import { BlockCache } from "./cache.ts";
import * as text from "./elementwise.ts";
import { conv, dequantized, matmul, product } from "./products.ts";
import { average, norm } from "./rows.ts";
import { type Block, isBlock, type WebGpuRuns } from "./runs.ts";
import { groupsOf } from "./wgsl.ts";
import { pooled, transposed } from "./windows.ts";

function executorOf(gpu: WebGpuRuns): Executor<Block> {
  const far = (op: string, x: Block | Float32Array): Block =>
    ArrayBuffer.isView(x) ? gpu.upload(op, x, () => x) : x;
  /** One number a thread. */
  const run = (op: string, code: string, length: number, ...inputs: (Block | Float32Array)[]): Block =>
    gpu.run(
      {
        op,
        reason: "one number a thread",
        code,
        inputs: inputs.map((x) => far(op, x)),
        workgroups: groupsOf(length),
      },
      length,
    );

  function hadamard({ data }: Values<Block>, call: HadamardCall): Block {
    const { length } = data;
    let y = call.signs ? run("hadamard", text.signed(call), length, data, call.signs) : far("hadamard", data);
    for (let gap = 1; gap < call.block; gap *= 2) y = run("hadamard", text.butterfly(gap), length, y);
    return y;
  }

  function rows(weight: PackedWeight, ids: ArrayLike<number>): Block {
    const { columns } = weight;
    const out = new Float32Array(ids.length * columns);
    for (let i = 0; i < ids.length; i++) weight.readRow(out.subarray(i * columns, (i + 1) * columns), ids[i]);
    return gpu.bring(out);
  }

  return {
    foldsSigns: false,
    holds: isBlock,
    bring: (x) => gpu.bring(x),
    product: ({ data }, of, m) => product(gpu, far("product", data), of, m),
    conv: ({ data }, of, geometry) => conv(gpu, far("conv", data), of, geometry),
    convTranspose({ data }, weight, g) {
      return run(
        "convTranspose",
        transposed(g),
        g.n * g.c * g.h * g.w,
        data,
        dequantized(gpu, "convTranspose", weight),
      );
    },
    map: ({ data }, f) => run(f, text.map(f), data.length, data),
    join: (x, y, f) => run(f, text.join(f, x.shape, y.shape), x.data.length, x.data, y.data),
    norm: ({ data }, call) => norm(gpu, far("norm", data), call),
    attention: (q, k, v, call) => attention(gpu, q, k, v, call),
    rotary: (x, call) => rotary(gpu, x, call),
    hadamard,
    rows,
    permute(x, shape, axes) {
      const strides = shape.map((_, axis) => sizeOf(shape, axis + 1));
      const code = text.pick(
        axes.map((axis) => shape[axis]),
        axes.map((axis) => strides[axis]),
        0,
      );
      return run("permute", code, x.length, x);
    },
    pick: (x, shape, strides, offset) => run("pick", text.pick(shape, strides, offset), sizeOf(shape), x),
    gather(x, count, places) {
      const code = text.gathered(x.length / Math.max(1, count), places.length);
      return run("gather", code, count * places.length, x, gpu.bring(Uint32Array.from(places)));
    },
    pad({ data, shape }, before, behind) {
      const plane = sizeOf(shape, 2);
      const code = text.padded(shape[1], plane, before, behind);
      return run("pad", code, shape[0] * (before + shape[1] + behind) * plane, data);
    },
    average: (x, count, n) => average(gpu, x, count, n),
    pool({ data }, windows, type) {
      const { n, c, oh, ow } = windows;
      return run("pool", pooled(windows, type), n * c * oh * ow, data);
    },
    newCache: () => new BlockCache(gpu),
  };
}

export const openedOf = (engine: WebGpuRuns): Opened => ({
  engine,
  executor: executorOf(engine),
  matmul: (a, b, m, k, n) => matmul(engine, a as Block, b as Block, m, k, n),
});
