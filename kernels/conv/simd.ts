/**
 * SIMD convolution on float32: windows of framed images as the panels of gemm-f32, and direct loops where each channel has
 * its own filters. An infinite weight over padding gives NaN in every case.
 */

import type { FloatArray } from "../../src/dtype.ts";
import { gemmExports, gemmHeap } from "../gemm-f32/simd.ts";
import { free, heapFloats, work } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inTasks, type Job } from "../wasm/parallel.ts";
import { type Staging, staged } from "../wasm/staging.ts";
import { pool } from "../wasm/threads.ts";
import type { ConvGeometry } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

type Run = (...numbers: number[]) => void;

/** What simd.as.ts exports. */
export interface ConvExports {
  frame: Run;
  unframe: Run;
  tapTable: Run;
  mirror: Run;
  paddedRows(rows: number): number;
  packFilters: Run;
  direct: Run;
  packColumns: Run;
  directWeight: Run;
  storeWeight: Run;
  panels: Run;
  columns: Run;
  addColumns: Run;
  depthwise: Run;
  depthwiseInput: Run;
  depthwiseWeight: Run;
}

export const convExports = /* @__PURE__ */ wasmKernel<ConvExports>(bytes);

/** The compiled code of both folders, of one build. */
export interface ConvCode {
  conv: ConvExports;
  gemm: NonNullable<ReturnType<typeof gemmExports>>;
}

/** Null where the build cannot run. */
export function convCode(build?: "plain" | "relaxed"): ConvCode | null {
  const conv = convExports(build);
  const gemm = gemmExports(build);
  return conv === null || gemm === null ? null : { conv, gemm };
}

// So many windows at a time keep their columns in the caches.
const chunk = 512;
// Few images are shared out by chunks of so many windows, or more.
const leastChunk = 64;
const mostDirect = 64;
// Fewer would leave half of a panel idle.
const fewFilters = 4;
// As direct.as.ts.
const blockDepth = 256;

/** Derived sizes: of a group, of the frame that holds every tap of its windows, and bytes between windows. */
interface Plan extends ConvGeometry {
  /** Channels and filters of a group, taps of a window, windows of an image. */
  channels: number;
  filters: number;
  taps: number;
  windows: number;
  depthwise: boolean;
  pointwise: boolean;
  /** Two where every other column is a neighbour in the frame, else 1. */
  phases: number;
  /** The image itself is the frame. */
  bare: boolean;
  /** Few filters read windows where they lie: columns would cost them more. */
  direct: boolean;
  frameH: number;
  frameW: number;
  rowStep: number;
  colStep: number;
  /** Rows of windows in a chunk, and in a block of the depth. */
  rows: number;
  depthRows: number;
}

function planOf(g: ConvGeometry): Plan {
  const reachH = Math.max(0, (g.oh - 1) * g.strideH + (g.kh - 1) * g.dilationH + 1);
  const reachW = Math.max(0, (g.ow - 1) * g.strideW + (g.kw - 1) * g.dilationW + 1);
  const depthwise = g.groups > 1 && g.groups === g.c;
  // Windows one column wide need no odd ones.
  const phases = g.strideW === 2 && g.kw > 1 && !depthwise ? 2 : 1;
  const bare = phases === 1 && g.padTop === 0 && g.padLeft === 0 && reachH <= g.h && reachW <= g.w;
  const frameW = bare ? g.w : Math.ceil(reachW / phases) * phases;
  const colStep = (g.strideW / phases) * 4;
  const channels = depthwise ? 1 : g.c / g.groups;
  const windows = g.oh * g.ow;
  const unitStride = g.strideH === 1 && g.strideW === 1;
  const pointwise = !depthwise && bare && g.kh === 1 && g.kw === 1 && unitStride && windows === g.h * g.w;
  const taps = channels * g.kh * g.kw;
  const filters = g.o / g.groups;
  // Tiles take eight windows of a row; where rows end amid one, it is computed again.
  const whole = g.ow >= 8 && g.ow >= 0.85 * Math.ceil(g.ow / 8) * 8;
  return {
    ...g,
    channels,
    filters,
    taps,
    windows,
    depthwise,
    phases,
    pointwise,
    direct: !depthwise && !pointwise && colStep === 4 && whole && taps > 0 && filters <= mostDirect,
    bare,
    frameH: bare ? g.h : reachH,
    frameW,
    rowStep: g.strideH * frameW * 4,
    colStep,
    rows: Math.max(1, Math.min(g.oh, Math.floor(chunk / g.ow))),
    depthRows: Math.max(1, Math.min(g.oh, Math.floor(blockDepth / g.ow))),
  };
}

