/** The verbs of packed layers by kernels of gpu.js. */

import { changing } from "../../changes.ts";
import type { AttentionCall, Executor, KeyValueCache, NormCall, RotaryCall } from "../../packed/executor.ts";
import type { Ids, Values } from "../../packed/values.ts";
import { sizeOf } from "../../shape.ts";
import type { Opened } from "../engine.ts";
import { turnsOf } from "../turns.ts";
import { isLater, type Later } from "./far.ts";
import { type GpuJsKernels, mostNumbers } from "./kernels.ts";
import { conv, product } from "./products.ts";
import * as sources from "./sources.ts";
import { convTransposed, pooled } from "./windows.ts";

/** Keys and values that stay on the GPU, (H, R, D), with room for twice as many positions where it is full. */
export class FarCache implements KeyValueCache<Later> {
  length = 0;
  context: KeyValueCache<Later> | null = null;
  /** What must outlast the run that made it. */
  held: readonly Later[] = [];
  private rows = 0;
  private readonly gpu: GpuJsKernels;

  constructor(gpu: GpuJsKernels) {
    this.gpu = gpu;
  }

  append(keys: Later, values: Later, heads: number, t: number, d: number): readonly [Later, Later, number] {
    const { length, rows: before, held } = this;
    if (t === 0 && held.length > 0) return [held[0], held[1], before];
    changing(this, () => () => Object.assign(this, { length, rows: before, held }));
    const rows = before >= length + t ? before : Math.max(2 * (length + t), 16);
    const source = sources.appended(heads, rows, Math.max(1, before), t, d);
    const at = this.gpu.bring(Float32Array.of(length));
    const grown = [keys, values].map((more, i) =>
      this.gpu.run("append", source, heads * rows * d, [held[i] ?? none(this.gpu), far(this.gpu, more), at]),
    );
    for (const old of held) this.gpu.discard(old);
    this.held = grown;
    this.rows = rows;
    this.length += t;
    return [grown[0], grown[1], rows];
  }

  clear(): void {
    for (const old of this.held) this.gpu.discard(old);
    this.held = [];
    this.length = 0;
    this.rows = 0;
    this.context?.clear();
  }

  /** All that must outlast a run. */
  *kept(): Generator<Later> {
    yield* this.held;
    if (this.context) yield* (this.context as FarCache).kept();
  }
}

const none = (gpu: GpuJsKernels): Later => gpu.bring(Float32Array.of(0));

/** Numbers of layers and of calls are brought to the GPU where a verb meets them. */
const far = (gpu: GpuJsKernels, x: Later | Float32Array): Later =>
  ArrayBuffer.isView(x) ? gpu.upload(x) : x;

