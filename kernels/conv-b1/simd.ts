/** SIMD convolution of bits, on heap addresses and on typed arrays. A layer is made for one geometry of images. */

import { packedBytes } from "../bits.ts";
import type { ConvGeometry } from "../conv/reference.ts";
import { type LookupExports, lookupExports, panelBytes, tablesOf, writePanels } from "../lookup/simd.ts";
import { type Output, type OutputArray, outputStride } from "../output.ts";
import { view } from "../wasm/heap.ts";
import { type Blocks, layOutput, onHeap, placeOutput } from "../wasm/output.ts";
import { inTasks } from "../wasm/parallel.ts";
import { staged } from "../wasm/staging.ts";
import { pool } from "../wasm/threads.ts";
import { columnsOf, type Padding } from "./reference.ts";

/** Weights and an output transform, on the heap until `free`. */
export interface BitConvLayer {
  readonly geometry: ConvGeometry;
  readonly padding: Padding;
  readonly frameW: number;
  /** Bytes between the windows of the output, and between its groups. */
  readonly step: number;
  readonly groupStep: number;
  readonly groups: readonly { panels: number; output: number; corrections: number }[];
  readonly edges: Edges;
  free(): void;
}

/** Which windows reach into padding: their class by row and by column, 0 for those that do not. */
interface Edges {
  readonly rowClass: number;
  readonly colClass: number;
  readonly classes: number;
}

// Counts of a window are 16 bits.
const mostBits = 65535;

const wordBytes = (to: Output["to"]): number => (to === "int32" || to === "float32" ? 4 : 1);

/** The taps of each window along an axis that fall outside, as a mask, and the masks there are, none first. */
function outside(windows: number, taps: number, stride: number, dilation: number, pad: number, size: number) {
  const masks = [0];
  const kinds = Uint8Array.from({ length: windows }, (_, i) => {
    let mask = 0;
    for (let t = 0; t < taps; t++) {
      const at = i * stride - pad + t * dilation;
      if (at < 0 || at >= size) mask |= 1 << t;
    }
    if (!masks.includes(mask)) masks.push(mask);
    return masks.indexOf(mask);
  });
  return { masks, kinds };
}

/** Filters as rows of the bits of a tap's channels (o · kh · kw, channels / 8). */
export interface BitFilters {
  readonly rows: Uint8Array;
}

/**
 * Lays a layer out. Null where it is not served: without SIMD, with the heap exhausted, or for sizes beyond its counts. Layers of
 * one `filters` and of as many groups share the panels.
 */
export function prepareBitConv(
  filters: BitFilters,
  g: ConvGeometry,
  padding: Padding,
  output: Output,
  code = lookupExports(),
): BitConvLayer | null {
  const channels = g.c / g.groups;
  const n = g.o / g.groups;
  const bytes = packedBytes(channels, 1);
  if (code === null || channels === 0 || g.kh * g.kw * channels > mostBits || g.kh > 16 || g.kw > 16)
    return null;
  return onHeap((blocks) => {
    const rows = outside(g.oh, g.kh, g.strideH, g.dilationH, g.padTop, g.h);
    const columns = outside(g.ow, g.kw, g.strideW, g.dilationW, g.padLeft, g.w);
    const place = (kinds: Uint8Array): number => {
      const address = blocks.take(kinds.length);
      view("uint8", address, kinds.length).set(kinds);
      return address;
    };
    const edges = {
      rowClass: place(rows.kinds),
      colClass: place(columns.kinds),
      classes: columns.masks.length,
    };
    const rowBytes = g.kh * g.kw * bytes;
    const groups = Array.from({ length: g.groups }, (_, group) => {
      const own = () => filters.rows.subarray(group * n * rowBytes, (group + 1) * n * rowBytes);
      const panels = blocks.share(filters, `${group} of ${g.groups}`, panelBytes(n, rowBytes), (to) =>
        writePanels(blocks, to, own(), n, rowBytes, code),
      );
      const transform = { ...output, ...columnsOf(output, group * n, n) };
      const corrections =
        padding === 0 && (rows.masks.length > 1 || columns.masks.length > 1)
          ? correctionsOf(blocks, own(), g, rows.masks, columns.masks)
          : 0;
      return { panels, output: layOutput(blocks, transform, n, false, null), corrections };
    });
    const lastPair = Math.max(0, (Math.ceil(g.ow / 2) - 1) * 2);
    const unit = wordBytes(output.to);
    const groupStep = outputStride(output.to, n) * unit;
    return {
      geometry: g,
      padding,
      frameW: lastPair * g.strideW + (g.kw - 1) * g.dilationW + g.strideW + 1,
      step: groupStep * g.groups,
      groupStep,
      groups,
      edges,
      free: () => blocks.free(),
    };
  });
}

/** How many bits of a byte are set. */
const ones = /* @__PURE__ */ Uint8Array.from({ length: 256 }, (_, byte) => {
  let count = 0;
  for (let rest = byte; rest > 0; rest >>= 1) count += rest & 1;
  return count;
});

