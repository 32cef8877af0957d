/** The SIMD gradient of a convolution's weight. */

import type { FloatArray } from "../../src/dtype.ts";
import { gemmHeap } from "../gemm-f32/simd.ts";
import { heapFloats } from "../wasm/heap.ts";
import {
  columnsOf,
  convCode,
  fewTasks,
  framed,
  onHeap,
  type Plan,
  planOf,
  sizesOf,
  type Work,
} from "./plan.ts";
import type { ConvGeometry } from "./reference.ts";

// Fewer would leave half of a panel idle.
const fewFilters = 4;

const clear = (address: number, length: number): void => {
  heapFloats().fill(0, address >>> 2, (address >>> 2) + length);
};

/** The contract of reference.ts for float32 arrays. False, with nothing written, where it does not apply. */
export function conv2dWeightGrad(
  dw: FloatArray,
  x: FloatArray,
  dOut: FloatArray,
  geometry: ConvGeometry,
  code = convCode(),
): boolean {
  if (code === null) return false;
  const p = planOf(geometry);
  const sizes = sizesOf(geometry);
  const { n, groups, windows, taps, channels, filters } = p;
  const lengths = [sizes.weight, sizes.image, sizes.out];
  // Where windows are read as they lie, panels of the gradients and the sums, by taps and filters, take the columns' place.
  const lanes = Math.ceil(filters / 8) * 8;
  const reads = !p.depthwise && !p.pointwise && p.colStep === 4 && filters >= fewFilters && sizes.out > 0;
  const columns = reads ? lanes * (p.depthRows * p.ow + taps + 8) : columnsOf(p);
  return onHeap(code, p, [dw, x, dOut], lengths, columns, (work, [to, from, grads]) => {
    clear(to, sizes.weight);
    // Every image adds to all weights, but those of some channels are a task's own. Fewer taps than 8 would take another
    // path through the product.
    const share =
      work.recorded && groups < fewTasks ? Math.ceil(Math.max(8 / p.kh / p.kw, channels / 4)) : channels;
    for (let g = 0; g < groups; g++)
      for (let first = 0, count = 0; first < channels; first += count) {
        count = channels - first < 2 * share ? channels - first : share;
        const weights = to + (g * filters * taps + first * p.kh * p.kw) * 4;
        for (let i = g; i < n * groups; i += groups) {
          const image = from + (i * channels + first) * p.h * p.w * 4;
          const grad = grads + i * filters * windows * 4;
          if (reads) sumWeightGrad(work, p, lanes, image, grad, count, i === g);
          else addWeightGrad(work, p, weights, image, grad, count);
        }
        if (reads) {
          const sums = work.columns + lanes * p.depthRows * p.ow * 4;
          work.conv.storeWeight(weights, taps * 4, sums, lanes, filters, count * p.kh * p.kw);
        }
        work.next();
      }
  });
}

/** Adds the gradients of one image to the sums of the weights of `count` channels, which the first image begins. */
function sumWeightGrad(
  work: Work,
  p: Plan,
  lanes: number,
  image: number,
  grads: number,
  count: number,
  begins: boolean,
): void {
  const { oh, ow, windows, filters, rowStep, depthRows } = p;
  const { conv, columns, products, taps } = work;
  const start = framed(work, p, image, count);
  const sums = columns + lanes * depthRows * ow * 4;
  for (let y = 0; y < oh; y += depthRows) {
    const rows = Math.min(depthRows, oh - y);
    conv.packColumns(columns, grads + y * ow * 4, filters, rows * ow, windows * 4, 4);
    const [first, n] = [start + y * rowStep, count * p.kh * p.kw];
    const adds = begins && y === 0 ? 0 : 1;
    conv.directWeight(sums, first, taps, n, columns, lanes, rows, ow, rowStep, adds, products);
  }
}

/** Adds the gradients of one image to the weights of `count` channels. */
function addWeightGrad(work: Work, p: Plan, weights: number, image: number, grads: number, count: number) {
  const { conv, gemm, products, columns, taps: table } = work;
  const { oh, ow, windows, taps, filters, rowStep, colStep } = p;
  const n = count * p.kh * p.kw;
  const shape = { m: filters, n, transposeB: true, lda: windows, ldOut: taps, accumulate: true };
  if (p.pointwise) {
    gemmHeap(weights, grads, image, { ...shape, k: windows }, gemm, products);
    return;
  }
  const start = framed(work, p, image, count);
  if (p.depthwise)
    for (let f = 0; f < filters; f++) {
      const [to, from] = [weights + f * taps * 4, grads + f * windows * 4];
      conv.depthwiseWeight(to, start, from, table, taps, oh, ow, rowStep, colStep);
    }
  else
    for (let y = 0; y < oh; y += p.rows) {
      const rows = Math.min(p.rows, oh - y);
      conv.columns(columns, start + y * rowStep, table, n, rows, ow, rowStep, colStep);
      gemmHeap(weights, grads + y * ow * 4, columns, { ...shape, k: rows * ow }, gemm, products);
    }
}
