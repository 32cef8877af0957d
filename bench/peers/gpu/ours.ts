/** This library in a page: on the CPU, and on the GPU by both executors. */

import { openGpu, toGpu } from "../../../src/gpu/index.ts";
import { scope, tensor } from "../../../src/index.ts";
import { packCodes } from "../../../src/packed/file/codes.ts";
import {
  type PackedInput,
  PackedLinear,
  PackedModel,
  PackedSequential,
  PackedWeight,
  type Values,
} from "../../../src/packed/index.ts";
import { Rng } from "../../../src/random/rng.ts";
import { type Block, draw } from "../library.ts";
import { transposed } from "../onnx.ts";
import type { GpuSide } from "./measure.ts";
import type { LowBit } from "./rows.ts";

const executors = {
  webgpu: { executor: "webgpu" },
  "gpu.js": { executor: "gpu.js", mode: "webgl2" },
} as const;

export type Executor = keyof typeof executors;
export type Where = Executor | "cpu";

export const open = (name: Executor) => openGpu(executors[name]);

/** What runs packed models. */
export interface Runner {
  of(model: PackedModel): Promise<(x: Values) => Promise<Values>>;
  close(): Promise<void>;
}

export async function runner(where: Where): Promise<Runner> {
  if (where === "cpu")
    return { of: async (model) => async (x) => model.forward(x), close: () => Promise.resolve() };
  const gpu = await open(where);
  return {
    async of(packed) {
      const model = await toGpu(packed, gpu);
      return (x) => model.forward(x);
    },
    close: () => gpu.close(),
  };
}

/**
 * Runs are layers one after another in a model, so that what is between them stays where it is. They take the weights
 * in turns.
 */
export async function chain(
  name: string,
  where: Where,
  { weights, input, x }: { weights: readonly PackedWeight[]; input: PackedInput | null; x: Values },
): Promise<GpuSide> {
  const { of, close } = await runner(where);
  const layers = weights.map((weight) => new PackedLinear({ weight, bias: null, input }));
  const models = new Map<number, (x: Values) => Promise<Values>>();
  const modelOf = async (runs: number) => {
    const known = models.get(runs);
    if (known) return known;
    const steps = Array.from({ length: runs * stride }, (_, i) => layers[i % layers.length]);
    const made = await of(new PackedModel(new PackedSequential({ steps })));
    models.set(runs, made);
    return made;
  };
  // Weights that are not square are a run by twos.
  const stride = weights[0].rows === weights[0].columns ? 1 : 2;
  return {
    name,
    share: 1 / stride,
    run: async (count) => void (await (await modelOf(count))(x)),
    result: async () => (await (await modelOf(1))(x)).data,
    async close() {
      await close();
      for (const layer of layers) layer.dispose();
    },
  };
}

/** The same numbers as `matmul`'s. */
export const floatChain = (name: string, where: Where, a: Block, b: Block): Promise<GpuSide> =>
  chain(name, where, {
    weights: [PackedWeight.ofFloats(transposed(b).data, b.shape[1], b.shape[0])],
    ...{ input: null, x: a },
  });

/** With an upload and a readback each. */
export async function matmul(where: Where, a: Block, b: Block): Promise<GpuSide> {
  const gpu = where === "cpu" ? null : await open(where);
  const once = async (): Promise<Float32Array> => {
    if (gpu) return (await gpu.matmul(a, b)).data;
    return scope(() => {
      const [left, right] = [a, b].map(({ data, shape }) => tensor(data, { shape }));
      return left.matmul(right).data.slice() as Float32Array;
    });
  };
  return {
    name: where,
    async run(count) {
      for (let i = 0; i < count; i++) await once();
    },
    result: once,
    close: async () => void (await gpu?.close()),
  };
}

const types = {
  i8: { bits: 8, deviation: 73.6 },
  i4: { bits: 4, deviation: 4.3 },
  ternary: { bits: 2, deviation: Math.sqrt(2 / 3) },
  b1: { bits: 1, deviation: 1 },
} as const;

/** How layers of each type make codes of their input. */
export const inputs: Readonly<Record<LowBit, PackedInput>> = {
  i8: { kind: "dynamic", bits: 8 },
  i4: { kind: "dynamic", bits: 8 },
  ternary: { kind: "dynamic", bits: 8 },
  b1: { kind: "signs" },
};

/** Codes drawn evenly, and scales by which a layer leaves numbers as large as they are. */
export function weight(
  type: LowBit,
  rows: number,
  columns: number,
  group: number | null = null,
): PackedWeight {
  const { bits, deviation } = types[type];
  const most = Math.max(1, 2 ** (bits - 1) - 1);
  const rng = new Rng(`${type} ${rows} ${columns}`);
  const levels = type === "b1" ? 2 : 2 * most + 1;
  const step = type === "b1" ? 2 : 1;
  const codes = Int8Array.from(
    { length: rows * columns },
    () => step * Math.floor(rng.next() * levels) - most,
  );
  const scales = group === null ? 1 : (rows * columns) / group;
  // A power of two, which float16 holds.
  const scale = 2 ** Math.floor(Math.log2(1 / (deviation * Math.sqrt(columns))));
  return PackedWeight.ofCodes({
    ...{ rows, columns, bits, signed: true, codes: packCodes(codes, rows, columns, { bits, signed: true }) },
    ...{ scale: new Float32Array(scales).fill(scale), group, scaleType: "float16", codebook: null },
  });
}

export const floatWeight = (n: number): PackedWeight =>
  PackedWeight.ofFloats(draw([n, n], "weight", Math.sqrt(3 / n)).data, n, n);
