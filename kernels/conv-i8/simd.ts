/** SIMD convolution of codes, on heap addresses and on typed arrays. */

import type { ConvGeometry } from "../conv/reference.ts";
import { affine, betaOf, layOut, panelBytes } from "../gemm-i8/layout.ts";
import type { Activations, IntWeights } from "../gemm-i8/reference.ts";
import type { Output, OutputArray } from "../output.ts";
import { view } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { type Blocks, layOutput, onHeap, placeOutput } from "../wasm/output.ts";
import { inTasks } from "../wasm/parallel.ts";
import { staged } from "../wasm/staging.ts";
import { pool } from "../wasm/threads.ts";
import { type ConvOutput, type Filters, filterValue } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface ConvIntExports {
  denseScratch(layer: number, images: number, rows: number): number;
  dense(layer: number, image: number, images: number, row: number, rows: number, scratch: number): void;
  depthwiseScratch(layer: number): number;
  depthwise(layer: number, first: number, count: number, scratch: number): void;
}

export const convIntExports = /* @__PURE__ */ wasmKernel<ConvIntExports>(bytes);

/** What filters are laid out for. */
export type FilterShape = Pick<ConvGeometry, "c" | "o" | "groups" | "kh" | "kw" | "dilationW">;

/** Filters and an output transform, on the heap until `free`. */
export interface ConvIntLayer {
  readonly address: number;
  readonly output: number;
  free(): void;
}

const layerWords = 27;

const isDepthwise = ({ groups, c }: FilterShape): boolean => groups > 1 && groups === c;

/** Taps that lie beside each other in a run, and codes of a run, an even number. */
function runOf({ c, groups, kw, dilationW }: FilterShape): { taps: number; run: number } {
  const taps = dilationW === 1 ? kw : 1;
  return { taps, run: Math.ceil((taps * c) / groups / 2) * 2 };
}

/** Codes of a filter, in runs. */
const depthOf = (g: FilterShape): number => ((g.kh * g.kw) / runOf(g).taps) * runOf(g).run;

/** The rows of a group: its filters, each in runs of taps, as dense.as.ts reads them. */
function runsOf({ codes, bits }: Filters, g: FilterShape, group: number): IntWeights {
  const { o, c, groups, kh, kw } = g;
  const [n, channels, k] = [o / groups, c / groups, depthOf(g)];
  const { taps, run } = runOf(g);
  const rows = codes instanceof Int8Array ? new Int8Array(n * k) : new Uint8Array(n * k);
  for (let f = 0; f < n; f++)
    for (let t = 0; t < kh * kw; t++)
      for (let q = 0; q < channels; q++) {
        const to = f * k + Math.floor(t / taps) * run + (t % taps) * channels + q;
        rows[to] = codes[((group * n + f) * channels + q) * kh * kw + t];
      }
  return { n, k, bits, codes: rows };
}

/** Codes of a row of taps, where they lie in pairs. */
const pairedTaps = ({ kw, dilationW }: FilterShape): number => (dilationW === 1 ? Math.ceil(kw / 2) : kw) * 2;

/** (o, kh, pairs of taps beside each other), as depthwise.as.ts reads them. */
function pairsOf(filters: Filters, g: FilterShape): Int16Array {
  const { o, kh, kw, dilationW } = g;
  const width = pairedTaps(g);
  const pairs = new Int16Array(o * kh * width);
  for (let row = 0; row < o * kh; row++)
    for (let j = 0; j < kw; j++)
      pairs[row * width + (dilationW === 1 ? j : j * 2)] = filterValue(
        filters,
        Math.floor(row / kh),
        filters.codes[row * kw + j],
      );
  return pairs;
}

/** Twice the beta of each filter, panel by panel of each group, as dense.as.ts reads them; 0 where all have one. */
function betasOf(blocks: Blocks, filters: Filters, { o, groups }: FilterShape): number {
  const { zeros } = filters;
  if (zeros === undefined) return 0;
  const each = o / groups;
  const width = Math.ceil(each / 8) * 8;
  const address = blocks.take(Math.max(1, width * groups) * 4);
  const to = view("int32", address, width * groups).fill(0);
  for (let f = 0; f < o; f++) {
    const beta = betaOf(filters, zeros[f]) & 0xffff;
    to[Math.floor(f / each) * width + (f % each)] = (beta << 16) | beta;
  }
  return address;
}

/**
 * Lays a layer out. `unsigned` says what the activations will be. Null where it is not served: without SIMD or with the heap
 * exhausted. Layers of one `filters` and of kernels alike share what is laid out.
 */
