/**
 * Packed models on GPUs, through gpu.js.
 *
 * @module bitgrad/gpu
 */

export type { Gemm, GemmOptions, Gemms } from "./gemm.ts";
export type { Mode } from "./gpu-js.ts";
export { type GpuModel, toGpu } from "./model.ts";
export { type Gpu, type GpuOptions, type GpuReport, openGpu } from "./open.ts";
