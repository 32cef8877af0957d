/** What is measured on a GPU, and what the page and its server tell each other. */

import type { GpuRow } from "../../gpu-table.ts";

export type LowBit = "i8" | "i4" | "ternary" | "b1";

export type Task =
  /** float32 (n, n) by (n, n): `resident` ones repeated without a transfer. */
  | { readonly kind: "matmul"; readonly n: number; readonly resident: boolean }
  /** A layer (n, n) on n rows, its input's codes included; resident. */
  | { readonly kind: "product"; readonly n: number; readonly type: LowBit }
  /** One row by int4 weights (k, n), in groups of 32, then by weights (n, k); resident. */
  | { readonly kind: "vector"; readonly k: number; readonly n: number }
  /** Of a prompt of 64 tokens, 32 more. */
  | { readonly kind: "decode"; readonly type: "f32" | "i8" | "i4" | "b1" };

export interface Row extends Pick<GpuRow, "name" | "unit" | "work" | "beside" | "required" | "reach"> {
  readonly task: Task;
  readonly sides: readonly string[];
}

/** How long it may take. */
export interface Plan {
  readonly rounds: number;
  /** Fewer rounds where they would take longer. */
  readonly seconds: number;
  /** What is repeated in a round takes about so long. */
  readonly milliseconds: number;
  /** A side whose single run takes longer is left out. */
  readonly most: number;
}

export interface PageTask {
  readonly task: Task | null;
  readonly sides: readonly string[];
  readonly plan: Plan;
}

export interface SideTimes {
  readonly name: string;
  /** Seconds a run, of each round; none where it was left out. */
  readonly times: readonly number[];
  readonly out: string | null;
}

export interface Adapter {
  /** Of WebGPU, or null. */
  readonly webgpu: string | null;
  /** Of WebGL2, or null. */
  readonly webgl2: string | null;
  /** Whether either is software that stands for a GPU. */
  readonly software: boolean;
}

export interface PageReport {
  readonly adapter: Adapter;
  readonly sides: readonly SideTimes[];
  readonly error: string | null;
}

const ours = ["webgpu", "gpu.js", "cpu"];
export const peers: readonly string[] = ["tfjs-webgpu", "jax-js", "ort-web"];

const typeNames = { f32: "float32", i8: "int8", i4: "int4", ternary: "ternary", b1: "1 bit" } as const;

const matmul = (n: number, resident: boolean): Row => ({
  name: `float32 product ${n}, ${resident ? "resident" : "with transfers"}`,
  ...{ unit: "GFLOP/s", work: (2 * n ** 3) / 1e9, beside: peers, required: 1, reach: null },
  ...{ task: { kind: "matmul", n, resident }, sides: [...ours, ...peers] },
});

const product = (n: number, type: LowBit): Row => ({
  name: `${typeNames[type]} product ${n}, resident`,
  ...{ unit: "Gop/s", work: (2 * n ** 3) / 1e9, beside: ["webgpu float32"] },
  ...(type === "b1" ? { required: 4, reach: 8 } : { required: null, reach: null }),
  ...{ task: { kind: "product", n, type }, sides: [...ours, "webgpu float32"] },
});

/** Bytes of codes and float16 scales. */
export const vectorBytes = (k: number, n: number): number => k * n * (1 / 2 + 2 / 32);

const vector = (k: number, n: number): Row => ({
  name: `int4 matrix-vector ${k}x${n}`,
  ...{ unit: "GB/s", work: vectorBytes(k, n) / 1e9, beside: ["copy"], required: 0.6, reach: null },
  ...{ task: { kind: "vector", k, n }, sides: [...ours, "copy"] },
});

const decode = (type: "f32" | "i8" | "i4" | "b1"): Row => ({
  name: `decode of a packed Gpt of 19 M, ${typeNames[type]}`,
  ...{
    unit: "tokens/s",
    work: 1,
    beside: type === "f32" ? ["ort-web"] : ["cpu"],
    required: null,
    reach: null,
  },
  ...{ task: { kind: "decode", type }, sides: type === "f32" ? [...ours, "ort-web"] : ours },
});

export const sizes: readonly number[] = [256, 512, 1024, 2048, 4096];

export const rows: readonly Row[] = [
  ...sizes.flatMap((n) => [matmul(n, true), matmul(n, false)]),
  ...sizes.flatMap((n) => (["i8", "i4", "ternary", "b1"] as const).map((type) => product(n, type))),
  ...[vector(4096, 4096), vector(4096, 11008)],
  ...(["f32", "i8", "i4", "b1"] as const).map(decode),
];