export function prepareConvInt(
  filters: Filters,
  g: FilterShape,
  output: ConvOutput,
  unsigned: boolean,
): ConvIntLayer | null {
  if (convIntExports() === null) return null;
  return onHeap((blocks) => {
    const { c, o, groups, kh, kw, dilationW } = g;
    const deep = isDepthwise(g);
    const each = deep ? 0 : panelBytes({ n: o / groups, k: depthOf(g), bits: filters.bits });
    const size = deep ? o * kh * pairedTaps(g) * 2 : each * groups;
    const name = [c, groups, kh, kw, dilationW === 1].join();
    const weights = blocks.share(filters, name, Math.max(16, size), (to) => {
      if (deep) view("uint8", to, size).set(new Uint8Array(pairsOf(filters, g).buffer));
      else
        for (let group = 0; group < groups; group++)
          layOut(view("uint8", to + group * each, each), runsOf(filters, g, group));
    });
    // The codes lose their zero point on the way into the frame.
    const spec = layOutput(blocks, { ...output, zeroX: 0 } as Output, g.o, false, null);
    const address = blocks.take(layerWords * 4);
    const { alpha, beta } = affine({ n: 0, k: 0, ...filters });
    const words = view("int32", address, layerWords);
    const betas = deep ? 0 : betasOf(blocks, filters, g);
    words.set([output.zeroX ?? 0, unsigned ? 1 : 0, filters.bits, alpha, beta, weights, each, spec], 18);
    words[26] = betas;
    return { address, output: spec, free: () => blocks.free() };
  });
}

// A frame of so many bytes leaves the weights their part of the second level cache.
const frameBytes = 1 << 17;
// Weights are widened once for so many windows at least, and where images are small for about so many.
const fewWindows = 128;
const manyWindows = 512;
// As many tasks of planes keep the threads at even work.
const tasks = 16;

/** Rows of windows of an image, and images, that are done at once: a part of an image, or whole ones. */
function blockOf(g: ConvGeometry, shared: boolean): { rows: number; images: number } {
  const row = (g.ow * g.strideW + g.kw * g.dilationW) * (g.c / g.groups) * 2 * g.strideH;
  const height = g.n * g.oh;
  const parts = Math.min(8, Math.max(1, Math.floor((height * g.ow) / pool.active / fewWindows)));
  const share = shared ? Math.ceil(height / pool.active / parts) : height;
  const fit = Math.max(Math.floor(frameBytes / row), Math.ceil(fewWindows / g.ow));
  const rows = Math.min(g.oh, share, fit);
  if (rows < g.oh) return { rows, images: 1 };
  const images = Math.min(fit, share, Math.ceil(manyWindows / g.ow)) / g.oh;
  return { rows, images: Math.max(1, Math.floor(images)) };
}

/**
 * out = the layer's transform of the windows of x, both at heap addresses, where g has the sizes of the filters; the scales
 * of x, one an image, at `scaleX`, if they change from call to call. False, with nothing done, where SIMD cannot run or the
 * heap is exhausted.
 */
export function convIntHeap(
  { address, output }: ConvIntLayer,
  g: ConvGeometry,
  out: number,
  x: number,
  scaleX?: number,
  code: ConvIntExports | null = convIntExports(),
): boolean {
  if (code === null) return false;
  const { n, c, h, w, o, groups, oh, ow } = g;
  const sums = n * o * oh * ow;
  if (sums === 0) return true;
  placeOutput(output, { out, step: 0, scaleX });
  const frameW = (ow - 1) * g.strideW + (g.kw - 1) * g.dilationW + 1;
  const words = view("int32", address, layerWords);
  words.set([x, c * h * w, h, w, c / groups, groups, o / groups, frameW, g.padTop, g.padLeft]);
  words.set([g.strideH, g.strideW, g.kh, g.kw, g.dilationH, g.dilationW, oh, ow], 10);
  const terms = (c / groups) * g.kh * g.kw;
  if (isDepthwise(g))
    return inTasks(sums * (0.3 + terms * 0.03), code.depthwiseScratch(address), [code], (job) => {
      const { depthwise } = job.of(code);
      const planes = n * c;
      const share = job.recorded ? Math.ceil(planes / tasks) : planes;
      for (let first = 0; first < planes; first += share) {
        depthwise(address, first, Math.min(share, planes - first), job.local);
        job.next();
      }
    });
  const largest = blockOf(g, false);
  const space = code.denseScratch(address, largest.images, largest.rows);
  return inTasks(sums * (0.5 + terms * 0.025), space, [code], (job) => {
    const { dense } = job.of(code);
    const { rows, images } = blockOf(g, job.recorded);
    for (let image = 0; image < n; image += images)
      for (let row = 0; row < oh; row += rows) {
        dense(address, image, Math.min(images, n - image), row, Math.min(rows, oh - row), job.local);
        job.next();
      }
  });
}

/** The contract of reference.ts. Returns false, with nothing written, where it does not apply. */
export function conv2d(
  out: OutputArray,
  x: Activations,
  filters: Filters,
  g: ConvGeometry,
  output: ConvOutput,
  code = convIntExports(),
): boolean {
  const layer = prepareConvInt(filters, g, output, x instanceof Uint8Array);
  if (layer === null) return false;
  try {
    return staged((staging) => {
      const from = staging.input(x, 0, g.n * g.c * g.h * g.w);
      const to = staging.output(out, 0, g.n * g.o * g.oh * g.ow, true);
      return from !== 0 && to !== 0 && convIntHeap(layer, g, to, from, undefined, code);
    });
  } finally {
    layer.free();
  }
}
