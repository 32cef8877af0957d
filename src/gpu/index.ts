/**
 * Packed models on GPUs, by WebGPU or through gpu.js.
 *
 * @module bitgrad/gpu
 */

export type { GpuAdapter, GpuReport, Mode } from "./engine.ts";
export type { Gemm, GemmOptions, Gemms } from "./gemm.ts";
export { type GpuModel, toGpu } from "./model.ts";
export { type Gpu, type GpuOptions, openGpu } from "./open.ts";
