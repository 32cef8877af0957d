/**
 * SIMD convolution on float32: windows of framed images as the panels of gemm-f32, and direct loops where each channel has
 * its own filters. An infinite weight over padding gives NaN in every case.
 */

import type { FloatArray } from "../../src/dtype.ts";
import { gemmExports, gemmHeap } from "../gemm-f32/simd.ts";
import { alloc, free, heapFloats, scratch } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { type Stage, staged } from "../wasm/stage.ts";
import type { ConvGeometry } from "./reference.ts";
import { bytes } from "./simd.wasm.ts";

type Run = (...numbers: number[]) => void;

/** What simd.as.ts exports. */
export interface ConvExports {
  frame: Run;
  unframe: Run;
  tapTable: Run;
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

/** Derived sizes: of a group, of the frame that holds every tap of its windows, and bytes between windows. */
interface Plan extends ConvGeometry {
  /** Channels and filters of a group, taps of a window, windows of an image. */
  channels: number;
  filters: number;
  taps: number;
  windows: number;
  depthwise: boolean;
  pointwise: boolean;
  /** The image itself is the frame. */
  bare: boolean;
  frameH: number;
  frameW: number;
  rowStep: number;
  colStep: number;
  /** Rows of windows in a chunk. */
  rows: number;
}

function planOf(g: ConvGeometry): Plan {
  const reachH = Math.max(0, (g.oh - 1) * g.strideH + (g.kh - 1) * g.dilationH + 1);
  const reachW = Math.max(0, (g.ow - 1) * g.strideW + (g.kw - 1) * g.dilationW + 1);
  const bare = g.padTop === 0 && g.padLeft === 0 && reachH <= g.h && reachW <= g.w;
  const depthwise = g.groups > 1 && g.groups === g.c;
  const frameW = bare ? g.w : reachW;
  const channels = depthwise ? 1 : g.c / g.groups;
  const windows = g.oh * g.ow;
  const unitStride = g.strideH === 1 && g.strideW === 1;
  return {
    ...g,
    channels,
    filters: g.o / g.groups,
    taps: channels * g.kh * g.kw,
    windows,
    depthwise,
    pointwise: !depthwise && bare && g.kh === 1 && g.kw === 1 && unitStride && windows === g.h * g.w,
    bare,
    frameH: bare ? g.h : reachH,
    frameW,
    rowStep: g.strideH * frameW * 4,
    colStep: g.strideW * 4,
    rows: Math.max(1, Math.min(g.oh, Math.floor(chunk / g.ow))),
  };
}

interface Spaces {
  frame: number;
  taps: number;
  columns: number;
}

/**
 * Stages out and the two inputs, takes scratch for a frame, a table of taps and the columns of a chunk, and calls `run`;
 * false where the heap has no room, and then nothing has been written.
 */
function onHeap(
  code: ConvCode,
  plan: Plan,
  arrays: readonly FloatArray[],
  lengths: readonly number[],
  run: (addresses: readonly number[], spaces: Spaces) => void,
): boolean {
  const [to, a, b] = arrays;
  if (!(to instanceof Float32Array && a instanceof Float32Array && b instanceof Float32Array)) return false;
  if (lengths[0] === 0) return true;
  const { conv, gemm } = code;
  const { channels, kh, kw, frameH, frameW, taps } = plan;
  const frameBytes = Math.ceil((channels * frameH * frameW) / 16) * 64;
  const tapBytes = Math.ceil(taps / 16) * 64;
  const across = Math.max(plan.rows * plan.ow, Math.min(chunk, Math.ceil(plan.windows / 8) * 8));
  const columnBytes = plan.depthwise || plan.pointwise ? 0 : across * taps * 4;
  return staged((stage: Stage) => {
    const addresses = [
      stage.output(to, 0, lengths[0], false),
      stage.input(a, 0, lengths[1]),
      stage.input(b, 0, lengths[2]),
    ];
    // The products' own scratch is taken first, so that none can fail later.
    if (addresses.includes(0) || scratch(gemm.scratchBytes()) === 0) return false;
    const frame = alloc(frameBytes + tapBytes + columnBytes);
    if (frame === 0) return false;
    const spaces = { frame, taps: frame + frameBytes, columns: frame + frameBytes + tapBytes };
    try {
      const plane = frameH * frameW * 4;
      const { dilationH, dilationW } = plan;
      conv.tapTable(spaces.taps, channels, kh, kw, plane, dilationH * frameW * 4, dilationW * 4);
      run(addresses, spaces);
    } finally {
      free(frame);
    }
    return true;
  });
}

const sizesOf = (g: ConvGeometry): { image: number; weight: number; out: number } => ({
  image: g.n * g.c * g.h * g.w,
  weight: g.o * (g.c / g.groups) * g.kh * g.kw,
  out: g.n * g.o * g.oh * g.ow,
});

/** Where the windows of the planes from `x` start, framed where they need it. */
function framed({ conv }: ConvCode, p: Plan, frame: number, x: number, planes: number): number {
  if (p.bare) return x;
  conv.frame(frame, p.frameH, p.frameW, x, p.h, p.w, planes, p.padTop, p.padLeft);
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
  const { conv, gemm } = code;
  const p = planOf(geometry);
  const sizes = sizesOf(geometry);
  const { n, c, o, groups, oh, ow, windows, taps, channels, filters, rowStep, colStep } = p;
  const plane = p.h * p.w * 4;
  return onHeap(
    code,
    p,
    [out, x, w],
    [sizes.out, sizes.image, sizes.weight],
    ([to, from, weights], space) => {
      if (p.pointwise) {
        const step = { batch: n, batchA: 0, batchB: c * windows, batchOut: o * windows };
        for (let g = 0; g < groups; g++)
          gemmHeap(
            to + g * filters * windows * 4,
            weights + g * filters * taps * 4,
            from + g * channels * plane,
            { m: filters, n: windows, k: taps, ...step },
            gemm,
          );
        return;
      }
      for (let i = 0; i < n * groups; i++) {
        const start = framed(code, p, space.frame, from + i * channels * plane, channels);
        const filter = weights + (i % groups) * filters * taps * 4;
        const results = to + i * filters * windows * 4;
        if (p.depthwise)
          for (let f = 0; f < filters; f++) {
            const at = results + f * windows * 4;
            conv.depthwise(at, start, filter + f * taps * 4, space.taps, taps, oh, ow, rowStep, colStep);
          }
        else
          for (let first = 0; first < windows; first += chunk) {
            const count = Math.min(chunk, windows - first);
            conv.panels(space.columns, start, space.taps, taps, first, count, ow, rowStep, colStep);
            const shape = { m: filters, n: count, k: taps, ldOut: windows, packed: true };
            gemmHeap(results + first * 4, filter, space.columns, shape, gemm);
          }
      }
    },
  );
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
  const { conv, gemm } = code;
  const p = planOf(geometry);
  const sizes = sizesOf(geometry);
  const { n, c, o, h, groups, oh, ow, windows, taps, channels, filters, rowStep, colStep } = p;
  const plane = h * p.w * 4;
  return onHeap(
    code,
    p,
    [dx, dOut, w],
    [sizes.image, sizes.out, sizes.weight],
    ([to, from, weights], space) => {
      if (p.pointwise) {
        const step = { batch: n, batchA: 0, batchB: o * windows, batchOut: c * windows };
        for (let g = 0; g < groups; g++)
          gemmHeap(
            to + g * channels * plane,
            weights + g * filters * taps * 4,
            from + g * filters * windows * 4,
            { m: taps, n: windows, k: filters, transposeA: true, ...step },
            gemm,
          );
        return;
      }
      for (let i = 0; i < n * groups; i++) {
        const filter = weights + (i % groups) * filters * taps * 4;
        const grads = from + i * filters * windows * 4;
        clear(space.frame, channels * p.frameH * p.frameW);
        if (p.depthwise)
          for (let f = 0; f < filters; f++) {
            const at = grads + f * windows * 4;
            conv.depthwiseInput(
              space.frame,
              at,
              filter + f * taps * 4,
              space.taps,
              taps,
              oh,
              ow,
              rowStep,
              colStep,
            );
          }
        else
          for (let y = 0; y < oh; y += p.rows) {
            const rows = Math.min(p.rows, oh - y);
            const shape = { m: taps, n: rows * ow, k: filters, transposeA: true, ldb: windows };
            gemmHeap(space.columns, filter, grads + y * ow * 4, shape, gemm);
            const at = space.frame + y * rowStep;
            conv.addColumns(at, space.columns, space.taps, taps, rows, ow, rowStep, colStep);
          }
        const image = to + i * channels * plane;
        conv.unframe(image, h, p.w, space.frame, p.frameH, p.frameW, channels, p.padTop, p.padLeft);
      }
    },
  );
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
  const { conv, gemm } = code;
  const p = planOf(geometry);
  const sizes = sizesOf(geometry);
  const { n, groups, oh, ow, windows, taps, channels, filters, rowStep, colStep } = p;
  return onHeap(
    code,
    p,
    [dw, x, dOut],
    [sizes.weight, sizes.image, sizes.out],
    ([to, from, grads], space) => {
      clear(to, sizes.weight);
      for (let i = 0; i < n * groups; i++) {
        const image = from + i * channels * p.h * p.w * 4;
        const at = grads + i * filters * windows * 4;
        const filter = to + (i % groups) * filters * taps * 4;
        const shape = { m: filters, n: taps, transposeB: true, lda: windows, accumulate: true };
        if (p.pointwise) {
          gemmHeap(filter, at, image, { ...shape, k: windows }, gemm);
          continue;
        }
        const start = framed(code, p, space.frame, image, channels);
        if (p.depthwise)
          for (let f = 0; f < filters; f++) {
            const from = at + f * windows * 4;
            conv.depthwiseWeight(
              filter + f * taps * 4,
              start,
              from,
              space.taps,
              taps,
              oh,
              ow,
              rowStep,
              colStep,
            );
          }
        else
          for (let y = 0; y < oh; y += p.rows) {
            const rows = Math.min(p.rows, oh - y);
            const top = start + y * rowStep;
            conv.columns(space.columns, top, space.taps, taps, rows, ow, rowStep, colStep);
            gemmHeap(filter, at + y * ow * 4, space.columns, { ...shape, k: rows * ow }, gemm);
          }
      }
    },
  );
}