/**
 * The convolution that gives the gradient of the input, of the images dOut and mirrored filters; null for steps, and where
 * so many more windows than dOut has numbers cost more than adding columns.
 */
function mirrored(g: ConvGeometry): ConvGeometry | null {
  const { c, o, h, w, kh, kw, oh, ow, strideH, strideW, dilationH, dilationW } = g;
  if (strideH > 1 || strideW > 1 || h * w > 1.25 * oh * ow) return null;
  const padTop = (kh - 1) * dilationH - g.padTop;
  const padLeft = (kw - 1) * dilationW - g.padLeft;
  return { ...g, c: o, o: c, h: oh, w: ow, oh: h, ow: w, padTop, padLeft };
}

/** Floats of the columns of a chunk. */
const columnsOf = ({ depthwise, pointwise, rows, ow, windows, taps }: Plan): number =>
  depthwise || pointwise ? 0 : Math.max(rows * ow, Math.min(chunk, Math.ceil(windows / 8) * 8)) * taps;

/** The code, which writes down tasks for the threads or runs, and what it works in. */
interface Work extends ConvCode, Job {
  /** Scratch of the products; 0 where they are split by themselves. */
  products: number;
  frame: number;
  taps: number;
  columns: number;
}

// As many tasks keep the threads at even work.
const fewTasks = 8;

/** Nanoseconds one thread takes, about. */
const cost = (p: Plan): number => p.n * p.o * p.windows * (p.taps * (p.depthwise ? 0.2 : 0.05) + 1);

/** Lays the filters out anew in so many floats, and says where they are then. */
interface Layout {
  floats: number;
  lay(to: number, filters: number): number;
}

const asTheyLie: Layout = { floats: 0, lay: (_, filters) => filters };

/**
 * Stages out and the two inputs, makes a table of taps, lays the second input out, and has `tasks` do the work in scratch
 * for a frame and the columns of a chunk; false where the heap has no room, and then nothing has been written.
 */
function onHeap(
  code: ConvCode,
  plan: Plan,
  arrays: readonly FloatArray[],
  lengths: readonly number[],
  columns: number,
  tasks: (work: Work, addresses: readonly number[]) => void,
  { floats, lay } = asTheyLie,
): boolean {
  const [to, a, b] = arrays;
  if (!(to instanceof Float32Array && a instanceof Float32Array && b instanceof Float32Array)) return false;
  if (lengths[0] === 0) return true;
  const { channels, kh, kw, frameH, frameW, dilationH, dilationW, pointwise } = plan;
  const productBytes = Math.ceil(code.gemm.scratchBytes() / 64) * 64;
  const frameBytes = Math.ceil((channels * frameH * frameW) / 16) * 64;
  return staged((staging: Staging) => {
    const addresses = [
      staging.output(to, 0, lengths[0], false),
      staging.input(a, 0, lengths[1]),
      staging.input(b, 0, lengths[2]),
    ];
    const taps = addresses.includes(0) ? 0 : work((plan.taps + floats) * 4);
    if (taps === 0) return false;
    try {
      addresses[2] = lay(taps + plan.taps * 4, addresses[2]);
      const plane = frameH * frameW * 4;
      code.conv.tapTable(
        taps,
        channels,
        kh,
        kw,
        plane,
        dilationH * frameW * 4,
        dilationW,
        plan.phases,
        frameW * 2,
      );
      const bytes = productBytes + frameBytes + columns * 4;
      return inTasks(pointwise ? 0 : cost(plan), bytes, Object.values(code), (job) => {
        const compiled = { conv: job.of(code.conv), gemm: job.of(code.gemm) };
        const frame = job.local + productBytes;
        const spaces = { products: pointwise ? 0 : job.local, frame, taps, columns: frame + frameBytes };
        tasks({ ...job, ...compiled, ...spaces }, addresses);
      });
    } finally {
      free(taps);
    }
  });
}

