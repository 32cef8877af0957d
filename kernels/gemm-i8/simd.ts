/** The SIMD products of integer activations with weights of 1 to 8 bits that lie on the heap. */

import type { Output, OutputArray } from "../output.ts";
import { outputStride } from "../output.ts";
import { view } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { type Blocks, layOutput, onHeap, placeOutput } from "../wasm/output.ts";
import { staged } from "../wasm/staging.ts";
import {
  affine,
  betaOf,
  codesOfChunk,
  layOut,
  paddedDepth,
  panelBytes,
  readBehind,
  rowsOfPanel,
} from "./layout.ts";
import { inParts } from "./parts.ts";
import {
  type Activations,
  groupCount,
  groupDepth,
  type IntShape,
  type IntWeights,
  weightSums,
} from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface IntExports {
  scratchBytes(rows: number, k: number, groups: number): number;
  gemm(
    layer: number,
    scratch: number,
    first: number,
    count: number,
    blockRows: number,
    column: number,
    end: number,
  ): void;
}

export const intExports = /* @__PURE__ */ wasmKernel<IntExports>(bytes);

const layerWords = 16;

/** Weights, scales and an output transform, on the heap until `free`. */
export interface IntLayer {
  readonly n: number;
  readonly k: number;
  /** The output's kind and the bytes of a row of it. */
  readonly to: Output["to"];
  readonly step: number;
  /** What the activations are. */
  readonly unsigned: boolean;
  readonly groups: number;
  readonly address: number;
  readonly output: number;
  free(): void;
}

const elementBytes = (to: Output["to"]): number => (to === "int32" || to === "float32" ? 4 : 1);

/** Values (n, groups) on the heap as (panels, groups, 8 rows), in the order that a panel reads them; 0 beyond n. */
export function byGroup(
  blocks: Blocks,
  dtype: "int32" | "float32",
  n: number,
  groups: number,
  value: (r: number, g: number) => number,
): number {
  const length = Math.ceil(n / rowsOfPanel) * rowsOfPanel * groups;
  const address = blocks.take(length * 4);
  const to = view(dtype, address, length).fill(0);
  for (let r = 0; r < n; r++)
    for (let g = 0; g < groups; g++) to[((r >> 3) * groups + g) * rowsOfPanel + (r & 7)] = value(r, g);
  return address;
}

/** The address of the panels of weights, which products of integers and of floats read alike. */
export function panelsOf(blocks: Blocks, weights: IntWeights): number {
  const size = panelBytes(weights);
  const fill = (address: number): void => layOut(view("uint8", address, size), weights);
  return blocks.share(weights, "panels", size + readBehind, fill);
}

/** The sums of weights whose layers are laid out. */
const knownSums = new WeakMap<IntWeights, Int32Array>();

/**
 * Lays a layer out. `unsigned` says what the activations will be. Null where it is not served: without SIMD or with the
 * heap exhausted. Layers of one `weights` share its panels.
 */
export function prepareInt(weights: IntWeights, output: Output, unsigned: boolean): IntLayer | null {
  if (intExports() === null) return null;
  const { n, k, bits, zeros } = weights;
  const apart = output.to !== "int32" && (output.scaleW?.length ?? 0) > n;
  const groups = zeros !== undefined || apart ? groupCount(weights) : 1;
  // Groups that differ in their zero points alone get a scale each too, so that float sums have one order.
  if (groups > 1 && !apart) return null;
  return onHeap((blocks) => {
    const codes = panelsOf(blocks, weights);
    const zeroX = (output.zeroX ?? 0) - (unsigned ? 128 : 0);
    const sums = zeroX === 0 ? null : (knownSums.get(weights) ?? weightSums(weights));
    if (sums) knownSums.set(weights, sums);
    const spec = layOutput(blocks, { ...output, zeroX }, n, apart, apart ? null : sums && perRow(sums, n));
    const { alpha, beta } = affine(weights);
    const betas =
      zeros === undefined
        ? 0
        : byGroup(blocks, "int32", n, groups, (r, g) => betaOf(weights, zeros[r * groups + g]));
    const shifts =
      apart && sums !== null
        ? byGroup(blocks, "int32", n, groups, (r, g) => -Math.imul(zeroX, sums[r * groups + g]))
        : 0;
    const scale = apart ? byGroup(blocks, "float32", n, groups, (r, g) => output.scaleW![r * groups + g]) : 0;
    const address = blocks.take(layerWords * 4);
    const words = view("int32", address, layerWords);
    const depth = groups > 1 ? groupDepth(weights) : Math.max(codesOfChunk, paddedDepth(k));
    words.set([0, n, k, bits, depth, groups, 0, k, unsigned ? 0x80808080 : 0, codes]);
    words.set([alpha, beta, betas, shifts, scale, spec], 10);
    const step = outputStride(output.to, n) * elementBytes(output.to);
    return {
      n,
      k,
      to: output.to,
      step,
      unsigned,
      groups,
      address,
      output: spec,
      free: () => blocks.free(),
    };
  });
}

/** Sums of rows from those of their groups. */
function perRow(sums: Int32Array, n: number): Int32Array {
  const groups = sums.length / n;
  if (groups === 1) return sums;
  return Int32Array.from({ length: n }, (_, r) =>
    sums.subarray(r * groups, (r + 1) * groups).reduce((a, b) => a + b, 0),
  );
}

/** Rows of a block, as many in each: their activations, as int16, fill half of the second level cache. */
function rowsOfBlock(m: number, k: number): number {
  const most = Math.max(5, Math.floor(2 ** 18 / Math.max(1, paddedDepth(k)) / 10) * 10);
  return m <= most ? m : Math.ceil(m / Math.ceil(m / most) / 10) * 10;
}

/**
 * out (m, n) = the layer's transform of x (m, k), at heap addresses; the activations' own scales at `scaleX`, if they change
 * from call to call. False, with nothing done, where SIMD cannot run or the heap is exhausted.
 */
export function gemmIntHeap(
  layer: IntLayer,
  out: number,
  x: number,
  m: number,
  scaleX?: number,
  exports = intExports(),
): boolean {
  if (exports === null) return false;
  const { n, k, groups, address } = layer;
  const rows = rowsOfBlock(m, k);
  const space = exports.scratchBytes(rows, k, groups);
  const prepare = () => {
    placeOutput(layer.output, { out, step: layer.step, scaleX });
    const words = view("int32", address, layerWords);
    words[0] = m;
    words[6] = x;
  };
  return inParts(
    exports,
    { m, n, nanoseconds: m * n * k * 0.022, space, manyRows: 320 },
    prepare,
    ({ gemm }, at, { first, count, column, end }) => gemm(address, at, first, count, rows, column, end),
  );
}

/** The contract of reference.ts. Returns false, with nothing written, where it does not apply. */
export function gemmInt(
  out: OutputArray,
  x: Activations,
  weights: IntWeights,
  { m }: IntShape,
  output: Output,
  exports = intExports(),
): boolean {
  const layer = prepareInt(weights, output, x instanceof Uint8Array);
  if (layer === null) return false;
  try {
    return staged((staging) => {
      const from = staging.input(x, 0, m * weights.k);
      const to = staging.output(out, 0, m * outputStride(output.to, weights.n), true);
      return from !== 0 && to !== 0 && gemmIntHeap(layer, to, from, m, undefined, exports);
    });
  } finally {
    layer.free();
  }
}
