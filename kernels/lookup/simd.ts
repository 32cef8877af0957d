/**
 * Integer products of few bits by table lookup. A weight matrix (n, k) lies in panels of 16 rows: the first byte of each of
 * them, then the second, as packBits of kernels/bits.ts wrote the rows; n · bytes in all, and 16 bytes must be readable
 * behind them. Everything else is at heap addresses as it is.
 */

import { type Output, type OutputArray, outputStride } from "../output.ts";
import { alloc, scratch, view } from "../wasm/heap.ts";
import { wasmKernel } from "../wasm/load.ts";
import { type Blocks, layOutput, onHeap, placeOutput } from "../wasm/output.ts";
import { inTasks, isWorthThreads } from "../wasm/parallel.ts";
import { staged } from "../wasm/staging.ts";
import { bytes } from "./simd.wasm.ts";

/** What simd.as.ts exports. */
export interface LookupExports {
  scratchBytes(m: number, steps: number): number;
  pairTables(to: number, kind: number): void;
  panels(to: number, rows: number, n: number, bytes: number): void;
  pairGemm(
    output: number,
    firstRow: number,
    a: number,
    lda: number,
    b: number,
    m: number,
    n: number,
    steps: number,
    kind: number,
    base: number,
    factor: number,
    tables: number,
    scratch: number,
  ): void;
  convScratchBytes(...numbers: number[]): number;
  frameBits(...numbers: number[]): void;
  pairConv(...numbers: number[]): void;
  digitScratchBytes(...numbers: number[]): number;
  digitGemm(...numbers: number[]): void;
}

export const lookupExports = /* @__PURE__ */ wasmKernel<LookupExports>(bytes);

/** How the bits of a row of A meet those of a row of B; the numbers are those of pairs.as.ts. */
const kinds = { differ: 0, both: 1, ternarySigns: 2, ternaryTernary: 3 } as const;
export type PairKind = keyof typeof kinds;

const tables = new Map<PairKind, number>();

/** The tables of all pairs of nibbles, made on first use; 0 where the heap is exhausted. */
export function tablesOf(kind: PairKind, code: LookupExports): number {
  let address = tables.get(kind) ?? 0;
  if (address === 0) {
    address = alloc(4096);
    if (address === 0) return 0;
    code.pairTables(address, kinds[kind]);
    tables.set(kind, address);
  }
  return address;
}

/** Writes n rows of `bytes` bytes as panels. */
export function writePanels(
  blocks: Blocks,
  to: number,
  rows: Uint8Array,
  n: number,
  bytes: number,
  code: LookupExports,
): void {
  blocks.lend(n * bytes, (from) => {
    view("uint8", from, n * bytes).set(rows.subarray(0, n * bytes));
    code.panels(to, from, n, bytes);
  });
}

/** Bytes of the panels of n rows of `bytes` bytes, with what is read behind them. */
export const panelBytes = (n: number, bytes: number): number => n * bytes + 16;

/** The address of the panels of weights, which layers of the same `weights` share. */
export const panelsOf = (blocks: Blocks, weights: PairWeights, bytes: number, code: LookupExports): number =>
  blocks.share(weights, "panels", panelBytes(weights.n, bytes), (to) =>
    writePanels(blocks, to, weights.rows, weights.n, bytes, code),
  );

/** How many numbers of a row a nibble of B holds, and of A a byte; and sums = base(k) + factor · counts. */
const plans: Record<PairKind, { step: number; perByte: number; base(k: number): number; factor: number }> = {
  differ: { step: 4, perByte: 8, base: (k) => k, factor: -2 },
  both: { step: 4, perByte: 8, base: () => 0, factor: -2 },
  ternarySigns: { step: 2, perByte: 8, base: (k) => -k, factor: 1 },
  // The unused digit of an odd row is −1 in both operands, and counts 1 + 1.
  ternaryTernary: { step: 2, perByte: 4, base: (k) => -k - 2 * (k & 1), factor: 1 },
};

/** Weights and an output transform, on the heap until `free`. */
export interface PairLayer {
  readonly kind: PairKind;
  readonly n: number;
  readonly k: number;
  /** Bytes between the rows of the output. */
  readonly step: number;
  readonly panels: number;
  readonly output: number;
  free(): void;
}