const sizesOf = (g: ConvGeometry): { image: number; weight: number; out: number } => ({
  image: g.n * g.c * g.h * g.w,
  weight: g.o * (g.c / g.groups) * g.kh * g.kw,
  out: g.n * g.o * g.oh * g.ow,
});

/** Where the windows of the planes from `x` start, framed where they need it. */
function framed({ conv, frame }: Work, p: Plan, x: number, planes: number): number {
  if (p.bare) return x;
  conv.frame(frame, p.frameH, p.frameW, x, p.h, p.w, planes, p.padTop, p.padLeft, p.phases);
  return frame;
}

const clear = (address: number, length: number): void => {
  heapFloats().fill(0, address >>> 2, (address >>> 2) + length);
};

/** The contract of reference.ts for float32 arrays. False, with nothing written, where it does not apply. */
export function conv2d(
  out: FloatArray,
  x: FloatArray,
  w: FloatArray,
  geometry: ConvGeometry,
  code = convCode(),
): boolean {
  if (code === null) return false;
  const p = planOf(geometry);
  const sizes = sizesOf(geometry);
  return correlation(code, p, [out, x, w], [sizes.out, sizes.image, sizes.weight], false);
}

/** The convolution `p` of images with filters, or with filters that are to be mirrored. */
function correlation(
  code: ConvCode,
  p: Plan,
  arrays: readonly FloatArray[],
  lengths: readonly number[],
  mirrors: boolean,
): boolean {
  const { conv } = code;
  const { groups, filters, taps, channels } = p;
  const packed = p.direct ? conv.paddedRows(filters) * taps : 0;
  const floats = groups * packed + (mirrors ? lengths[2] : 0);
  const lay = (to: number, given: number): number => {
    const from = mirrors ? to + groups * packed * 4 : given;
    if (mirrors) conv.mirror(from, given, groups, channels, filters, p.kh * p.kw);
    if (!p.direct) return from;
    for (let g = 0; g < groups; g++)
      conv.packFilters(to + g * packed * 4, from + g * filters * taps * 4, filters, taps);
    return to;
  };
  const tasks = (work: Work, addresses: readonly number[]) => correlate(work, p, addresses, packed);
  return onHeap(code, p, arrays, lengths, p.direct ? 0 : columnsOf(p), tasks, { floats, lay });
}

/** The convolution `p` from images and filters, of which those of a group take `packed` floats where it is direct. */
function correlate(work: Work, p: Plan, [to, from, weights]: readonly number[], packed: number): void {
  const { n, c, o, groups, oh, ow, windows, taps, channels, filters, rowStep, colStep } = p;
  const plane = p.h * p.w * 4;
  const { conv, gemm, products } = work;
  if (p.pointwise) {
    const step = { batch: n, batchA: 0, batchB: c * windows, batchOut: o * windows };
    for (let g = 0; g < groups; g++)
      gemmHeap(
        to + g * filters * windows * 4,
        weights + g * filters * taps * 4,
        from + g * channels * plane,
        { m: filters, n: windows, k: taps, ...step },
        gemm,
        products,
      );
    return;
  }
  const images = n * groups;
  // Few images are shared out by their windows, and then framed for each share.
  const few = work.recorded && images < fewTasks;
  const part = Math.ceil((windows * images) / pool.active / 16) * 8;
  const across = few ? Math.min(chunk, Math.max(leastChunk, part)) : chunk;
  const share = few ? across * Math.ceil((windows * images) / across / fewTasks) : Number.POSITIVE_INFINITY;
  const together = p.depthwise ? Math.ceil(images / fewTasks) : 1;
  for (let i = 0; i < images; i++) {
    const image = from + i * channels * plane;
    const filter = weights + (i % groups) * (p.direct ? packed : filters * taps) * 4;
    const results = to + i * filters * windows * 4;
    if (p.direct) {
      const part = few ? Math.ceil((oh * images) / fewTasks) : oh;
      for (let y = 0; y < oh; y += part) {
        work.next();
        const start = framed(work, p, image, channels) + y * rowStep;
        const sizes = [filters, taps, Math.min(part, oh - y), ow, rowStep];
        conv.direct(results + y * ow * 4, windows * 4, start, work.taps, filter, ...sizes, products);
      }
      continue;
    }
    if (p.depthwise) {
      const start = framed(work, p, image, channels);
      for (let f = 0; f < filters; f++) {
        const at = results + f * windows * 4;
        conv.depthwise(at, start, filter + f * taps * 4, work.taps, taps, oh, ow, rowStep, colStep);
      }
      if ((i + 1) % together === 0 || i + 1 === images) work.next();
      continue;
    }
    let start = 0;
    for (let first = 0; first < windows; first += across) {
      if (first === 0 || first % share === 0) {
        work.next();
        start = framed(work, p, image, channels);
      }
      const count = Math.min(across, windows - first);
      conv.panels(work.columns, start, work.taps, taps, first, count, ow, rowStep, colStep);
      const shape = { m: filters, n: count, k: taps, ldOut: windows, packed: true };
      gemmHeap(results + first * 4, filter, work.columns, shape, gemm, products);
    }
  }
  work.next();
}

