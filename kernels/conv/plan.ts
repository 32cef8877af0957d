/** What all convolutions on the heap share: compiled code, the sizes of frames and chunks, and the room they work in. */

import type { FloatArray } from "../../src/dtype.ts";
import { gemmExports } from "../gemm-f32/simd.ts";
import { free, work } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { inTasks, type Job } from "../wasm/parallel.ts";
import { type Staging, staged } from "../wasm/staging.ts";
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
export const chunk = 512;
const mostDirect = 64;
// As direct.as.ts.
const blockDepth = 256;

/** Derived sizes: of a group, of the frame that holds every tap of its windows, and bytes between windows. */
export interface Plan extends ConvGeometry {
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

export function planOf(g: ConvGeometry): Plan {
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

/** Floats of the columns of a chunk. */
export const columnsOf = ({ depthwise, pointwise, rows, ow, windows, taps }: Plan): number =>
  depthwise || pointwise ? 0 : Math.max(rows * ow, Math.min(chunk, Math.ceil(windows / 8) * 8)) * taps;

/** The code, which writes down tasks for the threads or runs, and what it works in. */
export interface Work extends ConvCode, Job {
  /** Scratch of the products; 0 where they are split by themselves. */
  products: number;
  frame: number;
  taps: number;
  columns: number;
}

// As many tasks keep the threads at even work.
export const fewTasks = 8;

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
export function onHeap(
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

export const sizesOf = (g: ConvGeometry): { image: number; weight: number; out: number } => ({
  image: g.n * g.c * g.h * g.w,
  weight: g.o * (g.c / g.groups) * g.kh * g.kw,
  out: g.n * g.o * g.oh * g.ow,
});

/** Where the windows of the planes from `x` start, framed where they need it. */
export function framed({ conv, frame }: Work, p: Plan, x: number, planes: number): number {
  if (p.bare) return x;
  conv.frame(frame, p.frameH, p.frameW, x, p.h, p.w, planes, p.padTop, p.padLeft, p.phases);
  return frame;
}