function executorOf(gpu: GpuJsKernels): Executor<Later> {
  const run = (op: string, source: string, length: number, ...inputs: (Later | Float32Array)[]): Later =>
    gpu.run(
      op,
      source,
      length,
      inputs.map((x) => far(gpu, x)),
    );

  function norm({ data }: Values<Later>, { type, rows, n, eps, weight, bias }: NormCall): Later {
    const mean = type === "rms" ? null : run("norm", sources.average(n), rows, data);
    const spread = mean
      ? run("norm", sources.variance(n), rows, data, mean)
      : run("norm", sources.meanSquare(n), rows, data);
    const has = { mean: mean !== null, weight: weight !== null, bias: bias !== null };
    const inputs = [data, spread, mean, weight, bias].filter((x) => x !== null);
    return run("norm", sources.normed(n, eps, has), data.length, ...inputs);
  }

  /** Where the scores of all queries are too many for a kernel, parts of the queries after each other, all of one size. */
  function attention(q: Later, k: Later, v: Later, call: AttentionCall): Later {
    const { b, h, tq, tk, d, rows, mask } = call;
    const queries = b * h * tq;
    const fitting = Math.max(1, Math.floor(mostNumbers / Math.max(1, rows)));
    const parts = Math.max(1, Math.ceil(queries / fitting));
    const part = Math.ceil(queries / parts);
    const kind = { ...call, mask: mask !== null, part };
    const flags = mask ? [gpu.bring(spread(mask, b, tk, rows))] : [];
    // As many numbers as the result, of which every part fills in its own.
    let out = q;
    for (let i = 0; i < parts; i++) {
      const held = gpu.bring(Float32Array.of(tk, Math.min(i * part, queries - part)));
      const scores = run("attention", sources.scores(kind), part * rows, q, k, held, ...flags);
      const most = run("attention", sources.rowMost(rows), part, scores);
      const weights = run("attention", sources.weighed(rows), part * rows, scores, most);
      const others = parts > 1 ? [held, out] : [];
      out = run("attention", sources.mixed(kind), queries * d, weights, v, ...others);
    }
    return out;
  }

  function rotary(x: Later, call: RotaryCall): Later {
    return run("rotary", sources.rotary(call), x.length, x, gpu.bring(turnsOf(call)));
  }

  return {
    foldsSigns: false,
    holds: isLater,
    bring: (x) => gpu.bring(x),
    product: ({ data }, of, m) => product(gpu, far(gpu, data), of, m),
    conv: ({ data }, of, geometry) => conv(gpu, far(gpu, data), of, geometry),
    convTranspose: ({ data }, weight, geometry) => convTransposed(gpu, far(gpu, data), weight, geometry),
    map: ({ data }, f) => run(f, sources.map(f), data.length, data),
    join: (x, y, f) => run(f, sources.join(f, x.shape, y.shape), x.data.length, x.data, y.data),
    norm,
    attention,
    rotary,
    hadamard({ data }, call) {
      let y = call.signs ? run("hadamard", sources.signed(call), data.length, data, call.signs) : data;
      for (let gap = 1; gap < call.block; gap *= 2)
        y = run("hadamard", sources.butterfly(gap, Math.SQRT1_2), data.length, y);
      return y;
    },
    rows(weight, ids) {
      const { columns } = weight;
      const out = new Float32Array(ids.length * columns);
      for (let i = 0; i < ids.length; i++)
        weight.readRow(out.subarray(i * columns, (i + 1) * columns), ids[i]);
      return gpu.bring(out);
    },
    permute(x, shape, axes) {
      const strides = shape.map((_, axis) => sizeOf(shape, axis + 1));
      const source = sources.pick(
        axes.map((axis) => shape[axis]),
        axes.map((axis) => strides[axis]),
        0,
      );
      return run("permute", source, x.length, x);
    },
    pick: (x, shape, strides, offset) => run("pick", sources.pick(shape, strides, offset), sizeOf(shape), x),
    gather: (x, rows, places) =>
      run(
        "gather",
        sources.gathered(x.length / Math.max(1, rows), places.length),
        rows * places.length,
        x,
        gpu.bring(Float32Array.from(places)),
      ),
    pad({ data, shape }, before, behind) {
      const plane = sizeOf(shape, 2);
      const source = sources.padded(shape[1], plane, before, behind);
      return run("pad", source, shape[0] * (before + shape[1] + behind) * plane, data);
    },
    average: (x, rows, n) => run("average", sources.average(n), rows, x),
    pool({ data }, windows, type) {
      const { n, c, oh, ow } = windows;
      return run("pool", pooled(windows, type), n * c * oh * ow, data);
    },
    newCache: () => new FarCache(gpu),
  };
}

export const openedOf = (engine: GpuJsKernels): Opened => ({
  engine,
  executor: executorOf(engine),
  matmul: (a, b, m, k, n) => engine.run("matmul", sources.columns(k, n), m * n, [a as Later, b as Later]),
});

/** Flags of a mask for all keys that there is room for. */
function spread(mask: Ids["data"], b: number, tk: number, rows: number): Float32Array {
  const out = new Float32Array(b * rows);
  for (let n = 0; n < b; n++) for (let i = 0; i < tk; i++) out[n * rows + i] = Number(mask[n * tk + i]);
  return out;
}