/** The contract of reference.ts for float32 arrays. False, with nothing written, where it does not apply. */
export function conv2dInputGrad(
  dx: FloatArray,
  dOut: FloatArray,
  w: FloatArray,
  geometry: ConvGeometry,
  code = convCode(),
): boolean {
  if (code === null) return false;
  const p = planOf(geometry);
  const sizes = sizesOf(geometry);
  const { n, c, o, h, groups, oh, ow, windows, taps, channels, filters, rowStep, colStep } = p;
  const plane = h * p.w * 4;
  const lengths = [sizes.image, sizes.out, sizes.weight];
  const direct = p.depthwise || p.pointwise ? null : mirrored(geometry);
  if (direct !== null) return correlation(code, planOf(direct), [dx, dOut, w], lengths, true);
  return onHeap(code, p, [dx, dOut, w], lengths, columnsOf(p), (work, [to, from, weights]) => {
    const { conv, gemm, products, frame } = work;
    if (p.pointwise) {
      const step = { batch: n, batchA: 0, batchB: o * windows, batchOut: c * windows };
      for (let g = 0; g < groups; g++)
        gemmHeap(
          to + g * channels * plane,
          weights + g * filters * taps * 4,
          from + g * filters * windows * 4,
          { m: taps, n: windows, k: filters, transposeA: true, ...step },
          gemm,
          products,
        );
      return;
    }
    const together = Math.ceil((n * groups) / (2 * fewTasks));
    for (let i = 0; i < n * groups; i++) {
      const filter = weights + (i % groups) * filters * taps * 4;
      const grads = from + i * filters * windows * 4;
      // The frame of an image without pixels: zeros.
      conv.frame(frame, p.frameH, p.frameW, frame, 0, 0, channels, 0, 0, 1);
      if (p.depthwise)
        for (let f = 0; f < filters; f++) {
          const at = grads + f * windows * 4;
          conv.depthwiseInput(frame, at, filter + f * taps * 4, work.taps, taps, oh, ow, rowStep, colStep);
        }
      else
        for (let y = 0; y < oh; y += p.rows) {
          const rows = Math.min(p.rows, oh - y);
          const shape = { m: taps, n: rows * ow, k: filters, transposeA: true, ldb: windows };
          gemmHeap(work.columns, filter, grads + y * ow * 4, shape, gemm, products);
          conv.addColumns(frame + y * rowStep, work.columns, work.taps, taps, rows, ow, rowStep, colStep);
        }
      const image = to + i * channels * plane;
      conv.unframe(image, h, p.w, frame, p.frameH, p.frameW, channels, p.padTop, p.padLeft, p.phases);
      if ((i + 1) % together === 0 || i + 1 === n * groups) work.next();
    }
  });
}

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
