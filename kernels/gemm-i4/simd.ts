/** The SIMD products of float32 activations with weights of 1 to 8 bits that lie on the heap. */

import { roundEven } from "../elementwise/special.ts";
import { affine, betaOf, codesOfChunk, paddedDepth } from "../gemm-i8/layout.ts";
import { inParts } from "../gemm-i8/parts.ts";
import { groupCount, groupDepth } from "../gemm-i8/reference.ts";
import { byGroup, panelsOf } from "../gemm-i8/simd.ts";
import { view } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { onHeap } from "../wasm/output.ts";
import { staged } from "../wasm/staging.ts";
import type { FloatShape, FloatWeights } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface FloatExports {
  scratchBytes(m: number, k: number, depth: number, groups: number): number;
  gemm(layer: number, scratch: number, column: number, end: number): void;
}

export const floatExports = /* @__PURE__ */ wasmKernel<FloatExports>(bytes);

const layerWords = 17;
const mostLevels = 16;

/** Weights, scales and a bias, on the heap until `free`. */
export interface FloatLayer {
  readonly n: number;
  readonly k: number;
  readonly depth: number;
  readonly groups: number;
  readonly address: number;
  free(): void;
}

/** Lays a layer out. Null where it is not served: without SIMD, with the heap exhausted, or for a codebook of over 4 bits. */
export function prepareFloat(weights: FloatWeights, bias?: Float32Array): FloatLayer | null {
  if (floatExports() === null) return null;
  const { n, k, bits, zeros, scale, codebook, offsets } = weights;
  if (codebook !== undefined && bits > 4) return null;
  const apart = scale.length > n;
  const groups = zeros !== undefined || offsets !== undefined || apart ? groupCount(weights) : 1;
  return onHeap((blocks) => {
    const codes = panelsOf(blocks, weights);
    const { alpha, beta } = affine(weights);
    const eight = blocks.take(32);
    view("int32", eight, 8).fill(beta);
    const of = (dtype: "int32" | "float32", x: ArrayLike<number>, value: (x: number) => number): number =>
      byGroup(blocks, dtype, n, groups, (r, g) => value(x[r * groups + g]));
    // An offset is the code nearest to it, which integers serve, and the rest, which is no farther from it than any code is.
    const nearest = (z: number): number => (Math.abs(z) < 2 ** 24 ? clamp(roundEven(z), 2 ** bits - 1) : 0);
    const betas = offsets
      ? of("int32", offsets, (z) => -nearest(z))
      : zeros
        ? of("int32", zeros, (z) => betaOf(weights, z))
        : 0;
    const rests = offsets ? of("float32", offsets, (z) => nearest(z) - z) : 0;
    const scales = byGroup(blocks, "float32", n, groups, (r, g) => scale[apart ? r * groups + g : r]);
    const start = bias === undefined ? 0 : blocks.floats(Math.ceil(n / 8) * 8, bias, n, 0);
    const levels = codebook === undefined ? 0 : blocks.take(mostLevels * 4);
    if (codebook !== undefined) layCodebook(view("uint8", levels, mostLevels * 4), codebook);
    const address = blocks.take(layerWords * 4);
    const depth = groups > 1 ? groupDepth(weights) : Math.max(codesOfChunk, paddedDepth(k));
    view("int32", address, layerWords).set([
      ...[0, n, k, bits, depth, groups, 0, k * 4],
      ...[codes, alpha, eight, betas, scales, start, 0, levels, rests],
    ]);
    return { n, k, depth, groups, address, free: () => blocks.free() };
  });
}

const clamp = (x: number, most: number): number => Math.max(0, Math.min(most, x));

/** The first bytes of all levels, then the second ones, … */
function layCodebook(to: Uint8Array, codebook: Float32Array): void {
  const bytes = new Uint8Array(codebook.slice(0, mostLevels).buffer);
  to.fill(0);
  for (let i = 0; i < bytes.length; i++) to[(i % 4) * mostLevels + (i >> 2)] = bytes[i];
}

/** out (m, n) = x (m, k) · weightsᵀ + bias at heap addresses. False, with nothing done, where it cannot run. */
export function gemmFloatHeap(
  layer: FloatLayer,
  out: number,
  x: number,
  m: number,
  exports = floatExports(),
): boolean {
  if (exports === null) return false;
  const { n, k, depth, groups, address } = layer;
  const prepare = () => {
    const words = view("int32", address, layerWords);
    words[0] = m;
    words[6] = x;
    words[14] = out;
  };
  // Never by rows: few of them are multiplied in another order.
  const parted = { m, n, nanoseconds: m * n * k * 0.035, manyRows: Infinity };
  const space = exports.scratchBytes(m, k, depth, groups);
  return inParts(exports, { ...parted, space }, prepare, ({ gemm }, at, { column, end }) =>
    gemm(address, at, column, end),
  );
}

/** The contract of reference.ts. Returns false, with nothing written, where it does not apply. */
export function gemmFloat(
  out: Float32Array,
  x: Float32Array,
  weights: FloatWeights,
  { m, bias }: FloatShape,
  exports = floatExports(),
): boolean {
  const layer = prepareFloat(weights, bias);
  if (layer === null) return false;
  try {
    return staged((staging) => {
      const from = staging.input(x, 0, m * weights.k);
      const to = staging.output(out, 0, m * weights.n, true);
      return from !== 0 && to !== 0 && gemmFloatHeap(layer, to, from, m, exports);
    });
  } finally {
    layer.free();
  }
}