export interface PairWeights {
  /** Packed rows, contiguous. */
  readonly rows: Uint8Array;
  readonly n: number;
  readonly k: number;
}

const elementBytes = (to: Output["to"]): number => (to === "int32" || to === "float32" ? 4 : 1);

/**
 * Lays a layer out; zeroX and groups of scales are not served. Null without SIMD, or with the heap exhausted. Layers of one
 * `weights` share its panels.
 */
export function preparePairs(
  kind: PairKind,
  weights: PairWeights,
  output: Output,
  code = lookupExports(),
): PairLayer | null {
  if (code === null) return null;
  const { n, k } = weights;
  const bytes = Math.ceil(k / plans[kind].step / 2);
  return onHeap((blocks) => {
    const panels = panelsOf(blocks, weights, bytes, code);
    const spec = layOutput(blocks, output, n, false, null);
    const step = outputStride(output.to, n) * elementBytes(output.to);
    return { kind, n, k, step, panels, output: spec, free: () => blocks.free() };
  });
}

export interface PairCall {
  m: number;
  /** Distance of the rows of A in bytes; contiguous. */
  lda?: number;
  /** The address of the scales of the rows of A, where they change from call to call. */
  scaleX?: number;
}

/**
 * out (m, n) = the layer's transform of A (m, k) · Wᵀ at heap addresses. False, with nothing done, where SIMD cannot run or
 * the heap is exhausted.
 */
export function pairHeap(
  layer: PairLayer,
  out: number,
  a: number,
  { m, lda, scaleX }: PairCall,
  code = lookupExports(),
): boolean {
  if (code === null) return false;
  const { kind, n, k, step, panels, output } = layer;
  const plan = plans[kind];
  const steps = Math.ceil(k / plan.step);
  const tables = tablesOf(kind, code);
  const rowA = lda ?? Math.ceil(k / plan.perByte);
  if (tables === 0) return false;
  placeOutput(output, { out, step, scaleX });
  const [base, meeting] = [plan.base(k), kinds[kind]];
  return inRowTasks(
    code,
    { m, nanoseconds: m * n * k * 0.003, bytes: (rows) => code.scratchBytes(rows, steps) },
    ({ pairGemm }, first, rows, space) => {
      const from = a + first * rowA;
      pairGemm(output, first, from, rowA, panels, rows, n, steps, meeting, base, plan.factor, tables, space);
    },
  );
}

/** Runs `call` on all rows, in parts on the threads where that pays; false where the heap has no room. */
export function inRowTasks(
  code: LookupExports,
  { m, nanoseconds, bytes }: { m: number; nanoseconds: number; bytes(rows: number): number },
  call: (exports: LookupExports, first: number, rows: number, space: number) => void,
): boolean {
  const part = Math.ceil(m / 16) * 2;
  if (m > part && isWorthThreads(nanoseconds))
    return inTasks(nanoseconds, bytes(m), [code], (job) => {
      const exports = job.of(code);
      const rows = job.recorded ? part : m;
      for (let first = 0; first < m; first += rows) {
        call(exports, first, Math.min(rows, m - first), job.local);
        job.next();
      }
    });
  const space = scratch(bytes(m));
  if (space === 0) return false;
  call(code, 0, m, space);
  return true;
}

/** The same for packed rows of A in a typed array. Returns false, with nothing written, where it does not apply. */
export function pairArrays(
  kind: PairKind,
  out: OutputArray,
  a: Uint8Array,
  w: Uint8Array,
  { m, n, k }: { m: number; n: number; k: number },
  output: Output = { to: "int32" },
  code = lookupExports(),
): boolean {
  const layer = preparePairs(kind, { rows: w, n, k }, output, code);
  if (layer === null) return false;
  try {
    return staged((staging) => {
      const from = staging.input(a, 0, m * Math.ceil(k / plans[kind].perByte));
      const to = staging.output(out, 0, m * outputStride(output.to, n), true);
      return from !== 0 && to !== 0 && pairHeap(layer, to, from, { m }, code ?? undefined);
    });
  } finally {
    layer.free();
  }
}