/** For each class of windows and each filter, minus the sum of the weights over padding: padding has counted as +1. */
function correctionsOf(
  blocks: Blocks,
  rows: Uint8Array,
  { o, groups, kh, kw, c }: ConvGeometry,
  rowMasks: readonly number[],
  columnMasks: readonly number[],
): number {
  const filters = o / groups;
  const channels = c / groups;
  const bytes = packedBytes(channels, 1);
  const width = Math.ceil(filters / 32) * 32;
  const length = rowMasks.length * columnMasks.length * width;
  const address = blocks.take(length * 4);
  const to = view("int32", address, length).fill(0);
  for (let f = 0; f < filters; f++)
    for (let ty = 0; ty < kh; ty++)
      for (let tx = 0; tx < kw; tx++) {
        const tap = ((f * kh + ty) * kw + tx) * bytes;
        let sum = channels;
        for (let i = tap; i < tap + bytes; i++) sum -= 2 * ones[rows[i]];
        for (let r = 0; r < rowMasks.length; r++)
          for (let q = 0; q < columnMasks.length; q++)
            if ((rowMasks[r] >> ty) & 1 || (columnMasks[q] >> tx) & 1)
              to[(r * columnMasks.length + q) * width + f] -= sum;
      }
  return address;
}

/**
 * out = the layer's transform of the windows of x, both at heap addresses. False, out being of no use, where SIMD cannot run or
 * the heap is exhausted.
 */
export function bitConvHeap(
  layer: BitConvLayer,
  out: number,
  x: number,
  code: LookupExports | null = lookupExports(),
): boolean {
  if (code === null) return false;
  const { geometry: g, frameW, groupStep, step, edges } = layer;
  if (g.n * g.oh * g.ow * g.o === 0) return true;
  const channels = g.c / g.groups;
  const bytes = packedBytes(channels, 1);
  const runs = g.kh * (g.dilationW === 1 ? 1 : g.kw);
  const runSteps = (g.dilationW === 1 ? g.kw : 1) * bytes * 2;
  const reach = (g.kh - 1) * g.dilationH + 1;
  const tables = tablesOf("differ", code);
  if (tables === 0) return false;
  const frameRows = (rows: number): number => (rows - 1) * g.strideH + reach;
  const frameBytes = Math.ceil((frameRows(g.oh) * frameW * bytes) / 16) * 16;
  const space = code.convScratchBytes(runs, runSteps, g.oh, frameW, g.strideH, g.strideW, bytes, reach);
  const fill = layer.padding < 0 ? 255 : 0;
  const tail = 255 >> (bytes * 8 - channels);
  const pixel = g.groups * bytes;
  const steps = [g.strideH, g.strideW, g.dilationH, g.dilationW] as const;
  const k = g.kh * g.kw * channels;
  const filters = g.o / g.groups;
  for (const [group, { output }] of layer.groups.entries())
    placeOutput(output, { out: out + group * groupStep, step });
  const nanoseconds = g.n * g.oh * g.ow * g.o * (0.7 + k * 0.0035);
  return inTasks(nanoseconds, frameBytes + space, [code], (job) => {
    const { frameBits, pairConv } = job.of(code);
    const images = g.n * g.groups;
    // Windows above one another share tables: an image is split only where images alone leave threads without work.
    const even = images % pool.active === 0 || images > 4 * pool.active;
    const part = job.recorded && !even ? Math.ceil(g.oh / pool.active) : g.oh;
    for (let i = 0; i < images; i++) {
      const image = Math.floor(i / g.groups);
      const { panels, output, corrections } = layer.groups[i % g.groups];
      const from = x + image * g.h * g.w * pixel + (i % g.groups) * bytes;
      for (let first = 0; first < g.oh; first += part) {
        const rows = Math.min(part, g.oh - first);
        const top = g.padTop - first * g.strideH;
        const sizes = [filters, rows, g.ow, g.kh, g.kw] as const;
        const classAt = [corrections, edges.rowClass + first, edges.colClass, edges.classes] as const;
        const row = (image * g.oh + first) * g.ow;
        const [frame, scratch] = [job.local, job.local + frameBytes];
        frameBits(frame, frameRows(rows), frameW, from, g.h, g.w, bytes, pixel, top, g.padLeft, fill, tail);
        pairConv(
          output,
          row,
          frame,
          frameW,
          bytes,
          panels,
          ...sizes,
          ...steps,
          k,
          ...classAt,
          tables,
          scratch,
        );
        job.next();
      }
    }
  });
}

/** The contract of reference.ts. Returns false, with nothing written, where it does not apply. */
export function conv2d(
  out: OutputArray,
  x: Uint8Array,
  w: Uint8Array,
  g: ConvGeometry,
  padding: Padding,
  output: Output = { to: "int32" },
  code = lookupExports(),
): boolean {
  const layer = prepareBitConv({ rows: w }, g, padding, output, code);
  if (layer === null) return false;
  try {
    return staged((staging) => {
      const windows = g.n * g.oh * g.ow;
      const from = staging.input(x, 0, g.n * g.h * g.w * g.groups * packedBytes(g.c / g.groups, 1));
      const to = staging.output(out, 0, (windows * layer.step) / wordBytes(output.to), true);
      return from !== 0 && to !== 0 && bitConvHeap(layer, to, from, code);
    });
  } finally {
    layer.free();
  }
}
